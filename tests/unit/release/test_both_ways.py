"""A host that is alone and several hosts go through the same phases: those of the table, and each once.

The tasks, the action and the module are the real ones, of a copy of this checkout, and hosts are this machine. Only the work
of each phase is played: it writes down when it was done.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import phases_of

from tools import checkout

#: What every phase of the copy does instead of its work.
PLAYED = """
import dataclasses
import os
import time

from .state import AppState

AppState.live_release = lambda self: os.environ["LIVE"] or None

CHOICES = [
    {"release": name, "revision": name, "version": name, "earlier": True, "crosses": False} for name in ("v2", "v1")
]
FOUND = {
    "resolve": {"commit": "c" * 40},
    "choose": {"from": "v2", "choices": CHOICES},
    "plan": {"action": "deploy", "revision": "a" * 40, "why": "played"},
    "rollback": {"switch_now": os.environ["WARM"] == "yes"},
    "drain": {"release": "r", "activation": "blog@2", "seconds": 1.0},
}


def played(phase):
    def work(name, spec, options):
        began = time.time()
        time.sleep(0.1)
        with open(os.environ["DONE"], "a") as file:
            file.write(f"{os.environ['HOST']} {spec['name']} {name} {began} {time.time()}\\n")
        if os.environ["FAILS"] == f"{os.environ['HOST']} {spec['name']} {name}":
            return {"error": "played"}
        if os.environ["DIES"] == f"{os.environ['HOST']} {name}":
            os.kill(os.getpid(), 9)
        if name == "plan" and "commit" in spec:
            return {**FOUND["plan"], "changed": True, "revision": spec["commit"], "wanted_version": spec["commit"][:7]}
        if name == "call_off":
            return {"error": f"called off: {spec['called_off']}"}
        return {**FOUND.get(name, {}), "changed": True}

    return dataclasses.replace(phase, work=work)
"""
#: A phase that is added, in front of the switch.
ROW = 'Phase("added", "Do what was added", by_spec(added), part_of=(DEPLOY, ROLLBACK), leads_to_switch=True)'
CODE = """
def added(spec, options):
    raise AssertionError("its work is played")
"""


#: What module balancer of the copy does instead: it writes down what it is told, and counts a lot.
BALANCER = """
import json
import os
import time

from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({"holds": {"type": "list", "elements": "dict", "default": []}})
if os.environ["COUNTS"] == "none":
    module.fail_json(msg="played")
holds = module.params["holds"]
with open(os.environ["TOLD"], "a") as file:
    for one in holds:
        file.write(json.dumps([one["app"], one["host"], one["held"]]) + chr(10))
counts = {"status": os.environ["STATUS"], "hrsp_2xx": int(time.time() * 1000), "hrsp_5xx": 0}
if os.environ["COUNTS"] == "bad":
    counts["hrsp_5xx"] = counts["hrsp_2xx"] // 10
