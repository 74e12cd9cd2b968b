"""`work.py NAME`: works until it is told to stop, and notes in data/NAME what it does. `work.py NAME SECONDS`: so long.

Each line is an event, a release and a process. Whoever finds another one of its name at work notes that too.
"""

import fcntl
import os
import signal
import sys
import time

name = sys.argv[1]
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else None
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append("TERM"))
signal.signal(signal.SIGINT, lambda *_: stopped.append("INT"))


def note(event):
    with open(f"data/{name}", "a") as file:
        file.write(f"{event} {os.environ['APP_RELEASE']} {os.getpid()}\n")


if os.path.exists(f"{name}.broken"):
    sys.exit(f"{name} is broken in this release")
with open(f"data/{name}.lock", "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("doubled")
    note("began")
    end = time.monotonic() + (seconds or float("inf"))
    while not stopped and time.monotonic() < end:
        time.sleep(0.1)
    # What a worker has in hand when it is told to stop.
    time.sleep(1 if stopped else 0)
    note(f"ended-{stopped[0] if stopped else 'itself'}")
