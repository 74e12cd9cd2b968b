"""Deploys that are killed, and services that crash."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ansible_collections.emperor.stack.plugins.module_utils.release.phases import phases_of
from deploying import Repository, Stack, figure, load, started
from testinfra.host import Host

#: Where a deploy is when it is killed: the phase that its lock names. "begin" is before it has one.
PHASES = ("begin", *phases_of("deploy", alone=True)[1:])

#: The same moments in every run of a seed; another seed is another set of them.
SEED = int(os.environ.get("CHAOS_SEED", "20261122"))


@dataclass(frozen=True)
class Kill:
    phase: str
    #: Whether the module on the host is killed, or ansible-playbook on the controller.
    helper: bool
    #: Seconds into the phase.
    after: float


def kills(number: int, dice: random.Random) -> list[Kill]:
    """*number* kills: each phase by turns, the controller first, a third of them on the host."""
    found = [Kill(phase, False, dice.uniform(0, 0.2)) for phase in PHASES]
    found += [Kill(phase, True, dice.uniform(0, 0.2)) for phase in ("prepare", "start", "switch")]
    while len(found) < number:
        place = len(found)
        helper = place % 3 == 2
        phase = dice.choice(PHASES[1:] if helper else PHASES)
        found.append(Kill(phase, helper, dice.uniform(0, 0.6)))
    return found[:number]


KILLS = kills(int(os.environ.get("CHAOS_KILLS", len(PHASES) + 3)), random.Random(SEED))

#: Prints when the lock of the app names phase $1; a deploy that is past it by then is seen by its next phase.
WATCH = """
import json, sys, time
phases, wanted = sys.argv[1].split(), sys.argv[2]
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    try:
        with open("/srv/apps/bare/state/lock.json", encoding="utf-8") as file:
            phase = json.load(file).get("phase", "")
    except (FileNotFoundError, ValueError):
        phase = ""
    if phase in phases and phases.index(phase) >= phases.index(wanted):
        print(phase)
        break
    time.sleep(0.002)
"""


def end_state(machine: Host, stack: Stack, version: str) -> dict[str, Any]:
    """What an undisturbed deploy leaves, without the names that differ each time."""
    status = stack.status("bare")
    manifests = machine.check_output("ls -1d /srv/apps/bare/releases/*/release.json | wc -l")
    directories = machine.check_output("ls -1d /srv/apps/bare/releases/*/ | wc -l")
    links = machine.check_output("find /etc/emperor-stack/vassals -name 'bare@*.ini' | wc -l")
    activations = machine.check_output("ls -1 /srv/apps/bare/activations | wc -l")
    leftovers = machine.check_output("find /srv/apps/bare -maxdepth 3 -name '*.new-*' | wc -l")
    return {
        "version": status["live"]["version"] == version,
        "status": status["live"]["status"],
        "health": status["health"],
        "lock": status["lock"],
        "live activations": len([a for a in status["activations"] if a["live"]]),
        "activations": int(activations) == int(links) == len(status["activations"]) and int(links) <= 2,
        "partial releases": int(directories) - int(manifests),
        "leftovers": int(leftovers),
    }


def kill_helper_on(machine: Host) -> None:
    """Kill -9 the module that works on the host now, a Python that got its program by standard input, and any uv."""
    machine.run(
        "for p in /proc/[0-9]*; do case \"$(tr '\\0' ' ' <$p/cmdline 2>/dev/null)\" in "
        "'/usr/bin/python3 ' | */tools/bin/uv' '*) kill -9 ${p#/proc/} ;; esac; done"
    )


def kill(machine: Host, stack: Stack, version: str, chosen: Kill) -> str:
    """Deploy *version* and kill that as *chosen*. Returns the phase in which it was killed."""
    watch = subprocess.Popen(
        ["docker", "exec", machine.backend.host, "python3", "-c", WATCH, " ".join(PHASES), chosen.phase],
        stdout=subprocess.PIPE,
        text=True,
    )
    process = stack.start("playbooks/deploy.yml", app="bare", version=version)
    if chosen.phase == "begin":
        watch.kill()
        watch.communicate()
        seen = "begin"
        time.sleep(0.3 + 3 * chosen.after)
    else:
        seen = watch.communicate(timeout=90)[0].strip()
        time.sleep(chosen.after)
    if chosen.helper:
        kill_helper_on(machine)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    return seen


def test_killed_deploys_recover(machine: Host, stack: Stack, bare: Repository) -> None:
    bare.back_to("v1")
    for number in range(len(KILLS) + 1):
        bare.version(f"kill-{number}")
    bare.push()
    app = stack.apps[0]
    # Long enough to be met.
    app.update(build=["sleep 0.3"], migrate="sleep 0.3")
    stack.good("playbooks/deploy.yml", app="bare", version="kill-0")
    wanted = end_state(machine, stack, "kill-0")
    # Otherwise a wrong state would pass for a recovered one.
    assert wanted["activations"] and not wanted["leftovers"], wanted
    recovered = 0
    phases: Counter[str] = Counter()
    reports = []
    with load(machine, "bare.localhost", ["/healthz", "/version"], rate=60) as result:
        for number, chosen in enumerate(KILLS, 1):
            version = f"kill-{number}"
            seen = kill(machine, stack, version, chosen)
            phases[seen] += 1
            again = stack.deploy("bare", version)
            found = end_state(machine, stack, version)
            if again.code == 0 and found == wanted:
                recovered += 1
            else:
                reports.append(f"{version}, {chosen} killed in {seen}: {found}\n{again.output[-2500:]}")
    for name in ("build", "migrate"):
        del app[name]
    figure("killed_deploys_recovered", f"{recovered}/{len(KILLS)}")
    figure("killed_deploys_failed_requests", f"{result.failed}/{result.total}")
    print("killed in: " + ", ".join(f"{phase} {phases[phase]}" for phase in PHASES))
    assert not reports, "\n\n".join(reports)
    assert result.failed == 0, result.failures()
    # A phase that takes milliseconds may be over before the kill comes; most are met.
    assert len([phase for phase in PHASES if phases[phase]]) >= 4, phases


def answers(machine: Host) -> bool:
    said = machine.run(
        "curl -sS -m 5 -o /dev/null -w '%{http_code}' -H 'Host: bare.localhost' http://127.0.0.1/healthz"
    )
    return said.stdout.strip() == "200"


def wait_for_answer(machine: Host, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not answers(machine):
        assert time.monotonic() < deadline, "the app did not come back"
        time.sleep(0.2)


def crash(machine: Host, name: str, command: str) -> None:
    """Kill something under load; it must come back by itself. How many requests that costs is measured, not demanded."""
    with load(machine, "bare.localhost", ["/healthz"], rate=130) as result:
        machine.check_output(command)
        time.sleep(8)
    figure(f"crash_failed_requests_{name}", f"{result.failed}/{result.total}")
    wait_for_answer(machine)
    tail = sorted(answer["ended"] for answer in result.answers if not answer.get("failure"))
    assert tail[-1] > max([a["ended"] for a in result.answers if a.get("failure")], default=0), (
        "it did not recover"
    )


def live_pids(machine: Host) -> tuple[str, str]:
    """The vassal's master and one of its workers."""
    pids = machine.check_output("pgrep -u bare -f 'uWSGI (master|worker)' | sort -n").split()
    parents = {pid: machine.check_output("ps -o ppid= -p %s", pid).strip() for pid in pids}
    worker = next(pid for pid in pids if parents[pid] in pids)
    return parents[worker], worker


