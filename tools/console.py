"""How the tools talk: one line per step, one line with a remedy per failure."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence


class Stop(Exception):
    """Something is missing or in the way: what it is, and what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy}"


def step(text: str) -> None:
    """Say what is being done."""
    print(f"==> {text}", flush=True)


def note(text: str) -> None:
    """A detail of the step above."""
    print(f"    {text}", flush=True)


def last_lines(text: str, count: int = 5) -> str:
    """The end of a command's output on one line, for a failure message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "no output"


def run(
    command: Sequence[str],
    *,
    timeout: float | None = None,
    check: bool = True,
    input: str | None = None,
    env: dict[str, str] | None = None,
    cwd: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run *command* and keep its output. A failure raises `Stop` with the command and its last words."""
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=input,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL if input is None else None,
            check=False,
        )
    except FileNotFoundError:
        if check:
            raise Stop(f"{command[0]} is not installed", f"Install {command[0]} and try again.") from None
        return subprocess.CompletedProcess(list(command), 127, "", f"{command[0]}: not found")
    except subprocess.TimeoutExpired:
        if check:
            raise Stop(
                f"`{' '.join(command)}` gave no answer in {timeout:g} s", "Run it by hand to see why."
            ) from None
        return subprocess.CompletedProcess(list(command), 124, "", "timed out")
    if check and done.returncode:
        reason = last_lines(done.stderr or done.stdout)
        raise Stop(
            f"`{' '.join(command)}` failed with exit code {done.returncode}: {reason}",
            "Run it by hand to see all of its output.",
        )
    return done


def wait_for(condition: Callable[[], bool], seconds: float, pause: float = 0.2) -> bool:
    """Poll *condition* until it holds or *seconds* have passed."""
    end = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(pause)


def command(main: Callable[[list[str]], int | None]) -> None:
    """Run *main* as a program: `Stop` becomes one line on stderr and exit code 1."""
    try:
        sys.exit(main(sys.argv[1:]) or 0)
    except Stop as stop:
        print(f"error: {stop}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print(
            "\nerror: interrupted. Run the same command again; it goes on where it stopped.", file=sys.stderr
        )
        sys.exit(130)
