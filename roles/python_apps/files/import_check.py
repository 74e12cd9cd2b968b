"""What an app holds after its import that no fork can pass on. Written by Emperor Stack; part of the release.

The server imports the app once and forks its web processes then (`web.preload`). They would share each connection and each
database that the import opened, and mix up one another's answers; threads do not exist in them at all. entry.py asks this
file, while a release is checked, in the app's own process: what it says ends up in a message, and nothing depends on it but
this app's release.
"""

import collections
import contextlib
import fcntl
import gc
import json
import os
import re
import select
import signal
import socket
import stat
import sys
import threading
import warnings

#: Begin of a database file: where, and with what.
MAGIC = ((0, b"SQLite format 3\0"), (8, b"DUCK"), (16, b"\xde\xc0\xef\xbe"))
#: How a database file is called that is empty or encrypted.
NAMES = re.compile(r"\.(?:db3?|sqlite3?|duckdb|mdb)$")

#: Seconds that the app's own at-fork handlers have.
PATIENCE = 10
#: Names of one kind in a message, and characters of each.
MOST, LONGEST = 10, 120


def peer(descriptor):
    """Whom the socket is connected to; None where to nobody, and where others cannot mix anything up."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
        if found.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            return None
        address = found.getpeername()
        if found.family == socket.AF_INET:
            return f"{address[0]}:{address[1]}"
        if found.family == socket.AF_INET6:
            return f"[{address[0]}]:{address[1]}"
        # Without a name: one of a pair, as an event loop has it for itself.
        return (os.fsdecode(address) if isinstance(address, bytes) else str(address)) or None
    return None


def database(descriptor):
    """The path of the database file that is open there; None for all other files."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    start = b""
    with contextlib.suppress(OSError):
        start = os.pread(descriptor, 32, 0)
    if any(start[place : place + len(mark)] == mark for place, mark in MAGIC):
        return path
    written = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    return path if written and NAMES.search(path) else None


def open_files():
    """Identity of each open socket and file, by its descriptor."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            state = os.fstat(int(name))
            if stat.S_ISSOCK(state.st_mode) or stat.S_ISREG(state.st_mode):
                found[int(name)] = (state.st_dev, state.st_ino)
    return found


def kind_of(descriptor):
    """`connection` or `database`, and its name; None for what may be shared."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            name = peer(descriptor)
            return ("connection", name) if name else None
        name = database(descriptor)
        return ("database", name) if name else None
    return None


def threads():
    """Names of Python's threads but for the one that asks, by their number; libraries in C look after theirs."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    mine = threading.get_ident()
    return {number: names.get(number, "unnamed") for number in sys._current_frames() if number != mine}


class Held:
    """What the process holds now is none of the app's; what it holds later is."""

    def __init__(self):
        self.files_before = open_files()
        self.threads_before = set(threads())

    def of_app(self):
        """Connections and databases by their descriptor, and names of threads."""
        new = {number: its for number, its in open_files().items() if self.files_before.get(number) != its}
        kinds = {number: (its, kind_of(number)) for number, its in new.items()}
        files = {number: found for number, found in kinds.items() if found[1]}
        return files, [name for number, name in threads().items() if number not in self.threads_before]

    def lost(self):
        """What a web process would have wrongly or not at all: `connection`, `database`, `thread`, and names.

        Libraries that know of forks close or begin again in the child what they had. So a child is asked.
        """
        files, names = self.of_app()
        if not files and not names:
            return []
        child = self.in_a_child()
        kept = {(number, tuple(its)) for number, its in child["files"]}
        lost = [kind for number, (its, kind) in sorted(files.items()) if (number, its) in kept]
        revived = collections.Counter(map(anonymous, child["threads"]))
        for name in sorted(names):
            if revived[anonymous(name)]:
                revived[anonymous(name)] -= 1
            else:
                lost.append(("thread", name))
        return lost

    def in_a_child(self):
        """What a forked process has, once its at-fork handlers have run. Without an answer: all files, and no thread."""
        unknown = {"files": [[number, its] for number, its in open_files().items()], "threads": []}
        reading, writing = os.pipe()
        try:
            with warnings.catch_warnings():
                # That there are threads is what this is about.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
        except OSError:
            return unknown
        if child == 0:
            with contextlib.suppress(BaseException):
                tell(writing)
            os._exit(0)
        os.close(writing)
        answer = b""
        try:
            while select.select([reading], [], [], PATIENCE)[0] and len(answer) < 1 << 20:
                part = os.read(reading, 65536)
                if not part:
                    break
                answer += part
        finally:
            os.close(reading)
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(child, 0)
        try:
            return json.loads(answer)
        except ValueError:
            return unknown


def tell(writing):
    # What an app has for uWSGI alone (uwsgidecorators.postfork).
    hook = getattr(sys.modules.get("uwsgi"), "post_fork_hook", None)
    if callable(hook):
        hook()
    # A pool that was forgotten closes its connections.
    gc.collect()
    report = {"files": list(open_files().items()), "threads": list(threads().values())}
    os.write(writing, json.dumps(report).encode())


def anonymous(name):
    """The name of a thread without its number, which is another one when it begins again."""
    return re.sub(r"\d+", "", name)


#: For each kind: its title for one and for several.
TITLES = {
    "connection": ("an open connection", "open connections"),
    "database": ("an open database file", "open database files"),
    "thread": ("a running thread", "running threads"),
}


def message(lost):
    """What to tell of *lost*; empty where it is nothing."""
    lines = []
    for kind, (one, several) in TITLES.items():
        names = [name for its, name in lost if its == kind]
        if not names:
            continue
        shown = [
            f"{name[:LONGEST]} ({count})" if count > 1 else name[:LONGEST] for name, count in counted(names)
        ]
        more = f" and {len(shown) - MOST} more" if len(shown) > MOST else ""
        title = one if len(names) == 1 else f"{len(names)} {several}"
        lines.append(f"{title}: {', '.join(shown[:MOST])}{more}")
    if not lines:
        return ""
    return (
        "importing the app left "
        + "; ".join(lines)
        + ". The web processes are forked after the import: they would "
        "share these connections and files, which mixes up their answers, and threads do not run in them. Set "
        "`web: {preload: false}` for this app, so that each web process imports it, or open and start these in "
        "each process: docs/forking.md"
    )


def counted(names):
    return sorted(collections.Counter(names).items())
