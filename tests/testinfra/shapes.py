"""Code of apps in the shapes that people bring: by what their dependencies are named, and where their modules lie."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from deploying import HERE

ECHO = HERE / "apps" / "echo" / "app.py"
FILES = HERE / "sources" / "files" / "shapes"

_PYLOCK = """lock-version = "1.0"
created-by = "tests"
[[packages]]
name = "vendored"
version = "1.0"
wheels = [{{path = "wheels/{name}", hashes = {{sha256 = "{digest}"}}}}]
"""


def shape(directory: Path, name: str, module: str = "app.py") -> Path:
    """The code of app *name*: its files of dependencies, and an app that tells what it is made of as *module*."""
    code = directory / f"shape-{name}"
    if (FILES / name).is_dir():
        shutil.copytree(FILES / name, code)
    (code / module).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(ECHO, code / module)
    return code


def wheel(directory: Path, name: str) -> Path:
    """A wheel of package *name*, version 1.0, in *directory*."""
    directory.mkdir(parents=True)
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(f"{name}.py", "")
        made.writestr(
            f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        made.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def pylocked(directory: Path) -> Path:
    """An app with a pylock.toml, whose package lies beside it."""
    code = shape(directory, "pylocked")
    made = wheel(code / "wheels", "vendored")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    (code / "pylock.toml").write_text(_PYLOCK.format(name=made.name, digest=digest))
    return code


def uv_locked(directory: Path) -> Path:
    """An app with a uv.lock, and a .python-version that differs in its last part from any Python there is."""
    code = shape(directory, "locked")
    (code / "pyproject.toml").write_text(
        '[project]\nname = "locked"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six==1.17.0"]\n'
    )
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "lock", "--quiet", "--python", sys.executable]
    subprocess.run(command, cwd=code, check=True, env={**os.environ, "UV_SYSTEM_CERTS": "1"})
    (code / ".python-version").write_text("3.13.77\n")
    return code


def flat(directory: Path, name: str) -> Path:
    """An app whose code setuptools would not build: two packages lie side by side."""
    code = shape(directory, name)
    for package in ("links", "pages"):
        (code / package).mkdir()
        (code / package / "__init__.py").write_text("")
    return code


def one_of(name: str, code: Path, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": str(code)},
        "wsgi": "app:application",
        "web": {"processes": 1, "threads": 1},
        "health": {"timeout": 60},
        **settings,
    }
