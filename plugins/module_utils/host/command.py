"""Run commands on a host: with a time limit, and with an error that shows what they said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from . import child_process, output

#: How much of a command's output an error message carries, in lines.
OUTPUT_LINES = 25

#: Bytes that a program of the host may answer with, where all of the answer is read.
ANSWER = 8 * 1024 * 1024

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandFailed(Exception):
    """A command ended with an error or was still running at its time limit."""

    def __init__(self, what: str, command: str, outcome: str, said: str) -> None:
        self.what = what
        # Before it is cut: half of a secret would not be recognised.
        self.output = tail(output.shown(said))
        message = f"{what} failed ({outcome}): {output.shown(command)}"
        super().__init__(f"{message}\n{self.output}" if self.output else message)


class TimedOut(CommandFailed):
    """It was still running at its time limit."""


def tail(text: str, lines: int = OUTPUT_LINES) -> str:
    """The last *lines* lines of *text* that are not empty, and no more characters than a message should have."""
    return output.last("\n".join([line for line in text.splitlines() if line.strip()][-lines:]))


def run(
    argv: Sequence[str],
    *,
    what: str,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
    shown_as: str | None = None,
    stdin: IO[bytes] | None = None,
    whole: int | None = None,
    end_group: bool = False,
) -> str:
    """Run *argv* and return the end of what it printed (`output.KEPT_BYTES`), standard error included, as messages show it.

    With *whole*: its whole standard output, untouched, which is an error where it has more than so many bytes.

    *timeout* is in seconds. It has ended when its own process has; with *end_group*, what that leaves behind in its process
    group is ended then. Raises CommandFailed. As an app, a command is run by `systemd/app_process.py`.
    """
    shown = shown_as or " ".join(argv)
    environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **(env or {})}
    try:
        process = start(argv, cwd or "/", environment, stdin, whole)
    except (OSError, ValueError) as error:
        raise CommandFailed(what, shown, str(error), "") from error

    def end(by_itself: bool) -> None:
        if end_group or not by_itself:
            child_process.kill_group(process)

    with process:
        done = child_process.end_of(process, timeout, whole, end)
    if done.too_much:
        raise CommandFailed(what, shown, done.too_much, done.said.text())
    if done.code is None:
        raise TimedOut(what, shown, f"still running after {timeout:g} s", done.said.text())
    if done.code != 0:
        raise CommandFailed(what, shown, outcome_of(done.code), done.said.text())
    return done.answer.text()


def start(
    command: Sequence[str], cwd: str, env: Mapping[str, str], stdin: IO[bytes] | None, whole: int | None
) -> subprocess.Popen[bytes]:
    """Start *command* in a process group of its own. Raises OSError and ValueError."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if whole is None else subprocess.PIPE,
        start_new_session=True,
    )


def outcome_of(code: int) -> str:
    """How a process ended, by the status that Python has of it."""
    return f"ended by {child_process.signal_name(-code)}" if code < 0 else f"exit status {code}"
