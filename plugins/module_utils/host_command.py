"""Run commands on a host: as an app's user, with a time limit, and with an error that shows what they said."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from . import child_process, output
from .masking import hidden, hide

__all__ = ["ANSWER", "SYSTEM_PATH", "CommandFailed", "TimedOut", "hidden", "hide", "run", "run_shell", "tail"]

#: How much of a command's output an error message carries, in lines.
OUTPUT_LINES = 25

#: Exists where systemd is the init.
SYSTEMD = "/run/systemd/system"

#: Numbers for scopes, of which one process makes several at once.
_serial = itertools.count(1)

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
    user: str | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
    shown_as: str | None = None,
    stdin: IO[bytes] | None = None,
    whole: int | None = None,
) -> str:
    """Run *argv* and return the end of what it printed (`output.KEPT_BYTES`), standard error included, as messages show it.

    With *whole*: its whole standard output, untouched, which is an error where it has more than so many bytes.

    As *user* it has that user's group alone and can gain no privilege; it dies with this process, so that a killed
    deploy leaves no build behind. Where systemd runs, it is among the apps' processes and within their limits. *timeout* is
    in seconds. It has ended when its process has; what that leaves of its group or scope is ended then.
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
            # The first keeps root's capabilities until it becomes this one. Were that a program which the user cannot read,
            # as uv, the kernel would let the user's other processes look into it all the same.
            "setpriv",
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
            stderr=subprocess.STDOUT if whole is None else subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(what, shown, str(error), "") from error
    with process:
        return _followed(process, what, shown, timeout, whole, scope, ends_group=user is not None)


def _followed(
    process: subprocess.Popen[bytes],
    what: str,
    shown: str,
    timeout: float,
    whole: int | None,
    scope: str,
    ends_group: bool,
) -> str:
    """What *process* printed until its end; see `run`."""
    said = output.Tail()
    answer = said if whole is None else output.Whole(whole)
    pipes = ((process.stdout, answer.add), (process.stderr, said.add))
    readers = {pipe.fileno(): add for pipe, add in pipes if pipe is not None}
    too_much = ""
    try:
        ended = child_process.follow(process, readers, timeout)
    except output.TooMuch as error:
        ended, too_much = False, str(error)
    except BaseException:
        child_process.kill_group(process)
        raise
    if ends_group or not ended:
        child_process.kill_group(process)
        if scope:
            _end_scope(scope)
    code = process.wait()
    if ended:
        try:
            child_process.drain(readers)
        except output.TooMuch as error:
            too_much = str(error)
    if too_much:
        raise CommandFailed(what, shown, too_much, said.text())
    if not ended:
        raise TimedOut(what, shown, f"still running after {timeout:g} s", said.text())
    if code != 0:
        outcome = f"ended by {child_process.signal_name(-code)}" if code < 0 else f"exit status {code}"
        raise CommandFailed(what, shown, outcome, said.text())
    return answer.text()


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


def run_shell(command: str, **options: object) -> str:
    """Run a command line of the app's owner through the shell; see `run`."""
    return run(["/bin/sh", "-ec", command], **{"shown_as": command, **options})  # type: ignore[arg-type]
