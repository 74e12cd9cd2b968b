"""Run Molecule scenarios side by side where memory allows, and sum up what their tests said."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import container, engine, figures, image, stocked
from .console import Stop, command, step
from .figures import COLOUR
from .project import LOGS, ROOT, VENV

MOLECULE = ROOT / "molecule"
#: What a scenario with two hosts needs at its peak, on the safe side.
MEGABYTES_PER_SCENARIO = 3000
AT_MOST = 3
#: What takes longest begins first, so that nothing long is left to run alone at the end.
LONGEST = (
    "fleet",
    "docs",
    "data",
    "hardened",
    "sources",
    "processes",
    "real_apps",
    "walls",
    "deploy",
    "tls",
    "front",
    "default",
    "many_apps",
    "chaos",
    "remove_app",
    "upgrade",
    "apache",
    "asgi",
    "traffic",
    "attacks",
    "gunicorn",
)

#: What only `make nightly` runs, or who names them: too long for each change.
NIGHTLY = ("upgrade_os",)

CLOSING = re.compile(r"=+ ((?:\d+ \w+(?:, )?)+) in [\d.]+s.*?=+")
COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")
#: Of pytest's report: the heading of a failed test, a line of its reason.
HEADING = re.compile(r"(?:^|│ )_{3,} (?P<test>\S.*?) _{3,}$")
REASON = re.compile(r"(?:^|│ )E {2,}(?P<text>\S.*)$")
REASONS_PER_TEST = 6


@dataclass(frozen=True)
class Result:
    name: str
    code: int
    seconds: float
    closing: str
    passed: int
    failed: int
    reasons: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return self.code == 0 and self.failed == 0


def names() -> list[str]:
    """All scenarios, in the order in which they are best begun."""
    scenarios = sorted(path.parent.name for path in MOLECULE.glob("*/molecule.yml"))
    return sorted(scenarios, key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))


def closing_line(output: str) -> str:
    """The last summary that pytest printed, without its frame."""
    lines = CLOSING.findall(COLOUR.sub("", output))
    return lines[-1] if lines else ""


def failures(output: str) -> tuple[str, ...]:
    """Each failed test with the first lines of its reason, indented below the test's name."""
    reasons: dict[str, list[str]] = {}
    test = ""
    for line in COLOUR.sub("", output).splitlines():
        if heading := HEADING.search(line):
            test = heading["test"]
        elif (reason := REASON.search(line)) and test:
            of_test = reasons.setdefault(test, [])
            if len(of_test) < REASONS_PER_TEST:
                of_test.append("    " + reason["text"][:300])
    return tuple(line for test, lines in reasons.items() for line in ("  " + test, *lines))


def judge(name: str, code: int, seconds: float, output: str) -> Result:
    """What a run means. One that fails without a failed test, or passes without any, counts as a failure."""
    closing = closing_line(output)
    counts = {"passed": 0, "failed": 0, "error": 0}
    for number, word in COUNT.findall(closing):
        counts[word.rstrip("s") if word.startswith("error") else word] += int(number)
    failed = counts["failed"] + counts["error"]
    if not failed and (code or not counts["passed"]):
        failed = 1
    return Result(name, code, seconds, closing or "no test ran", counts["passed"], failed, failures(output))


def side_by_side(available_megabytes: int, count: int) -> int:
    return max(1, min(AT_MOST, count, available_megabytes // MEGABYTES_PER_SCENARIO))


def available_megabytes() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 0


def environment() -> dict[str, str]:
    """For Molecule: our tools first on PATH, and lines that a log can be searched for."""
    plain = {} if sys.stdout.isatty() else {"NO_COLOR": "1", "PY_COLORS": "0", "ANSIBLE_NOCOLOR": "1"}
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, **plain, "PATH": path, "COLUMNS": "150"}


def clean_up(name: str) -> None:
    """Remove the test hosts of scenario *name*, however it ended."""
    for left in container.all_ours("container", f"emperor-stack.scenario={name}"):
        container.remove(left)


class Runner:
    def __init__(self, prefixed: bool) -> None:
        self.prefixed = prefixed
        self.printing = threading.Lock()
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.stopped = False

    def show(self, name: str, line: str) -> None:
        with self.printing:
            sys.stdout.write(f"[{name}] {line}" if self.prefixed else line)
            sys.stdout.flush()

    def run(self, name: str) -> Result:
        """Run one scenario to its end, its output to the log and, line by line, to the screen."""
        if self.stopped:
            return Result(name, 130, 0, "not run", 0, 1)
        started = time.monotonic()
        clean_up(name)
        lines = []
        with (LOGS / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                ["molecule", "test", "--scenario-name", name, "--destroy", "always"],
                cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            self.running[name] = process
            assert process.stdout is not None  # noqa: S101  (it was asked for)
            for line in process.stdout:
                log.write(line)
                lines.append(line)
                self.show(name, line)
            code = process.wait()
        del self.running[name]
        clean_up(name)
        output = "".join(lines)
        figures.record(output, f"scenario {name}")
        return judge(name, code, time.monotonic() - started, output)

    def stop(self) -> None:
        """End what runs. `run` then cleans up after each."""
        self.stopped = True
        for process in list(self.running.values()):
            os.killpg(process.pid, signal.SIGTERM)


def run_all(chosen: Sequence[str], jobs: int) -> list[Result]:
    runner = Runner(prefixed=len(chosen) > 1)

    def interrupt(number: int, _frame: object) -> None:
        runner.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(runner.run, chosen))


def summary(results: Sequence[Result]) -> str:
    width = max((len(result.name) for result in results), default=0)
    lines = [
        f"{'ok  ' if result.good else 'FAIL'}  {result.name.ljust(width)}  {result.closing} "
        f"({result.seconds:.0f} s, .state/logs/{result.name}.log)"
        for result in results
    ]
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    broken = [line for r in results if r.reasons for line in (f"{r.name}:", *r.reasons)]
    return "\n".join([*lines, *broken, f"{passed} passed, {failed} failed"])


def ensure_images(chosen: Sequence[str]) -> None:
    """Build the images that the scenarios' platforms name, and that are not there."""
    texts = "".join((MOLECULE / name / "molecule.yml").read_text() for name in chosen)
    named = set(re.findall(r"^\s*image: (\S+)", texts, re.MULTILINE))
    for debian in image.SUITES:
        if stocked.name(debian) in named:
            stocked.ensure(debian)
        elif image.name(debian) in named:
            image.ensure(debian)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.scenarios", description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all but the nightly ones")
    parser.add_argument(
        "--jobs", type=int, help=f"how many side by side (default: as memory allows, at most {AT_MOST})"
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names()))
    if unknown:
        raise Stop(f"there is no scenario {', '.join(unknown)}", f"Choose from: {', '.join(names())}.")
    chosen = options.names or [name for name in names() if name not in NIGHTLY]
    engine.ensure()
    ensure_images(chosen)
    LOGS.mkdir(parents=True, exist_ok=True)
    jobs = options.jobs or side_by_side(available_megabytes(), len(chosen))
    step(f"Running {', '.join(chosen)}" + (f", {jobs} side by side" if jobs > 1 else ""))
    results = run_all(chosen, jobs)
    print()
    print(summary(results))
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    command(main)
