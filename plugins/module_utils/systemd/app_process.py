"""A command of an app as a service of systemd: in the app's slice and in the sandbox of its workers.

A build, a hook, a migration, a check or what `playbooks/run.yml` is given is a process of the app like any other: its limits
hold for it, it sees no process but its own, and it can write where its workers can. It ends with its main process: what
that leaves behind is killed with its control group (`KillMode=mixed`).

It is a `oneshot`: of any other kind of service systemd takes an end by SIGTERM, SIGINT, SIGHUP or SIGPIPE for a success
(systemd 252 and 257, `is_clean_exit`). That kind has `TimeoutStartSec` for its time limit.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from ..host import child_process, layout, masking, output
from ..host.command import ANSWER, SYSTEM_PATH, CommandFailed, TimedOut, outcome_of, run, start
from . import app_units, unit_names

#: Exists where systemd is the init.
SYSTEMD = "/run/systemd/system"

#: Seconds between SIGTERM, at its time limit, and SIGKILL.
STOP_SECONDS = 5

#: Seconds that systemd may take more than it was told to, before we end the unit ourselves.
PATIENCE = 30

#: Among processes of the app that want more memory than there is, a command goes first, and what serves goes on.
OOM_SCORE = 1000

#: What systemd says of a process that it could not begin (systemd.exec(5)); a command may end with these itself.
NOT_BEGUN = {200: "CHDIR", 203: "EXEC", 216: "GROUP", 217: "USER", 226: "NAMESPACE", 228: "SECCOMP"}

#: It reads a script on its standard input.
SHELL = "/bin/sh"

#: Numbers for units, of which one process makes several at once.
_serial = itertools.count(1)

#: What systemd changes in the arguments of a transient unit. At every daemon-reload it reads the unit again from the file
#: that it made of it, and takes `\\$` and `\\;` (systemd 252) or `$$` (257) for the arguments themselves. Whoever reloads
#: between the request for a command and its beginning gave it other arguments.
CHANGED = re.compile(r"[\r$;]")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    #: Empty where all is well.
    outcome: str
    timed_out: bool
    #: Its exit status, where it ended by itself.
    status: int | None
    said: output.Tail
    answer: output.Tail | output.Whole


@dataclass(frozen=True)
class Service:
    """A service for one command of *app*."""

    app: str
    what: str
    cwd: str
    #: Seconds.
    timeout: float
    #: What it can write to beside what the app's workers can.
    writable: tuple[str, ...] = ()
    #: `run` for a command that somebody has given; all others are parts of a deploy.
    kind: str = unit_names.COMMAND

    def run(
        self, argv: Sequence[str], env: Mapping[str, str], stdin: IO[bytes] | None, whole: int | None = None
    ) -> Outcome:
        """Run *argv* with *env* and wait for its end; see `run_as`. Raises CommandFailed where nothing can run."""
        unit = f"app_{self.app}_{self.kind}@{time.time_ns()}-{next(_serial)}.service"
        refused = memory_refused(self.app)
        try:
            with self._prepared(unit, argv, env, stdin) as (command, given):
                ended = self._end_of(unit, command, given, whole)
                # A shell that finds nothing on its standard input ends well.
                if stdin is None and ended.code == 0 and _is_unread(given):
                    raise OSError("systemd did not pass the command to the shell that runs it")
        except (OSError, ValueError, KeyError) as error:
            raise CommandFailed(self.what, " ".join(argv), str(error), "") from error
        if ended.code == 0:
            return Outcome("", False, 0, ended.said, ended.answer)
        state = _state(unit)
        _systemctl("reset-failed", unit)
        return self._failed(ended, state, refused)

    def _end_of(
        self, unit: str, command: Sequence[str], stdin: IO[bytes], whole: int | None
    ) -> child_process.Ended:
        """Run the *command* that starts *unit* and waits for it."""

        def end(by_itself: bool) -> None:
            if not by_itself:
                _systemctl("kill", "--signal=KILL", unit)
                child_process.kill_group(process)

        process = start(command, "/", {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}, stdin, whole)
        with process:
            return child_process.end_of(process, self.timeout + STOP_SECONDS + PATIENCE, whole, end)

    @contextlib.contextmanager
    def _prepared(
        self, unit: str, argv: Sequence[str], env: Mapping[str, str], stdin: IO[bytes] | None
    ) -> Iterator[tuple[list[str], IO[bytes]]]:
        """The command that has systemd run *argv*, and its standard input.

        They hold in the block: systemd reads the environment when it gets to it.
        """
        lines = [*app_units.sandbox(self.app), *self._lines()]
        if stdin is None:
            # systemd shows the properties and the arguments of units to everybody, and changes arguments.
            text = script(argv, env)
            with _in_memory(text) as file:
                yield self._command(unit, lines, [SHELL]), file
            return
        if changed := [word for word in argv if CHANGED.search(word)]:
            raise ValueError(
                f"systemd may change the argument {changed[0]!r}: it has a $, a ; or a carriage return"
            )
        # Its standard input is its own, and with a credential in it (`uv_settings`) the first program has to be uv, which
        # the app's user cannot read: any other could be looked into by the app's processes until it becomes uv, and they
        # would take the pipe. systemd reads this file as root, before the command begins, and shows its name.
        with _in_memory(environment_file(env)) as file:
            lines.append(f"EnvironmentFile=/proc/{os.getpid()}/fd/{file.fileno()}")
            yield self._command(unit, lines, argv), stdin

    def _lines(self) -> list[str]:
        """Lines of `[Service]` beside those of the sandbox."""
        writable = [path for path in (*self.writable, self.cwd) if self._is_its_own(path)]
        return [
            *([f"ReadWritePaths={' '.join(writable)}"] if writable else []),
            f"WorkingDirectory={self.cwd}",
            f"TimeoutStartSec={self.timeout:.1f}",
            f"TimeoutStopSec={STOP_SECONDS}",
            "KillMode=mixed",
            f"OOMScoreAdjust={OOM_SCORE}",
            f"SyslogIdentifier={self.app}-{self.kind}",
        ]

    def _is_its_own(self, path: str) -> bool:
        """Whether *path* belongs to the app: what is sealed is root's, and stays closed to writing in every way."""
        return os.lstat(path).st_uid == pwd.getpwnam(self.app).pw_uid

    def _command(self, unit: str, lines: Sequence[str], argv: Sequence[str]) -> list[str]:
        return [
            *("systemd-run", "--quiet", "--pipe", "--wait", "--service-type=oneshot", f"--unit={unit}"),
            f"--description={self.app}: {masking.hidden(self.what)}",
            *(f"--property={line}" for line in lines),
            *("--", *argv),
        ]

    def _failed(self, ended: child_process.Ended, state: Mapping[str, str], refused: int) -> Outcome:
        """What became of a command that did not end well; *refused* is what `memory_refused` said before."""
        result, status = state.get("Result", ""), int(state.get("ExecMainStatus") or 0)
        by_signal = state.get("ExecMainCode") in ("2", "3")
        own = None if by_signal or ended.code is None else status
        text, timed_out = "", False
        if ended.too_much:
            text = ended.too_much
        elif ended.code is None or result == "timeout":
            text, timed_out = f"still running after {self.timeout:g} s", True
        elif result == "oom-kill" or (
            (status == 9 if by_signal else status == 137) and memory_refused(self.app) > refused
        ):
            text = (
                f"killed because memory ran out: limits.memory of {self.app} covers its commands and its "
                "serving processes together. Raise it, or make the command use less"
            )
        elif by_signal:
            text = outcome_of(-status)
        elif result == "exit-code":
            text = f"exit status {status}"
            if status in NOT_BEGUN:
                text += f", which systemd reports when it cannot start a command ({NOT_BEGUN[status]})"
        else:
            text = f"systemd-run: exit status {ended.code}{f', {result}' if result not in ('', 'success') else ''}"
        return Outcome(text, timed_out, own, ended.said, ended.answer)


