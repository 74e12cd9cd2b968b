"""Measure, and write bench/report: `make bench`, or a part of it by `make bench PART=served`.

Each part keeps its numbers in bench/report/results.json, with its date and what the machine was, and the report is written
from all of them: a part that is run alone replaces its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ansible.release

from tools import engine, image
from tools.console import Stop, command, note, run, step
from tools.project import ROOT

from . import beside, controller, converge, defaults, density, instructions, push, report, served, written
from .hosts import Fleet, fleet, inside

REPORT = Path(__file__).resolve().parent / "report"
RESULTS = REPORT / "results.json"

Part = Callable[[Fleet, int, bool], dict[str, Any]]


def measure_served(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    rounds, seconds = (2, 1) if quick else (12, 2)
    name = served.host(hosts, debian)
    step("Pages, at 32 connections")
    loaded = served.measure(name, rounds, seconds)
    step("Pages, at 2 connections, for the latency without a queue")
    calm = served.measure(
        name, 1 if quick else 3, 1 if quick else 2, connections=2, only=("stack", "best", "gunicorn")
    )
    step("Static files, and a burst")
    files = served.static(name, 2 if quick else 5, 1 if quick else 2)
    result = {
        "loaded": asdict(loaded),
        "calm": asdict(calm),
        "static": asdict(files),
        "zero_copy": served.zero_copy(name),
        "burst": served.burst(name),
        "sizes": served.sizes(name, "hello"),
        "versions": versions(name),
    }
    hosts.remove(name)
    return result


def measure_defaults(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    name = served.host(hosts, debian)
    found = asdict(defaults.measure(name, 2 if quick else 10, 1 if quick else 2))
    hosts.remove(name)
    return found


def measure_instructions(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    name = served.host(hosts, debian)
    found = instructions.count(name, 100 if quick else 1000)
    hosts.remove(name)
    return {"counted": found}


def measure_density(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    steps, repeats = ((1, 10), 1) if quick else (density.STEPS, 3)
    return asdict(density.measure(hosts, debian, steps, repeats))


def measure_hosts(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    return {"seconds": density.over_hosts(hosts, debian, 2 if quick else 4, 1 if quick else 3)}


def measure_converge(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    return asdict(converge.measure(hosts, debian, 1 if quick else 3, 1 if quick else 3))


def measure_push(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    return asdict(push.measure(hosts, debian, 2 if quick else 7))


def measure_beside(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    return asdict(beside.measure(hosts, debian, beside.QUICK if quick else beside.Size()))


def measure_controller(hosts: Fleet, debian: int, quick: bool) -> dict[str, Any]:
    return {"check": controller.measure(1 if quick else 3)}


#: In the order of a run: what must be quiet comes first.
PARTS: dict[str, Part] = {
    "served": measure_served,
    "defaults": measure_defaults,
    "converge": measure_converge,
    "push": measure_push,
    "beside": measure_beside,
    "density": measure_density,
    "hosts": measure_hosts,
    "instructions": measure_instructions,
    "controller": measure_controller,
}

#: Parts under one name: `peers` has this bundle beside others, the best by hand and bare installs.
TOGETHER = {"peers": ("served", "converge", "beside")}


def chosen(names: Sequence[str]) -> list[str]:
    """The parts of these names, each once; all without a name. Raises Stop for a name that is none."""
    unknown = sorted(set(names) - set(PARTS) - set(TOGETHER))
    if unknown:
        raise Stop(
            f"there is no part {', '.join(unknown)}", f"Choose from: {', '.join([*PARTS, *TOGETHER])}."
        )
    return list(dict.fromkeys(part for name in names or PARTS for part in TOGETHER.get(name, (name,))))


def versions(name: str) -> dict[str, str]:
    """What was measured, as the host names it."""
    uwsgi = served.uwsgi("/srv/apps/hello/active/release")
    lines = inside(
        name,
        f"nginx -v 2>&1; {uwsgi} --version; python3 --version; /srv/bench/venv/bin/gunicorn --version; uname -r;"
        " . /etc/os-release; echo $PRETTY_NAME; dpkg-query -W -f '${Version}\\n' wrk; stat -fc %T /sys/fs/cgroup",
    ).splitlines()
    keys = ("nginx", "uWSGI", "Python", "gunicorn", "kernel", "host", "wrk", "cgroups")
    found = {key: line.rpartition("/")[2] for key, line in zip(keys, lines, strict=True)}
    # "Python 3.13.5", "gunicorn (version 27.0.1)"
    named = ("Python", "gunicorn")
    found["cgroups"] = "v2" if found["cgroups"] == "cgroup2fs" else "v1"
    return {key: text.rpartition(" ")[2].rstrip(")") if key in named else text for key, text in found.items()}


def machine() -> dict[str, Any]:
    """What the numbers of this run depend on."""
    text = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": os.cpu_count(),
        "processor": model,
        "memory_gib": round(memory),
        "load_before": round(os.getloadavg()[0], 1),
        "commit": run(["git", "rev-parse", "--short", "HEAD"], cwd=str(ROOT), check=False).stdout.strip(),
        "ansible": ansible.release.__version__,
        "python": platform.python_version(),
    }


def results() -> dict[str, Any]:
    try:
        known = json.loads(RESULTS.read_text())
    except FileNotFoundError:
        return {}
    found = dict(written.readable(known))
    for part in known.keys() - found.keys():
        note(
            f"part {part} was measured in another way by an earlier bench: the report is without it until it is measured"
        )
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join([*PARTS, *TOGETHER])}; default: all")
    parser.add_argument("--debian", type=int, default=13, choices=sorted(image.SUITES))
    parser.add_argument(
        "--quick", action="store_true", help="few short runs, to see that it works; no report"
    )
    options = parser.parse_args(arguments)
    parts = chosen(options.parts)
    engine.ensure()
    image.ensure(options.debian)
    known = results()
    for part in parts:
        step(f"Part {part}")
        said = machine() | {"debian": options.debian}
        began = time.monotonic()
        with fleet() as hosts:
            found = PARTS[part](hosts, options.debian, options.quick)
        known[part] = json.loads(json.dumps(said | {"minutes": (time.monotonic() - began) / 60} | found))
        if not options.quick:
            report.write(REPORT, {RESULTS.name: json.dumps(known, indent=1) + "\n"})
        print(report.figures(written.figures({part: known[part]})), flush=True)
        if not options.quick:
            report.write(REPORT, written.files(known))
            step(f"Wrote {REPORT.relative_to(ROOT)}/README.md")
    return 0


if __name__ == "__main__":
    command(main)
