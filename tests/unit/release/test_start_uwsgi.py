"""What the emperor's wrapper starts in a release's Python, with modules that stand for uWSGI's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles/uwsgi_emperor/files/start-uwsgi"

PYUWSGI = """
import os, sys

def run():
    import setproctitle
    print("argv", sys.argv[1:])
    print("path", [p for p in sys.path if p.startswith({top!r})])
    print("title", setproctitle.title, flush=True)
    if os.fork() == 0:
        print("title", setproctitle.title, flush=True)
        os._exit(0)
    os.wait()
"""

SETPROCTITLE = """
title = ""

def setproctitle(text):
    global title
    title = text
"""


@pytest.fixture
def start(tmp_path: Path) -> list[str]:
    """The command, with its files under *tmp_path*."""
    text = PROGRAM.read_text()
    for path, name in (("/usr/local/lib/emperor-stack/uwsgi", "library"), ("/usr/bin/uwsgi", "debians")):
        assert text.count(f'"{path}"') == 1
        text = text.replace(f'"{path}"', repr(str(tmp_path / name)))
    (tmp_path / "start-uwsgi").write_text(text)
    (tmp_path / "debians").write_text('#!/bin/sh\necho debians "$@"\n')
    (tmp_path / "debians").chmod(0o755)
    release = tmp_path / "apps/blog/releases/20261123T100000-abc"
    release.mkdir(parents=True)
    (release / "vassal.ini").touch()
    (tmp_path / "blog@7.ini").symlink_to(release / "vassal.ini")
    return [sys.executable, str(tmp_path / "start-uwsgi"), "--ini", str(tmp_path / "blog@7.ini")]


def said(words: list[str]) -> list[str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_becomes_uwsgi_and_leaves_the_app_nothing_of_ours(start: list[str], tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "pyuwsgi.py").write_text(PYUWSGI.format(top=str(tmp_path)))
    (library / "setproctitle.py").write_text(SETPROCTITLE)
    name = "blog 20261123T100000-abc uWSGI"
    # Neither the directory of the program nor that of the library.
    assert said(start) == [f"argv {start[2:]}", "path []", f"title {name} master", f"title {name} worker"]


def test_it_is_debians_where_the_python_has_no_such_extension(start: list[str]) -> None:
    assert said(start) == [f"debians --plugin python3 --ini {start[-1]}"]
