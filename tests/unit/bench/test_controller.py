"""playbooks/check.yml with many hosts, by a real ansible-playbook. It contacts no host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from bench import controller
from tools.playbook_server import PROGRAM
from tools.project import ROOT

#: Processor seconds, and not those of a clock: a busy machine changes them little, and they are a tenth of this here.
MOST = {"200_hosts": 10.0, "100_hosts_200_apps": 15.0}


@pytest.mark.parametrize("shape", MOST)
def test_the_check_costs_little_for_many_hosts(tmp_path: Path, shape: str) -> None:
    place = controller.inventory(tmp_path / "inventory", *controller.SHAPES[shape], shared=True)
    seconds = controller.check_seconds(place)
    print(f"figure: check_cpu_seconds_{shape} = {seconds:.1f}")
    assert seconds <= MOST[shape]


def test_hosts_with_apps_of_their_own_cost_little_too(tmp_path: Path) -> None:
    place = controller.inventory(tmp_path / "inventory", 200, 5, shared=False)
    assert controller.check_seconds(place) <= MOST["200_hosts"]


def test_balancers_in_front_of_many_hosts_cost_little_too(tmp_path: Path) -> None:
    place = controller.inventory(
        tmp_path / "inventory", *controller.SHAPES["100_hosts_200_apps"], shared=True
    )
    with (place / "hosts.yml").open("a") as file:
        file.write("balancers:\n  hosts: {lb1: {ansible_host: 10.9.0.1}, lb2: {ansible_host: 10.9.0.2}}\n")
        file.write("  vars: {keepalived_address: 10.9.0.9/24, keepalived_interface: eth0}\n")
    assert controller.check_seconds(place) <= MOST["100_hosts_200_apps"]


def check(place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    argv = [str(PROGRAM), "-i", str(place), str(ROOT / "playbooks/check.yml"), *more]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def variables(place: Path, host: str, **values: object) -> None:
    (place / "host_vars").mkdir(exist_ok=True)
    (place / f"host_vars/{host}.yml").write_text(yaml.safe_dump(values))


def test_settings_of_all_hosts_are_checked_by_two_tasks(tmp_path: Path) -> None:
    """However many hosts there are, and whatever is wrong on some of them."""
    place = controller.inventory(tmp_path / "inventory", 30, 2, shared=True)
    good = check(place)
    assert good.returncode == 0, good.stdout
    assert good.stdout.count("\nTASK [") == 2 and good.stdout.count("\nok: [") == 2, good.stdout
    for host in ("web003", "web004"):
        variables(place, host, front_server="lighttpd")
    variables(place, "web005", tls_acme_eab_key_id="x", tls_acme_email="{{ nowhere }}")
    variables(place, "web006", python_apps=[])
    bad = check(place)
    assert bad.returncode != 0
    said = bad.stdout.replace("\\n", "\n")
    assert "The hosts' settings have 2 problems; no host was touched." in said, said
    assert 'hosts web003, web004: front_server\n  reason: "lighttpd" is not a supported web server' in said
    assert (
        "host web005: tls_acme_email\n  reason: the template cannot be resolved: 'nowhere' is undef" in said
    )


def test_settings_of_hosts_that_the_run_leaves_out_stop_nothing(tmp_path: Path) -> None:
    place = controller.inventory(tmp_path / "inventory", 3, 1, shared=True)
    variables(place, "web001", front_server="lighttpd")
    assert check(place, "--limit", "!web001").returncode == 0
    assert check(place, "--limit", "web001").returncode != 0
