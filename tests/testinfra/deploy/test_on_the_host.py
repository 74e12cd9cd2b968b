"""The command `emperor` on the host: the same as the playbooks, without a controller."""

from __future__ import annotations

import json
import re
import statistics
import time
from typing import Any

import pytest
from deploying import Repository, Stack, figure, load
from testinfra.host import Host

SECRET = "only-for-this-test-"
KNOWN = "/var/lib/emperor-stack/apps"


@pytest.fixture(scope="module")
def started(machine: Host, stack: Stack, bare: Repository) -> Stack:
    """App bare at the inventory's v0, and further versions in its repository."""
    for name in ("h1", "h2", "h3", "h4", "h5"):
        bare.version(name)
    bare.version("broken", {"app.py": "raise RuntimeError('broken on purpose')\n"})
    bare.push()
    for app in stack.apps:
        if app["name"] == "bare":
            app["source"]["version"] = "h1"
    stack.good("site.yml")
    return stack


def history(machine: Host, app: str) -> list[dict[str, Any]]:
    return list(json.loads(machine.check_output("emperor history %s --json", app)))


def test_what_the_host_knows_is_for_root_alone(machine: Host, started: Stack) -> None:
    assert machine.file(KNOWN).mode == 0o700 and machine.file(KNOWN).user == "root"
    for app in ("notes", "bare"):
        file = machine.file(f"{KNOWN}/{app}.json")
        assert (file.mode, file.user, file.group) == (0o600, "root", "root")
    # Enough to deploy without the vault.
    assert SECRET in machine.check_output("cat %s", f"{KNOWN}/notes.json")
    for user in ("notes", "bare", "www-data"):
        for command in (f"cat {KNOWN}/notes.json", f"ls {KNOWN}", "emperor status", "emperor deploy bare h2"):
            assert machine.run(f"setpriv --reuid={user} --regid={user} --clear-groups {command}").rc != 0
    # Nor in the sandbox of a command.
    done = machine.run("emperor run bare -- cat %s", f"{KNOWN}/notes.json")
    assert done.rc == 2 and SECRET not in done.stdout + done.stderr


