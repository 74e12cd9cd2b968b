"""Follow a process: read what it prints in pieces, and come back when it has ended, whatever else holds its pipes open."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import output

#: Read at once.
_PIECE = 64 * 1024

#: The most that a pipe holds (fs.pipe-max-size of Debian): what is read of it after its process has ended.
_PIPE = 1024 * 1024

Readers = Mapping[int, Callable[[bytes], None]]


@dataclass
class Ended:
    """How a process ended, and what it printed."""

    #: Negative for a signal. None where it was ended: at its time limit, or because it printed too much.
    code: int | None
    #: All of its output; standard error alone where standard output was asked for as a whole.
    said: output.Tail
    answer: output.Tail | output.Whole
    too_much: str = ""


def end_of(
    process: subprocess.Popen[bytes], timeout: float, whole: int | None, end: Callable[[bool], None]
) -> Ended:
    """Wait for *process*, *timeout* seconds at most. *whole* is as `command.run` has it.

    *end* is called before its status is asked, with whether it has ended by itself: it ends what there is left.
    """
    said = output.Tail()
    answer = said if whole is None else output.Whole(whole)
    pipes = ((process.stdout, answer.add), (process.stderr, said.add))
    readers = {pipe.fileno(): add for pipe, add in pipes if pipe is not None}
    ended, too_much = False, ""
    try:
        ended = follow(process, readers, timeout)
    except output.TooMuch as error:
        too_much = str(error)
    finally:
        end(ended)
    code = process.wait()
    try:
        drain(readers)
    except output.TooMuch as error:
        too_much = str(error)
    return Ended(code if ended and not too_much else None, said, answer, too_much)


def follow(process: subprocess.Popen[bytes], readers: Readers, timeout: float) -> bool:
    """Hand what *process* prints to *readers*, until it has ended. False when it runs after *timeout* seconds.

    An end of its pipes is not waited for: what it left behind may hold them open for ever. Its status is left to be asked,
    so that nothing else can have its number meanwhile.
    """
    deadline = time.monotonic() + timeout
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            for descriptor in readers:
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                for descriptor in ready - {ended}:
                    if _read(descriptor, readers[descriptor]) == 0:
                        selector.unregister(descriptor)
                if ended in ready:
                    return True
    finally:
        os.close(ended)
    return False


def drain(readers: Readers) -> None:
    """Read what is in the pipes of a process that has ended, without waiting for more."""
    for descriptor, add in readers.items():
        left = _PIPE
        while left > 0 and (read := _read(descriptor, add)):
            left -= read


def _read(descriptor: int, add: Callable[[bytes], None]) -> int | None:
    """Bytes that were read: 0 at the end, None where there is nothing now."""
    try:
        part = os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None
    if part:
        add(part)
    return len(part)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all of the process group that *process* leads; before its status is asked, or the number may be another's."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
