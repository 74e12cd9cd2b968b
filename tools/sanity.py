"""ansible-test sanity, on the collection as it is built: those tests that need no container.

ansible-test keeps an environment per test, for which it would fetch packages by version alone. Here they come from
requirements/sanity.txt, with hashes: they are installed once, and the program by which ansible-test gets pip, which it takes
from its cache where there is one, copies them. pip then finds all that it is asked for, and may ask no index.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from . import collection
from .console import Stop, command, last_lines, note, run, step
from .project import CACHE, ROOT, VENV
from .setup import NETWORK, compile_lock, environment

LOCK = ROOT / "requirements" / "sanity.txt"
#: The home directory of ansible-test, so that it writes nothing outside of this checkout.
HOME = CACHE / "sanity"
STAMP = HOME / ".locked"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

#: Tests that are left out, each with its reason.
LEFT_OUT: Mapping[str, str] = {
    "changelog": "reads the fragments of antsibull-changelog; CHANGELOG.md is written by hand",
    "pylint": "takes longer than all other tests of `make lint`, and wants `dummy` where the custom is `_`",
}

#: Findings that contradict a decision of this project, by a part of their text, each with its reason. All of them are there.
DECIDED: Mapping[str, str] = {
    ": missing-gplv3-license: ": "the licence is MIT",
    ": unexpected non-module shebang: b'#!/": "root's programs on hosts name their interpreter by its path",
}

COPY = """\
# Written by tools/sanity.py. ansible-test runs it to get pip.
import os, shutil, sysconfig
shutil.copytree({primed!r}, sysconfig.get_path("purelib"), copy_function=os.link, dirs_exist_ok=True)
"""


def pip_version() -> str:
    """The pip that ansible-test asks for, which it says nowhere else."""
    from ansible_test._internal.python_requirements import get_venv_packages

    return get_venv_packages(SimpleNamespace(version=PYTHON))["pip"]


def requirements() -> list[str]:
    """What the tests need, a `name==version` each."""
    import ansible_test

    found = {f"pip=={pip_version()}"}
    for path in (Path(ansible_test.__path__[0]) / "_data" / "requirements").glob("sanity.*.txt"):
        if path.name.split(".")[1] not in LEFT_OUT:
            lines = path.read_text().splitlines()
            found |= {line for line in lines if line and not line.startswith("#")}
    return sorted(found)


def lock() -> None:
    """Lock what the tests of the installed ansible-core need."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted:
        wanted.write("\n".join(requirements()) + "\n")
        wanted.flush()
        compile_lock(Path(wanted.name), LOCK)


def ensure() -> None:
    """Make the home directory of ansible-test from what is locked."""
    fingerprint = hashlib.sha256(LOCK.read_bytes() + PYTHON.encode()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == fingerprint:
        return
    step(f"Installing what requirements/{LOCK.name} locks")
    shutil.rmtree(HOME, ignore_errors=True)
    uv, primed = str(VENV / "bin" / "uv"), HOME / "primed"
    run([uv, "venv", "--quiet", "--python", sys.executable, str(primed)], env=environment())
    sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(primed / "bin" / "python")]
    done = run([*sync, str(LOCK)], check=False, env=environment())
    if done.returncode:
        raise Stop(f"uv could not install the locked packages: {last_lines(done.stderr, 3)}", NETWORK)
    (HOME / ".ansible" / "test" / "cache").mkdir(parents=True)
    program = HOME / ".ansible" / "test" / "cache" / f"get_pip_{pip_version().replace('.', '_')}.py"
    program.write_text(COPY.format(primed=str(primed / "lib" / f"python{PYTHON}" / "site-packages")))
    (HOME / ".config" / "pip").mkdir(parents=True)
    (HOME / ".config" / "pip" / "pip.conf").write_text("[global]\nno-index = true\n")
    STAMP.write_text(fingerprint)


def decided(finding: str) -> str | None:
    """Why *finding*, a line `path:line:column: text`, is none; nothing where it is one."""
    return next((reason for text, reason in DECIDED.items() if text in finding), None)


def findings(place: Path, tests: Sequence[str]) -> list[str]:
    """What the *tests*, or all of them, find in the collection at *place*, a line each."""
    ensure()
    chosen = [f"--test={name}" for name in tests] or [f"--skip-test={name}" for name in LEFT_OUT]
    done = run(
        ["ansible-test", "sanity", "--lint", "--failure-ok", "--color=no", "--python", PYTHON, *chosen],
        check=False,
        env={**os.environ, "HOME": str(HOME), "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"},
        cwd=str(place),
    )
    if done.returncode:
        raise Stop(f"ansible-test could not go on: {last_lines(done.stderr, 4)}", "See above.")
    if skipped := re.findall(r"Skipping sanity test .*", done.stderr):
        raise Stop(skipped[0], "Install what is missing: a test that is skipped finds nothing.")
    return done.stdout.splitlines()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.sanity", description=__doc__)
    parser.add_argument("--lock", action="store_true", help="write requirements/sanity.txt anew")
    parser.add_argument("tests", nargs="*", help="default: all but those that are left out")
    options = parser.parse_args(arguments)
    if options.lock:
        step(f"Locking requirements/{LOCK.name}")
        lock()
        return 0
    with tempfile.TemporaryDirectory() as directory:
        step("Building the collection, and running ansible-test sanity on it")
        place = collection.install(collection.build(ROOT, Path(directory)), Path(directory))
        found = findings(place, options.tests)
    left = [line for line in found if not decided(line)]
    if left:
        print("\n".join(left))
        raise Stop(f"ansible-test sanity found {len(left)} things", "Put them right; see above.")
    passed = Counter(map(decided, found))
    for reason, count in passed.items():
        note(f"passed over {count}: {reason}")
    if not options.tests and passed.keys() != set(DECIDED.values()):
        raise Stop("a finding of DECIDED is no longer there", f"Remove it from {Path(__file__).name}.")
    return 0


if __name__ == "__main__":
    command(main)
