"""Run a program as the first process of a Linux kernel in user mode, for what the kernel of a test host cannot do.

Debian's package `user-mode-linux` is unpacked into the cache, not installed. The kernel sees this machine's files as its own
root, so a program runs as it lies here; it must write to file systems only that it mounts itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .console import Stop
from .project import CACHE

PLACE = CACHE / "uml"
PACKAGE = "user-mode-linux"


def available() -> bool:
    """Whether this machine can have it: Debian's package is for x86-64 alone."""
    return os.uname().machine == "x86_64" and shutil.which("apt-get") is not None


def kernel() -> Path:
    """The kernel's program, fetched if it is not there. Raises Stop."""
    program = PLACE / "usr/bin/linux.uml"
    if not program.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        for command in (["apt-get", "update", "-qq"], ["apt-get", "download", "-qq", PACKAGE]):
            done = subprocess.run(command, cwd=PLACE, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Stop(
                    f"{PACKAGE} could not be fetched: {done.stderr.strip()}",
                    "Look at this machine's apt sources.",
                )
        package = next(PLACE.glob("*.deb"))
        subprocess.run(["dpkg-deb", "--extract", str(package), str(PLACE)], check=True)
    return program


def modules() -> Path:
    """The directory of the kernel's modules."""
    return next((PLACE / "usr/lib/uml/modules").iterdir()) / "kernel"


def run(script: Path, disks: Mapping[str, Path], variables: Mapping[str, str], timeout: float = 120) -> str:
    """What *script*, a Python program, printed as the first process of the kernel, *disks* being /dev/NAME.

    *variables* are its environment; MODULES is the kernel's modules. Raises Stop when it does not end in *timeout* seconds.
    """
    words = [f"{name}={path}" for name, path in disks.items()]
    words += [f"{name}={value}" for name, value in {**variables, "MODULES": str(modules())}.items()]
    # The first process must not end: the kernel would panic, with a trace on the terminal.
    start = (
        f'exec 2>&1; "{sys.executable}" "{script}"; echo "ended: $?"; echo o >/proc/sysrq-trigger; sleep 60'
    )
    init = PLACE / "init"
    init.write_text(f"#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nmount -t proc proc /proc\n{start}\n")
    init.chmod(0o755)
    try:
        done = subprocess.run(
            [str(kernel()), "mem=256M", "rootfstype=hostfs", "rw", "quiet", f"init={init}"]
            + ["con=null", "con0=fd:0,fd:1", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Stop(
            f"{script.name} did not end within {timeout:g} s in the kernel in user mode: {error.output!r}", ""
        ) from error
    return done.stdout
