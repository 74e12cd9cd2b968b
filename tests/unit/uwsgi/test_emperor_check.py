"""What each run asks of the emperor: nothing is done about an answer that says it is as it has to be."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import emperor_check


@pytest.mark.parametrize(
    ("running", "why", "fine"),
    [
        ({"b"}, None, True),
        ({"b"}, "its unit or settings changed", False),
        (set(), None, False),
        ({"a"}, None, False),
        # An earlier move did not finish.
        ({"a", "b"}, None, False),
    ],
)
def test_up_to_date(monkeypatch: pytest.MonkeyPatch, running: set[str], why: str | None, fine: bool) -> None:
    monkeypatch.setattr(emperor_check, "running_emperor", lambda: "b")
    monkeypatch.setattr(emperor_check, "is_running", lambda emperor: emperor in running)
    monkeypatch.setattr(emperor_check, "out_of_date", lambda emperor: why if emperor == "b" else "old")
    assert emperor_check.up_to_date() is fine
