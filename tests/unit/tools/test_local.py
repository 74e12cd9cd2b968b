from __future__ import annotations

import http.server
import socket
import subprocess
import threading

import pytest

from tools import local
from tools.console import Stop
from tools.project import ROOT

SS = 'LISTEN 0 511 127.0.0.1:8080 0.0.0.0:* users:(("nginx",pid=77,fd=6))\nLISTEN 0 9 0.0.0.0:18080 0.0.0.0:*\n'


@pytest.mark.parametrize(("port", "expected"), [(8080, "nginx (process 77)"), (80, ""), (18080, "")])
def test_the_listener_of_a_port_is_named(port, expected):
    assert local.listener(SS, port) == expected


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_stops_make_up_before_anything_is_made(fake, calls, taken, monkeypatch):
    fake("docker", "exit 1")
    monkeypatch.setattr(local.engine, "ensure", lambda: pytest.fail("something was made"))
    with pytest.raises(
        Stop, match=rf"port {taken} of 127\.0\.0\.1 is taken by .*make up HTTP_PORT={taken + 1000}"
    ):
        local.ensure_host({80: taken, 443: 1}, None)
    assert not [call for call in calls() if call.startswith("docker run")]


def test_a_container_that_publishes_the_port_is_named(fake, taken):
    fake("docker", "echo other-app")
    with pytest.raises(Stop, match="is taken by container other-app"):
        local.require_port(taken, "HTTP_PORT")


def container(http: str = "8080") -> dict:
    return {
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": http}], "443/tcp": [{"HostPort": "8443"}]}},
        "Config": {"Image": "emperor-stack-host:debian13"},
    }


@pytest.mark.parametrize(
    ("ports", "debian", "expected"),
    [
        ({80: 8080, 443: 8443}, None, ""),
        ({80: 8080, 443: 8443}, 13, ""),
        ({80: 9090, 443: 8443}, None, "publishes port 80 as 8080, not 9090"),
        ({80: 8080, 443: 8443}, 12, "runs emperor-stack-host:debian13, not emperor-stack-host:debian12"),
    ],
)
def test_settings_that_the_running_host_does_not_have_are_noticed(ports, debian, expected):
    assert local.mismatch(container(), ports, debian) == expected


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204 if self.headers["Host"].startswith("good.localhost:") else 502)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site():
    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.mark.parametrize(
    ("domains", "good"),
    [(["good.localhost"], True), (["good.localhost", "bad.localhost"], False), ([], True)],
)
def test_urls_are_printed_with_the_status_that_they_answered(site, monkeypatch, capsys, domains, good):
    apps = [{"name": "x", "domains": [domain, "other"]} for domain in domains]
    monkeypatch.setattr(local, "inventory", lambda: {"python_apps": apps})
    assert local.show(site) is good
    shown = capsys.readouterr().out
    for domain in domains:
        status = "204 No Content" if domain.startswith("good") else "502 Bad Gateway"
        assert f"http://{domain}:{site}/" in shown
        assert status in shown


def test_a_site_that_does_not_answer_is_no_good(taken, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert local.fetch("x.localhost", unused.getsockname()[1]).startswith("no answer (")


def test_down_leaves_an_engine_that_others_use(fake, monkeypatch, capsys, state):
    fake("docker", 'case "$1" in ps) echo theirs;; info) echo 28;; esac')
    monkeypatch.setattr(local.engine, "stop", lambda: pytest.fail("the engine was stopped"))
    local.down()
    assert "theirs still runs there" in capsys.readouterr().out


def test_a_host_without_a_way_to_the_archive_is_one_line(fake):
    fake("docker", "echo 'E: Could not resolve mirror.example' >&2; exit 100")
    with pytest.raises(
        Stop, match=r"does not reach its package archive: E: Could not resolve mirror\.example"
    ) as stop:
        local.require_network()
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize("name", ["local", "staging", "production"])
def test_every_inventory_lists_without_a_warning(name):
    done = subprocess.run(
        ["ansible-inventory", "-i", f"inventories/{name}", "--list"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    assert '"app_hosts"' in done.stdout
