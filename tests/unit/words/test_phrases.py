"""Phrases that came up too often: each has a usual term, which documents, messages and task names have to use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: Pattern → what to write instead.
INSTEAD = {
    r"cannot be meant": "is invalid",
    r"can have meant": "by accident",
    r"a slip\b": "a typo",
    r"what there is without a word": "defaults",
    r"who may come": "access control",
    r"what visitors meet": "traffic features",
    r"see to it that": "ensure",
    r"the way of an? ": "life of, path of, where … goes",
    r"asked for again": "forced",
    r"serves? on\b": "keeps serving",
    r"\bhas to be\b": "must be",
    r"means nothing (without|beside)": "has no effect",
    r"for want of": "because … ran out",
    r"by itself alone": "only",
    r"(?<!there )\bis no (file|directory|text|number|socket|UTF-8|JSON)\b": "is not a …",
    r"nobody expected": "unexpected",
    r"small letters": "lowercase",
    r"(make|give) room\b": "free some space",
    r"what last ran": "the last working files",
    r"stranger": "foreign user, untrusted",
}

#: The old name of force may stand where the alias is described.
AGAIN = r"again=true"
ALIAS = {"docs/deploy.md", "CHANGELOG.md"}

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
ROLES = sorted([*(ROOT / "roles").rglob("*.yml"), *(ROOT / "playbooks").rglob("*.yml"), ROOT / "site.yml"])
#: Frozen copies keep their words.
PLUGINS = sorted(path for path in (ROOT / "plugins").rglob("*.py") if "format_1" not in path.parts)


def findings(text: str) -> Iterator[str]:
    flat = " ".join(text.split())
    for pattern, better in INSTEAD.items():
        if found := re.search(pattern, flat, re.IGNORECASE):
            yield f"{found[0]!r}: write {better!r} ({flat[max(0, found.start() - 40) : found.end() + 40]})"


def messages(path: Path) -> Iterator[str]:
    """The texts of a plugin that people may read: all its strings but the docstrings and the documentation."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
            isinstance(node, ast.Assign)
            and any(
                isinstance(target, ast.Name) and target.id in ("DOCUMENTATION", "EXAMPLES", "RETURN")
                for target in node.targets
            )
        ):
            skipped.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


@pytest.mark.parametrize("path", [*DOCUMENTS, *ROLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_and_roles_use_the_usual_terms(path: Path) -> None:
    assert list(findings(path.read_text())) == []


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_use_the_usual_terms(path: Path) -> None:
    assert [line for text in messages(path) for line in findings(text)] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, *ROLES, *PLUGINS], ids=lambda path: str(path.relative_to(ROOT)))
def test_force_is_not_called_again(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in ALIAS:
        assert not re.search(AGAIN, path.read_text())


def test_a_phrase_is_found_across_lines_and_in_any_case() -> None:
    assert [line.split(":")[0] for line in findings("A value that Cannot\n    be meant, a slip.")] == [
        "'Cannot be meant'",
        "'a slip'",
    ]