def test_deploys_and_rollbacks_fail_no_request(machine: Host, started: Stack) -> None:
    with load(machine, "bare.localhost", ["/healthz"], rate=100) as result:
        for version in ("h2", "h3", "h4"):
            done = machine.run("emperor deploy bare %s", version)
            assert done.rc == 0, done.stdout + done.stderr
            assert re.search(r"switched in [\d.]+ ms, after [\d.]+ s in all \(fetch ", done.stdout), (
                done.stdout
            )
            assert f"bare: {version} lasts until the next run of site.yml" in done.stdout
            assert "deploys h1 again" in done.stdout
        done = machine.run("emperor rollback bare")
        assert done.rc == 0 and "rolled back" in done.stdout, done.stdout + done.stderr
        assert started.status("bare")["live"]["version"] == "h3"
    figure("host_command_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    assert len(result.releases) == 4, result.releases


def test_a_line_of_history_is_that_of_a_playbook(machine: Host, started: Stack) -> None:
    started.good("playbooks/deploy.yml", app="bare", version="h5")
    *_, deployed, back, by_playbook = history(machine, "bare")
    assert [one["kind"] for one in (deployed, back, by_playbook)] == ["deploy", "rollback", "deploy"]
    assert deployed.keys() == by_playbook.keys()
    assert deployed["took"].keys() == by_playbook["took"].keys()
    name = machine.check_output("hostname")
    assert (deployed["who"], deployed["controller"]) == (f"root@{name}", name)
    assert by_playbook["controller"] != name


def test_the_inventory_wins_and_the_plan_says_whose_version_goes(machine: Host, started: Stack) -> None:
    machine.check_output("emperor deploy bare h4 --force")
    name = machine.check_output("hostname")
    said = started.good("site.yml", "--check").output
    assert f"root@{name} deployed it on the host; revision " in said, said[-3000:]
    assert started.status("bare")["live"]["version"] == "h4"
    said = started.good("site.yml").output
    # The plan, before it is carried out.
    assert f"root@{name} deployed it on the host" in said, said[-3000:]
    assert started.status("bare")["live"]["version"] == "h1"
    # What the host knows was right all the time: nothing differs.
    said = started.good("site.yml").output
    assert "changed=0 " in said, said[-3000:]


def test_a_version_that_the_inventory_takes_over_stays(machine: Host, started: Stack) -> None:
    machine.check_output("emperor deploy bare h5 --force")
    live = started.status("bare")["live"]["release"]
    for app in started.apps:
        if app["name"] == "bare":
            app["source"]["version"] = "h5"
    said = started.good("site.yml").output
    assert started.status("bare")["live"]["release"] == live, said
    assert '"version": "h5"' in machine.check_output("cat %s", f"{KNOWN}/bare.json")
    said = started.good("site.yml").output
    assert "changed=0 " in said, said[-3000:]


def test_a_bad_release_fails_and_the_old_one_serves(machine: Host, started: Stack) -> None:
    live = started.status("bare")["live"]["release"]
    done = machine.run("emperor deploy bare broken")
    assert done.rc == 2 and "broken on purpose" in done.stdout, done.stdout + done.stderr
    assert started.status("bare")["live"]["release"] == live
    assert not started.status("bare")["lock"]
    done = machine.run("emperor deploy bare no-such-tag")
    assert done.rc == 2 and "has no branch or tag no-such-tag" in done.stdout


def test_a_run_of_the_controller_keeps_it_out(machine: Host, started: Stack) -> None:
    for app in started.apps:
        if app["name"] == "bare":
            app["build"] = ["sleep 15"]
    try:
        process = started.start("playbooks/deploy.yml", app="bare", version="h2")
        until = time.monotonic() + 60
        while not started.status("bare")["lock"] and time.monotonic() < until:
            time.sleep(0.5)
        done = machine.run("emperor deploy bare h3")
        assert done.rc == 2, done.stdout
        assert "a deploy is under way since" in done.stdout and "--break-lock" in done.stdout
        assert process.communicate(timeout=120)[0] is not None and process.returncode == 0
    finally:
        for app in started.apps:
            app.pop("build", None) if app["name"] == "bare" else None
    assert started.status("bare")["live"]["version"] == "h2"


def test_the_other_commands(machine: Host, started: Stack) -> None:
    assert re.search(
        r"^bare +\d{8}T\S+ +@\d+ +\S+ +ok ", machine.check_output("emperor status"), re.MULTILINE
    )
    before = started.status("bare")["live"]["release"]
    activations = {one["activation"] for one in started.status("bare")["activations"]}
    with load(machine, "bare.localhost", ["/healthz"], rate=100) as result:
        machine.check_output("emperor restart bare")
    assert result.failed == 0, result.failures()
    status = started.status("bare")
    assert status["live"]["release"] == before
    assert {one["activation"] for one in status["activations"] if one["live"]}.isdisjoint(activations)
    assert machine.check_output("emperor run bare -- id -un") == "bare"
    done = machine.run("emperor run bare -- sh -c 'exit 3'")
    assert done.rc == 2 and "exit status 3" in done.stderr, done.stderr
    machine.check_output("emperor maintenance bare on")
    said = "curl -s -o /dev/null -w %%{http_code} -H 'Host: bare.localhost' -H 'X-Forwarded-For: 203.0.113.9' http://127.0.0.1/"
    assert started.status("bare")["maintenance"]
    machine.check_output("emperor maintenance bare off")
    assert machine.check_output(said) != "503"
    assert "emperor" in machine.check_output("emperor --help")
    assert machine.run("emperor logs bare -n 5").rc == 0


def test_seconds_beside_those_of_the_playbook(machine: Host, started: Stack) -> None:
    by_command, by_playbook = [], []
    for version in ("h3", "h4", "h5"):
        began = time.monotonic()
        machine.check_output("emperor deploy bare %s --force", version)
        by_command.append(time.monotonic() - began)
        done = started.good("playbooks/deploy.yml", measured=True, app="bare", version="h1", force=True)
        by_playbook.append(done.seconds)
    figure("deploy_seconds_by_command", round(statistics.median(by_command), 2))
    figure("deploy_seconds_by_playbook", round(statistics.median(by_playbook), 2))
    began = time.monotonic()
    machine.check_output("emperor history bare")
    figure("host_command_start_seconds", round(time.monotonic() - began, 2))
