"""What a program that a person starts has around it, and must not take into a release."""

from __future__ import annotations

import os
import signal

#: Where programs are looked for, whatever the shell of whoever types says.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: What is said of who types.
WHO = ("SUDO_USER", "EMPEROR_KEY")


def as_a_module_runs() -> None:
    """Take nothing of the shell that started this: modes of files, variables for git and uv, a terminal that goes away."""
    os.umask(0o022)
    os.chdir("/")
    kept = {name: os.environ[name] for name in WHO if os.environ.get(name)}
    os.environ.clear()
    os.environ.update({"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **kept})
    # The phase that runs comes to its end; no further one begins, as nobody waits any more.
    signal.signal(signal.SIGHUP, lambda number, frame: None)
