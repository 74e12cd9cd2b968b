"""Have a file locked while a process lives: `python run_holder.py FILE PROCESS`. See held_runs.py."""

from __future__ import annotations

import fcntl
import os
import select
import sys
import tempfile


def main(path: str, process: int) -> None:
    watched = os.pidfd_open(process)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # It is never there without being locked. When another task of the run was first, that one holds it.
        os.link(temporary, path)
    finally:
        os.unlink(temporary)
    print("held", flush=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    select.select([watched], [], [])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
