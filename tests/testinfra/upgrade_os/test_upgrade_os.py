"""Debian 12 becomes Debian 13 under load: visitors notice nothing, and every app is built for the new Python.

The tests are steps of one story, in the order in which they stand here.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from databases import get, sql
from deploying import Load, Stack, figure, load
from leaving import left_behind
from testinfra.host import Host

APPS = ("notes", "links", "shop")
PAGES = (
    ("notes", "/"), ("notes", "/healthz"), ("notes", "/favicon.ico"), ("links", "/"), ("links", "/healthz"),
    ("links", "/favicon.ico"), ("shop", "/"), ("shop", "/seen/x"),
)  # fmt: skip

#: As docs/databases.md has them.
GO_BACK = (
    "systemctl stop postgresql@17-main",
    "pg_conftool 17 main set port 5433",
    "pg_conftool 15 main set port 5432",
    "sed -i s/^manual/auto/ /etc/postgresql/15/main/start.conf",
    "systemctl start postgresql@15-main",
)


def live(host: Host) -> dict[str, dict[str, Any]]:
    """The manifest of the live release of each app."""
    paths = {app: f"/srv/apps/{app}/active/release/release.json" for app in APPS}
    return {app: json.loads(host.file(path).content_string) for app, path in paths.items()}


def pythons(host: Host, app: str) -> set[str]:
    """What the processes of *app* are."""
    found = host.check_output(
        "pgrep -u %s -x 'python[0-9.]*|uwsgi|gunicorn' | xargs -I@ readlink /proc/@/exe || :", app
    )
    return set(found.splitlines())


def failing_pages(host: Host) -> list[str]:
    found = []
    for app, path in PAGES:
        command = (
            "curl -s -o /dev/null -w %{http_code} -H 'Host: " + f"{app}.localhost' http://127.0.0.1{path}"
        )
        code = host.run(command).stdout
        if code != "200":
            found.append(f"{app}{path}: {code}")
    return found


@pytest.fixture(scope="module")
def before(machine: Host, stack: Stack) -> dict[str, Any]:
    """The host before: `links` as an earlier version left it, whose venvs name no version of Python."""
    for name in machine.check_output("ls -d /srv/apps/links/releases/*").splitlines():
        machine.check_output("ln -sfn /usr/bin/python3 %s/venv/bin/python", name)
    return live(machine)


@pytest.fixture(scope="module")
def upgraded(machine: Host, stack: Stack, before: dict[str, Any]) -> dict[str, Any]:
    slow, echo = "/diagnostics/slow?seconds=3", "/diagnostics/echo"
    with (
        load(
            machine, "notes.localhost", ["/healthz", "/favicon.ico"], slow=slow, echo=echo, rate=10
        ) as notes,
        load(
            machine, "links.localhost", ["/healthz", "/favicon.ico"], slow=slow, echo=echo, rate=10
        ) as links,
        load(machine, "shop.localhost", ["/", "/seen/x"], echo="/echo", rate=10) as shop,
    ):
        run = stack.play("playbooks/upgrade_os.yml", measured=True, patience=3000, reboot="never")
    return {"run": run, "loads": [notes, links, shop]}


def test_no_request_fails(machine: Host, upgraded: dict[str, Any]) -> None:
    loads: list[Load] = upgraded["loads"]
    failed, total = sum(one.failed for one in loads), sum(one.total for one in loads)
    figure("os_upgrade_failed_requests", f"{failed}/{total}")
    figure("os_upgrade_seconds", round(upgraded["run"].seconds))
    assert upgraded["run"].code == 0, upgraded["run"].output[-8000:]
    assert failed == 0, "\n".join(one.failures() for one in loads)
    assert total >= 6000
    posts = [answer for one in loads for answer in one.answers if "echo" in answer["path"]]
    assert len(posts) > 300


def test_it_is_debian_13_and_every_app_is_built_for_its_python(
    machine: Host, stack: Stack, before: dict[str, Any], upgraded: dict[str, Any]
) -> None:
    assert machine.check_output("cat /etc/debian_version").startswith("13")
    now = live(machine)
    assert {app: one["python"] for app, one in now.items()} == dict.fromkeys(APPS, "3.13")
    assert {app: one["revision"] for app, one in now.items()} == {
        app: one["revision"] for app, one in before.items()
    }
    emperors = machine.check_output("systemctl list-units --plain --no-legend 'emperor@*' | grep -c running")
    assert emperors == "1"
    assert machine.check_output("apt-mark showmanual python3.11") == "python3.11"


def test_a_second_run_changes_nothing(stack: Stack, upgraded: dict[str, Any]) -> None:
    outcome = stack.good("site.yml")
    figure("os_upgrade_site_runs", 1 if "changed=0" in outcome.output else "more than 1")
    assert "changed=0" in outcome.output, outcome.output[-4000:]


def test_all_pages_are_there_soon_after_a_reboot(machine: Host, upgraded: dict[str, Any]) -> None:
    machine.check_output("touch /run/marker-of-this-boot")
    subprocess.run(
        ["docker", "restart", "--time", "30", machine.backend.host],
        check=True,
        capture_output=True,
        timeout=120,
    )
    began = time.monotonic()
    while (bad := failing_pages(machine)) and time.monotonic() < began + 60:
        time.sleep(0.5)
    figure("os_upgrade_pages_after_reboot_seconds", round(time.monotonic() - began, 1))
    assert not bad
    assert not machine.file("/run/marker-of-this-boot").exists


def test_a_rollback_to_a_release_of_the_old_python_works(
    machine: Host, stack: Stack, before: dict[str, Any], upgraded: dict[str, Any]
) -> None:
    """Also `links`, whose venvs named no version before."""
    began = time.monotonic()
    outcome = stack.rollback("notes,links,shop", measured=True)
    figure("os_upgrade_rollback_seconds", round(time.monotonic() - began, 1))
    assert outcome.code == 0, outcome.output[-6000:]
    now = live(machine)
    assert {app: one["release"] for app, one in now.items()} == {
        app: one["release"] for app, one in before.items()
    }
    assert not failing_pages(machine)
    # The worker as well.
    assert "/usr/bin/python3.11" in pythons(machine, "shop")
    stack.good("playbooks/deploy.yml", app="notes,links,shop", force=True)
    assert {one["python"] for one in live(machine).values()} == {"3.13"}


def test_a_rollback_that_cannot_work_is_refused_at_once(
    machine: Host, stack: Stack, before: dict[str, Any], upgraded: dict[str, Any]
) -> None:
    """To releases that do not run any more: one that is still warm needs no start."""
    said = stack.good("playbooks/upgrade_os.yml").output
    assert "Python 3.11 stays for rollbacks" in said, said[-3000:]
    machine.check_output("apt-get purge -y python3.11 python3.11-minimal libpython3.11-minimal")
    now = live(machine)
    for app in APPS:
        paths = machine.check_output(
            """grep -l '"version": "v0"' /srv/apps/%s/releases/*/release.json""", app
        )
        release = Path(paths.splitlines()[-1]).parent.name
        outcome = stack.rollback(app, measured=True, release=release)
        assert outcome.code != 0
        words = " ".join(outcome.output.split())
        assert "was built for Python 3.11, and its venv finds none on this host" in words, outcome.output[
            -3000:
        ]
        assert f"deploy.yml -e app={app} -e version=v0" in words
        figure(f"os_upgrade_refused_rollback_seconds_{app}", round(outcome.seconds, 1))
    assert live(machine) == now
    assert not failing_pages(machine)


def test_the_databases_move_to_the_postgresql_of_debian_13(
    machine: Host, stack: Stack, upgraded: dict[str, Any]
) -> None:
    """One command. A database that a restore has kept aside comes along, and stays closed."""
    for _ in range(20):
        get(machine, "ledger", "/add")
    kept = "blog_before_20261201_101500"
    sql(machine, f"create database {kept}")
    sql(machine, f"alter database {kept} with allow_connections false")
    expected = get(machine, "ledger", "/")
    del stack.variables["postgresql_version"]
    with load(machine, "ledger.localhost", ["/"], rate=5) as visitors:
        outcome = stack.good("playbooks/upgrade_postgresql.yml", measured=True, host=machine.backend.host)
    figure("postgresql_upgrade_seconds", round(outcome.seconds))
    rows = int(get(machine, "ledger", "/").split()[0])
    figure("postgresql_upgrade_rows", f"{rows}/{expected.split()[0]}")
    assert get(machine, "ledger", "/") == expected and rows >= 20
    # The page of maintenance, and no error of an app without its database.
    assert {one["failure"] for one in visitors.answers if one.get("failure")} == {"status 503"}
    assert not machine.file("/etc/emperor-stack/maintenance/ledger").exists
    assert (
        sql(machine, "show server_version_num").startswith("17")
        and sql(machine, "show data_checksums") == "on"
    )
    assert kept in sql(machine, "select datname from pg_database where not datallowconn").split()
    assert "pg_dropcluster 15 main" in outcome.output
    clusters = machine.check_output("pg_lsclusters --no-header").splitlines()
    assert [one.split()[:4] for one in clusters] == [
        ["15", "main", "5433", "down"],
        ["17", "main", "5432", "online"],
    ]
    again = stack.good("playbooks/upgrade_postgresql.yml", host=machine.backend.host)
    assert "changed=0" in again.output and "the databases are in PostgreSQL 17" in again.output


def test_the_databases_go_back_to_the_old_cluster(
    machine: Host, stack: Stack, upgraded: dict[str, Any]
) -> None:
    expected = get(machine, "ledger", "/")
    get(machine, "ledger", "/add")
    for command in GO_BACK:
        machine.check_output(command)
    stack.variables["postgresql_version"] = "15"
    stack.good("site.yml")
    assert sql(machine, "show server_version_num").startswith("15")
    assert get(machine, "ledger", "/") == expected
    del stack.variables["postgresql_version"]
    # What was written since then may be wanted yet.
    refused = stack.play("playbooks/upgrade_postgresql.yml", host=machine.backend.host)
    assert refused.code != 0 and "there are databases in PostgreSQL 17 already" in refused.output
    stack.variables["postgresql_version"] = "15"
    machine.check_output("pg_dropcluster 17 main")


def test_the_host_is_left_as_debian(machine: Host, stack: Stack, upgraded: dict[str, Any]) -> None:
    """The last test: scenario remove_app has more of it, on a host that was Debian 13 from the beginning."""
    outcome = stack.good("playbooks/uninstall.yml", host=machine.backend.host, confirm=True)
    assert all(f"{app}: removed: " in outcome.output for app in APPS), outcome.output[-4000:]
    assert left_behind(machine) == []
    kept = machine.check_output("ls /var/backups/emperor-stack")
    assert all(f"{app}-" in kept for app in APPS)
