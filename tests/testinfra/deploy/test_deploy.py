"""What users of an app notice of deploys, rollbacks and platform changes: nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from deploying import Load, Outcome, Repository, Stack, ending, figure, load, milliseconds_of_switch
from testinfra.host import Host

DOMAIN = "notes.localhost"
PATHS = ["/healthz", "/favicon.ico", "/healthz", "/favicon.ico", "/", "/favicon.ico"]
SLOW = "/diagnostics/slow?seconds=3"
ECHO = "/diagnostics/echo"


def under_load(host: Host) -> object:
    return load(host, DOMAIN, PATHS, slow=SLOW, echo=ECHO)


def shown(name: str, result: Load) -> None:
    figure(name, f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    assert result.summary["truncated"] == 0
    assert {"new", "kept", "slow"} <= {answer["kind"] for answer in result.answers}


def test_twenty_deploys_and_rollbacks_fail_no_request(machine: Host, stack: Stack) -> None:
    outcomes: list[Outcome] = []
    with under_load(machine) as result:
        for number in range(1, 11):
            outcomes.append(stack.deploy("notes", f"v{number}"))
            if number % 2:
                continue
            outcomes.append(stack.rollback("notes"))
        # As many rollbacks as deploys: from one good release to the one before and, named, forward again.
        while len(outcomes) < 20:
            good = [
                r["release"]
                for r in stack.status("notes")["releases"]
                if r["status"] in ("good", "rolled_back")
            ]
            live = stack.status("notes")["live"]["release"]
            target = next(release for release in reversed(good) if release != live)
            outcomes.append(stack.rollback("notes", release=target))
    failed = [outcome.output[-3000:] for outcome in outcomes if outcome.code]
    assert not failed, failed[0]
    figure("deploys_and_rollbacks_under_load", len(outcomes))
    figure("load_requests_per_second", round(result.per_second))
    shown("deploy_failed_requests", result)
    # Each deploy was really seen by clients: the first release and ten new ones answered.
    assert len(result.releases) == 11, result.releases
    figure(
        "switch_milliseconds",
        max(ms for outcome in outcomes for ms in milliseconds_of_switch(outcome.output)),
    )


def test_no_static_file_of_the_release_before_is_served(machine: Host, stack: Stack) -> None:
    """nginx keeps files open. By a deploy's own rename, fifty times, and each file is asked for before and after it."""
    outcome = stack.deploy("notes", "v13")
    assert outcome.code == 0, outcome.output[-3000:]
    script = Path(__file__).with_name("switching.py").read_text()
    words = f"notes {DOMAIN} 80 /static/admin/css/base.css 50"
    stale, asked = machine.check_output(f"python3 -c %s {words}", script).split()
    figure("stale_static_served", f"{stale}/{asked}")
    assert (int(stale), int(asked)) == (0, 3200)


def test_a_warm_rollback_is_over_in_a_moment(machine: Host, stack: Stack, bare: Repository) -> None:
    """From the command to the last answer of the release that is left; and it runs the older dependency."""
    bare.version("six-1.16", {"requirements.txt": "six==1.16.0\n"})
    bare.version("six-1.17", {"requirements.txt": "six==1.17.0\n"})
    bare.push()
    outcome = stack.good("playbooks/deploy.yml", app="bare", version="six-1.16")
    assert "-e version=six-1.16 lasts until the next run" in outcome.output
    stack.good("playbooks/deploy.yml", app="bare", version="six-1.17")
    assert '"six": "1.17.0"' in stack.ask("bare.localhost", "/identity")
    left = stack.status("bare")["live"]["release"]
    with load(machine, "bare.localhost", ["/healthz"], rate=100) as result:
        outcome = stack.rollback("bare", measured=True)
    assert outcome.code == 0, outcome.output[-3000:]
    last = max(answer["ended"] for answer in result.answers if answer.get("release") == left)
    first = min(answer["ended"] for answer in result.answers if answer.get("release") not in (None, left))
    figure("rollback_seconds", round(last - outcome.began, 2))
    figure("rollback_switch_seconds", round(max(last - first, 0.0), 3))
    assert result.failed == 0, result.failures()
    assert max(answer["ended"] for answer in result.answers) > last, "the load ended before the switch"
    assert '"six": "1.16.0"' in stack.ask("bare.localhost", "/identity")


def test_a_rolled_back_release_stays_away_until_it_is_asked_for(stack: Stack) -> None:
    """A colleague's site.yml must not bring the bad release back."""
    live = stack.status("bare")["live"]
    for app in stack.apps:
        if app["name"] == "bare":
            app["source"]["version"] = "six-1.17"
    outcome = stack.good("site.yml")
    assert "was rolled back" in outcome.output
    assert stack.status("bare")["live"]["release"] == live["release"]
    stack.good("playbooks/deploy.yml", app="bare", force=True)
    assert stack.status("bare")["live"]["version"] == "six-1.17"


