"""A deploy over several hosts goes live on all of them or on none, whatever fails, and visitors notice nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, Load, Outcome, figure
from fleets import Fleet, failed_gets, visitors

HOSTS = ["fleet-app1", "fleet-app2", "fleet-app3"]
UP = dict.fromkeys(HOSTS, "UP")
STATE = "/srv/apps/blog/state"
#: Where a hook finds that it is to fail: the app's own home.
FAIL = "/srv/apps/blog/cache/fail"


class Blog:
    """The app on three hosts, whose hooks fail where a test says so, and whose migration leaves a line."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        self.source = directory / "blog"
        shutil.copytree(HERE / "apps" / "bare", self.source)
        hooks = {
            name: [f"sh -c 'test ! -e $HOME/fail-{name}'"]
            for name in ("after_prepare", "before_migrate", "before_start", "after_switch")
        }
        declared = fleet.apps[0]
        declared |= {
            "source": {"path": str(self.source)},
            "migrate": "sh -c 'echo migrated >> $HOME/migrations'",
            "hooks": hooks,
        }
        self.version("v0")
        # A host that is cut off is given up after some seconds instead of 45.
        fleet.environment["ANSIBLE_SSH_ARGS"] = (
            "-o ControlMaster=auto -o ControlPersist=5m -o ServerAliveInterval=2 -o ServerAliveCountMax=3"
        )
        fleet.good("playbooks/deploy.yml", app="blog")

    def version(self, name: str) -> None:
        (self.source / "version.txt").write_text(f"{name}\n")

    def on(self, host: str, command: str) -> str:
        return self.fleet.hosts[host].run(command).stdout.strip()

    def live(self) -> dict[str, str]:
        """The release that each host has live."""
        return {
            host: os.path.basename(self.on(host, "readlink /srv/apps/blog/active/release")) for host in HOSTS
        }

    def migrations(self) -> int:
        return sum(
            int(self.on(host, "cat /srv/apps/blog/cache/migrations 2>/dev/null | wc -l")) for host in HOSTS
        )

    def fail(self, host: str, hook: str) -> None:
        self.on(host, f"touch {FAIL}-{hook}")

    def mend(self) -> None:
        for host in HOSTS:
            self.on(host, f"rm -f {FAIL}-*")

    def history(self, host: str) -> dict[str, Any]:
        return dict(json.loads(self.on(host, f"tail -n 1 {STATE}/history.jsonl")))

    def phase(self, host: str) -> str:
        found = re.search(r'"phase": "(\w+)"', self.on(host, f"cat {STATE}/lock.json 2>/dev/null"))
        return found[1] if found else ""

    def until_phase(self, host: str, *phases: str) -> None:
        end = time.monotonic() + 120
        while self.phase(host) not in phases:
            assert time.monotonic() < end, (host, self.phase(host))
            time.sleep(0.1)

    def deploy(self, **extra: object) -> Outcome:
        return self.fleet.play("playbooks/deploy.yml", app="blog", **extra)


@pytest.fixture(scope="module")
def blog(fleet: Fleet, directory: Path) -> Iterator[Blog]:
    yield Blog(fleet, directory)


def one_release(blog: Blog) -> str:
    live = set(blog.live().values())
    assert len(live) == 1, blog.live()
    return live.pop()


def test_deploys_and_rollbacks_cut_no_request_and_migrate_once(blog: Blog, directory: Path) -> None:
    migrated, seen = blog.migrations(), [one_release(blog)]
    with visitors(directory, slow="/slow?seconds=3") as load:
        for name in ("v1", "v2", "v3"):
            blog.version(name)
            blog.fleet.good("playbooks/deploy.yml", app="blog")
            seen.append(one_release(blog))
        per_deploy = (blog.migrations() - migrated) / 3
        blog.fleet.good("playbooks/rollback.yml", app="blog")
        assert one_release(blog) == seen[2]
        # Not the one before: it boots.
        blog.fleet.good("playbooks/rollback.yml", app="blog", release=seen[0])
        assert one_release(blog) == seen[0]
        blog.version("v4")
        blog.fleet.good("playbooks/deploy.yml", app="blog")
    assert len({*seen, one_release(blog)}) == 5
    figure("fleet_deploy_failed_requests", f"{load.failed}/{load.total}")
    figure("fleet_migrations_per_deploy", f"{per_deploy:g}")
    assert load.failed == 0, load.failures()
    assert per_deploy == 1


def killed_controller(blog: Blog) -> Outcome:
    """Killed while hosts switch; then the next run, of anybody."""
    process = blog.fleet.start("playbooks/deploy.yml", app="blog")
    blog.until_phase("fleet-app2", "switch")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    return blog.deploy()


def vanished_host(blog: Blog) -> Outcome:
    """The link of a host is cut while it starts the new release; it comes back after the run."""
    process = blog.fleet.start("playbooks/deploy.yml", app="blog")
    blog.until_phase("fleet-app3", "migrate", "start")
    with blog.fleet.cut("fleet-app3"):
        output, _ = process.communicate(timeout=240)
        return Outcome(process.returncode, output, 0, 0)


def failing(hook: str, host: str) -> Callable[[Blog], Outcome]:
    def run(blog: Blog) -> Outcome:
        blog.fail(host, hook)
        return blog.deploy()

    return run


