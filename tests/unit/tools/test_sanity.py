from __future__ import annotations

import pytest

from tools import sanity
from tools.console import Stop


def test_the_lock_has_what_the_tests_of_this_ansible_core_need_with_hashes():
    lock = sanity.LOCK.read_text()
    missing = [line for line in sanity.requirements() if f"{line.lower()} \\\n    --hash=" not in lock]
    assert missing == [], "run `make lock`"
    assert "://" not in lock


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A small collection, and ansible-test with a home directory of its own."""
    monkeypatch.setattr(sanity, "ensure", lambda: None)
    monkeypatch.setattr(sanity, "HOME", tmp_path / "home")
    place = tmp_path / "ansible_collections" / "some" / "thing"
    (place / "plugins" / "modules").mkdir(parents=True)
    (place / "plugins" / "modules" / "good.py").write_text("#!/usr/bin/python\n")
    return place


def test_what_ansible_test_finds_is_a_line_each(place):
    assert sanity.findings(place, ["shebang"]) == []
    (place / "plugins" / "modules" / "bad.py").write_text("#!/usr/bin/env python\n")
    (found,) = sanity.findings(place, ["shebang"])
    assert found.startswith("plugins/modules/bad.py:1:1: expected module shebang")
    assert sanity.decided(found) is None


def test_an_ansible_test_that_cannot_run_is_an_error_and_finds_not_nothing(place):
    with pytest.raises(Stop, match=r"ansible-test could not go on: .*no-such-test"):
        sanity.findings(place, ["no-such-test"])


def test_a_test_that_is_skipped_is_an_error(place, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ansible-test").write_text(
        "#!/bin/sh\necho 'WARNING: Skipping sanity test \"pep8\" due to missing virtual environment support.' >&2\n"
    )
    (tmp_path / "bin" / "ansible-test").chmod(0o755)
    monkeypatch.setattr(sanity, "VENV", tmp_path)
    with pytest.raises(Stop, match="missing virtual environment support"):
        sanity.findings(place, ["pep8"])


LICENCE = "plugins/modules/drift.py:0:0: missing-gplv3-license: GPLv3 license header not found"
SHEBANG = "roles/tls/templates/renew.j2:1:1: unexpected non-module shebang: b'#!/usr/bin/python3 -I'"


@pytest.mark.parametrize(
    ("found", "arguments", "error"),
    [
        ([LICENCE, SHEBANG], [], None),
        ([LICENCE], ["validate-modules"], None),
        ([LICENCE], [], "is no longer there"),
        ([LICENCE, SHEBANG, "a.py:1:1: E501: line too long"], [], "found 1 things"),
    ],
)
def test_only_what_was_decided_is_passed_over(monkeypatch, capsys, found, arguments, error):
    monkeypatch.setattr(sanity.collection, "build", lambda source, into: into)
    monkeypatch.setattr(sanity.collection, "install", lambda archive, into: into)
    monkeypatch.setattr(sanity, "findings", lambda place, tests: found)
    if error is None:
        assert sanity.main(arguments) == 0
        assert "passed over 1: the licence is MIT" in capsys.readouterr().out
    else:
        with pytest.raises(Stop, match=error):
            sanity.main(arguments)
        assert "missing-gplv3-license" not in capsys.readouterr().out