servers = {"blog": {"one": counts, "two": {**counts, "status": "UP"}}}
module.exit_json(changed=bool(holds), process=1, servers=servers, held=[one for one in holds if one["held"]])
"""


class Done(NamedTuple):
    host: str
    app: str
    phase: str
    began: float
    ended: float


class Controller:
    """A copy of this checkout with played phases, and its hosts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bundle = checkout.copied(
            directory / "bundle", "ansible.cfg", "collections", "playbooks", "plugins", "roles"
        )
        table = self.bundle / checkout.PHASES
        table.with_name("played.py").write_text(PLAYED)
        checkout.insert(
            table,
            "PHASES: Mapping[str, Phase] = ",
            "from .played import played\nTABLE = tuple(played(phase) for phase in TABLE)\n",
        )
        (self.bundle / "app").mkdir()
        (self.bundle / "app/wsgi.py").write_text("")

    def add(self) -> None:
        checkout.add_phase(self.bundle, ROW, "switch", CODE)

    def run(
        self,
        playbook: str,
        hosts: int,
        *words: str,
        warm: bool = False,
        apps: tuple[str, ...] = ("blog",),
        fails: str = "",
        dies: str = "",
        counts: str = "",
        canary: bool = False,
        git: str = "",
        held: bool = False,
        unreachable: bool = False,
        live: str = "",
    ) -> list[Done]:
        """What is done on so many hosts, in the order in which it ended.

        *fails* is a host, an app and the phase in which it fails, *dies* a host and the phase that it does not survive.
        *counts* is what a balancer counts (`good`, `bad`, `none` where it does not run), of a fleet that has one. The
        first host is *held* out. A second balancer may be *unreachable*. *live* is what hosts have.
        """
        written, told = self.directory / "done", self.directory / "told"
        written.write_text("")
        told.write_text("")
        result = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i"]
            + [self._inventory(hosts, apps, [bool(counts), unreachable], canary, git), playbook]
            + ["-e", '{"__front_http_port": 80}', *words],
            cwd=self.bundle,
            env={
                **{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_CONFIG": str(self.bundle / "ansible.cfg"),
                "ANSIBLE_LOCAL_TEMP": str(self.directory / "local"),
                "ANSIBLE_REMOTE_TEMP": str(self.directory / "remote"),
                "DONE": str(written),
                "WARM": "yes" if warm else "no",
                "FAILS": fails,
                "DIES": dies,
                "COUNTS": counts,
                "TOLD": str(told),
                "LIVE": live,
                "STATUS": "MAINT" if held else "UP",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        expected = bool(
            ("--limit" in words and live)
            or (fails and "resolve" not in fails)
            or dies
            or (canary and counts != "good")
        )
        assert bool(result.returncode) is expected, result.stdout + result.stderr
        self.output = result.stdout
        #: App, host, and whether it is held out.
        self.told = [tuple(json.loads(line)) for line in told.read_text().splitlines()]
        lines = [line.split() for line in written.read_text().splitlines()]
        return [Done(*words, float(began), float(ended)) for *words, began, ended in lines]

    def _inventory(
        self, hosts: int, names: tuple[str, ...], balancers: list[bool], canary: bool, git: str
    ) -> Path:
        """Hosts whose Python knows which host it is of."""
        apps: list[dict[str, Any]] = [
            {"name": name, "domains": [f"{name}.example"], "source": {"path": "app"}, "wsgi": "wsgi:app"}
            for name in names
        ]
        if git:
            apps[0]["source"] = {"git": git, "version": "main"}
        if canary:
            apps[0]["fleet"] = {"canary": {"hosts": 1, "seconds": 5}}
        common = {"ansible_connection": "local", "ansible_become": False, "python_apps": apps}
        found = {}
        for name in ("one", "two")[:hosts]:
            python = self.directory / f"python-{name}"
            python.write_text(f'#!/bin/sh\nHOST={name} exec {sys.executable} "$@"\n')
            python.chmod(0o755)
            found[name] = {
                "ansible_python_interpreter": str(python),
                "host_address": f"10.0.0.{len(found) + 1}",
            }
        groups: dict[str, Any] = {"app_hosts": {"vars": common, "hosts": found}}
        if balancers[0]:
            (self.bundle / "plugins/modules/balancer.py").write_text(BALANCER)
            balancer = {"host_address": "10.0.0.9", "ansible_python_interpreter": sys.executable}
            local = {"ansible_connection": "local", "ansible_become": False}
            groups["balancers"] = {"vars": local, "hosts": {"lb": balancer}}
            if balancers[1]:
                # Before the other one: whatever it does to the run, it does it early.
                off = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
                off |= {"host_address": "10.0.0.8", "ansible_ssh_timeout": 5, "ansible_ssh_retries": 0}
                groups["balancers"]["hosts"] = {"gone": off, "lb": balancer}
        path = self.directory / "hosts.json"
        path.write_text(json.dumps(groups))
        return path


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("kind", ["deploy", "rollback"])
def test_a_phase_in_the_table_runs_once_on_each_host(controller: Controller, kind: str, hosts: int) -> None:
    controller.add()
    done = controller.run(f"playbooks/{kind}.yml", hosts, "-e", "app=blog", warm=True)
    expected = phases_of(kind, alone=hosts == 1)
    expected.insert(expected.index("switch"), "added")
    for host in ("one", "two")[:hosts]:
        assert [each.phase for each in done if each.host == host] == expected
    assert len(done) == hosts * len(expected)
    if hosts == 2:
        in_order(done, expected, kind)


def in_order(done: list[Done], phases: list[str], kind: str) -> None:
    """Each phase ended on all hosts before the next one began. A rollback to what is warm waits from its switch on."""
    ends = {phase: max(each.ended for each in done if each.phase == phase) for phase in phases}
    begins = {phase: min(each.began for each in done if each.phase == phase) for phase in phases}
    waiting = phases if kind == "deploy" else ["switch", "confirm", "drain"]
    for before, after in itertools.pairwise(waiting):
        assert ends[before] < begins[after], (before, after)
    if kind == "deploy":
        first, second = sorted(each[3:] for each in done if each.phase == "migrate")
        assert first[1] < second[0], "two hosts migrated at once"


@pytest.mark.parametrize("words", [(), ("--check",)])
def test_the_plan_of_all_hosts_is_shown_before_it_is_carried_out(
    controller: Controller, words: tuple[str, ...]
) -> None:
    """And a phase that is left out of the table runs on none of them."""
    left_out(controller)
    done = controller.run("playbooks/deploy.yml", 2, *words)
    assert words or Counter(each.phase for each in done) == Counter(phases_of("deploy") * 2)
    plan = "1 app would get a new release:" if words else "1 app gets a new release:"
    assert controller.output.count(plan) == 1, controller.output
    before, _, after = controller.output.partition(plan)
    assert re.match(r"\n +app +live +wanted +why +hosts\n +blog +- +- +played +one, two\n", after), after
    assert "phases | " not in before


def test_without_a_name_a_host_that_is_alone_goes_through_the_same(controller: Controller) -> None:
    """It asks for the plan first, and then for all the rest."""
    controller.add()
    done = controller.run("playbooks/deploy.yml", 1)
    assert Counter(each.phase for each in done) == Counter([*phases_of("deploy", alone=True), "added"])


def left_out(controller: Controller) -> None:
    """Add a phase, and take it out of the table again."""
    controller.add()
    table = controller.bundle / checkout.PHASES
    table.write_text(table.read_text().replace(f"    {ROW},\n", ""))


def test_a_phase_that_is_left_out_of_the_table_does_not_run_on_a_host_that_is_alone(
    controller: Controller,
) -> None:
    left_out(controller)
    done = controller.run("playbooks/deploy.yml", 1, "-e", "app=blog")
    assert Counter(each.phase for each in done) == Counter(phases_of("deploy", alone=True))


@pytest.mark.parametrize("phase", ["plan", "start", "confirm"])
def test_an_app_that_fails_on_one_host_is_called_off_on_the_other_and_other_apps_go_on(
    controller: Controller, phase: str
) -> None:
    done = controller.run("playbooks/deploy.yml", 2, apps=("blog", "shop"), fails=f"two blog {phase}")
    before = phases_of("deploy")[: phases_of("deploy").index(phase) + 1]
    of_blog = [each.phase for each in done if (each.host, each.app) == ("one", "blog")]
    # Where nothing was begun, there is nothing to undo.
    assert of_blog == [*before, *(["call_off"] if phase != "plan" else [])]
    assert [each.phase for each in done if (each.host, each.app) == ("two", "blog")] == before
    for host in ("one", "two"):
        assert [each.phase for each in done if (each.host, each.app) == (host, "shop")] == phases_of("deploy")
    assert "called off" in controller.output


@pytest.mark.parametrize("phase", ["plan", "prepare"])
def test_a_host_that_vanishes_calls_off_what_it_has_on_all_hosts(controller: Controller, phase: str) -> None:
    done = controller.run("playbooks/deploy.yml", 2, dies=f"two {phase}")
    before = phases_of("deploy")[: phases_of("deploy").index(phase) + 1]
    assert [each.phase for each in done if each.host == "one"] == [
        *before,
        *(["call_off"] if phase != "plan" else []),
    ]
    assert "drain" not in {each.phase for each in done}


@pytest.mark.parametrize("phase", ["choose", "rollback"])
def test_a_rollback_that_fails_on_one_host_is_called_off_on_the_other(
    controller: Controller, phase: str
) -> None:
    done = controller.run("playbooks/rollback.yml", 2, "-e", "app=blog", fails=f"two blog {phase}")
    before = phases_of("rollback")[: phases_of("rollback").index(phase) + 1]
    assert [each.phase for each in done if each.host == "one"] == [
        *before,
        *(["call_off"] if phase != "choose" else []),
    ]


@pytest.mark.parametrize("fails", ["", "one blog resolve"])
def test_the_first_host_asks_for_the_commit_of_all(controller: Controller, fails: str) -> None:
    done = controller.run(
        "playbooks/deploy.yml", 2, apps=("blog", "shop"), git="https://git.example/blog.git", fails=fails
    )
    first = {(each.host, each.app) for each in done if each.phase == "resolve"}
    assert first == {("one", "blog")}
    assert max(each.ended for each in done if each.phase == "resolve") < min(
        each.began for each in done if each.phase == "plan"
    )
    # Where it gets no answer, each host asks for itself.
    assert bool(re.search(r"^ *blog .* ccccccc .* one, two$", controller.output, re.MULTILINE)) is not bool(
        fails
    )
    assert of(done, "two") == phases_of("deploy")


def test_a_drain_that_fails_on_one_host_calls_nothing_off(controller: Controller) -> None:
    done = controller.run("playbooks/deploy.yml", 2, fails="two blog drain")
    assert "call_off" not in {each.phase for each in done}
    assert [each.phase for each in done if each.host == "one"] == phases_of("deploy")


def test_a_host_that_is_left_out_holds_no_other(controller: Controller) -> None:
    done = controller.run("playbooks/deploy.yml", 2, "-e", "without=two")
    assert {each.host for each in done} == {"one"}
    assert [each.phase for each in done] == phases_of("deploy")


def of(done: list[Done], host: str, app: str = "blog") -> list[str]:
    return [each.phase for each in done if (each.host, each.app) == (host, app)]


STARTED = phases_of("deploy")[: phases_of("deploy").index("start") + 1]


def test_the_other_hosts_follow_a_canary_that_serves_well(controller: Controller) -> None:
    done = controller.run("playbooks/deploy.yml", 2, counts="good", canary=True, apps=("blog", "shop"))
    assert of(done, "one") == [*STARTED, "canary", "switch", "confirm", "drain"]
    assert of(done, "two") == of(done, "one", "shop") == phases_of("deploy")
    canary = next(each for each in done if each.phase == "canary")
    second = next(each for each in done if (each.host, each.phase) == ("two", "switch"))
    assert second.began - canary.ended > 5
    assert "0 failed: the other hosts follow" in controller.output


def test_a_host_that_is_held_out_does_not_go_first(controller: Controller) -> None:
    done = controller.run("playbooks/deploy.yml", 2, counts="good", canary=True, held=True)
    assert of(done, "one") == phases_of("deploy")
    assert of(done, "two") == [*STARTED, "canary", "switch", "confirm", "drain"]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ("bad", "requests failed; fleet.canary.errors allows 1%"),
        ("none", "0 requests in 5 s are too few to judge it by"),
        ("", "fleet.canary needs balancers"),
    ],
)
def test_a_canary_that_serves_badly_is_called_off_and_no_other_app(
    controller: Controller, counts: str, reason: str
) -> None:
    done = controller.run("playbooks/deploy.yml", 2, counts=counts, canary=True, apps=("blog", "shop"))
    begun = bool(counts)
    assert of(done, "one") == ([*STARTED, "canary", "call_off"] if begun else ["plan"])
    assert of(done, "two") == ([*STARTED, "call_off"] if begun else ["plan"])
    for host in ("one", "two"):
        assert of(done, host, "shop") == phases_of("deploy")
    assert reason in re.sub(r"\s+", " ", controller.output)


