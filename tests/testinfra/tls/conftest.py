"""Two hosts, a controller for each, and a certificate authority that can be slow, absent or wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from authority import Pebble, controller, host_named
from deploying import Stack
from testinfra.host import Host


@pytest.fixture(scope="session")
def machine() -> Host:
    """The host with the authority."""
    return host_named("tls-debian13")


@pytest.fixture(scope="session")
def other_machine() -> Host:
    """The new host in the place of the first one, later. No authority runs there."""
    return host_named("tls-debian12")


@pytest.fixture(scope="session")
def authority_files(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "authority.crt", directory / "authority.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="session")
def pebble(machine: Host, authority_files: tuple[Path, Path]) -> Pebble:
    made = Pebble(machine)
    made.install(*authority_files)
    return made


@pytest.fixture(scope="session")
def stack(machine: Host, directory: Path, authority_files: tuple[Path, Path], pebble: Pebble) -> Stack:
    return controller(machine, directory, authority_files[0])


@pytest.fixture(scope="session")
def other_stack(other_machine: Host, directory: Path, authority_files: tuple[Path, Path]) -> Stack:
    return controller(other_machine, directory, authority_files[0])


@pytest.fixture(scope="session")
def sslyze(directory: Path) -> Path:
    """The measuring tool, in an environment of its own, from a lock with hashes."""
    place = directory / "sslyze"
    uv = Path(sys.executable).with_name("uv")
    environment = {**os.environ, "UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    lock = Path(__file__).with_name("sslyze.txt")
    for command in (
        [str(uv), "venv", "--quiet", "--python", sys.executable, str(place)],
        [str(uv), "pip", "sync", "--quiet", "--require-hashes", "--python", f"{place}/bin/python", str(lock)],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place / "bin" / "sslyze"
