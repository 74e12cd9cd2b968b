"""Which runs in containers still go on, for runs in other containers of the same machine.

From a container nothing is seen of the processes of another one. So a run in a container has a file locked as long as its
ansible-playbook lives, in a directory that the containers share: Ansible's home. The kernel frees the lock with the last
process of the container, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from ansible import constants

from . import run_holder

#: The namespace of processes in which a machine boots: no container.
FIRST_NAMESPACE = "pid:[4026531836]"

#: The program that has a file locked while a process lives.
HOLDER = run_holder.__file__

#: Seconds after which the file of a run that has ended is deleted. The lock that it may have left has long expired.
KEPT = 2 * 24 * 3600


def directory() -> str:
    return f"{constants.config.get_config_value('ANSIBLE_HOME')}/emperor-stack/runs"


def hold(token: str, process: int) -> None:
    """Hold run *token* of *process*, if it is one in a container and nobody holds it yet.

    Where that fails, other containers know nothing of the run: its locks expire.
    """
    _, namespace, *_ = token.split("/")
    path = _path(token)
    if namespace in ("", FIRST_NAMESPACE) or os.path.exists(path):
        return
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _delete_old(os.path.dirname(path))
        holder = subprocess.Popen(
            [sys.executable, "-I", HOLDER, path, str(process)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        return
    # It says so when the file is locked; it stays longer than this process.
    if holder.stdout:
        with holder.stdout:
            holder.stdout.readline()


def has_ended(token: str) -> bool:
    """Whether run *token* is known to have ended. Only of runs of this boot: locks of others may be none here."""
    boot, *_ = token.split("/")
    try:
        if not boot or boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
            return False
        with open(_path(token), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # Held, or not known.
        return False
    return True


def _path(token: str) -> str:
    return f"{directory()}/{hashlib.sha256(token.encode()).hexdigest()}"


def _delete_old(place: str) -> None:
    for path in Path(place).iterdir():
        # A file that is gone, or held for days.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - KEPT:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