def test_a_cold_rollback_boots_and_probes_the_older_release(machine: Host, stack: Stack) -> None:
    warm = [a["activation"] for a in stack.status("bare")["activations"] if not a["live"]]
    assert warm, "the release before is kept warm"
    for activation in warm:
        machine.check_output(f"rm -f /etc/emperor-stack/vassals/?/{activation}.ini")
    time.sleep(3)
    with load(machine, "bare.localhost", ["/healthz"], rate=100) as result:
        outcome = stack.rollback("bare")
    assert outcome.code == 0, outcome.output[-3000:]
    assert result.failed == 0, result.failures()
    assert '"six": "1.16.0"' in stack.ask("bare.localhost", "/identity")


def test_a_domain_that_needs_the_site_playbook_is_said_before_the_migration(
    machine: Host, stack: Stack
) -> None:
    """It used to migrate, and then to fail with `Remote end closed connection`."""
    apps = [{**app, "domains": ["other.localhost"]} if app["name"] == "notes" else app for app in stack.apps]
    before = stack.status("notes")
    done = stack.play("playbooks/deploy.yml", app="notes", version="v11", python_apps=apps)
    assert done.code != 0, done.output
    assert "No site of this host's web server has other.localhost as its first domain." in done.output
    after = stack.status("notes")
    assert after["live"] == before["live"] and after["releases"] == before["releases"] and not after["lock"]


def test_a_rollback_across_a_migration_asks_first(stack: Stack, bare: Repository) -> None:
    bare.version("migrates", {"migrations/0002_more.py": "# a migration\n"})
    bare.push()
    stack.good("playbooks/deploy.yml", app="bare", version="migrates")
    refused = stack.rollback("bare")
    assert refused.code != 0
    assert "across_migration=true" in refused.output
    assert stack.ask("bare.localhost", "/version") == "migrates"
    stack.good("playbooks/rollback.yml", app="bare", across_migration=True)
    assert stack.ask("bare.localhost", "/version") != "migrates"


@pytest.mark.parametrize("phase", ["after_switch"])
def test_a_failing_hook_after_the_switch_switches_back(
    machine: Host, stack: Stack, bare: Repository, phase: str
) -> None:
    bare.version("hooked")
    bare.push()
    before = stack.status("bare")["live"]["release"]
    app = next(app for app in stack.apps if app["name"] == "bare")
    app["hooks"] = {phase: ["echo the smoke test says no; exit 3"]}
    with load(machine, "bare.localhost", ["/healthz"], rate=100) as result:
        outcome = stack.deploy("bare", "hooked")
    del app["hooks"]
    assert outcome.code != 0
    # Told once, at the end, below a row of the table; and no task shows a failure that the run goes on after.
    end = ending(outcome.output)
    assert re.search(
        rf"^bare +{before} +\S+ +failed: switch +[\d.]+ +fix, run again \[1\]$", end, re.MULTILINE
    ), end
    assert re.search(r"^\[1\] bare: switch: .*after_switch", end, re.MULTILINE), end
    for text in ("[1] bare: ", "\n    the smoke test says no\n", "Switched back", f"{before} keeps serving"):
        assert outcome.output.count(text) == end.count(text) == 1, outcome.output[-6000:]
    assert "fatal:" not in outcome.output and "...ignoring" not in outcome.output
    assert max(map(len, end[end.index("\napp ") :].partition("\n\n")[0].splitlines())) <= 100
    assert stack.status("bare")["live"]["release"] == before
    assert result.failed == 0, result.failures()


def test_the_second_of_two_deploys_is_told_who_holds_the_lock(stack: Stack, bare: Repository) -> None:
    bare.version("patient", {"slow.py": "# makes the build of this version slow\n"})
    bare.push()
    app = next(app for app in stack.apps if app["name"] == "bare")
    app["build"] = ["sleep 25"]
    first = stack.start("playbooks/deploy.yml", app="bare", version="patient")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and stack.host.run("test -e /srv/apps/bare/state/lock.json").rc:
        time.sleep(0.3)
    second = stack.deploy("bare", "patient")
    said, _ = first.communicate(timeout=300)
    del app["build"]
    assert second.code != 0
    assert re.search(r"a deploy is under way since \d{4}-\d\d-\d\dT\S+, held by \S+@\S+", second.output), (
        second.output
    )
    assert second.output.count("break_lock=true") == 1
    assert re.search(r"^bare .* locked +wait, run again \[1\]$", ending(second.output), re.MULTILINE)
    assert first.returncode == 0, said[-3000:]
    # Whoever looked at it saw meanwhile what took long, here through a pipe.
    assert len(re.findall(r"^\.\.\. \d+ s: build of bare \(\S+\)$", said, re.MULTILINE)) in (2, 3), said
    assert re.search(r"^bare +\d{8}T\S+ +patient +deployed +[\d.]+$", ending(said), re.MULTILINE), said
    assert stack.ask("bare.localhost", "/version") == "patient"
    assert stack.status("bare")["lock"] is None


