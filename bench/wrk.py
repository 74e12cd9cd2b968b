"""wrk, the load generator of Debian, on a test host's own loopback: what it says, read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools.console import Stop, run

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}

#: Nanoseconds on a processor of all that runs in the control groups of these names.
PROCESSOR = """
import glob, sys
for key in sys.argv[1:]:
    total = 0
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if key in open(path + "/cgroup").read():
                total += sum(int(open(one).read().split()[0]) for one in glob.glob(path + "/task/*/schedstat"))
        except OSError:
            pass
    print(total)
"""

_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_PERCENTILE = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_WRONG = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


@dataclass(frozen=True)
class Said:
    """One run: requests per second, latency in milliseconds, answers that were wrong or did not come."""

    rate: float
    p50: float
    p99: float
    failed: int


def parse(text: str) -> Said:
    """What wrk printed. Raises ValueError when it is not that."""
    rate = _RATE.search(text)
    latency = {name: float(number) * UNITS[unit] for name, number, unit in _PERCENTILE.findall(text)}
    if not rate or set(latency) != {"50", "99"}:
        raise ValueError(f"wrk said: {text}")
    wrong, errors = _WRONG.search(text), _ERRORS.search(text)
    failed = int(wrong.group(1)) if wrong else 0
    failed += sum(map(int, errors.groups())) if errors else 0
    return Said(float(rate.group(1)), latency["50"], latency["99"], failed)


def load(name: str, url: str, host: str, connections: int, seconds: int) -> Said:
    """Load *url* on host *name* with so many kept connections."""
    words = [
        "docker",
        "exec",
        name,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "--timeout",
        "30s",
    ]
    said = parse(run([*words, "-H", f"Host: {host}", url], timeout=seconds + 60).stdout)
    if not said.rate:
        raise Stop(
            f"{url} (Host {host}) answered nothing in {seconds} s",
            "Is this machine busy with something else?",
        )
    if said.failed:
        raise Stop(
            f"{said.failed} requests to {url} (Host {host}) failed under load",
            "A rate of failures means nothing: see the server's log.",
        )
    return said


def processor(name: str, groups: Sequence[str]) -> list[int]:
    """Nanoseconds of processor that the processes in each of *groups* have had so far."""
    said = run(["docker", "exec", name, "python3", "-c", PROCESSOR, *groups]).stdout
    return [int(line) for line in said.split()]
