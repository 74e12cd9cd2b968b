"""ASGI apps as visitors meet them: WebSockets and streams over deploys, time limits, and what an app is told."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgi.conftest import HOSTS, PLAIN, TURN, Place, chat
from deploying import HERE, Load, figure, load
from testinfra.host import Host


def curl(host: Host, path: str, *words: str) -> str:
    host_header = () if any(word.startswith("Host: ") for word in words) else ("-H", "Host: chat.localhost")
    quoted = " ".join(f"'{word}'" for word in (*host_header, *words))
    return host.check_output(f"curl -sS -m 60 {quoted} 'http://127.0.0.1{path}'")


@contextlib.contextmanager
def visitors(host: Host) -> Iterator[dict[str, Any]]:
    """Visitors of the chat during the block; what became of them is there after it."""
    result: dict[str, Any] = {}
    container = host.backend.host
    place = f"/root/visitors-{time.monotonic_ns()}"
    host.check_output("mkdir %s", place)
    file = HERE / "asgi" / "visitors.py"
    subprocess.run(["docker", "cp", "--quiet", str(file), f"{container}:{place}/visitors.py"], check=True)
    command = ["docker", "exec", container, "python3", f"{place}/visitors.py", "--host", "chat.localhost"]
    command += ["--seconds", "400", "--stop", f"{place}/stop"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(2)
        yield result
        time.sleep(2)
    finally:
        host.run("touch %s/stop", place)
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result.update(json.loads(said))


def over_deploys(place: Place) -> tuple[dict[str, Any], Load]:
    """Two deploys, a rollback and a restart; the second deploy keeps nothing warm, so that its server is stopped at once."""
    stack = place.stack
    asked = load(place.host, "chat.localhost", ["/healthz", "/"], echo="/diagnostics/echo", rate=30)
    with asked as requests, visitors(place.host) as seen:
        stack.good("playbooks/deploy.yml", app="chat", version="v1")
        time.sleep(5)
        stack.good("playbooks/deploy.yml", app="chat", version="v2", python_apps_keep_warm=0)
        stack.good("playbooks/deploy.yml", app="chat", version="v3")
        # Else the connections of the release before are still open, and stay so when that is live again.
        time.sleep(5)
        stack.good("playbooks/rollback.yml", app="chat")
        time.sleep(5)
        stack.good("playbooks/restart.yml", app="chat")
        time.sleep(5)
    return seen, requests


def test_no_message_is_lost_over_deploys_and_a_rollback(places: dict[str, Place]) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(over_deploys, [places[name] for name in HOSTS]))
    sent = sum(seen["sent"] for seen, _ in results)
    lost = sum(len(seen["failures"]) + len(seen["untold"]) for seen, _ in results)
    streams = sum(seen["ended_streams"] for seen, _ in results)
    figure("websocket_messages_lost", f"{lost}/{sent}")
    figure("asgi_requests_failed", f"{sum(r.failed for _, r in results)}/{sum(r.total for _, r in results)}")
    figure("websockets_closed_by_code", json.dumps([seen["codes"] for seen, _ in results]))
    figure("streams_ended_whole", streams)
    assert lost == 0, [(seen["failures"], seen["untold"]) for seen, _ in results]
    for seen, requests in results:
        assert requests.failed == 0, requests.failures()
        # Each of the releases and the restart has sent its visitors on, always with this code.
        assert set(seen["codes"]) == {"1012"}, seen["codes"]
        assert seen["codes"]["1012"] >= 5 * 6 - 6
        assert seen["ended_streams"] >= 3 * 3
        assert len(seen["releases"]) == 4
        assert sent > 200


def turned(place: Place) -> Load:
    """A WSGI app becomes an ASGI app, and a WSGI app again, each by its entry; then it goes back to the ASGI release."""
    stack, before = place.stack, place.stack.apps
    asgi = [*before[:2], {**TURN, "wsgi": None, "asgi": "app:application"}]
    with load(place.host, "turn.localhost", ["/"], rate=20) as requests:
        stack.apps = asgi
        stack.good("site.yml")
        assert "gunicorn" in curl(place.host, "/", "-H", "Host: turn.localhost")
        stack.apps = before
        stack.good("site.yml")
        assert curl(place.host, "/", "-H", "Host: turn.localhost") == "ok"
        stack.good("playbooks/rollback.yml", app="turn")
        assert "gunicorn" in curl(place.host, "/", "-H", "Host: turn.localhost")
    return requests


def test_a_wsgi_app_becomes_an_asgi_app_and_goes_back_without_a_failed_request(
    places: dict[str, Place],
) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(turned, [places[name] for name in HOSTS]))
    for requests in results:
        assert requests.failed == 0, requests.failures()
        assert len(requests.releases) == 3


def test_the_queue_is_as_long_as_that_of_other_apps(place: Place) -> None:
    """asyncio would make it 100."""
    path = place.host.check_output("readlink /srv/apps/chat/active/app.sock")
    assert place.host.check_output("ss -xlnH src %s", path).split()[3] == "4096"


def test_private_files_are_sent_for_the_app(place: Place) -> None:
    assert curl(place.host, "/plain/own") == "for those whom the app lets"
    assert "404" in curl(place.host, "/plain/protected/own.txt", "-w", " %{http_code}", "-o", "/dev/null")


def test_the_app_is_told_whose_request_it_is(place: Place) -> None:
    forged = ("-H", "X-Forwarded-Prefix: /evil", "-H", "X-Remote-User: root", "-H", "Forwarded: for=1.2.3.4")
    forged += ("-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Real-IP: 1.2.3.4", "-H", "X-Forwarded-Proto: https")
    told = json.loads(curl(place.host, "/diagnostics/scope?a=%2F", *forged))
    assert (told["scheme"], told["client"], told["root_path"]) == ("http", ["127.0.0.1", 0], "")
    assert told["server"] == ["chat.localhost", 80]
    headers = json.loads(curl(place.host, "/diagnostics/headers", *forged))
    assert not {"x-remote-user", "forwarded", "x-forwarded-prefix"} & set(headers)
    assert headers["connection"] == "close"
    below = json.loads(curl(place.host, "/plain/a", *forged))
    assert (below["root_path"], below["path"]) == ("/plain", "/plain/a")
    # Its requirements bring no server.
    assert below["gunicorn"].startswith("27.")


def test_the_path_is_what_nginx_has_judged(place: Place) -> None:
    """With every slash that was sent, and without a way past a rule of nginx."""
    for sent, path in (
        ("/plain/a//b", "/plain/a//b"),
        ("/plain/a%2Fb", "/plain/a/b"),
        ("/plain/closed/../a", "/plain/a"),
        ("/plain/a/..%2fb", "/plain/b"),
    ):
        told = json.loads(curl(place.host, sent, "--path-as-is"))
        assert told["path"] == path, sent
        assert "x-emperor-stack-uri" not in told["headers"]
    # No route of the app is written so.
    assert "404" in curl(place.host, "/diagnostics//scope", "--path-as-is", "-w", " %{http_code}")


def test_an_upload_arrives_whole(place: Place) -> None:
    place.host.check_output("head -c 9000000 /dev/urandom >/root/upload")
    told = json.loads(curl(place.host, "/diagnostics/echo", "--data-binary", "@/root/upload"))
    assert told["length"] == 9_000_000
    assert told["sha256"] == place.host.check_output("sha256sum /root/upload").split()[0]


def test_a_request_has_a_limit_and_holds_up_nobody(place: Place) -> None:
    began = time.monotonic()
    assert "504" in curl(place.host, "/diagnostics/slow?seconds=60", "-w", " %{http_code}")
    assert 3.5 < time.monotonic() - began < 15


def test_the_first_event_comes_at_once(place: Place) -> None:
    said = place.host.run("curl -sN -m 2 -i -H 'Host: chat.localhost' http://127.0.0.1/events").stdout
    assert ": welcome" in said
    assert "x-accel-buffering" not in said.lower() and "server: gunicorn" not in said.lower()


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("wsgi", "app:application", "write `asgi: app:application` in place of `wsgi: app:application`"),
        ("asgi", "app:synchronous", "write `wsgi: app:synchronous` in place of `asgi: app:synchronous`"),
    ],
)
def test_an_app_of_the_other_kind_is_told_so(
    places: dict[str, Place], key: str, value: str, fix: str
) -> None:
    place = places[HOSTS[1]]
    before, stack = place.host.check_output("readlink /srv/apps/plain/active"), place.stack
    apps = stack.apps
    stack.apps = [chat(place.code), {**PLAIN, "asgi": None, key: value}, TURN]
    try:
        outcome = stack.play("playbooks/deploy.yml", app="plain")
    finally:
        stack.apps = apps
    assert outcome.code != 0
    assert fix in " ".join(outcome.output.split()), outcome.output[-3000:]
    assert place.host.check_output("readlink /srv/apps/plain/active") == before
    assert json.loads(curl(place.host, "/plain/"))["path"] == "/plain/"


def test_the_status_counts_its_workers(place: Place) -> None:
    (live,) = [one for one in place.stack.status("chat")["activations"] if one["running"]][-1:]
    assert live["workers"] == 2
