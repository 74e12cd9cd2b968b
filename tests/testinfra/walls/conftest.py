"""Two hosts with the same hostile app, under uWSGI and under gunicorn, beside neighbours that are visited all the time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra
from deploying import Load, Stack, alone, load
from testinfra.host import Host
from walls import contents
from walls.contents import GIT, INDEX, TOKEN
from walls.ground import NEIGHBOUR, WALLS, Ground, copy, play

APPS = "tests/testinfra/apps"

#: Which server the hostile app runs under on which host.
SERVERS = {"walls-debian12": "uwsgi", "walls-debian13": "gunicorn"}

#: Seconds for a request of any app here. What will not end is waited for several times as long: while its activation is
#: drained, while that ends, and while it is removed.
REQUEST_SECONDS = 15

#: Counts in the journal, ten lines a second, from 1 on.
COUNTING = "python3 -uc \"import itertools, time; any(print('counted', n) or time.sleep(0.1) for n in itertools.count(1))\""

#: The same by the host itself.
TELLER = "tests-teller"

GUNICORN = {"server": "gunicorn", "files": {"requirements.txt": "tests/testinfra/many_apps/gunicorn.txt.j2"}}


def tiny(name: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": f"{APPS}/tiny"},
        "wsgi": "app:application",
        "health": {"answers": 1},
        "web": {"processes": 1, "threads": 2},
        "env": {"TURN": "0"},
        "limits": {"request_timeout": REQUEST_SECONDS},
        **settings,
    }


def apps(server: str) -> list[dict[str, Any]]:
    hostile = tiny(
        "hostile",
        source={"path": f"{APPS}/hostile"},
        static={"/media/": "media"},
        persistent=["media", "data"],
        # A request that takes long is one of the attempts; the others are asked beside it.
        web={"processes": 2, "threads": 1},
        limits={
            "memory": "200M",
            "tasks": 64,
            "cpu": 50,
            "open_files": 256,
            "request_timeout": REQUEST_SECONDS,
        },
        **(GUNICORN if server == "gunicorn" else {}),
    )
    return [
        hostile,
        tiny(NEIGHBOUR, persistent=["data"], secrets=["SECRET"], workers={"counts": {"command": COUNTING}}),
        tiny("fresh"),
    ]


@pytest.fixture(scope="session")
def material(directory: Path) -> Path:
    """Repositories and archives, as a hostile team would bring them."""
    made = directory / "material"
    made.mkdir()
    contents.make(made)
    return made


def bring(host: Host, material: Path) -> None:
    """The repositories to the host, and a server there for what needs a password."""
    host.run("systemctl stop tests-planted %s", TELLER)
    host.check_output("rm -rf /srv/git /srv/planted")
    for name in ("git", "planted"):
        copy(host, material / name, f"/srv/{name}")
    copy(host, WALLS / "planted_server.py", "/root/planted_server.py")
    host.check_output("chown -R root:root /srv/git /srv/planted && chmod -R go-w /srv/git /srv/planted")
    host.check_output("chmod 0700 /srv/planted")
    # By a file and not by its arguments: whoever reads those of all processes would find the passwords here.
    host.check_output("umask 077 && printf %s > /root/planted_words", f"user:{INDEX}\nuser:{GIT}\n{TOKEN}")
    host.check_output("systemd-run --quiet --unit=tests-planted python3 /root/planted_server.py")
    identifier = f"--property=SyslogIdentifier={TELLER}"
    host.check_output("systemd-run --quiet --unit=%s %s sh -c %s", TELLER, identifier, COUNTING)


@pytest.fixture(scope="session")
def grounds(directory: Path, material: Path) -> list[Ground]:
    """Both hosts, with their apps live."""
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"])
    made = []
    for name, server in SERVERS.items():
        (host,) = testinfra.get_hosts([f"ansible://{name}"], ansible_inventory=str(inventory))
        controller = directory / name
        controller.mkdir()
        secrets = {NEIGHBOUR: {"SECRET": "what-the-neighbour-wants"}}
        # So small that a flood would push out all that is older.
        journals = {"base_journal_max_use": "64M", "base_apps_journal_max_use": "128M"}
        # Forty apps on a host that could not bear them if they wanted what apps usually want.
        variables = {**journals, "python_apps_keep_warm": 0, "python_apps_process_memory": 10}
        stack = Stack(host, alone(host, controller), controller, apps(server), secrets, variables)
        made.append(Ground(stack, server))
    outcomes = play(made, "site.yml", patience=600)
    for ground in made:
        assert outcomes[ground.name].code == 0, outcomes[ground.name].output[-5000:]
        bring(ground.host, material)
        ground.bring_product()
    return made


@dataclass
class Visits:
    """Visitors of the neighbour, from the first attempt to the end of all."""

    loads: dict[str, Load]
    stack: contextlib.ExitStack

    def end(self) -> dict[str, Load]:
        self.stack.close()
        return self.loads


@pytest.fixture(scope="session", autouse=True)
def visits(grounds: list[Ground]) -> Iterator[Visits]:
    with contextlib.ExitStack() as stack:
        loads = {
            one.name: stack.enter_context(load(one.host, "neighbour.localhost", ["/"], rate=30))
            for one in grounds
        }
        yield Visits(loads, stack)


@pytest.fixture(params=SERVERS, ids=lambda name: name.removeprefix("walls-"))
def ground(request: pytest.FixtureRequest, grounds: list[Ground]) -> Ground:
    return next(one for one in grounds if one.host.backend.host == request.param)
