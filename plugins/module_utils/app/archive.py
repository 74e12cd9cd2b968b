"""What is kept of an app that goes: its persistent files, history and manifests, and its logs of the web server.

All of it is in one file of root's.

Its files are untrusted. tar by itself holds the whole path of each directory that it is in: 20,000 of them inside of each
other took 9 GB of memory. So it gets a list of what to take, and nothing that lies deeper than people put files.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from ..files.atomic import replacing
from ..host import layout
from ..host.command import run

#: Directories inside of each other, and bytes of a path: Linux itself takes no longer path at once.
DEEPEST = 100
LONGEST = 4000

#: The lock that the removal itself holds.
LEFT_OUT = b"state/working"


def write(app: str, logs: Sequence[str], data: bool = True) -> tuple[str, list[str]]:
    """Write the archive of *app*; return its path, empty where there was nothing to keep, and what is not in it.

    *logs* are paths of files of root's. Without *data*, which a successor has taken over, only they are kept.
    Raises CommandFailed and OSError; nothing is left of it then.
    """
    os.makedirs(layout.BACKUPS, mode=0o700, exist_ok=True)
    members = _members(app) if data else []
    if not members and not logs:
        return "", []
    path = _unused(app)
    with replacing(path) as file:
        left_out = _pack(layout.app_root(app), members, logs, file.name)
    return path, left_out


def _members(app: str) -> list[str]:
    root = layout.app_root(app)
    members = [name for name in ("shared", "state") if os.path.lexists(f"{root}/{name}")]
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(layout.releases(app))):
            if os.path.lexists(f"{layout.release(app, name)}/release.json"):
                members.append(f"releases/{name}/release.json")
    return members


def _unused(app: str) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = f"{layout.BACKUPS}/{app}-{stamp}.tar.gz"
    number = 1
    while os.path.lexists(path):
        number += 1
        path = f"{layout.BACKUPS}/{app}-{stamp}-{number}.tar.gz"
    return path


def _pack(root: str, members: list[str], logs: Sequence[str], archive: str) -> list[str]:
    """Pack *members*, which lie in *root*, and *logs*, without their first slash; return what was left out."""
    options = [
        "--create",
        "--gzip",
        f"--file={archive}",
        "--sparse",
        "--numeric-owner",
        f"--directory={root}",
    ]
    options += ["--no-recursion", "--null", "--verbatim-files-from", "--files-from=-"]
    reading, writing = os.pipe()
    long = [0]

    def hand_over() -> None:
        # Closed in any case, or tar would wait for ever.
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as to_tar:
            for log in logs:
                to_tar.write(os.fsencode(log) + b"\0")
            for name in _names(root, members):
                if len(name) > LONGEST:
                    long[0] += 1
                elif name != LEFT_OUT:
                    to_tar.write(name + b"\0")

    thread = threading.Thread(target=hand_over, daemon=True)
    thread.start()
    try:
        with open(reading, "rb") as names:
            run(
                ["tar", *options],
                what="archiving its data, before anything was deleted,",
                timeout=24 * 3600,
                stdin=names,
            )
    finally:
        # Where tar has failed, the thread ends at the closed pipe. A program that it begins after that would have the app's
        # lock of the kernel for a moment longer than this process.
        thread.join()
    if not members:
        return []
    deep = subprocess.run(
        ["find", *members, "-xdev", "-mindepth", str(DEEPEST + 1), "-print", "-quit"],
        cwd=root,
        capture_output=True,
        check=False,
    ).stdout
    if deep or long[0]:
        return [f"files more than {DEEPEST} directories deep, or with a path of more than {LONGEST} bytes"]
    return []


def _names(root: str, members: list[str]) -> Iterator[bytes]:
    """Every path at and below *members*, as tar is to take it; a directory before what is in it."""
    if not members:
        # Without a place, find would search all of *root*.
        return
    command = ["find", *members, "-xdev", "-maxdepth", str(DEEPEST), "-print0"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as found:
        if found.stdout:
            yield from _split(found.stdout)


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while part := stream.read(1 << 16):
        *whole, rest = (rest + part).split(b"\0")
        yield from whole
