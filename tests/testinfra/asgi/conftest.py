"""Two hosts, each with the chat and with a plain ASGI app below a path of its domain."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from deploying import ROOT, Repository, Stack, alone
from testinfra.host import Host

HOSTS = ("asgi-debian12", "asgi-debian13")

PLAIN: dict[str, Any] = {
    "name": "plain",
    "domains": ["chat.localhost"],
    "path": "/plain/",
    "source": {"path": "tests/testinfra/apps/plain_asgi"},
    "asgi": "app:application",
    "web": {"processes": 1},
    "private": {"/protected/": "files"},
    "health": {"answers": 1},
}


#: Begins as a WSGI app.
TURN: dict[str, Any] = {
    "name": "turn",
    "domains": ["turn.localhost"],
    "source": {"path": "tests/testinfra/apps/plain_asgi"},
    "wsgi": "app:synchronous",
    "web": {"processes": 1},
    "health": {"answers": 1},
}


@dataclass
class Place:
    host: Host
    stack: Stack
    code: Repository


def chat(code: Repository, **settings: Any) -> dict[str, Any]:
    return {
        "name": "chat",
        "domains": ["chat.localhost"],
        "source": {"git": code.url, "version": "v0"},
        "asgi": "chat.app:app",
        "migrate": "python -m chat.database",
        "static": {"/static/": "chat/static"},
        "persistent": ["data"],
        "env": {"EXAMPLE_DIAGNOSTICS": "1"},
        "health": {"path": "/healthz"},
        "web": {"processes": 2},
        "limits": {"request_timeout": 4, "websocket_drain": 3, "body": "20m"},
        **settings,
    }


def made(name: str, directory: Path) -> Place:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    (host,) = testinfra.get_hosts([f"ansible://{name}"], ansible_inventory=inventory)
    place = directory / name
    place.mkdir()
    code = Repository(host, "chat", ROOT / "examples" / "starlette", place)
    for number in range(4):
        code.version(f"v{number}")
    code.push()
    stack = Stack(host, alone(host, place), place, [chat(code), PLAIN, TURN])
    stack.good("site.yml")
    return Place(host, stack, code)


@pytest.fixture(scope="session")
def places(directory: Path) -> dict[str, Place]:
    with ThreadPoolExecutor() as pool:
        return dict(zip(HOSTS, pool.map(lambda name: made(name, directory), HOSTS), strict=True))


@pytest.fixture(params=HOSTS)
def place(request: pytest.FixtureRequest, places: dict[str, Place]) -> Place:
    return places[request.param]
