"""`leave.py MARK`: leaves two daemons behind, of which one ignores SIGTERM, and notes that in data/left."""

import os
import signal
import sys


def leave(mark):
    for on_term in (signal.SIG_DFL, signal.SIG_IGN):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, on_term)
                os.closerange(0, 1024)
                os.execvp("sleep", ["sleep", mark])  # noqa: S606
            os._exit(0)
        os.wait()


if __name__ == "__main__":
    leave(sys.argv[1])
    with open("data/left", "w") as file:
        file.write(sys.argv[1])
