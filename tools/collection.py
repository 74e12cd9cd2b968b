"""The collection as its users get it: built by ansible-galaxy, and installed from that archive alone."""

from __future__ import annotations

import os
from pathlib import Path

from .console import run
from .project import VENV

GALAXY = str(VENV / "bin" / "ansible-galaxy")


def build(source: Path, into: Path) -> Path:
    """Build the checkout at *source*, and return the archive in directory *into*."""
    run([GALAXY, "collection", "build", "--output-path", str(into), str(source)])
    (archive,) = into.glob("*.tar.gz")
    return archive


def install(archive: Path, into: Path) -> Path:
    """Install *archive* below *into* without asking any server, and return the directory of the collection."""
    # Only to this run: otherwise ansible-galaxy warns that nobody would find the collection there.
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(into)}
    run([GALAXY, "collection", "install", "--offline", "-p", str(into), str(archive)], env=env, cwd=str(into))
    return into / "ansible_collections" / "emperor" / "stack"
