"""A host with four apps whose names are near: `app`, which has everything that an app can have, and those beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, Repository, Stack
from testinfra.host import Host

#: Run as user `app`, in its persistent directory: what an app may leave to whoever deletes it.
TRAPS = """
cd /srv/apps/app/shared/data
mkdir -p trap/in && cd trap
ln -s /etc/emperor-stack etc
ln -s /srv/apps/app2/shared/data neighbour
ln -s /srv/apps/app2/shared/data/kept file
ln -s ../../../../app-2 relative
mkfifo fifo
truncate -s 20G hole
touch -- '--recursive' '*' "$(printf 'two\\nlines')"
python3 - <<'END'
import os
for _ in range(200):
    os.mkdir("d")
    os.chdir("d")
END
ln -s /etc /srv/apps/app/cache/etc
chmod 0 in
echo stray >/tmp/left-by-app
setsid sh -c 'trap "" TERM HUP; while :; do sleep 1000; done' >/dev/null 2>&1 &
"""


@pytest.fixture(scope="module")
def code(machine: Host, directory: Path) -> Repository:
    repository = Repository(machine, "jobs", HERE / "apps" / "jobs", directory)
    repository.version("v0", {"requirements.txt": None})
    repository.version("v1")
    repository.push()
    return repository


def app(name: str, repository: Repository, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"git": repository.url, "version": "v0"},
        "wsgi": "app:application",
        "persistent": ["data"],
        "secrets": ["TOKEN"],
        "health": {"path": "/healthz", "timeout": 20, "answers": 1},
        "web": {"processes": 2},
        **settings,
    }


WORKER = {"jobs": {"command": "python work.py jobs", "stop_timeout": 20}}


@pytest.fixture(scope="module")
def stack(machine: Host, directory: Path, code: Repository) -> Stack:
    """`app` sleeps on demand, has a worker, timers, a warm activation, data, and has set traps for who deletes it."""
    timers = {"nightly": {"command": "true", "at": "03:00 UTC"}}
    apps = [
        app("app", code, on_demand=True, workers=WORKER, schedule=timers),
        app("app2", code, workers=WORKER, schedule=timers),
        app("my-app", code, workers=WORKER),
        app("app-2", code, on_demand=True, schedule=timers),
    ]
    secrets = {one["name"]: {"TOKEN": "only-the-app-may-know-this"} for one in apps}
    made = Stack(machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory, apps, secrets)
    made.good("site.yml")
    made.good("playbooks/deploy.yml", app="app", version="v1")
    for name in ("app", "app2", "my-app", "app-2"):
        machine.check_output("echo 'of %s' >/srv/apps/%s/shared/data/kept", name, name)
    machine.check_output("setpriv --reuid=app --regid=app --clear-groups sh -ec %s", TRAPS)
    machine.check_output(
        "mkdir -p /srv/apps/app@backup /srv/apps/app.old /etc/nginx/emperor-stack/local/app"
        " && echo old >/srv/apps/app.old/data && touch /var/log/nginx/app.access.log.1 /var/log/nginx/app.error.log.2.gz"
        " /var/log/nginx/app.access.log-20261101 /var/log/nginx/app2.access.log.1 /etc/emperor-stack/vassals/a/app@notes"
    )
    return made
