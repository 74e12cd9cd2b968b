"""What a hostile build does, by its name: `python bad.py NAME …`. Part of every repository of the scenario."""

import contextlib
import glob
import os
import signal
import socket
import sys
import threading
import time

ESCAPES = "\x1b]0;TITLE\x07\x1b[2J\x1b[31mRED\x9b31m\u202e"


def prints(megabytes):
    """So many MiB of lines."""
    piece = (b"x" * 79 + b"\n") * 13107
    for _ in range(int(megabytes)):
        os.write(1, piece)


def one_line(megabytes):
    """A line of so many MiB, and a failure, so that somebody wants to show it."""
    for _ in range(int(megabytes)):
        sys.stdout.write("y" * 2**20)
    sys.stdout.flush()
    sys.exit(3)


def escapes():
    print(f"before {ESCAPES} after")
    sys.exit(3)


def threads(wanted):
    """So many threads that wait; how many there could be is what the failure shows."""
    count = 0
    with contextlib.suppress(RuntimeError):
        for _ in range(int(wanted)):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            count += 1
    print(f"threads: {count}", flush=True)
    os._exit(3)


def memory(megabytes):
    kept = []
    for _ in range(int(megabytes)):
        kept.append(b"x" * 2**20)
    print("memory: all of it")


def daemon(keeps_output):
    """Leave a process that ends by no signal that can be ignored, in a session of its own."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if not int(keeps_output):
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
    os.execvp("sleep", ["sleep", "301"])  # noqa: S606


def deep(levels):
    """Directories in each other, so deep that no path can name the last one."""
    for _ in range(int(levels)):
        os.mkdir("deeper")
        os.chdir("deeper")


def sparse(gigabytes):
    os.makedirs("migrations", exist_ok=True)
    with open("migrations/0001_initial.sql", "wb") as file:
        file.truncate(int(gigabytes) * 2**30)


def pipes():
    """Files that are none, where files are looked for."""
    for directory in ("migrations", "static", "."):
        os.makedirs(directory, exist_ok=True)
        os.mkfifo(f"{directory}/0001_pipe.py")
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"{directory}/bound.sock")


def names():
    """Names that are no UTF-8, that end a line, that a terminal obeys."""
    for directory in (b"migrations", b"static"):
        os.makedirs(directory, exist_ok=True)
        for name in (b"\xff\xfe.py", b"line\nbreak.py", b"\x1b[2J.py", b"-rf.py", b"*.py"):
            with open(directory + b"/" + name, "wb") as file:
                file.write(b"x = 1\n")


def modes():
    """What a seal has to take away, as far as one gets with it."""
    with open("program", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
    os.mkdir("open")
    for path, mode in (("program", 0o6777), ("program", 0o777), ("open", 0o7777), ("open", 0o777)):
        with contextlib.suppress(OSError):
            os.chmod(path, mode)


def links_static():
    os.symlink("/etc", "static")


def writes():
    """Leave a file wherever a directory looks open; its own, too, which cannot be found from above."""
    tops = ["/run", "/dev/shm", "/tmp", "/var", "/etc", "/usr/local", "/srv", "/opt", "/root", "/home"]
    for top in (*tops, os.getcwd(), os.path.expanduser("~")):
        for place, _, _ in os.walk(top):
            with contextlib.suppress(OSError):
                os.close(os.open(f"{place}/planted-by-build", os.O_CREAT | os.O_WRONLY | os.O_EXCL))


def watches(seconds):
    """Read what all other processes are called and told; tell of each that carries something planted."""
    found = set()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for path in (*glob.iglob("/proc/[0-9]*/cmdline"), *glob.iglob("/proc/[0-9]*/environ")):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                content = file.read()
                if b"planted-" in content and b"watches" not in content:
                    start = content.index(b"planted-")
                    found.add(content[start : start + 24].decode(errors="replace"))
        time.sleep(0.002)
    with open(os.path.expanduser("~/saw"), "w", encoding="utf-8") as file:
        file.write("\n".join(sorted(found)))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