def test_reloads_of_nginx_fail_no_request(machine: Host, stack: Stack) -> None:
    with under_load(machine) as result:
        for _ in range(5):
            machine.check_output("systemctl reload nginx")
            time.sleep(1)
    shown("nginx_reload_failed_requests", result)


def test_a_reinstall_of_nginx_fails_no_request(machine: Host, stack: Stack) -> None:
    before = machine.check_output("systemctl show --property=MainPID --value nginx")
    with under_load(machine) as result:
        machine.check_output(
            "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --reinstall "
            "$(dpkg-query -W -f='${binary:Package} ' 'nginx*' | tr ' ' '\\n' | grep -v libnginx | xargs)"
        )
        stack.good("site.yml")
    assert machine.check_output("systemctl is-active nginx") == "active"
    figure(
        "nginx_was_replaced",
        before != machine.check_output("systemctl show --property=MainPID --value nginx"),
    )
    shown("nginx_upgrade_failed_requests", result)


def test_a_reinstall_of_uwsgi_fails_no_request(machine: Host, stack: Stack) -> None:
    before = stack.status("notes")["activations"]
    with under_load(machine) as result:
        machine.check_output(
            "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --reinstall uwsgi-core uwsgi-plugin-python3"
        )
        stack.good("site.yml")
    after = stack.status("notes")["activations"]
    live = [next(a for a in activations if a["live"]) for activations in (before, after)]
    assert live[0]["emperor"] != live[1]["emperor"], "the run did not move the app to a fresh emperor"
    assert not machine.run(
        "grep -l '/usr/.*(deleted)' /proc/[0-9]*/maps 2>/dev/null | xargs -r -n1 dirname"
    ).stdout.strip()
    shown("uwsgi_upgrade_failed_requests", result)


def test_a_restart_of_the_emperor_fails_no_request(machine: Host, stack: Stack) -> None:
    with under_load(machine) as result:
        # What a deploy keeps warm may have requests yet when its emperor goes.
        stack.good("playbooks/deploy.yml", app="notes", version="v12")
        stack.good("playbooks/restart.yml")
    shown("emperor_restart_failed_requests", result)
    running = machine.check_output(
        "systemctl list-units --plain --no-legend --state=active 'emperor@*'"
    ).splitlines()
    assert len(running) == 1, running


def test_a_restart_of_one_app_fails_no_request_and_leaves_the_others(machine: Host, stack: Stack) -> None:
    def running(app: str) -> tuple[str, str]:
        (one,) = [each for each in stack.status(app)["activations"] if each["live"]]
        return one["activation"], one["release"]

    emperor = "systemctl show --property=MainPID --value 'emperor@*' nginx"
    before, processes = {app: running(app) for app in ("bare", "notes")}, machine.check_output(emperor)
    with under_load(machine) as result:
        stack.good("playbooks/restart.yml", app="bare")
    shown("app_restart_failed_requests", result)
    assert running("bare")[0] != before["bare"][0] and running("bare")[1] == before["bare"][1]
    assert running("notes") == before["notes"] and machine.check_output(emperor) == processes
    refused = stack.play("playbooks/restart.yml", app="baer")
    assert "Did you mean bare?" in refused.output and refused.code != 0


def test_a_changed_kernel_parameter_fails_no_request(machine: Host, stack: Stack) -> None:
    before = int(machine.check_output("sysctl -n net.core.somaxconn"))
    with under_load(machine) as result:
        stack.good("site.yml", base_sysctl_minimum={"net.core.somaxconn": before + 1000})
    assert int(machine.check_output("sysctl -n net.core.somaxconn")) == before + 1000
    shown("kernel_parameter_failed_requests", result)


def test_the_host_is_as_tidy_as_before(machine: Host, stack: Stack) -> None:
    """After all that: no lock, no part of a release, as many releases as are kept, one live activation and a warm one."""
    for app in ("notes", "bare"):
        status = stack.status(app)
        assert status["lock"] is None
        assert len([a for a in status["activations"] if a["live"]]) == 1
        assert len(status["activations"]) <= 2
        names = machine.check_output(f"ls /srv/apps/{app}/releases").split()
        assert sorted(names) == sorted(r["release"] for r in status["releases"])
        assert len([r for r in status["releases"] if r["status"] in ("good", "rolled_back")]) <= 5
