"""Old names of options and variables: they still work, warn where that helps, and never contradict the new name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import renamed_variables

ROOT = Path(__file__).resolve().parents[3]


def rendered(path: str, name: str, variables: dict[str, Any]) -> Any:
    """The variable *name* as the file at *path* makes it from *variables*."""
    text = yaml.safe_load((ROOT / path).read_text())[name]
    value = (
        text
        if isinstance(text, bool)
        else Templar(loader=None, variables=variables).template(trust_as_template(text))
    )
    return str(value).lower()


@pytest.mark.parametrize(
    ("options", "forced"),
    [({}, "false"), ({"force": "true"}, "true"), ({"again": True}, "true"), ({"force": False}, "false")],
)
def test_both_names_of_force_reach_a_deploy(options: dict[str, Any], forced: str) -> None:
    assert rendered("playbooks/vars/deploy.yml", "python_apps_force", options) == forced


@pytest.mark.parametrize(("old", "new"), renamed_variables.ROLE_VARIABLES.items())
def test_the_old_name_of_a_role_variable_sets_the_new_one(old: str, new: str) -> None:
    role = next(path for path in (ROOT / "roles").iterdir() if new.startswith(f"{path.name}_"))
    defaults = f"roles/{role.name}/defaults/main.yml"
    assert rendered(defaults, new, {old: "from-the-inventory"}) == "from-the-inventory"
    assert rendered(defaults, new, {}) != "from-the-inventory"
    assert old not in yaml.safe_load((ROOT / defaults).read_text())


def test_two_names_with_different_values_are_a_problem() -> None:
    fleet = {
        "web1": {"force": "true", "again": "false"},
        "web2": {"force": True, "again": "true"},
        "web3": {"again": True},
    }
    assert [str(problem) for problem in renamed_variables.contradictions(fleet)] == [
        "host web1: force and again\n"
        "  reason: again is the old name of force, and the two have different values\n"
        "  fix:    remove again, and keep force"
    ]


def test_the_old_name_of_a_role_variable_warns_and_the_alias_of_an_option_does_not() -> None:
    fleet: dict[str, dict[str, Any]] = {
        "web1": {"tls_again": True, "again": True},
        "web2": {"tls_again": False},
        "web3": {},
    }
    assert renamed_variables.warnings(fleet) == [
        "tls_again is now called tls_force. The old name still works; rename it for web1, web2."
    ]


def play(tmp_path: Path, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    """*playbook* for one host that cannot be reached: what is refused before that is refused on the controller."""
    (tmp_path / "hosts.yml").write_text(
        "app_hosts: {hosts: {nowhere: {ansible_connection: ssh, ansible_host: 192.0.2.1, ansible_ssh_timeout: 1}}}\n"
    )
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(tmp_path / "hosts.yml"),
        playbook,
    ]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("playbook", ["playbooks/deploy.yml", "playbooks/certificates.yml"])
def test_force_and_again_that_differ_are_refused_before_a_host_is_asked(
    tmp_path: Path, playbook: str
) -> None:
    run = play(tmp_path, playbook, "-e", "force=true", "-e", "again=false")
    assert run.returncode != 0 and "unreachable=0" in run.stdout
    assert "reason: again is the old name of force, and the two have different values" in " ".join(
        run.stdout.split()
    )


def test_an_old_name_in_the_inventory_is_a_warning_of_the_check(tmp_path: Path) -> None:
    run = play(tmp_path, "playbooks/check.yml", "-e", '{"python_apps_again": true}')
    assert run.returncode == 0
    assert "python_apps_again is now called python_apps_force" in " ".join((run.stdout + run.stderr).split())
