"""Every function, class, constant and field of the plugins and tools is used by something that is not a test."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping

from tools.project import ROOT

#: Where nothing may be dead.
CODE = ("plugins/", "tools/", "bench/")
#: Found by others, by their names.
BY_NAME = {
    "ActionModule": "Ansible",
    "CallbackModule": "Ansible",
    "FilterModule": "Ansible",
    "LookupModule": "Ansible",
    "filters": "Ansible",
    "makefile": "http.client",
}
#: Methods of callbacks, which Ansible calls.
EVENT = re.compile(r"v2_\w+")


def sources() -> dict[str, str]:
    """All texts of the checkout that can use a name, by path."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    wanted = re.compile(r".*\.(py|yml|j2|toml)|Makefile|roles/[^/]+/files/[^.]+")
    return {
        name: (ROOT / name).read_text()
        for name in names
        if wanted.fullmatch(name) and (ROOT / name).is_file() and not (ROOT / name).is_symlink()
    }


def defined(tree: ast.Module) -> Iterator[str]:
    """Names of functions and classes, of constants of the module, and of fields of classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Module | ast.ClassDef):
            for one in node.body:
                # Without a type it is an attribute by which a class of Ansible's says something.
                targets = [one.target] if isinstance(one, ast.AnnAssign) else []
                if isinstance(one, ast.Assign) and isinstance(node, ast.Module):
                    targets = one.targets
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def used(node: ast.AST, within: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names that are read below *node*. A function that only calls itself, and an import, use nothing."""
    for child in ast.iter_child_nodes(node):
        inside = within | {child.name} if isinstance(child, ast.FunctionDef | ast.ClassDef) else within
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield from {child.id} - inside
        elif isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Load):
            yield from {child.attr} - inside
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            # By getattr, as a key, or by a tool that a test runs.
            yield from re.findall(r"\w+", child.value) if len(child.value) < 100 else ()
        yield from used(child, inside)


def unused(texts: Mapping[str, str]) -> list[str]:
    """Names that nothing uses but tests, as `path: name`. What tests use of the tools is used: they are there for that."""
    trees = {path: ast.parse(text) for path, text in texts.items() if path.endswith(".py")}
    names: set[str] = set()
    by_tests: set[str] = set()
    for path, text in texts.items():
        if path not in trees:
            names |= set(re.findall(r"\w+", text))
        elif path.startswith("tests/unit/"):
            by_tests |= set(used(trees[path]))
        else:
            names |= set(used(trees[path]))
    return [
        f"{path}: {name}"
        for path, tree in trees.items()
        if path.startswith(CODE)
        for name in dict.fromkeys(defined(tree))
        if name not in names | BY_NAME.keys()
        and not (path.startswith("tools/") and name in by_tests)
        and not EVENT.fullmatch(name)
        and not name.startswith("__")
    ]


def test_nothing_is_dead() -> None:
    assert unused(sources()) == []


def test_what_only_tests_use_is_found() -> None:
    texts = {
        "plugins/module_utils/a.py": """
from dataclasses import dataclass
LIMIT = 1
UNUSED_TEXT = "x"

@dataclass
class Kept:
    used_field: int = LIMIT
    unused_field: int = 0

def called(): return Kept(unused_field=1).used_field
def recursive(): return recursive()
def tested(): pass
def in_a_template(): pass
def by_name(): pass
""",
        "plugins/modules/b.py": "from ..module_utils.a import called, tested\ncalled()\ngetattr(called, 'by_name')",
        "roles/x/templates/c.j2": "{{ in_a_template }}",
        "tests/unit/test_a.py": "tested(); recursive()",
    }
    dead = ("UNUSED_TEXT", "recursive", "tested", "unused_field")
    assert sorted(unused(texts)) == [f"plugins/module_utils/a.py: {name}" for name in dead]
