"""What a host runs by itself is a copy of some of our modules: all that they need has to be among them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = ROOT / "plugins" / "module_utils"


#: What is imported only where a command runs as an app, which nothing does that a host has a copy of.
NOT_COPIED = {"systemd/app_process"}


def siblings(module: str) -> set[str]:
    """The modules that *module* (`host/layout`) imports of those beside it and in other packages."""
    found = set()
    for node in ast.walk(ast.parse((MODULES / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = [module.split("/", 1)[0]] if node.level == 1 else []
            path = "/".join([*package, *(node.module.split(".") if node.module else ())])
            one = (MODULES / f"{path}.py").is_file()
            found |= {path} if one else {f"{path}/{name.name}" for name in node.names}
    return found - NOT_COPIED


@pytest.mark.parametrize(
    ("role", "package", "module", "least"),
    [
        ("tls", "emperor_stack_tls", "tls/renewal", 8),
        ("uwsgi_emperor", "emperor_stack_emperor", "uwsgi/emperor_check", 2),
    ],
)
def test_every_module_comes_with_those_that_it_imports(
    role: str, package: str, module: str, least: int
) -> None:
    text = (ROOT / "roles" / role / "vars" / "main.yml").read_text()
    names = re.findall(rf"path: .*{package}/([\w/]+)\.py", text)
    copied = set(names) - {"__init__"}
    assert len(names) == len(set(names)), "a set of files has no path twice"
    assert module in copied
    needed = set().union(*(siblings(module) for module in copied))
    assert needed <= copied
    assert len(needed) >= least