def test_a_host_that_vanishes_is_held_out_and_the_others_are_called_off_whatever_balancers_say(
    controller: Controller,
) -> None:
    done = controller.run("playbooks/deploy.yml", 2, dies="two start", counts="good")
    assert ("blog", "two", True) in controller.told and ("blog", "one", True) not in controller.told
    assert of(done, "one") == [*STARTED, "call_off"]
    done = controller.run("playbooks/deploy.yml", 2, dies="two start", counts="none")
    assert of(done, "one") == [*STARTED, "call_off"]
    assert "no balancer holds two out" in controller.output


def test_a_balancer_that_is_unreachable_stands_in_no_way(controller: Controller) -> None:
    done = controller.run("playbooks/deploy.yml", 2, "-e", "without=two", counts="good", unreachable=True)
    assert of(done, "one") == phases_of("deploy")
    assert ("blog", "two", True) in controller.told


@pytest.mark.parametrize("playbook", ["playbooks/deploy.yml", "playbooks/rollback.yml"])
def test_a_limit_that_would_split_an_app_is_refused(controller: Controller, playbook: str) -> None:
    done = controller.run(playbook, 2, "--limit", "one", "-e", "app=blog", live="v2")
    assert of(done, "one") == ["plan" if "deploy" in playbook else "choose"]
    said = re.sub(r"\s+", " ", controller.output)
    assert "two, which has it too, is left out by --limit, and would keep another release" in said


def test_a_new_host_gets_its_first_release_with_a_limit(controller: Controller) -> None:
    done = controller.run("playbooks/deploy.yml", 2, "--limit", "two", "-e", "app=blog")
    assert {each.host for each in done} == {"two"}
    assert of(done, "two") == phases_of("deploy")
