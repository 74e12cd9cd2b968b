"""What a check says of an app whose import holds what no fork passes on: connections, databases, threads."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "python_apps" / "files"

#: How each app ends.
APPLICATION = "\ndef application(environ, start_response): return []\n"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Listening sockets, by the word that stands for their address in the source of an app."""
    tcp, six, unix, datagram = (
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(("::1", 0), family=socket.AF_INET6),
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    )
    directory = os.open(tmp_path, os.O_RDONLY)
    unix.bind(f"/proc/self/fd/{directory}/db.sock")
    unix.listen()
    datagram.bind(f"/proc/self/fd/{directory}/log.sock")
    with tcp, six, unix, datagram:
        yield {"TCP": str(tcp.getsockname()[1]), "SIX": str(six.getsockname()[1]), "HERE": str(tmp_path)}
    os.close(directory)


def checked(directory: Path, source: str, words: dict[str, str], preload: bool = True) -> str:
    """What the check says of the app with this source; empty where it passes."""
    release = directory / "release"
    (release / "code").mkdir(parents=True)
    for word, value in words.items():
        source = source.replace(word, value)
    (release / "code" / "app.py").write_text(source + APPLICATION)
    for name in ("entry.py", "import_check.py"):
        text = (FILES / name).read_text().replace("PATIENCE = 10", "PATIENCE = 1")
        (release / name).write_text(text)
    entry = {
        "environment": {"APP_RELEASE": "r1"},
        "wsgi": "app:application",
        "paste": None,
        "preload": preload,
    }
    (release / "environment.json").write_text(json.dumps(entry))
    result = subprocess.run(
        [sys.executable, "-B", "-W", "error::DeprecationWarning", str(release / "entry.py"), "--check"],
        cwd=release / "code",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode == 0) is (result.stderr == ""), result.stderr
    return result.stderr.strip()


TCP = "import socket\nc = socket.create_connection(('127.0.0.1', TCP))\n"
SQLITE = "import sqlite3\nd = sqlite3.connect('HERE/a.db')\nd.execute('create table if not exists t (a)')\n"
THREAD = "import threading, time\ndef run():\n    while True: time.sleep(1)\n"
THREAD += "def begin(): threading.Thread(target=run, name='pusher-1', daemon=True).start()\nbegin()\n"

REFUSED = {
    "tcp": (TCP, "an open connection: 127.0.0.1:TCP."),
    "ipv6": ("import socket\nc = socket.create_connection(('::1', SIX))\n", "an open connection: [::1]:SIX."),
    "unix": (
        "import os, socket\nos.chdir('HERE')\nc = socket.socket(socket.AF_UNIX)\nc.connect('db.sock')\n",
        "an open connection: ",
    ),
    "a pool": (
        "import socket\nc = [socket.create_connection(('127.0.0.1', TCP)) for _ in range(3)]\n",
        "3 open connections: 127.0.0.1:TCP (3).",
    ),
    "sqlite": (SQLITE, "an open database file: HERE/a.db."),
    "an empty database": ("c = open('HERE/b.sqlite3', 'w+')\n", "an open database file: HERE/b.sqlite3."),
    "lmdb": (
        "f = open('HERE/data', 'wb+')\nf.write(bytes(16) + bytes.fromhex('dec0efbe'))\nf.flush()\n",
        "an open database file: HERE/data.",
    ),
    "a thread": (THREAD, "a running thread: pusher-1."),
    "a thread without a name": (
        "import _thread, time\n_thread.start_new_thread(lambda: time.sleep(60), ())\ntime.sleep(0.2)\n",
        "a running thread: unnamed.",
    ),
    "many": (
        THREAD + "for n in range(14): threading.Thread(target=run, name=f't{n:02}', daemon=True).start()\n",
        "15 running threads: pusher-1, t00, t01, t02, t03, t04, t05, t06, t07, t08 and 5 more.",
    ),
    "all of it": (
        TCP + SQLITE + THREAD,
        "an open connection: 127.0.0.1:TCP; an open database file: HERE/a.db; a running thread: pusher-1.",
    ),
    # The handlers run and do not help.
    "a handler that hangs": (
        "import os\n" + TCP + "os.register_at_fork(after_in_child=lambda: __import__('time').sleep(60))\n",
        "an open connection: 127.0.0.1:TCP.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, servers: dict[str, str], name: str) -> None:
    source, says = REFUSED[name]
    for word, value in servers.items():
        says = says.replace(word, value)
    found = checked(tmp_path, source, servers)
    assert found.startswith(f"importing the app left {says}"), found
    assert "`web: {preload: false}`" in found
    assert len(found) < 2000


ALLOWED = {
    "nothing": "",
    "a listener": "import socket\nc = socket.create_server(('127.0.0.1', 0))\n",
    "a closed connection": TCP + "c.close()\n",
    "datagrams, as syslog takes them": (
        "import socket, os\nos.chdir('HERE')\nc = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "c.connect('log.sock')\nd = socket.socket(type=socket.SOCK_DGRAM)\nd.connect(('127.0.0.1', TCP))\n"
    ),
    "an event loop": "import asyncio\nloop = asyncio.new_event_loop()\n",
    "a file that is read": "open('HERE/geo.db', 'w').write('x')\nc = open('HERE/geo.db')\n",
    "a log file": "c = open('HERE/app.log', 'a+')\n",
    "a closed database": SQLITE + "d.close()\n",
    "a thread that has ended": "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n",
    "what is closed in the child": TCP + "import os\nos.register_at_fork(after_in_child=lambda: c.close())\n",
    "what is forgotten in the child": (
        TCP
        + "import os\ndef again():\n    global c\n    c = None\nos.register_at_fork(after_in_child=again)\n"
    ),
    "a thread that begins again in the child": THREAD
    + "import os\nos.register_at_fork(after_in_child=begin)\n",
    "what uWSGI's hook closes": (
        TCP
        + "import sys, types\nsys.modules['uwsgi'] = types.SimpleNamespace(post_fork_hook=lambda: c.close())\n"
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_passes(tmp_path: Path, servers: dict[str, str], name: str) -> None:
    assert checked(tmp_path, ALLOWED[name], servers) == ""


def test_where_each_process_imports_the_app_all_of_it_passes(tmp_path: Path, servers: dict[str, str]) -> None:
    assert checked(tmp_path, TCP + SQLITE + THREAD, servers, preload=False) == ""


def test_names_of_the_app_s_are_bounded(tmp_path: Path, servers: dict[str, str]) -> None:
    source = THREAD.replace("'pusher-1'", "'x' * 100_000")
    found = checked(tmp_path, source, servers)
    assert re.search(r"a running thread: x{120}\.", found) and len(found) < 1000
