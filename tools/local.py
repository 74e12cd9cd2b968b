"""The local host: one container that `make up` makes, converges and shows, and `make down` removes."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from . import container, engine, image
from .console import Stop, command, note, run, step
from .project import ROOT, VENV

NAME = "emperor-stack-local"
DEFAULT_DEBIAN = 13
INVENTORY = "inventories/local"


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listener(ss_output: str, port: int) -> str:
    """Who listens on *port*, out of `ss -Hltnp`; empty when it does not say (another user's process)."""
    for line in ss_output.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3].endswith(f":{port}"):
            details = re.search(r'\(\("([^"]+)",pid=(\d+)', line)
            if details:
                return f"{details.group(1)} (process {details.group(2)})"
    return ""


def who_has(port: int) -> str:
    publishing = run(
        ["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"], check=False, timeout=20
    ).stdout.split()
    if publishing:
        return f"container {publishing[0]}"
    return listener(run(["ss", "-Hltnp"], check=False, timeout=20).stdout, port) or "another process"


def require_port(port: int, variable: str) -> None:
    if not port_is_free(port):
        raise Stop(
            f"port {port} of 127.0.0.1 is taken by {who_has(port)}",
            f"Stop that, or choose another port: make up {variable}={port + 1000}",
        )


def published(details: dict[str, Any]) -> dict[int, int]:
    """Port of the container → port of this machine."""
    bindings = details["HostConfig"]["PortBindings"] or {}
    return {int(inner.split("/")[0]): int(outer[0]["HostPort"]) for inner, outer in bindings.items()}


def mismatch(details: dict[str, Any], wanted: dict[int, int], debian: int | None) -> str:
    """How the container that is there differs from the one asked for; empty when it does not."""
    for inner, outer in wanted.items():
        if published(details).get(inner) != outer:
            return f"publishes port {inner} as {published(details).get(inner)}, not {outer}"
    if debian and details["Config"]["Image"] != image.name(debian):
        return f"runs {details['Config']['Image']}, not {image.name(debian)}"
    return ""


def ensure_host(ports: dict[int, int], debian: int | None) -> bool:
    """Make sure that the container is there and runs. True when something had to be done."""
    details = container.inspect(NAME) if engine.answers() else None
    if details:
        difference = mismatch(details, ports, debian)
        if difference:
            raise Stop(
                f"{NAME} is there and {difference}",
                "Run `make down` first, or `make up` without the setting.",
            )
    else:
        for (_, outer), variable in zip(ports.items(), ("HTTP_PORT", "HTTPS_PORT"), strict=True):
            require_port(outer, variable)
    engine.ensure()
    release = debian or DEFAULT_DEBIAN
    if not details:
        details = container.inspect(NAME)
    if not details:
        image.ensure(release)
        step(f"Starting the test host {NAME} (Debian {release})")
    host = container.Host(
        NAME,
        details["Config"]["Image"] if details else image.name(release),
        tuple(f"127.0.0.1:{outer}:{inner}" for inner, outer in ports.items()),
    )
    changed = container.start(host)
    if not details:
        require_network()
    return changed


