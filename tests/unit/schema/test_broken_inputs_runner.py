"""The runner of the broken inputs changes copies only, and runs a case of each kind as users do."""

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


def test_a_case_of_each_kind_is_run_by_an_ordinary_process(runner: ModuleType) -> None:
    cases = runner.load(RUNNER.with_name("cases.yml"))
    chosen = [case for case in cases if case.name in runner.first_of_each_kind(cases)]
    assert len({case.kind for case in chosen}) == len(chosen) >= 8
    assert {case.kind for case in chosen} == {case.kind for case in cases}
    # What differs between the kinds: the apps, further variables and hosts, and a secret.
    assert {"app", "apps", "vars", "hosts", "never"} <= {part for case in chosen for part in case.kind}
