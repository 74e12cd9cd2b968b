"""The action around the check: reading variables with Ansible's own templar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.action.check_apps import (
    bundle_root,
    message,
    no_blocks,
    resolved,
    to_native,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import TemplateLike, Unresolved
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import Problem


@pytest.mark.parametrize("value", [True, False, 1, 1.5, None, "x", [True, {"a": False}], {"b": 0}])
def test_plain_values_keep_their_type(value: Any) -> None:
    assert repr(to_native(value)) == repr(value)


def test_what_cannot_be_resolved_is_marked_at_its_place() -> None:
    templar = Templar(loader=None, variables={"known": "yes", "number": 5})
    value = {
        "good": trust_as_template("{{ known }}!"),
        "number": trust_as_template("{{ number }}"),
        "list": [trust_as_template("{{ unknown }}"), "kept"],
        "syntax": trust_as_template("{{ broken( }}"),
    }
    assert resolved(templar, value) == {
        "good": "yes!",
        "number": 5,
        "list": [Unresolved("'unknown' is undefined"), "kept"],
        "syntax": Unresolved("unexpected '}', expected ')'"),
    }


def test_the_bundle_is_the_nearest_directory_with_an_ansible_cfg(tmp_path: Path) -> None:
    playbooks = tmp_path / "bundle" / "playbooks"
    playbooks.mkdir(parents=True)
    assert bundle_root(str(playbooks)) == str(playbooks)
    (tmp_path / "bundle" / "ansible.cfg").touch()
    assert bundle_root(str(playbooks)) == str(tmp_path / "bundle")


def test_the_message_lists_all_problems() -> None:
    problems = [Problem(("a",), "x", "r", "f"), Problem(("a", "b"), "y", "s", "two\nlines")]
    assert message(problems) == (
        "python_apps has 2 problems; no host was touched.\n\n"
        "host a: x\n  reason: r\n  fix:    f\n\n"
        "hosts a, b: y\n  reason: s\n  fix:\n    two\n    lines\n"
    )


def test_a_secret_that_a_template_would_change_is_marked() -> None:
    """An expression may be meant; a statement or a comment in a secret never is. What is no template stays as it is."""
    templar = Templar(loader=DataLoader(), variables={"other": "x"})
    texts = {"A": "a{# gone #}b", "B": "{% if", "C": "{{ other }}y", "D": "100% {"}
    trusted = {"blog": {name: trust_as_template(text) for name, text in texts.items()}}
    assert resolved(templar, no_blocks(trusted)) == {
        "blog": {"A": TemplateLike(), "B": TemplateLike(), "C": "xy", "D": "100% {"}
    }
    assert resolved(templar, no_blocks({"blog": texts})) == {"blog": texts}
