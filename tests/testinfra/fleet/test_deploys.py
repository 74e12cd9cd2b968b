"""A deploy over several hosts goes live on all of them or on none, whatever fails, and visitors notice nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, Load, Outcome, figure
from fleets import Fleet, failed_gets, visitors

HOSTS = ["fleet-app1", "fleet-app2", "fleet-app3"]
UP = dict.fromkeys(HOSTS, "UP")
STATE = "/srv/apps/blog/state"
#: The app's own home, where a hook finds that it is to fail, or to take its time: `fail-HOOK`, `slow-HOOK`.
HOME = "/srv/apps/blog/cache"
HOOKS = ("after_prepare", "before_migrate", "before_start", "before_switch", "after_switch")
HOOK = "if test -e $HOME/slow-{0}; then sleep 6; fi; test ! -e $HOME/fail-{0}"
#: In the app: it says its release to visitors; with a file `errors`, one answer of so many is a 500, but not to the health
#: check.
APPLICATION = """
_answer, _asked = application, itertools.count(1)
_errors = Path(__file__).with_name("errors")


def application(environ, start_response):
    if _errors.exists() and environ["PATH_INFO"] != "/healthz" and next(_asked) % int(_errors.read_text()) == 0:
        start_response("500 Internal Server Error", [("Content-Length", "0")])
        return [b""]

    def start(status, headers):
        return start_response(status, [*headers, ("X-App-Release", os.environ["APP_RELEASE"])])

    return _answer(environ, start)