#: By name: what goes wrong, and whether the deploy goes live all the same, by the next run.
FAILURES: dict[str, tuple[Callable[[Blog], Outcome], bool]] = {
    "prepare": (failing("after_prepare", "fleet-app2"), False),
    "migrate": (failing("before_migrate", "fleet-app1"), False),
    "start": (failing("before_start", "fleet-app3"), False),
    "after_switch": (failing("after_switch", "fleet-app2"), False),
    "killed_controller": (killed_controller, True),
    "vanished_host": (vanished_host, False),
}


def test_whatever_fails_before_the_drain_calls_the_app_off_on_all_hosts(blog: Blog, directory: Path) -> None:
    loads: list[tuple[str, Load]] = []
    splits = 0
    for number, (name, (fails, goes_live)) in enumerate(FAILURES.items()):
        before = one_release(blog)
        blog.version(f"failure-{number}")
        with ExitStack() as stack:
            loads.append((name, stack.enter_context(visitors(directory))))
            outcome = fails(blog)
            blog.mend()
        after = blog.live()
        splits += len(set(after.values())) > 1
        assert bool(outcome.code) is not goes_live, (name, outcome.output[-3000:])
        assert (set(after.values()) == {before}) is not goes_live, (
            name,
            before,
            after,
            outcome.output[-3000:],
        )
        if name in ("start", "after_switch"):
            told = blog.history("fleet-app1")
            assert (told["phase"], told["result"]) == ("call_off", "called off"), told
            assert "called off" in outcome.output
    failed = {
        name: len(failed_gets(load)) if name == "vanished_host" else load.failed for name, load in loads
    }
    total = sum(load.total for _, load in loads)
    figure(
        "fleet_called_off_failed_requests",
        f"{sum(failed.values())}/{total} (of the host that vanished GETs alone)",
    )
    figure("fleet_split_after_failures", f"{splits}/{len(FAILURES)}")
    assert not any(failed.values()), {name: load.failures() for name, load in loads if failed[name]}
    assert splits == 0
    # Nobody knows what the host that vanished has live, until a run has brought it to the release of the others.
    blog.fleet.until_servers({"fleet-app3": "MAINT", "fleet-app1": "UP", "fleet-app2": "UP"})
    blog.fleet.good("playbooks/deploy.yml", app="blog")
    one_release(blog)
    blog.fleet.until_servers(UP)


def test_a_host_that_does_not_answer_refuses_the_deploy(blog: Blog) -> None:
    before = one_release(blog)
    blog.version("refused")
    with blog.fleet.cut("fleet-app3"):
        outcome = blog.deploy()
        assert outcome.code != 0
        assert "fleet-app3 does not answer" in outcome.output, outcome.output[-3000:]
    assert set(blog.live().values()) == {before}
    blog.fleet.until_servers(UP)


def test_a_host_that_missed_a_deploy_gets_no_request_until_it_has_caught_up(
    blog: Blog, directory: Path
) -> None:
    fleet = blog.fleet
    fleet.kill("fleet-app3")
    fleet.until_servers({"fleet-app3": "DOWN"})
    blog.version("missed")
    fleet.good("playbooks/deploy.yml", app="blog", without="fleet-app3")
    with visitors(directory) as load:
        # By itself, as after a power failure.
        fleet.boot("fleet-app3")
        live = blog.live()
        assert live["fleet-app3"] != live["fleet-app1"] == live["fleet-app2"], live
        fleet.until_servers({"fleet-app3": "MAINT"})
        time.sleep(8)
        fleet.reboot("fleet-app3")
        time.sleep(5)
    stale = [one for one in load.answers if one.get("release") != live["fleet-app1"]]
    figure("fleet_stale_host_requests", f"{len(stale)}/{load.total}")
    assert not stale, stale[:5]
    # status.yml names it, and ends with the exit code of a failure.
    told = fleet.play("playbooks/status.yml", app="blog")
    assert told.code == 2, told.output[-3000:]
    assert re.search(r"^blog +\S+ +\S+ +2/3 ", told.output, re.MULTILINE), told.output[-3000:]
    assert f"fleet-app3 has {live['fleet-app3']}" in told.output
    fleet.good("playbooks/deploy.yml", app="blog")
    assert one_release(blog) == live["fleet-app1"]
    fleet.until_servers(UP)
    assert fleet.play("playbooks/status.yml", app="blog").code == 0


def test_what_runs_on_one_host_moves_and_never_runs_twice(blog: Blog) -> None:
    fleet = blog.fleet
    declared = fleet.apps[0]
    declared["schedule"] = {"tick": {"command": "sh -c true", "every": "1h", "run_on": "first"}}
    declared["workers"] = {"beat": {"command": "sleep 100000", "run_on": "first"}}
    fleet.good("playbooks/deploy.yml", app="blog")

    def running(unit: str) -> list[str]:
        command = f"systemctl list-units --plain --no-legend --state=active 'app_blog_{unit}'"
        return [host for host in HOSTS if blog.on(host, command)]

    assert (running("tick.timer"), running("beat@*")) == (["fleet-app1"], ["fleet-app1"])
    most = 1
    hosts = dict(fleet.hosts)
    fleet.hosts = {name: hosts[name] for name in ("fleet-app2", "fleet-app1", "fleet-app3", *fleet.balancers)}
    process = fleet.start("playbooks/deploy.yml", app="blog")
    try:
        while process.poll() is None:
            most = max(most, len(running("tick.timer")), len(running("beat@*")))
            time.sleep(0.1)
    finally:
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output[-3000:]
    figure("fleet_timers_hosts", most)
    assert most == 1
    assert (running("tick.timer"), running("beat@*")) == (["fleet-app2"], ["fleet-app2"])
