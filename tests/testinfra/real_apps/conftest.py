"""A host without apps: each module brings its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from deploying import HERE, Repository, Stack
from testinfra.host import Host


@pytest.fixture(scope="module")
def stack(machine: Host, directory: Path) -> Stack:
    return Stack(machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory)


@pytest.fixture(scope="module")
def queries(machine: Host) -> None:
    """The server that the app `forking` asks, on the test host."""
    script = HERE / "real_apps" / "queries.py"
    subprocess.run(
        ["docker", "cp", "--quiet", str(script), f"{machine.backend.host}:/root/queries.py"], check=True
    )
    machine.check_output("systemd-run --quiet --unit=queries /usr/bin/python3 /root/queries.py")


@pytest.fixture(scope="module")
def forking(machine: Host, directory: Path) -> Repository:
    repository = Repository(machine, "forking", HERE / "apps" / "forking", directory)
    repository.version("v0")
    repository.version("broken", {"app.py": "raise LookupError('raised by the import')\n"})
    repository.push()
    return repository