def run_as(
    app: str,
    argv: Sequence[str],
    *,
    what: str,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
    shown_as: str | None = None,
    stdin: IO[bytes] | None = None,
    writable: Sequence[str] = (),
    whole: int | None = None,
) -> str:
    """As `run` of host/command.py, as a process of *app*, which cannot gain privileges; what it leaves behind is ended.

    Where systemd is the init, the command is a service in the app's slice, within its limits and in the sandbox of its
    workers: it can write where they can, to *writable*, and to *cwd* when that belongs to the app. Elsewhere it dies with
    this process.
    """
    shown = shown_as or " ".join(argv)
    if not os.path.isdir(SYSTEMD):
        command = [*_as_user(app), *argv]
        return run(
            command,
            what=what,
            cwd=cwd,
            env=env,
            timeout=timeout,
            shown_as=shown,
            stdin=stdin,
            whole=whole,
            end_group=True,
        )
    environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **(env or {})}
    ended = Service(app, what, cwd or "/", timeout, tuple(writable)).run(argv, environment, stdin, whole)
    if ended.outcome:
        failed = TimedOut if ended.timed_out else CommandFailed
        raise failed(what, shown, ended.outcome, ended.said.text())
    return ended.answer.text()


def _as_user(user: str) -> list[str]:
    """What goes before a command, where there is no systemd, for it to be *user*'s."""
    identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    # The first keeps root's capabilities until it becomes the second. Were that a program which the user cannot read, as uv,
    # the kernel would let the user's other processes look into it all the same.
    return ["setpriv", *identity, "--no-new-privs", "--pdeathsig=KILL", "--", "setpriv", "--"]


