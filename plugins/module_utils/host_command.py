"""Run commands on a host: as an app's user, with a time limit, and with an error that shows what they said."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

#: How much of a command's output an error message carries, in lines.
OUTPUT_LINES = 25

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
    deploy leaves no build behind. *timeout* is in seconds; its whole process group is ended then.
    Raises CommandFailed.
    """
    command = list(argv)
    if user is not None:
        command = [
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
        raise CommandFailed(
            what, shown, f"still running after {timeout:g} s", raw.decode(errors="replace")
        ) from None
    output = raw.decode(errors="replace")
    if process.returncode != 0:
        code = process.returncode
        outcome = f"ended by {_signal_name(-code)}" if code < 0 else f"exit status {code}"
        raise CommandFailed(what, shown, outcome, output)
    return output


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run_shell(command: str, **options: object) -> str:
    """Run a command line of the app's owner through the shell; see `run`."""
    return run(["/bin/sh", "-ec", command], shown_as=command, **options)  # type: ignore[arg-type]
