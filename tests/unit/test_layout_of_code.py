"""Where code lies: what is shipped to hosts and what is not, which package may use which, and how long a text gets.

plugins/README.md says what each package is for.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"

#: Packages in the order in which they stand on each other: each may use itself and those before it.
ON_HOSTS = (
    "host",
    "values",
    "files",
    "systemd",
    "uwsgi",
    "source",
    "release",
    "file_set",
    "tls",
    "app",
    "emperor",
    "database",
    "debian",
    "uninstall",
    "console",
    "operate",
    "balancer",
    "backup",
    "programs",
)
ON_THE_CONTROLLER = (
    "controller",
    "console",
    "front",
    "schema",
    "services",
    "balancer",
    "file_set",
    "release",
    "settings",
)

LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def name(path: Path) -> str:
    """`module_utils/host/layout`; that of its package for an `__init__.py`."""
    path = path.relative_to(PLUGINS).with_suffix("")
    return str(path.parent if path.name == "__init__" else path)


FILES = {name(path): path for path in sorted(PLUGINS.rglob("*.py"))}


def imports(file: str, source: str) -> Iterator[str]:
    """What *file* of FILES, whose text is *source*, imports: names of FILES, and of packages of others as they are."""
    package = file.split("/") if FILES[file].name == "__init__.py" else file.split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1]
            path = "/".join([*start, *(node.module.split(".") if node.module else ())])
            yield from {path if path in FILES else f"{path}/{each.name}" for each in node.names}


GRAPH = {file: set(imports(file, path.read_text())) for file, path in FILES.items()}
OURS = {file: found & FILES.keys() for file, found in GRAPH.items()}


def place(file: str) -> tuple[str, str, str]:
    """Side, package and the rest of the name."""
    side, package, *rest = file.split("/")
    return side, package, "/".join(rest)


def test_every_relative_import_is_of_a_file() -> None:
    """So the tests below see all of them."""
    sides = ("module_utils/", "plugin_utils/", "modules/", "action/", "filter/", "lookup/")
    assert {found for all_of in GRAPH.values() for found in all_of if found.startswith(sides)} <= FILES.keys()


def test_what_is_shipped_to_hosts_uses_nothing_of_the_controller() -> None:
    for file, found in OURS.items():
        if file.startswith(("module_utils/", "modules/")):
            assert all(each.startswith("module_utils/") for each in found), file
        if file.startswith("plugin_utils/"):
            assert all(each.startswith(("module_utils/", "plugin_utils/")) for each in found), file


def test_what_only_the_controller_uses_is_not_shipped() -> None:
    """And what nobody uses is not there."""
    shipped = reachable(file for file in FILES if file.startswith(("modules/", "module_utils/programs/")))
    all_of = reachable(
        file for file in FILES if file.split("/")[0] in ("action", "filter", "lookup", "callback")
    )
    assert {file for file in FILES if file.startswith("module_utils/")} <= shipped
    assert {file for file in FILES if file.startswith("plugin_utils/")} <= all_of


def reachable(starts: Iterator[str]) -> set[str]:
    found: set[str] = set()
    left = list(starts)
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += OURS[file]
    return found


@pytest.mark.parametrize(("side", "order"), [("module_utils", ON_HOSTS), ("plugin_utils", ON_THE_CONTROLLER)])
def test_no_package_uses_one_above_it(side: str, order: tuple[str, ...]) -> None:
    packages = {path.name for path in (PLUGINS / side).iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packages == set(order)
    upward = {
        (file.partition("/")[2], each.partition("/")[2])
        for file, found in OURS.items()
        for each in found
        if file.startswith(f"{side}/")
        and each.startswith(f"{side}/")
        and order.index(place(each)[1]) > order.index(place(file)[1])
    }
    assert not upward


def test_no_file_is_needed_by_what_it_needs() -> None:
    graphlib.TopologicalSorter(OURS).prepare()


def test_what_a_file_keeps_to_itself_is_imported_by_no_other() -> None:
    taken = {
        f"{file}: {each.name}"
        for file, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
        for each in node.names
        if each.name.startswith("_")
    }
    assert not taken


def test_only_modules_use_ansible_on_hosts() -> None:
    """What programs of a host use runs there without Ansible."""
    shared = [all_of for file, all_of in GRAPH.items() if file.startswith("module_utils/")]
    assert not {each for all_of in shared for each in all_of if f"{each}.".startswith("ansible")}


def test_packages_on_hosts_have_no_code_of_their_own() -> None:
    """ansible-test wants that of an `__init__.py` in module_utils; Ansible needs none."""
    assert not list((PLUGINS / "module_utils").rglob("__init__.py"))


def programs() -> Iterator[Path]:
    """All Python of plugins and of what roles bring to hosts."""
    yield from FILES.values()
    for path in sorted((ROOT / "roles").glob("*/files/**/*")):
        if path.is_file() and (
            path.suffix == ".py" or path.read_bytes().startswith((b"#!/usr/bin/python3", b'"""'))
        ):
            yield path


def test_no_file_is_too_long() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in programs()
        if len(path.read_text().splitlines()) > LONGEST_FILE
    }
    assert not found


def test_no_function_is_too_long() -> None:
    found = set()
    for path in programs():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                found.add(f"{path.relative_to(ROOT)}: {node.name}")
    assert not found