# The environment


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[IO[bytes]]:
    """A file with *content* that has no name, and is in no directory."""
    with os.fdopen(os.memfd_create("emperor-stack"), "w+b") as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file


def _is_unread(file: IO[bytes]) -> bool:
    """Whether those who share the open *file* have left something of it."""
    return os.lseek(file.fileno(), 0, os.SEEK_CUR) < os.fstat(file.fileno()).st_size


def script(argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    """What a shell reads to become *argv* with *env*, every value byte for byte.

    In braces: the shell runs nothing of it before it has read all of it.
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    text = "\n".join(["{", *lines, f"exec {shlex.join(argv)} </dev/null", "}", ""])
    return text.encode(errors="surrogateescape")


def environment_file(env: Mapping[str, str]) -> bytes:
    """*env* as systemd reads it (systemd.exec(5), EnvironmentFile=). Raises ValueError for a value that it would drop."""
    lines = []
    for name, value in env.items():
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", value):
            raise ValueError(
                f"the variable {name} has a control character, which systemd does not pass to a process"
            )
        escaped = re.sub(r'(["\\$`])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines).encode()


# systemd


def _systemctl(*words: str) -> None:
    """What may be too late, and is no failure then."""
    with contextlib.suppress(CommandFailed):
        run(["systemctl", *words], what=f"systemctl {words[0]}", timeout=60)


def _state(unit: str) -> dict[str, str]:
    """How *unit* ended. It may still run where only the connection to systemd was lost, as by a restart of that."""
    names = "LoadState,ActiveState,Result,ExecMainCode,ExecMainStatus"
    for _ in range(10 * PATIENCE):
        try:
            said = run(
                ["systemctl", "show", f"--property={names}", unit], what="systemctl show", whole=ANSWER
            )
        except CommandFailed:
            said = ""
        state = dict(line.partition("=")[::2] for line in said.splitlines())
        if state.get("ActiveState") in ("inactive", "failed"):
            return {} if state.get("LoadState") == "not-found" else state
        time.sleep(0.1)
    _systemctl("kill", "--signal=KILL", unit)
    return {}


def memory_refused(app: str) -> int:
    """How often processes of *app* were killed for want of memory, or on cgroup v1 its slice has reached its limit."""
    for base, name in (
        ("/sys/fs/cgroup", "memory.events"),
        ("/sys/fs/cgroup/memory", "memory.failcnt"),
    ):
        with contextlib.suppress(OSError, ValueError):
            path = f"{base}/apps.slice/{layout.app_slice(app)}/{name}"
            with open(path, encoding="ascii") as file:
                text = file.read()
            return int(text if name == "memory.failcnt" else re.findall(r"^oom_kill (\d+)$", text, re.M)[0])
    return 0


def end_left(app: str) -> None:
    """End what deploys that died have left running of *app*'s commands; its workers, and what somebody runs, stay."""
    if left := unit_names.command_units(app):
        _systemctl("kill", "--signal=KILL", *left)
        _systemctl("stop", *left)
        _systemctl("reset-failed", *left)
