"""A host with one bare app from git, whose releases go wrong in every way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deploying import HERE, Repository, Stack
from testinfra.host import Host


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the place of the session's: each module begins with a repository of its own."""
    return tmp_path_factory.mktemp("controller")


@pytest.fixture(scope="module")
def bare(machine: Host, directory: Path) -> Repository:
    repository = Repository(machine, "bare", HERE / "apps" / "bare", directory)
    repository.version("v0")
    repository.version("v1")
    repository.push()
    return repository


@pytest.fixture(scope="module")
def stack(machine: Host, directory: Path, bare: Repository) -> Stack:
    app = {
        "name": "bare",
        "domains": ["bare.localhost"],
        "source": {"git": bare.url, "version": "v0"},
        "wsgi": "app:application",
        # Short, so that a release that hangs is found out soon.
        "health": {"path": "/healthz", "timeout": 15},
    }
    made = Stack(machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory, [app])
    made.good("site.yml")
    return made