def require_network() -> None:
    """A host that reaches no archive fails somewhere deep in a role. Find out now, and say it in one line."""
    done = run(
        ["docker", "exec", NAME, "apt-get", "update", "-qq", "--error-on=any"], check=False, timeout=120
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no answer in 120 s"]
        raise Stop(
            f"the test host does not reach its package archive: {lines[0]}",
            "Check this machine's network and the engine's DNS (`docker info`, /etc/docker/daemon.json).",
        )


def converge(extra: Sequence[str] = ()) -> int:
    step(f"Running ansible-playbook -i {INVENTORY} site.yml {' '.join(extra)}".rstrip())
    env = {**os.environ, "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    playbook = [str(VENV / "bin" / "ansible-playbook"), "-i", INVENTORY, "site.yml", *extra]
    return subprocess.run(playbook, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=False).returncode


def domains(variables: dict[str, Any]) -> list[str]:
    """The canonical domain of every app."""
    return [app["domains"][0] for app in variables.get("python_apps", []) if app.get("domains")]


def inventory() -> dict[str, Any]:
    done = run([str(VENV / "bin" / "ansible-inventory"), "-i", INVENTORY, "--host", "local"], cwd=str(ROOT))
    details: dict[str, Any] = json.loads(done.stdout)
    return details


def fetch(domain: str, port: int) -> str:
    """The status that the page of *domain* answers with. By address: not every resolver knows .localhost."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": f"{domain}:{port}"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error or type(error).__name__})"
    finally:
        connection.close()
    return f"{answer.status} {answer.reason}".strip()


def show(port: int) -> bool:
    """Fetch every app's page and print its URL with the answer. True when all are good."""
    answers = {domain: fetch(domain, port) for domain in domains(inventory())}
    step("These answer on this machine" if answers else "No app is in python_apps yet")
    width = max((len(domain) for domain in answers), default=0)
    for domain, status in answers.items():
        note(f"http://{domain}:{port}/".ljust(width + 15) + status)
    return all(re.match("[23]", status) for status in answers.values())


NEXT = """
Try next:
    open a page above in a browser (or: curl http://NAME.localhost:PORT/)
    change an app in examples/ or inventories/local/group_vars/app_hosts/apps.yml, then `make up` again
    make check                what a run would change
    docker exec -it {name} bash      look around on the host
    make down                 remove it all
"""


def up(ports: dict[int, int], debian: int | None) -> int:
    ensure_host(ports, debian)
    code = converge(clients_ports(ports))
    if code:
        raise Stop(
            "ansible-playbook failed, see above",
            "Fix what it names and run `make up` again; it goes on from there.",
        )
    if not show(ports[80]):
        raise Stop(
            "not every app answers as it should",
            f"See its log: docker exec {NAME} journalctl --no-pager --lines=50",
        )
    print(NEXT.format(name=NAME).rstrip())
    return 0


def clients_ports(ports: dict[int, int]) -> list[str]:
    """What the host cannot know: where redirects to HTTPS have to lead."""
    return ["-e", f"nginx_https_public_port={ports[443]}"]


def check(ports: dict[int, int]) -> int:
    if not (engine.answers() and container.inspect(NAME)):
        raise Stop("there is no local host to check", "Run `make up` first.")
    return converge(["--check", "--diff", *clients_ports(ports)])


def down() -> int:
    if not engine.answers():
        note("no Docker engine answers, so nothing of ours runs")
        return 0
    for name in container.all_ours("container"):
        note(f"removing container {name}")
        container.remove(name)
    for kind in ("network", "volume"):
        for name in container.all_ours(kind):
            note(f"removing {kind} {name}")
            run(["docker", kind, "rm", name])
    others = run(["docker", "ps", "--format", "{{.Names}}"], check=False).stdout.split()
    if others:
        note(f"leaving the engine alone: {', '.join(others)} still runs there")
    elif engine.stop():
        note("stopped the Docker engine that `make up` had started")
    return 0


def clean() -> int:
    if engine.answers():
        for name in container.all_ours("image"):
            note(f"removing image {name}")
            run(["docker", "image", "rm", name], check=False)
    return down()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.local", description=__doc__)
    parser.add_argument("action", choices=["up", "check", "down", "clean", "host"])
    parser.add_argument("--http-port", type=int, default=8080)
    parser.add_argument("--https-port", type=int, default=8443)
    parser.add_argument("--debian", type=int, choices=[*image.SUITES])
    options = parser.parse_args(arguments)
    ports = {80: options.http_port, 443: options.https_port}
    if options.action == "up":
        return up(ports, options.debian)
    if options.action == "host":
        print("started" if ensure_host(ports, options.debian) else "running", file=sys.stderr)
        return 0
    if options.action == "check":
        return check(ports)
    return {"down": down, "clean": clean}[options.action]()


if __name__ == "__main__":
    command(main)
