"""Run playbooks in forks of a process that has imported Ansible already: tests run hundreds of short ones.

A run is a process of its own all the same, and leads a session of its own: the arguments, environment, directory, input
and output are those that ansible-playbook would have. The imports of Ansible itself are shared, the collection's filters,
and the modules that Ansible has packed for hosts. Every environment, directory and ansible.cfg therefore has a server of
its own, and other plugins, roles and inventories are read by each run anew. Do not change the code of a module between two
runs by the same server.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("ansible-playbook")

#: Of a request, in bytes: the arguments of a run.
LONGEST_REQUEST = 1 << 17

#: Of the collection: loads what all tasks need.
PRELOADING = "ansible_collections.emperor.stack.plugins.plugin_utils.controller.preloading"

#: Where Ansible keeps the modules that it has packed, in its own temporary directory.
PACKED = "ansiballz_cache"


class Server:
    """Runs playbooks with *environment* in *directory*. Can be asked by several threads at once."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the server)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                cwd=directory,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )

    def close(self) -> None:
        self._requests.close()
        self._process.wait()
        self._log.close()

    def run(
        self, arguments: Sequence[str], timeout: float, merged: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook with *arguments*. *merged*: errors are in `stdout`, in their order.

        Raises subprocess.TimeoutExpired after *timeout* seconds, and kills the run then.
        """
        command = [str(PROGRAM), *arguments]
        pipes = [os.pipe() for _ in range(2 if merged else 3)]
        ends = [end for _, end in pipes]
        sent = [ends[0], ends[0], ends[1]] if merged else ends
        try:
            socket.send_fds(self._requests, [json.dumps(command).encode()], sent)
        finally:
            for end in ends:
                os.close(end)
        *texts, said = self._read([start for start, _ in pipes], command, timeout)
        words = said.split()
        if len(words) != 2:
            self._log.seek(0)
            raise RuntimeError(f"{command} was not run to its end: {self._log.read()[-3000:]!r}")
        out, errors = (texts[0], b"") if merged else texts
        return subprocess.CompletedProcess(command, int(words[1]), _text(out), _text(errors))

    def _read(self, pipes: Sequence[int], command: list[str], timeout: float) -> list[bytes]:
        """All that comes through *pipes*. The last of them begins with the process id of the run."""
        found = {pipe: bytearray() for pipe in pipes}
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
            for pipe in pipes:
                stack.callback(os.close, pipe)
                waiting.register(pipe, selectors.EVENT_READ)
            while waiting.get_map():
                ready = waiting.select(max(deadline - time.monotonic(), 0))
                if not ready:
                    if pid := found[pipes[-1]].split():
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(int(pid[0]), signal.SIGKILL)
                    raise subprocess.TimeoutExpired(command, timeout, bytes(found[pipes[0]]))
                for key, _ in ready:
                    part = os.read(key.fd, 1 << 16)
                    found[key.fd] += part
                    if not part:
                        waiting.unregister(key.fd)
        return [bytes(text) for text in found.values()]


def _text(output: bytes) -> str:
    """As a process in text mode would read it."""
    return output.decode(errors="strict").replace("\r\n", "\n").replace("\r", "\n")


class Servers:
    """A server for each environment, directory and ansible.cfg that comes up more than once.

    The first run of each is an ordinary process, as a user's is: every scenario has such runs.
    """

    def __init__(self) -> None:
        self._known: dict[object, Server | None] = {}
        self._changing = threading.Lock()
        atexit.register(self.close)

    def server(self, environment: Mapping[str, str], directory: Path) -> Server | None:
        """The server for runs with *environment* in *directory*; None for the first of these runs."""
        config = Path(environment.get("ANSIBLE_CONFIG", directory / "ansible.cfg"))
        key = (frozenset(environment.items()), directory, config.read_bytes() if config.is_file() else b"")
        with self._changing:
            if key not in self._known:
                self._known[key] = None
                return None
            found = self._known[key] = self._known[key] or Server(environment, directory)
            return found

    def close(self) -> None:
        for server in filter(None, self._known.values()):
            server.close()
        self._known.clear()


# From here on: the server. It has no thread, and does nothing but fork.


def serve(requests: socket.socket) -> None:
    """Begin a run for every request, until whoever asks has ended. Returns in the process of each run too."""
    import gc

    import ansible.cli.playbook  # noqa: F401  (what all runs share)

    share_filters()
    gc.collect()
    gc.freeze()
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        text, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 3)
        if not text:
            return
        if os.fork() == 0:
            requests.close()
            minding(json.loads(text), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def share_filters() -> None:
    """Load the collection's filters for all runs, as each does for its tasks, where the directory has the collection."""
    from ansible.plugins.loader import init_plugin_loader
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    init_plugin_loader()
    with contextlib.suppress(ImportError):
        importlib.import_module(PRELOADING).preload()
    # Each run has a finder of its own, and warns where there is one already.
    _AnsibleCollectionFinder._remove()


def minding(arguments: list[str], out: int, errors: int, result: int) -> None:
    """Begin a run, wait for its end, and tell that. The run itself leaves by SystemExit, as ansible-playbook does."""
    pid = os.fork()
    if pid == 0:
        os.close(result)
        become_playbook(arguments, out, errors)
    for descriptor in (out, errors):
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):
        os.write(result, f"{pid} ".encode())
        _, status = os.waitpid(pid, 0)
        os.write(result, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def become_playbook(arguments: list[str], out: int, errors: int) -> None:
    from ansible import constants
    from ansible.cli import playbook
    from ansible.utils.path import cleanup_tmp_file

    os.setsid()
    for descriptor, number in ((out, 1), (errors, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # A temporary directory of its own beside the server's, which this run removes at its end, and not that one.
    servers = constants.DEFAULT_LOCAL_TMP
    own = tempfile.mkdtemp(prefix=f"ansible-local-{os.getpid()}", dir=os.path.dirname(servers))
    atexit.unregister(cleanup_tmp_file)
    atexit.register(cleanup_tmp_file, own, warn=True)
    constants.DEFAULT_LOCAL_TMP = own
    os.makedirs(f"{servers}/{PACKED}", exist_ok=True)
    os.symlink(f"{servers}/{PACKED}", f"{own}/{PACKED}")
    sys.argv = arguments
    playbook.main(arguments)


if __name__ == "__main__":
    # Where the directory of the program is first for ansible-playbook.
    sys.path[0] = str(PROGRAM.parent)
    serve(socket.socket(fileno=int(sys.argv[1])))
