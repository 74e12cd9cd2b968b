"""Let the web server read a file in a directory that it serves for an app, where the file's mode keeps it out.

An app that writes a file elsewhere, and moves it when it is whole, leaves it with the mode of a temporary file, 0600. nginx
may not read it, and asks the helper of the host, by SCGI; then the app's own user changes the mode, as the app itself could.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
from collections.abc import Mapping
from urllib.parse import quote

from ..host import layout
from ..values import names

#: Of a question, in bytes; nginx's own limit for a URL is below.
LONGEST = 1 << 16
#: Seconds for a question to arrive, and for a file system to answer.
PATIENCE = 5

AGAIN = "Status: 200 OK\r\nX-Accel-Redirect: {}\r\n\r\n"
NO = "Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nForbidden\n"


def allow(directory: str, name: str) -> bool:
    """Let others read file *name* below *directory*. Whether that changes anything.

    As this process's user, who has to own the file. No link is followed, in no part of *name*. Who else could read the file
    then is kept out by *directory*, which only the app and the web server may enter.
    """
    if "\0" in name:
        return False
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    *above, last = [part for part in name.split("/") if part not in ("", ".")] or [".."]
    if ".." in (*above, last):
        return False
    opened = [os.open(directory, flags | os.O_DIRECTORY)]
    try:
        for part in above:
            opened.append(os.open(part, flags | os.O_DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(last, flags | os.O_NONBLOCK, dir_fd=opened[-1]))
        found = os.fstat(opened[-1])
        mode = stat.S_IMODE(found.st_mode) & 0o777
        # Where its group is the web server's, the mode of the group counts, else that of all others.
        wanted = mode | stat.S_IRGRP | stat.S_IROTH
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or mode == wanted:
            return False
        os.fchmod(opened[-1], wanted)
        return True
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)


def as_app(app: str, directory: str, name: str) -> bool:
    """The same with the rights of *app*'s user, in a process that ends with it: root follows no path of an app's.

    Of its user that process has the rights, and stays root's: the app could otherwise stop it for ever (`kill -STOP -1`),
    and with it the helper of all apps.
    """
    user = pwd.getpwnam(app)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(PATIENCE)
            os.setgroups([])
            os.setgid(user.pw_gid)
            # Without an effective user of root's the kernel takes all capabilities away.
            os.setresuid(0, user.pw_uid, 0)
            code = 0 if os.geteuid() and allow(directory, name) else 1
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def answer(question: Mapping[str, str]) -> str:
    """What nginx is told about the file of its *question*: to look once more, or no."""
    app, kept, url, uri = (question.get(key, "") for key in ("APP", "KEPT", "URL", "FILE"))
    if names.name(app) is not None or not uri.startswith(url) or not os.path.isdir(layout.app_root(app)):
        return NO
    if any(part in ("", ".", "..") for part in kept.split("/")):
        return NO
    try:
        changed = as_app(app, f"{layout.shared(app)}/{kept}", uri.removeprefix(url))
    except (KeyError, OSError):
        return NO
    if not changed:
        return NO
    return AGAIN.format(quote(os.fsencode(question.get("PREFIX", "") + uri)))


def read(connection: socket.socket) -> dict[str, str]:
    """The variables of an SCGI request, `length:name NUL value NUL …,`. Raises ValueError for anything else."""
    got = b""
    while b":" not in got or len(got) < int(got.partition(b":")[0]) + got.index(b":") + 2:
        part = connection.recv(LONGEST)
        if not part or len(got) + len(part) > LONGEST:
            raise ValueError("no whole SCGI request")
        got += part
    length, _, rest = got.partition(b":")
    words = [os.fsdecode(word) for word in rest[: int(length)].split(b"\0")]
    return dict(zip(words[::2], words[1::2], strict=False))


def serve(listening: socket.socket, idle: float) -> None:
    """Answer one question after the other, until none has come for *idle* seconds."""
    listening.settimeout(idle)
    while True:
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            return
        with connection:
            try:
                connection.settimeout(PATIENCE)
                connection.sendall(answer(read(connection)).encode())
            except (OSError, ValueError):
                # nginx has gone, or what it sent was nothing that it sends.
                continue