def test_a_killed_worker_comes_back(machine: Host, stack: Stack) -> None:
    crash(machine, "worker", f"kill -9 {live_pids(machine)[1]}")


def test_a_killed_vassal_comes_back(machine: Host, stack: Stack) -> None:
    crash(machine, "vassal", f"kill -9 {live_pids(machine)[0]}")


def test_a_killed_emperor_comes_back(machine: Host, stack: Stack) -> None:
    crash(machine, "emperor", "systemctl kill --kill-whom=main --signal=KILL 'emperor@*'")


def test_a_killed_nginx_comes_back(machine: Host, stack: Stack) -> None:
    crash(machine, "nginx", "kill -9 $(systemctl show --property=MainPID --value nginx)")


def test_a_full_disk_fails_the_deploy_and_nothing_else(machine: Host, stack: Stack, bare: Repository) -> None:
    bare.version("full-disk")
    bare.push()
    before = stack.status("bare")["live"]["release"]
    # A file system that is full to the last block in the place of the app's git objects: the fetch runs out of space.
    machine.check_output(
        "mkdir -p /mnt/full && size=$(($(du -sk /srv/apps/bare/repo.git | cut -f1) + 512)) "
        "&& mount -t tmpfs -o size=${size}k full /mnt/full "
        "&& cp -a /srv/apps/bare/repo.git/. /mnt/full/ && (cat /dev/zero >/mnt/full/filler 2>/dev/null || true) "
        "&& mount --bind /mnt/full /srv/apps/bare/repo.git"
    )
    try:
        with load(machine, "bare.localhost", ["/healthz"], rate=100) as result:
            outcome = stack.deploy("bare", "full-disk")
    finally:
        machine.check_output("umount -l /srv/apps/bare/repo.git && umount -l /mnt/full")
    assert outcome.code != 0
    assert "No space left on device" in " ".join(outcome.output.split()), outcome.output[-3000:]
    assert result.failed == 0, result.failures()
    assert stack.status("bare")["live"]["release"] == before
    stack.good("playbooks/deploy.yml", app="bare", version="full-disk")
    assert stack.ask("bare.localhost", "/version") == "full-disk"


def test_a_reboot_in_the_middle_of_a_deploy(machine: Host, stack: Stack, bare: Repository) -> None:
    bare.version("rebooted")
    bare.push()
    app = stack.apps[0]
    app["build"] = ["sleep 30"]
    process = stack.start("playbooks/deploy.yml", app="bare", version="rebooted")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and machine.run("test -e /srv/apps/bare/state/lock.json").rc:
        time.sleep(0.3)
    time.sleep(2)
    subprocess.run(
        ["docker", "restart", "--time", "30", machine.backend.host], check=True, capture_output=True
    )
    process.communicate(timeout=120)
    del app["build"]
    assert process.returncode != 0
    wait_for_answer(machine)
    stack.good("playbooks/deploy.yml", app="bare", version="rebooted")
    found = end_state(machine, stack, "rebooted")
    assert found["version"] is True
    assert found["partial releases"] == 0
    assert found["lock"] is None


def test_few_playbooks_were_needed() -> None:
    """The last of the scenario: what its proof cost."""
    figure("chaos_playbook_runs", len(started))
    assert started
