"""A phase that is added to the table runs on each host: on several hosts and on one, in a deploy and in a rollback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import testinfra
from deploying import alone, figure
from testinfra.host import Host

from tools import checkout

APP = "links"
NOTED = "/root/added-phase"

#: In front of the switch, by what docs/development.md tells.
ROW = 'Phase("added", "Do what was added", by_lock(added), part_of=(DEPLOY, ROLLBACK), leads_to_switch=True)'
CODE = f"""
def added(state, held, manifest, options):
    with open({NOTED!r}, "a") as file:
        file.write(f"{{manifest.release}}\\n")
    return {{"release": manifest.release}}
"""


@pytest.fixture
def hosts() -> list[Host]:
    """Both hosts of the scenario, in one test."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    return list(testinfra.get_hosts(["ansible://default-*"], ansible_inventory=inventory))


def inventory() -> Path:
    return Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent


def play(bundle: Path, playbook: str, *words: str, where: Path | None = None) -> str:
    """Play it with the scenario's own inventory, or the one in *where*; it must succeed. Returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MOLECULE_"))}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook")]
        + ["-i", str(where or inventory()), f"playbooks/{playbook}.yml"]
        + ["-v", "-e", f"app={APP}", *words],
        cwd=bundle,
        env={**environment, "ANSIBLE_CONFIG": str(bundle / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def live(host: Host) -> str:
    return host.check_output(f"basename $(readlink /srv/apps/{APP}/active/release)")


def test_an_added_phase_runs_once_on_each_host_in_both_ways(hosts: list[Host], tmp_path: Path) -> None:
    assert len(hosts) == 2
    # The scenario's own deploys had no such phase.
    assert not any(host.file(NOTED).exists for host in hosts)
    bundle = checkout.copied(tmp_path / "bundle")
    checkout.add_phase(bundle, ROW, "switch", CODE)
    # On each host, the releases that the phase was to see.
    wanted: list[list[str]] = [[], []]

    def note(*of: int) -> None:
        for place in of:
            wanted[place].append(live(hosts[place]))

    try:
        assert "phases | Do what was added" in play(bundle, "deploy", "-e", "force=true")
        note(0, 1)
        assert "phases | Choose the release to return to" in play(bundle, "rollback")
        note(0, 1)
        # A host that is alone does all of it in one exchange.
        one = alone(hosts[0], tmp_path).parent
        assert "phases | Do what was added" not in play(bundle, "deploy", "-e", "force=true", where=one)
        note(0)
        found = [host.check_output("cat %s", NOTED).splitlines() for host in hosts]
    finally:
        for host in hosts:
            host.run("rm -f %s", NOTED)
    runs = sum(len(releases) for releases in found)
    figure("added_phase_runs", f"{runs}/{sum(len(releases) for releases in wanted)}")
    assert found == wanted
    # A deploy, back to the release before, and the next deploy.
    assert len(set(wanted[0])) == 3
