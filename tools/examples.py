"""Run the own tests of each example app, in an environment made of that app's requirements and pytest."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .console import Stop, command, last_lines, run, step
from .project import CACHE, ROOT, VENV
from .setup import NETWORK, environment

EXAMPLES = ROOT / "examples"


def names() -> list[str]:
    return sorted(path.name for path in EXAMPLES.iterdir() if (path / "tests").is_dir())


def requirements(app: Path) -> list[list[str]]:
    """What to install, as arguments of one `uv pip install` each: the app's own needs, then the tests'."""
    if (app / "requirements.txt").exists():
        return [["-r", str(app / "requirements.txt")], ["pytest"]]
    return [["--editable", f"{app}[dev]"]]


def fingerprint(app: Path) -> str:
    """Changes when what the app needs does."""
    parts = [
        (app / name).read_bytes() for name in ("requirements.txt", "pyproject.toml") if (app / name).exists()
    ]
    return hashlib.sha256(b"\0".join([str(app).encode(), *parts])).hexdigest()


def ensure(app: Path) -> Path:
    """The Python of the environment of *app*, made anew when its requirements changed."""
    place = CACHE / "examples" / app.name
    python, stamp = place / "bin" / "python", place / ".installed"
    if stamp.exists() and stamp.read_text() == fingerprint(app):
        return python
    uv = str(VENV / "bin" / "uv")
    run(
        [uv, "venv", "--quiet", "--clear", "--python", str(VENV / "bin" / "python"), str(place)],
        env=environment(),
    )
    for arguments in requirements(app):
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *arguments]
        done = run(install, check=False, env=environment())
        if done.returncode:
            raise Stop(f"uv could not install what {app.name} needs: {last_lines(done.stderr, 3)}", NETWORK)
    stamp.write_text(fingerprint(app))
    return python


def test(app: Path) -> bool:
    step(f"Testing examples/{app.name}")
    # Its own directory is where each app's pytest settings and package are found.
    pytest = [str(ensure(app)), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(pytest, cwd=app, stdin=subprocess.DEVNULL, check=False).returncode == 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.examples", description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names()))
    if unknown:
        raise Stop(f"there is no example {', '.join(unknown)}", f"Choose from: {', '.join(names())}.")
    failed = [name for name in options.names or names() if not test(EXAMPLES / name)]
    if failed:
        raise Stop(f"the tests of {', '.join(failed)} failed", "See above.")
    return 0


if __name__ == "__main__":
    command(main)
