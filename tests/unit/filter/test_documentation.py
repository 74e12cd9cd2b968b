"""Every filter has a documentation, and what that says is so: options, types, examples with their results, errors."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import json
import re
import subprocess
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tools.project import ROOT, VENV

PLACE = ROOT / "plugins/filter"


def filters() -> dict[str, Callable[..., Any]]:
    """What the plugin files define, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted(PLACE.glob("*.py")):
        module = importlib.import_module(f"ansible_collections.emperor.stack.plugins.filter.{path.stem}")
        found |= module.FilterModule().filters()
    return found


FILTERS = filters()
DOCUMENTATION = {path.stem: yaml.safe_load(path.read_text()) for path in PLACE.glob("*.yml")}


def test_every_filter_is_documented_and_nothing_else() -> None:
    assert DOCUMENTATION.keys() == FILTERS.keys()


def test_ansible_doc_shows_each() -> None:
    command = [str(VENV / "bin/ansible-doc"), "--json", "--type", "filter"]
    done = subprocess.run(
        [*command, *(f"emperor.stack.{name}" for name in sorted(FILTERS))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(done.stdout)
    assert {
        name for name, one in shown.items() if one.get("doc") and one.get("examples") and one.get("return")
    } == {f"emperor.stack.{name}" for name in FILTERS}


TYPES = {str: "str", bool: "bool", int: "int", float: "float", dict: "dict", list: "list"}
ABSTRACT = {
    collections.abc.Mapping: "dict",
    collections.abc.Sequence: "list",
    collections.abc.Iterable: "list",
}


def type_name(annotation: Any) -> str:
    """How a documentation calls the type of an argument; without the None that a default may be."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (one for one in annotation.__args__ if one is not type(None))
    origin = typing.get_origin(annotation) or annotation
    if typing.is_typeddict(origin):
        return "dict"
    return TYPES.get(origin) or ABSTRACT[origin]


@pytest.mark.parametrize("name", sorted(DOCUMENTATION))
def test_options_are_the_arguments(name: str) -> None:
    function = inspect.unwrap(FILTERS[name])
    hints = typing.get_type_hints(function)
    arguments = list(inspect.signature(function).parameters.values())
    wanted = {}
    for index, argument in enumerate(arguments):
        known: dict[str, Any] = {"type": type_name(hints[argument.name])}
        if argument.default is inspect.Parameter.empty or index == 0:
            known["required"] = True
        elif argument.default is not None:
            known["default"] = argument.default
        wanted["_input" if index == 0 else argument.name] = known
    documentation = DOCUMENTATION[name]["DOCUMENTATION"]
    options = documentation["options"]
    assert {
        option: {key: value for key, value in one.items() if key in ("type", "required", "default")}
        for option, one in options.items()
    } == wanted
    assert documentation["name"] == name
    assert documentation.get("positional", "") == ", ".join(option for option in wanted if option != "_input")
    described = [documentation["short_description"], *(one["description"] for one in options.values())]
    assert all(described) and documentation["description"]
    returned = hints["return"]
    assert DOCUMENTATION[name]["RETURN"]["_value"]["type"] == type_name(returned)
    assert DOCUMENTATION[name]["RETURN"]["_value"]["description"]


def examples(name: str) -> Iterator[tuple[str, str, str]]:
    """Each expression in the examples of filter *name*: its key, `=>` or `fails:`, and what follows that."""
    key = ""
    said: dict[str, tuple[str, list[str]]] = {}
    for line in DOCUMENTATION[name]["EXAMPLES"].splitlines():
        if found := re.match(r"(\w+):", line):
            key = found[1]
        elif found := re.match(r"# (=>|fails:) (.*)", line):
            said[key] = (found[1], [found[2]])
        elif found := re.match(r"#    (.*)", line):
            said[key][1].append(found[1])
    for key, (kind, lines) in said.items():
        yield key, kind, "\n".join(lines)


EXAMPLES = [(name, *one) for name in sorted(DOCUMENTATION) for one in examples(name)]


def templates(value: Any) -> Any:
    """*value* as it is when it comes from a file: its texts may be templates."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: templates(one) for key, one in value.items()}
    return [templates(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "key", "kind", "said"), EXAMPLES, ids=[f"{one[0]}-{one[1]}" for one in EXAMPLES]
)
def test_an_example_gives_what_it_says(name: str, key: str, kind: str, said: str) -> None:
    variables = templates(yaml.safe_load(DOCUMENTATION[name]["EXAMPLES"]))
    assert f"emperor.stack.{name}" in variables[key]
    templar = Templar(DataLoader(), variables=variables)
    if kind == "fails:":
        with pytest.raises(AnsibleError) as error:
            templar.template(variables[key])
        assert " ".join(said.split()) in " ".join(str(error.value).split())
        return
    assert json.loads(json.dumps(templar.template(variables[key]))) == yaml.safe_load(said)


@pytest.mark.parametrize("name", sorted(DOCUMENTATION))
def test_each_filter_has_an_example_with_its_result(name: str) -> None:
    kinds = [one[2] for one in EXAMPLES if one[0] == name]
    assert "=>" in kinds
    assert "fails:" in kinds or not can_fail(name)


def can_fail(name: str) -> bool:
    """Whether the filter says itself what is wrong with its input."""
    if "AnsibleFilterError" in inspect.getsource(inspect.unwrap(FILTERS[name])):
        return True
    try:
        FILTERS[name](object())
    except AnsibleFilterError:
        return True
    except Exception:
        return False
    return False
