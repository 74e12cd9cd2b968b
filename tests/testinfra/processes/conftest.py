"""A host with two apps of every kind of process: one under uWSGI, one under gunicorn, with names that are near."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, Repository, Stack
from testinfra.host import Host


@pytest.fixture(scope="module")
def jobs(machine: Host, directory: Path) -> Repository:
    """Versions v0 to v4, and one each whose worker cannot run."""
    repository = Repository(machine, "jobs", HERE / "apps" / "jobs", directory)
    for number in range(5):
        repository.version(f"v{number}")
    code = (HERE / "apps/jobs/app.py").read_text()
    repository.version("leaver", {"app.py": f"{code}\n\nimport leave\n\nleave.leave('100077')\n"})
    repository.back_to("v4")
    repository.version("broken-worker", {"a-b.broken": ""})
    repository.version("broken-single", {"a-b.broken": None, "single.broken": ""})
    repository.version("no-gunicorn", {"single.broken": None, "none.txt": "packaging==25.0\n"})
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
        "health": {"path": "/healthz", "timeout": 20},
        **settings,
    }


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, machine: Host, directory: Path, jobs: Repository) -> Stack:
    """`shop` has a worker `a-b` and `shop-a` a worker `b`: only an underscore keeps their units apart."""
    shop = app(
        "shop",
        jobs,
        workers={
            "a-b": {"command": "python work.py a-b", "count": 2, "stop_timeout": 20},
            "single": {"command": "python work.py single", "overlap": False, "stop_signal": "INT"},
        },
        schedule={
            "tick": {"command": "python work.py tick 2.5", "every": "1s"},
            "nightly": {"command": "python leave.py 100078", "at": "03:00 UTC"},
        },
    )
    near = app("shop-a", jobs, server="gunicorn", workers={"b": {"command": "cd . && python work.py b"}})
    secrets = {name: {"TOKEN": request.module.TOKEN} for name in ("shop", "shop-a")}
    made = Stack(machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory, [shop, near], secrets)
    made.good("site.yml")
    return made
