"""The manual page and the completion of `emperor` say what its arguments are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.operate import arguments

from tools import manual


@pytest.mark.parametrize(("path", "make"), manual.PAGES, ids=["manual", "completion"])
def test_it_is_up_to_date(path: Path, make: object) -> None:
    assert callable(make)
    assert path.read_text() == make(), "run .venv/bin/python tools/manual.py"


def test_every_word_is_in_the_manual() -> None:
    text = manual.manual().replace("\\-", "-")
    for name, (_, one) in manual.verbs(arguments.parser()).items():
        assert f".B {name} " in text
        for typed, said, _ in manual.parts(one):
            assert typed in text and said in text


def completed(*words: str) -> list[str]:
    """What is offered for the last of *words*."""
    line = " ".join(f"'{word}'" for word in words)
    program = f". {manual.COMPLETION}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _emperor; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-ec", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_completion_offers_verbs_and_options() -> None:
    assert completed("emperor", "de") == ["deploy"]
    assert completed("emperor", "r") == ["rollback", "run", "restart"]
    assert completed("emperor", "rollback", "blog", "--a") == ["--across-migration"]
    assert completed("emperor", "maintenance", "blog", "o") == ["on", "off"]
    assert completed("emperor", "nonsense", "") == []


def test_help_fits_a_terminal_and_names_each_verb() -> None:
    text = arguments.parser().format_help()
    assert all(name in text for name in manual.verbs(arguments.parser()))
    assert max(len(line) for line in text.splitlines()) <= 120
