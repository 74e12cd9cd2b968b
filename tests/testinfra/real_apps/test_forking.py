"""An app that opens connections and starts threads while it is imported, under uWSGI and under gunicorn."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from deploying import Repository, Stack, figure, load
from testinfra.host import Host

SERVERS = ("uwsgi", "gunicorn")


def app(server: str, repository: Repository, **settings: Any) -> dict[str, Any]:
    return {
        "name": f"forking-{server}",
        "domains": [f"forking-{server}.localhost"],
        "source": {"git": repository.url, "version": "v0"},
        "wsgi": "app:application",
        "requirements": "requirements.txt",
        "server": server,
        "health": {"timeout": 30},
        **settings,
    }


@pytest.fixture(scope="module")
def refused(stack: Stack, forking: Repository, queries: None) -> str:
    """What a run says whose apps are imported once for all processes."""
    stack.apps[:] = [app(server, forking, web={"processes": 3, "threads": 2}) for server in SERVERS]
    outcome = stack.play("site.yml")
    assert outcome.code == 2, outcome.output[-3000:]
    return outcome.output


def test_a_release_of_it_is_refused_with_the_reason_and_the_fix(
    machine: Host, stack: Stack, refused: str
) -> None:
    for one in stack.apps:
        assert not machine.file(f"/srv/apps/{one['name']}/active").exists
    found = "an open connection: 127.0.0.1:7777; a running thread: beat"
    assert refused.count(found) == 2, refused[-4000:]
    assert refused.count("web: {preload: false}") == 2, refused[-4000:]


def failures(machine: Host, server: str, seconds: float) -> tuple[int, int]:
    with load(machine, f"forking-{server}.localhost", ["/query", "/beat"], rate=120) as result:
        time.sleep(seconds)
    return result.failed, result.total


def test_where_each_process_imports_it_no_request_gets_another_s_answer(
    stack: Stack, machine: Host, refused: str
) -> None:
    for one in stack.apps:
        one["web"]["preload"] = False
    stack.good("playbooks/deploy.yml")
    counted = [failures(machine, server, 8) for server in SERVERS]
    failed, total = (sum(column) for column in zip(*counted, strict=True))
    figure("forked_connection_failures", f"{failed}/{total}")
    assert failed == 0 and total > 500
    for server in SERVERS:
        asked = {stack.ask(f"forking-{server}.localhost", "/") for _ in range(60)}
        assert len(asked) > 1, "only one process has answered"


def test_an_import_that_fails_is_found_before_its_release_goes_live(
    stack: Stack, machine: Host, refused: str
) -> None:
    """Although the server itself would import it in each process only."""
    for server in SERVERS:
        before = machine.check_output("readlink /srv/apps/forking-%s/active", server)
        outcome = stack.deploy(f"forking-{server}", "broken")
        assert outcome.code == 2 and "LookupError: raised by the import" in outcome.output
        assert "failed: prepare" in outcome.output
        assert machine.check_output("readlink /srv/apps/forking-%s/active", server) == before
    # A release that failed leaves nothing to the next run.
    again = stack.good("site.yml")
    assert re.findall(r"changed=(\d+)", again.output) == ["0"], again.output[-3000:]
    for server in SERVERS:
        assert f"is live at http://forking-{server}.localhost/, as before" in again.output


def test_an_app_that_begins_again_in_each_process_needs_no_key(
    stack: Stack, machine: Host, refused: str
) -> None:
    for one in stack.apps:
        one["web"]["preload"] = True
        one["env"] = {"AGAIN": "1"}
    stack.good("playbooks/deploy.yml")
    for server in SERVERS:
        failed, total = failures(machine, server, 4)
        assert failed == 0 and total > 100, server


def test_the_instrument_shows_what_it_would_show(stack: Stack, machine: Host, refused: str) -> None:
    """Where the app gets past the check, its processes share one connection and have no thread."""
    for one in stack.apps:
        one["web"]["preload"] = True
        one["env"] = {"HIDES": "1"}
    stack.good("playbooks/deploy.yml")
    for server in SERVERS:
        failed, _ = failures(machine, server, 4)
        assert failed > 0, server
        outcome = stack.play(
            "playbooks/run.yml", app=f"forking-{server}", command="python ../entry.py --check"
        )
        assert outcome.code == 2 and "an open connection: 127.0.0.1:7777" in outcome.output, outcome.output
