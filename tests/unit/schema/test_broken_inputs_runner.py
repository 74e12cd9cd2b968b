"""The runner of the broken inputs changes copies only."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

RUNNER = Path(__file__).resolve().parents[2] / "broken_inputs" / "run.py"


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    specification = importlib.util.spec_from_file_location("broken_inputs_run", RUNNER)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def test_an_inventory_that_links_its_variables_keeps_them(runner: ModuleType, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "apps.yml").write_text("python_apps: [{name: blog}]\nother: kept\n")
    source = tmp_path / "inventory"
    source.mkdir()
    (source / "group_vars").symlink_to(shared)
    case = runner.Case("a case", {"python_apps": []}, ("", "", ""))
    target = runner.write_inventory(source, tmp_path / "copy", "web1", "app_hosts", case)
    assert (shared / "apps.yml").read_text() == "python_apps: [{name: blog}]\nother: kept\n"
    assert (target / "group_vars" / "apps.yml").read_text() == "other: kept\n"