"""


class Blog:
    """The app on three hosts, whose hooks fail where a test says so, and whose migration leaves a line."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        self.source = directory / "blog"
        shutil.copytree(HERE / "apps" / "bare", self.source)
        code = self.source / "app.py"
        code.write_text(
            code.read_text().replace("import hashlib\n", "import hashlib\nimport itertools\n") + APPLICATION
        )
        hooks = {name: [HOOK.format(name)] for name in HOOKS}
        declared = fleet.apps[0]
        declared |= {
            "source": {"path": str(self.source)},
            "migrate": "echo migrated >> $HOME/migrations",
            "hooks": hooks,
        }
        self.version("v0")
        # A host that is cut off is given up after some seconds instead of 45.
        fleet.environment["ANSIBLE_SSH_ARGS"] = (
            "-o ControlMaster=auto -o ControlPersist=5m -o ServerAliveInterval=2 -o ServerAliveCountMax=3"
        )
        # Not the connections that other tests have left, which are more patient.
        fleet.environment["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(directory / "ssh")
        fleet.good("playbooks/deploy.yml", app="blog")

    def version(self, name: str, errors: int = 0) -> None:
        """New code. One of so many answers is an error, if that is asked for."""
        (self.source / "version.txt").write_text(f"{name}\n")
        (self.source / "errors").unlink(missing_ok=True)
        if errors:
            (self.source / "errors").write_text(f"{errors}\n")

    def on(self, host: str, command: str) -> str:
        return self.fleet.hosts[host].run(command).stdout.strip()

    def live(self) -> dict[str, str]:
        """The release that each host has live."""
        return {
            host: os.path.basename(self.on(host, "readlink /srv/apps/blog/active/release")) for host in HOSTS
        }

    def migrations(self) -> int:
        return sum(int(self.on(host, f"cat {HOME}/migrations 2>/dev/null | wc -l")) for host in HOSTS)

    def hook(self, host: str, hook: str, how: str) -> None:
        """Let *hook* be `slow` on *host*, or `fail`."""
        self.on(host, f"touch {HOME}/{how}-{hook}")

    def mend(self) -> None:
        for host in HOSTS:
            self.on(host, f"rm -f {HOME}/fail-* {HOME}/slow-*")

    def history(self, host: str) -> dict[str, Any]:
        return dict(json.loads(self.on(host, f"tail -n 1 {STATE}/history.jsonl")))

    def phase(self, host: str) -> str:
        found = re.search(r'"phase": "(\w+)"', self.on(host, f"cat {STATE}/lock.json 2>/dev/null"))
        return found[1] if found else ""

    def until_phase(self, host: str, *phases: str) -> None:
        end = time.monotonic() + 300
        while self.phase(host) not in phases:
            assert time.monotonic() < end, (host, self.phase(host))
            time.sleep(0.1)

    def deploy(self, **extra: object) -> Outcome:
        return self.fleet.play("playbooks/deploy.yml", app="blog", **extra)


@pytest.fixture(scope="module")
def blog(fleet: Fleet, directory: Path) -> Iterator[Blog]:
    yield Blog(fleet, directory)


def unwrapped(output: str) -> str:
    """Tables and notes break their lines."""
    return re.sub(r"\s+", " ", output)


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


@contextmanager
def running(blog: Blog, **extra: object) -> Iterator[subprocess.Popen[str]]:
    """A deploy that is under way. It does not outlive the block."""
    process = blog.fleet.start("playbooks/deploy.yml", app="blog", **extra)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def killed_controller(blog: Blog) -> Outcome:
    """Killed when one host has switched, one is about to, and one has not begun. No run comes after it."""
    before = blog.live()
    blog.hook("fleet-app2", "before_switch", "slow")
    blog.fleet.environment["ANSIBLE_FORKS"] = "1"
    with running(blog, python_apps_confirm_within=60) as process:
        blog.until_phase("fleet-app2", "switch")
        os.killpg(process.pid, signal.SIGKILL)
    del blog.fleet.environment["ANSIBLE_FORKS"]
    left = blog.live()
    assert left["fleet-app1"] != before["fleet-app1"] and left["fleet-app3"] == before["fleet-app3"], left
    end = time.monotonic() + 180
    while blog.live() != before:
        assert time.monotonic() < end, (before, blog.live())
        time.sleep(1)
    assert "did not confirm the switch in time" in blog.history("fleet-app1")["reason"]
    return Outcome(1, "called off", 0, 0)


def vanished_host(blog: Blog) -> Outcome:
    """The link of a host is cut while it starts the new release; it comes back after the run."""
    blog.hook("fleet-app3", "before_start", "slow")
    with running(blog) as process:
        blog.until_phase("fleet-app3", "start")
        with blog.fleet.cut("fleet-app3"):
            output, _ = process.communicate(timeout=300)
            return Outcome(process.returncode, output, 0, 0)


def failing(hook: str, host: str) -> Callable[[Blog], Outcome]:
    def run(blog: Blog) -> Outcome:
        blog.hook(host, hook, "fail")
        return blog.deploy()

    return run


#: By name: what goes wrong.
FAILURES: dict[str, Callable[[Blog], Outcome]] = {
    "prepare": failing("after_prepare", "fleet-app2"),
    "migrate": failing("before_migrate", "fleet-app1"),
    "start": failing("before_start", "fleet-app3"),
    "after_switch": failing("after_switch", "fleet-app2"),
    "vanished_host": vanished_host,
    "killed_controller": killed_controller,
}


def test_whatever_fails_before_the_drain_calls_the_app_off_on_all_hosts(blog: Blog, directory: Path) -> None:
    loads: list[tuple[str, Load]] = []
    splits = 0
    before = one_release(blog)
    for number, (name, fails) in enumerate(FAILURES.items()):
        blog.version(f"failure-{number}")
        with ExitStack() as stack:
            loads.append((name, stack.enter_context(visitors(directory))))
            outcome = fails(blog)
            blog.mend()
        after = set(blog.live().values())
        splits += len(after) > 1
        assert outcome.code != 0 and after == {before}, (name, before, after, outcome.output[-3000:])
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
    # Nobody knows what the host that vanished has live, until a run has brought it to the release of the others.
    blog.fleet.until_servers({"fleet-app3": "MAINT", "fleet-app1": "UP", "fleet-app2": "UP"})
    blog.fleet.good("playbooks/deploy.yml", app="blog")
    assert one_release(blog) != before
    blog.fleet.until_servers(UP)


def test_a_host_that_missed_a_deploy_gets_no_request_until_it_has_caught_up(
    blog: Blog, directory: Path
) -> None:
    """A balancer misses it too."""
    fleet = blog.fleet
    before, holder = one_release(blog), fleet.holder()
    second = next(name for name in fleet.balancers if name != holder)
    fleet.kill("fleet-app3")
    fleet.kill(second)
    blog.version("missed")
    refused = blog.deploy()
    assert refused.code != 0
    assert "fleet-app3 does not answer" in unwrapped(refused.output), refused.output[-3000:]
    assert blog.live()["fleet-app1"] == before
    fleet.good("playbooks/deploy.yml", app="blog", without="fleet-app3")
    with visitors(directory) as load:
        # By itself, as after a power failure.
        fleet.boot("fleet-app3")
        live = blog.live()
        assert live["fleet-app3"] == before != live["fleet-app1"] == live["fleet-app2"], live
        time.sleep(10)
    assert fleet.servers(holder)["blog"]["fleet-app3"].startswith("MAINT")
    stale = [one for one in load.answers if one.get("release") != live["fleet-app1"]]
    figure("fleet_stale_host_requests", f"{len(stale)}/{load.total}")
    assert not stale, stale[:5]
    assert load.total > 500
    fleet.boot(second)
    fleet.until(lambda: fleet.hosts[second].run("test -S /run/haproxy/emperor-stack.sock").rc == 0)
    # Nothing differs on the hosts that take part.
    fleet.good("playbooks/deploy.yml", app="blog", without="fleet-app3")
    fleet.until_servers({"fleet-app3": "MAINT"})
    # status.yml names it, and ends with the exit code of a failure.
    told = fleet.play("playbooks/status.yml", app="blog")
    assert told.code == 2, told.output[-3000:]
    assert re.search(r"^blog +\S+ +\S+ +2/3 ", told.output, re.MULTILINE), told.output[-3000:]
    said = unwrapped(told.output)
    assert f"fleet-app3 has {live['fleet-app3']}" in said
    assert "fleet-app3 gets no requests: fleet-lb1, fleet-lb2 hold it out" in said
    fleet.good("playbooks/deploy.yml", app="blog")
    assert one_release(blog) == live["fleet-app1"]
    fleet.until_servers(UP)
    assert fleet.play("playbooks/status.yml", app="blog").code == 0


def test_a_canary_keeps_a_bad_release_from_the_other_hosts(blog: Blog, directory: Path) -> None:
    fleet = blog.fleet
    before = one_release(blog)
    fleet.apps[0]["fleet"] = {"canary": {"hosts": 1, "seconds": 20, "requests": 100, "errors": "1%"}}
    blog.version("bad", errors=50)
    # All hosts fail with the app: the balancers come after them, and get what is theirs.
    fleet.of_host = {name: {"haproxy_connections": 15_000} for name in fleet.balancers}
    with visitors(directory) as load:
        outcome = fleet.play("site.yml")
    figure("fleet_canary_failed_share", f"{load.failed / load.total:.4f} ({load.failed}/{load.total})")
    assert outcome.code != 0
    said = unwrapped(outcome.output)
    assert re.search(r"canary fleet-app1: \d+ of \d+ requests failed; fleet.canary.errors allows 1%", said), (
        said
    )
    assert set(blog.live().values()) == {before}
    # Of three hosts one answered so, and for a while.
    assert 0 < load.failed / load.total <= 0.02, load.failures()
    assert {one.get("status") for one in load.answers if one.get("failure")} == {500}, load.failures()
    for name in fleet.balancers:
        assert "maxconn 15000" in blog.on(
            name, "cat /etc/haproxy/emperor-stack/*.cfg /etc/haproxy/haproxy.cfg"
        )
    fleet.of_host = {}
    del fleet.apps[0]["fleet"]


def test_what_runs_on_one_host_moves_and_never_runs_twice(blog: Blog, directory: Path) -> None:
    fleet = blog.fleet
    declared = fleet.apps[0]
    declared["schedule"] = {"tick": {"command": "sh -c true", "every": "1h", "run_on": "first"}}
    declared["workers"] = {"beat": {"command": "sleep 100000", "run_on": "first"}}
    # Beside that a canary that serves well: the other hosts follow.
    blog.version("good")
    declared["fleet"] = {"canary": {"hosts": 1, "seconds": 10, "requests": 50, "errors": "1%"}}
    with visitors(directory) as load:
        outcome = fleet.good("playbooks/deploy.yml", app="blog")
    del declared["fleet"]
    assert "0 failed: the other hosts follow" in unwrapped(outcome.output), outcome.output[-3000:]
    assert load.failed == 0, load.failures()
    one_release(blog)

    def active(unit: str) -> list[str]:
        command = f"systemctl list-units --plain --no-legend --state=active 'app_blog_{unit}'"
        # The host that it comes to is asked before the one that it leaves: what moves between the two is not seen twice.
        return [host for host in reversed(HOSTS) if blog.on(host, command)]

    assert (active("tick.timer"), active("beat@*")) == (["fleet-app1"], ["fleet-app1"])
    most = 1
    hosts = dict(fleet.hosts)
    fleet.hosts = {name: hosts[name] for name in ("fleet-app2", "fleet-app1", "fleet-app3", *fleet.balancers)}
    with running(blog) as process:
        while process.poll() is None:
            most = max(most, len(active("tick.timer")), len(active("beat@*")))
            time.sleep(0.1)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output[-3000:]
    figure("fleet_timers_hosts", most)
    assert most == 1
    assert (active("tick.timer"), active("beat@*")) == (["fleet-app2"], ["fleet-app2"])
