"""Which lines of apt's sources an upgrade of Debian changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.debian import suites

LINES = [
    (
        "deb http://mirror.example.com/debian bookworm main",
        "deb http://mirror.example.com/debian trixie main",
    ),
    (
        "deb http://security.example.com/debian-security bookworm-security main",
        "deb http://security.example.com/debian-security trixie-security main",
    ),
    (
        "deb-src [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://a.example/bookworm/ bookworm-updates main",
        "deb-src [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://a.example/bookworm/ trixie-updates main",
    ),
    ("deb http://a.example/ bookworm/updates main", "deb http://a.example/ trixie/updates main"),
    ("# deb http://a.example/ bookworm main", None),
    ("deb http://a.example/ stable main", None),
    ("deb http://a.example/ bookwormish main", None),
    ("deb http://a.example/ my-bookworm main", None),
    ("deb http://a.example/bookworm ./", None),
]


@pytest.mark.parametrize(("line", "after"), LINES)
def test_a_line_of_a_list(line: str, after: str | None) -> None:
    text = f"# first\n{line}\n"
    assert suites.moved(text, "bookworm", "trixie", deb822=False) == f"# first\n{after or line}\n"


def test_a_file_of_fields() -> None:
    text = (
        "Types: deb\nURIs: https://a.example/bookworm\nSuites: bookworm bookworm-updates\n bookworm-backports\n"
        "Components: main\nSigned-By: /k/bookworm.gpg\n"
    )
    assert suites.moved(text, "bookworm", "trixie", deb822=True) == (
        "Types: deb\nURIs: https://a.example/bookworm\nSuites: trixie trixie-updates\n trixie-backports\n"
        "Components: main\nSigned-By: /k/bookworm.gpg\n"
    )


def test_only_files_that_apt_reads_and_that_change(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://a.example/ bookworm main\n")
    (parts / "b.sources").write_text("Types: deb\nURIs: http://b.example/\nSuites: bookworm\n")
    (parts / "c.list").write_text("deb http://c.example/ stable main\n")
    (parts / "d.list.disabled").write_text("deb http://d.example/ bookworm main\n")
    found = suites.changes("bookworm", "trixie", str(tmp_path))
    assert sorted(found) == [str(tmp_path / "sources.list"), str(parts / "b.sources")]
    assert found[str(parts / "b.sources")].endswith("Suites: trixie\n")
