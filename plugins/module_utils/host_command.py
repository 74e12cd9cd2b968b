"""Run commands on a host: as an app's user, with a time limit, and with an error that shows what they said."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

#: How much of a command's output an error message carries, in lines.
OUTPUT_LINES = 25

#: Exists where systemd is the init.
SYSTEMD = "/run/systemd/system"

#: Numbers for scopes, of which one process makes several at once.
_serial = itertools.count(1)

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


#: Values that no message may show, and what a command prints least of all; see `hide`.
_hidden: set[str] = set()

#: A shorter value is a common word, and hiding it would garble the messages.
SHORTEST_HIDDEN = 4


def hide(values: Iterable[str]) -> None:
    """From now on `hidden` masks *values*: whole, line by line, and as Python and JSON quote them."""
    for value in values:
        for text in (value, *value.splitlines()):
            forms = (
                text,
                repr(text)[1:-1],
                json.dumps(text)[1:-1],
                json.dumps(text, ensure_ascii=False)[1:-1],
            )
            _hidden.update(form for form in forms if len(form.strip()) >= SHORTEST_HIDDEN)


def hidden(text: str) -> str:
    """*text* with asterisks in the place of what `hide` was told."""
    for value in sorted(_hidden, key=len, reverse=True):
        text = text.replace(value, "********")
    return text


class CommandFailed(Exception):
    """A command ended with an error or was still running at its time limit."""

    def __init__(self, what: str, command: str, outcome: str, output: str) -> None:
        self.what = what
        # Before it is cut: half of a secret would not be recognised.
        self.output = tail(hidden(output))
        message = f"{what} failed ({outcome}): {command}"
        super().__init__(f"{message}\n{self.output}" if self.output else message)


class TimedOut(CommandFailed):
    """It was still running at its time limit."""


def tail(text: str, lines: int = OUTPUT_LINES) -> str:
    """The last *lines* lines of *text* that are not empty."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def run(
    argv: Sequence[str],
    *,
    what: str,
    user: str | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
    shown_as: str | None = None,
    stdin: IO[bytes] | None = None,
) -> str:
    """Run *argv* and return what it printed, standard error included.

    As *user* it has that user's group alone and can gain no privilege; it dies with this process, so that a killed
    deploy leaves no build behind. Where systemd runs, it is among the apps' processes and within their limits, and what it
    leaves running is ended with it. *timeout* is in seconds; its whole process group is ended then.
    Raises CommandFailed.
    """
    command = list(argv)
    scope = (
        f"app_{user}_command.{os.getpid()}.{next(_serial)}.scope" if user and os.path.isdir(SYSTEMD) else ""
    )
    if user is not None:
        command = [
            *(_in_scope(scope) if scope else ()),
            "setpriv",
            f"--reuid={user}",
            f"--regid={user}",
            "--clear-groups",
            "--no-new-privs",
            "--pdeathsig=KILL",
            "--",
            *command,
        ]
    shown = shown_as or " ".join(argv)
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd or "/",
            env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **(env or {})},
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(what, shown, str(error), "") from error
    try:
        raw = _output_of(process, what, shown, timeout)
    finally:
        if scope:
            _end_scope(scope)
    output = raw.decode(errors="replace")
    if process.returncode != 0:
        code = process.returncode
        outcome = f"ended by {_signal_name(-code)}" if code < 0 else f"exit status {code}"
        raise CommandFailed(what, shown, outcome, output)
    return output


def _in_scope(scope: str) -> list[str]:
    """What goes before a command, for it to run in *scope*. Not in the app's own slice: builds take more than the app."""
    return ["systemd-run", "--scope", "--quiet", "--collect", "--slice=apps.slice", f"--unit={scope}", "--"]


def _end_scope(scope: str) -> None:
    """End what the command has left running; a scope without processes is gone already."""
    subprocess.run(
        ["systemctl", "kill", "--signal=KILL", scope],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _output_of(process: subprocess.Popen[bytes], what: str, shown: str, timeout: float) -> bytes:
    """What *process* printed until its end. Raises CommandFailed when it is still running after *timeout* seconds."""
    try:
        raw, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raw = b""
        # What left the process group may hold the pipe open for ever.
        try:
            raw, _ = process.communicate(timeout=2)
        except subprocess.TimeoutExpired as left:
            raw = left.output or b""
        raise TimedOut(
            what, shown, f"still running after {timeout:g} s", raw.decode(errors="replace")
        ) from None
    return raw


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run_shell(command: str, **options: object) -> str:
    """Run a command line of the app's owner through the shell; see `run`."""
    return run(["/bin/sh", "-ec", command], shown_as=command, **options)  # type: ignore[arg-type]
