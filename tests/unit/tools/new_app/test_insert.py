"""An entry is added to a file of an inventory, and all other lines stay as they are."""

from __future__ import annotations

import pytest

from tools.console import Stop
from tools.new_app.insert import into_list, into_map, keys_of_map, names_in_list

ENTRY = "- name: new\n  domains: [new.example.com]\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "---\npython_apps:\n  - name: new\n    domains: [new.example.com]\n"),
        ("a: 1\n", "a: 1\npython_apps:\n  - name: new\n    domains: [new.example.com]\n"),
        ("python_apps: []\n", "python_apps:\n  - name: new\n    domains: [new.example.com]\n"),
        ("python_apps: [] # none yet\n", "python_apps:\n  - name: new\n    domains: [new.example.com] # none yet\n"),
        ("python_apps:\n- name: old\n", "python_apps:\n- name: old\n- name: new\n  domains: [new.example.com]\n"),
        (
            "python_apps:\n    - name: old # kept\n      env:\n        A: !vault |\n          x\n\n# b\nb: 2\n",
            "python_apps:\n    - name: old # kept\n      env:\n        A: !vault |\n          x\n"
            "    - name: new\n      domains: [new.example.com]\n\n# b\nb: 2\n",
        ),
        ("python_apps:\n  - name: old", "python_apps:\n  - name: old\n  - name: new\n    domains: [new.example.com]\n"),
    ],
)  # fmt: skip
def test_an_item_is_added_at_the_end_of_the_list(before: str, after: str) -> None:
    assert into_list(before, "python_apps", ENTRY) == after
    assert names_in_list(after, "python_apps")[-1] == "new"


def test_lines_are_added_at_the_end_of_a_map() -> None:
    before = "---\n# secrets\nsecrets:\n  blog: {A: b}\nother: 1\n"
    assert into_map(before, "secrets", "new:\n  KEY: x\n") == (
        "---\n# secrets\nsecrets:\n  blog: {A: b}\n  new:\n    KEY: x\nother: 1\n"
    )


@pytest.mark.parametrize("text", ["python_apps: [{name: old}]\n", "python_apps: '{{ other }}'\n", "[a]\n"])
def test_what_is_no_block_is_left_to_a_person(text: str) -> None:
    with pytest.raises(Stop, match="by hand"):
        into_list(text, "python_apps", ENTRY)


def test_a_file_that_is_not_yaml_is_left_to_a_person() -> None:
    with pytest.raises(Stop, match="is not valid YAML"):
        into_list("python_apps: [\n", "python_apps", ENTRY)


def test_names_are_those_of_maps() -> None:
    assert names_in_list("python_apps:\n  - '{{ other }}'\n  - name: blog\n", "python_apps") == ["blog"]
    assert keys_of_map("secrets:\n  blog: {}\n  shop: {A: b}\n", "secrets") == ["blog", "shop"]
    assert keys_of_map("secrets:\n", "secrets") == []
