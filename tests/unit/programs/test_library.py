"""What programs of a host run by is the code of module_utils, which needs nothing but Python there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.emperor.stack.plugins.plugin_utils.file_set.render import directory_items

ROOT = Path(__file__).resolve().parents[3]
MODULES = ROOT / "plugins/module_utils"
PROGRAMS = {path.stem for path in (MODULES / "programs").glob("*.py")}
PLACE = "/usr/local/lib/emperor-stack/python"

#: Python as a host has it: nothing of a venv, and no packages.
ALONE = [sys.executable, "-I", "-S", "-B", "-c"]


def launchers() -> list[Path]:
    found = [*(ROOT / "roles").glob("*/templates/*"), *(ROOT / "roles").glob("*/files/*")]
    return [path for path in found if path.is_file() and b"emperor_stack.programs" in path.read_bytes()]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The library as role base writes it."""
    variables = yaml.safe_load((ROOT / "roles/base/vars/main.yml").read_text())
    (item,) = [one for one in variables["__base_library_files"] if "source" in one]
    source = item["source"].replace("{{ role_path }}", str(ROOT / "roles/base"))
    items: list[dict[str, Any]] = [
        *variables["__base_library_files"],
        *directory_items({**item, "source": source}),
    ]
    for one in sorted(items, key=lambda one: str(one["path"]).count("/")):
        path = tmp_path / one["path"].lstrip("/")
        if one.get("directory"):
            path.mkdir(parents=True, exist_ok=True)
        elif "content" in one:
            path.write_text(one["content"])
    return tmp_path / PLACE.lstrip("/")


def test_each_file_is_imported_without_ansible(library: Path) -> None:
    names = [
        ".".join(path.relative_to(library).with_suffix("").parts)
        for path in sorted((library / "emperor_stack").rglob("*.py"))
    ]
    assert {
        "emperor_stack.host.layout",
        "emperor_stack.release.phases",
        "emperor_stack.programs.retire",
    } <= set(names)
    assert len(names) == len(list(MODULES.rglob("*.py"))) + 1
    program = (
        f"import importlib, sys\nsys.path.insert(0, {str(library)!r})\n"
        f"for name in {names!r}:\n    importlib.import_module(name)\n"
        "print([name for name in sys.modules if name.startswith('ansible')])"
    )
    done = subprocess.run([*ALONE, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert not list(library.rglob("__pycache__"))


def test_what_an_emperor_waits_for_imports_little(library: Path) -> None:
    """It starts without bytecode, and an emperor and each run of site.yml wait for it."""
    program = (
        f"import sys\nsys.path.insert(0, {str(library)!r})\nfrom emperor_stack.programs import boot_apps\n"
        "print(sorted(name for name in sys.modules if name.startswith('emperor_stack.')))\n"
        "print('http.client' in sys.modules)"
    )
    done = subprocess.run([*ALONE, program], capture_output=True, text=True, check=True)
    modules = ["host", "host.layout", "programs", "programs.boot_apps", "uwsgi", "uwsgi.sockets"]
    assert done.stdout == f"{[f'emperor_stack.{name}' for name in modules]}\nFalse\n"


def test_every_program_is_started_by_a_role() -> None:
    text = "".join(path.read_text() for path in launchers())
    named = set(re.findall(r"from emperor_stack\.programs import (\w+)", text))
    # Those of role uwsgi_emperor have one template.
    variables = (ROOT / "roles/uwsgi_emperor/vars/main.yml").read_text()
    (each,) = re.findall(r"template: program\.j2\n\s+each: \[(.*)\]", variables)
    assert named | {name.strip().replace("-", "_") for name in each.split(",")} == PROGRAMS


@pytest.mark.parametrize("path", launchers(), ids=lambda path: path.name)
def test_a_program_is_started_without_what_a_host_has_beside_the_library(path: Path) -> None:
    lines = path.read_text().splitlines()
    # -I: no directory of whoever runs it, and nothing from the environment. -B: no bytecode, which no set of files removes.
    assert lines[0] == "#!/usr/bin/python3 -IB"
    assert f'sys.path.insert(0, "{PLACE}")' in lines
    assert not [
        line
        for line in lines[1:]
        if line and not line.startswith(("#", "import sys", "sys.", "from emperor_stack."))
    ]
