"""Every command of README and docs is run by a test as it is typed, or is named with the reason why not."""

from __future__ import annotations

import re
from pathlib import Path

from tools import docs_commands
from tools.docs_commands import NOT_RUN, RUN_BY_CI, RUN_ELSEWHERE, STORY
from tools.project import ROOT


def test_every_command_of_the_documents_has_its_place() -> None:
    run = {row.command for row in STORY} | set(RUN_BY_CI) | set(RUN_ELSEWHERE) | set(NOT_RUN)
    missing = [
        f"{found.document}:{found.line}: {found.text}"
        for found in docs_commands.all_commands()
        if found.text not in run
    ]
    assert not missing, "add each to STORY of tools/docs_commands.py:\n" + "\n".join(missing)


def test_no_place_has_a_command_that_no_document_has() -> None:
    told = {found.text for found in docs_commands.all_commands()}
    known = [*(row.command for row in STORY), *RUN_BY_CI, *RUN_ELSEWHERE, *NOT_RUN]
    assert [text for text in known if text not in told] == []
    assert sorted(set(known)) == sorted(known), "a command has two places"


def test_what_another_scenario_types_stands_in_its_tests() -> None:
    def literals(file: str) -> str:
        """The text of *file*, with what stands in several lines as one."""
        return re.sub(r'"\n\s*"', "", (ROOT / file).read_text())

    assert [text for text, file in RUN_ELSEWHERE.items() if f'"{text}"' not in literals(file)] == []


def test_few_commands_are_not_run() -> None:
    assert len(NOT_RUN) <= 15


def test_a_command_is_read_as_it_is_typed(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(docs_commands, "ROOT", tmp_path)
    document = tmp_path / "page.md"
    document.write_text(
        "1. Indented:\n\n   ```sh\n   one --a '#b'    # why\n   two \\\n      three\n   # alone\n   ```\n"
        "```yaml\nno: command\n```\n```console\nfour\n```\n"
    )
    found = [(command.text, command.line) for command in docs_commands.commands(document)]
    assert found == [("one --a '#b'", 4), ("two three", 6), ("four", 13)]
