"""What is said of one app's failure."""

from __future__ import annotations

import re

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import failure
from ansible_collections.emperor.stack.plugins.module_utils.systemd import unit_names


def test_the_place_of_a_failure_that_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own line, and not that of the library which it called, by the name that the file has in the bundle."""
    monkeypatch.setattr(failure, "note_trace", lambda *_: None)
    with pytest.raises(TypeError) as caught:
        unit_names.command_units(None)  # type: ignore[arg-type]
    said = failure.described("blog", caught.value)
    assert re.search(r"\(systemd/unit_names\.py, line \d+, in \w+; unexpected error", said), said


def test_the_place_of_a_failure_in_nothing_of_ours() -> None:
    with pytest.raises(ValueError) as caught:
        int("one")
    assert failure.place(caught.value).endswith("in test_the_place_of_a_failure_in_nothing_of_ours")
