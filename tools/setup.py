"""The controller's own Python: `.venv` with exactly what requirements/controller.txt locks.

Runs on the system's Python and its standard library alone, old ones included, to say what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import system
from .console import Stop, command, last_lines, note, run, step
from .project import CACHE, ROOT, VENV

MINIMUM = (3, 11)
LOCK = ROOT / "requirements" / "controller.txt"
INPUT = ROOT / "requirements" / "controller.in"
#: Tools that read apps' locks on hosts: each has an input here and its lock in the role.
LOCK_TOOLS = ROOT / "requirements" / "lock_tools"
LOCKS_OF_TOOLS = ROOT / "roles" / "python_apps" / "files" / "lock_tools"
STAMP = VENV / ".locked"


def locked(lock: str, package: str) -> str:
    """The part of *lock* that pins *package*, with its hashes: a requirements file of its own."""
    match = re.search(rf"^{re.escape(package)}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    if not match:
        raise Stop(f"{LOCK} does not lock {package}", f"Add {package} to {INPUT} and run `make lock`.")
    return match.group().rstrip("\\\n ") + "\n"


def candidates() -> list[str]:
    """Pythons to try, the one that runs this first."""
    names = [f"python3.{minor}" for minor in range(20, MINIMUM[1] - 1, -1)]
    return [sys.executable, *(path for path in map(shutil.which, names) if path)]


def version(python: str) -> tuple[int, int] | None:
    done = run([python, "-c", "import sys; print(*sys.version_info[:2])"], check=False, timeout=30)
    words = done.stdout.split()
    return (int(words[0]), int(words[1])) if done.returncode == 0 and len(words) == 2 else None


def choose_python() -> str:
    for python in candidates():
        if (version(python) or (0, 0)) >= MINIMUM:
            return python
    raise Stop(
        f"no Python {MINIMUM[0]}.{MINIMUM[1]} or newer found ({sys.executable} is {sys.version.split()[0]})",
        "Install one, or name it: make PYTHON=/path/to/python3.11 …",
    )


def environment() -> dict[str, str]:
    """The caller's environment, with uv trusting what the system trusts: a company's proxy has its own CA."""
    return {"UV_SYSTEM_CERTS": "1", "UV_NO_PROGRESS": "1", **os.environ}


def bootstrap_uv(python: str) -> str:
    """The locked uv, in a venv of its own that Python's own tools make."""
    place = CACHE / "uv"
    uv = place / "bin" / "uv"
    if run([str(uv), "--version"], check=False).returncode == 0:
        return str(uv)
    if run([python, "-c", "import ensurepip, venv"], check=False).returncode:
        system.apt_install(["python3-venv"], f"{python} cannot make virtual environments")
    step("Fetching uv")
    shutil.rmtree(place, ignore_errors=True)
    run([python, "-m", "venv", str(place)])
    pin = place / "uv.txt"
    pin.write_text(locked(LOCK.read_text(), "uv"))
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    done = run([*pip, "-r", str(pin)], check=False)
    if done.returncode:
        raise Stop(f"pip could not fetch uv: {last_lines(done.stderr, 1)}", NETWORK)
    return str(uv)


NETWORK = (
    "Check that this machine reaches a Python package index, and its proxy settings (HTTPS_PROXY, PIP_CERT)."
)


def find_uv(python: str) -> str:
    for path in (shutil.which("uv"), str(VENV / "bin" / "uv")):
        # A shim on PATH may exist and not work: ask it.
        if path and run([path, "--version"], check=False, timeout=30).returncode == 0:
            return path
    return bootstrap_uv(python)


def fingerprint() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def is_current() -> bool:
    try:
        return STAMP.read_text() == fingerprint() and (VENV / "bin" / "python").exists()
    except OSError:
        return False


def ensure() -> bool:
    """Make sure that `.venv` is what the lock says. True when something had to be done."""
    if is_current():
        return False
    python = choose_python()
    system.require_disk(str(ROOT), 1500, "the controller's Python environment")
    uv = find_uv(python)
    interpreter = VENV / "bin" / "python"
    if not interpreter.exists() or (version(str(interpreter)) or (0, 0)) < MINIMUM:
        step(f"Making .venv with {python}")
        run([uv, "venv", "--quiet", "--clear", "--python", python, str(VENV)], env=environment())
    step("Installing what requirements/controller.txt locks")
    sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(interpreter), str(LOCK)]
    done = run(sync, check=False, env=environment())
    if done.returncode:
        raise Stop(f"uv could not install the locked packages: {last_lines(done.stderr, 3)}", NETWORK)
    compile_bytecode(interpreter)
    STAMP.write_text(fingerprint())
    return True


def compile_bytecode(interpreter: Path) -> None:
    """Compile what every run of ansible-playbook imports.

    uv does not, and where bytecode may not be written (PYTHONDONTWRITEBYTECODE, a .venv of another user) each run would
    compile hundreds of files anew. Collections are left out: they are many, and Ansible compiles them by itself.
    """
    wanted = "import os, ansible; print(os.path.dirname(os.path.dirname(ansible.__file__)))"
    packages = run([str(interpreter), "-c", wanted], check=False).stdout.strip()
    command = [str(interpreter), "-m", "compileall", "-q", "-j", "0", "-x", "/(ansible_collections|test)/"]
    # Some packages bring files that are no Python: whatever cannot be compiled is compiled, or fails, when it is imported.
    run([*command, packages], check=False)


def compile_lock(wanted: Path, into: Path, *more: str) -> None:
    """Lock what the file *wanted* asks for: for every platform, with hashes, without a word on where packages came from."""
    compile_wanted = [
        find_uv(choose_python()), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate",
        "--no-header", "--no-emit-index-url", "--no-emit-find-links",
        f"--python-version={MINIMUM[0]}.{MINIMUM[1]}", *more,
        f"--output-file={into}", str(wanted),
    ]  # fmt: skip
    # A local directory of wheels would put hashes into the lock that nobody else can fetch.
    env = {
        name: value
        for name, value in environment().items()
        if name not in {"PIP_FIND_LINKS", "UV_FIND_LINKS"}
    }
    run(compile_wanted, env=env, cwd=str(ROOT))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tools.setup", description=__doc__)
    parser.add_argument(
        "--lock",
        action="store_true",
        help="write requirements/controller.txt and the locks of tools for the hosts anew",
    )
    if parser.parse_args(arguments).lock:
        step("Locking requirements/controller.txt")
        compile_lock(INPUT, LOCK, "--upgrade")
        for wanted in sorted(LOCK_TOOLS.glob("*.in")):
            step(f"Locking {wanted.stem} for the hosts")
            compile_lock(wanted, LOCKS_OF_TOOLS / f"{wanted.stem}.txt", "--upgrade")
    elif ensure():
        note(f"ready: {Path(VENV).name}/bin")
    return 0


if __name__ == "__main__":
    command(main)
