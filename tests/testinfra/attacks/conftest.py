"""One host: a victim, a neighbour that nobody must reach by way of it, and an app with TLS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import address, container, eventually, python
from attacks.arena import MARKS, WEAK_PORT, Arena
from deploying import HERE, Stack
from testinfra.host import Host

STATIC = {"static": {"/static/": "static", "/media/": "media"}, "build": ["python plant.py"]}


def witness(name: str, *others: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{one}.localhost" for one in (name, *others)],
        "source": {"path": "tests/testinfra/apps/witness"},
        "wsgi": "app:application",
        "persistent": ["data", "media"],
        "secrets": ["MARK"],
        "health": {"path": "/quiet", "answers": 1},
        "web": {"processes": 1, "threads": 2},
        "limits": {"body": "1m"},
        **settings,
    }


@pytest.fixture(scope="session")
def stack(machine: Host, directory: Path) -> Stack:
    tls = {"provider": "self_signed", "hsts": {"max_age": 86400}}
    apps = [
        witness("victim", "www.victim", **STATIC, web={"processes": 2, "threads": 2}),
        witness("neighbour"),
        witness("secured", "www.secured", tls=tls),
    ]
    made = Stack(machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory, apps)
    # The weak server has to be reached as well, for its failures to count.
    made.variables["hardening_firewall_allow"] = [{"port": WEAK_PORT}]
    made.secrets = {name: {"MARK": mark} for name, mark in MARKS.items()}
    made.good("site.yml")
    return made


@pytest.fixture(scope="session")
def planted(stack: Stack) -> None:
    """What a victim that was broken into would put among its uploads."""
    media = {name: f"{layout.shared(name)}/media" for name in ("victim", "neighbour")}
    script = (
        "import os\n"
        f"os.chdir({media['victim']!r})\n"
        "open('upload.txt', 'w').write('PUBLIC-FILE')\n"
        "open('.hidden', 'w').write('HIDDEN-FILE')\n"
        f"links = {{'passwd': '/etc/passwd', 'root': '/', 'private': {media['neighbour']!r}}}\n"
        "for name, target in links.items():\n"
        "    os.path.lexists(name) or os.symlink(target, name)\n"
    )
    python(stack.host, script, "victim")
    python(
        stack.host,
        f"open({media['neighbour']!r} + '/private.txt', 'w').write({MARKS['neighbour']!r})",
        "neighbour",
    )


@pytest.fixture(scope="session")
def weak(stack: Stack) -> Iterator[int]:
    """A second nginx that does all wrong. What gets through there shows that an attack can, and that it is noticed."""
    host = stack.host
    source = HERE / "attacks" / "weak.conf"
    subprocess.run(["docker", "cp", "-q", str(source), f"{container(host)}:/root/weak.conf"], check=True)
    host.check_output("nginx -c /root/weak.conf")
    eventually(lambda: host.socket(f"tcp://0.0.0.0:{WEAK_PORT}").is_listening, 10, "the weak server listens")
    yield WEAK_PORT
    host.check_output("kill $(cat /run/weak.pid)")


@pytest.fixture(scope="session")
def arena(stack: Stack, planted: None) -> Arena:
    return Arena(address(stack.host))
