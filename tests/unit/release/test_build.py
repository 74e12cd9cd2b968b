"""Making a release: what can be asked without a network, uv or other users."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.release import build, furnishing
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest

RELEASE = "20261122T193000-ab12cd3"
ENTRY = Path(__file__).resolve().parents[3] / "roles/python_apps/files/entry.py"


def test_fill_puts_the_release_in(host: Path) -> None:
    text = "@RELEASE@ @RELEASE_DIRECTORY@/code @OTHER@"
    assert build.fill(text, "blog", RELEASE) == f"{RELEASE} {layout.releases('blog')}/{RELEASE}/code @OTHER@"


# Files of the app


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_take_the_place_of_what_the_source_has(host: Path, as_myself: None) -> None:
    code, outside = host / "code", host / "outside"
    (code / "conf").mkdir(parents=True)
    outside.write_text("kept")
    (code / "conf/a.ini").write_text("the source's")
    (code / "conf/b.ini").symlink_to(outside)
    files = {"conf/a.ini": "it's $(id) `x` é\n", "conf/b.ini": "b", "new/deep/c": "", "-x": "no option"}
    furnishing.furnish("blog", str(code), files, [])
    assert {name: (code / name).read_text() for name in files} == files
    assert outside.read_text() == "kept"
    assert all(mode(code / name) == 0o640 for name in files)
    (code / "conf/d").mkdir()
    with pytest.raises(CommandFailed, match="conf/d: failed") as caught:
        furnishing.furnish("blog", str(code), {"a": "", "conf/d": "secret text", "z": ""}, [])
    assert "secret text" not in str(caught.value)


# Another Python


@pytest.mark.parametrize(
    ("changes", "python", "pins"),
    [
        ({}, "3.13", {"six": "1.16.0"}),
        ({"own_server": "pyuwsgi==2.0.29"}, "3.11", {"six": "1.16.0"}),
        ({}, "3.11", {}),
        ({"revision": "b" * 40}, "3.13", {}),
        ({"fingerprint": f"2:{'g' * 64}"}, "3.13", {}),
    ],
    ids=["only the Python", "only its own uWSGI", "nothing", "the code too", "the settings too"],
)
def test_what_serves_is_kept_where_only_the_python_changes(
    host: Path,
    manifest: Callable[..., Manifest],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    python: str,
    pins: dict[str, str],
) -> None:
    state = AppState("blog")
    os.makedirs(layout.release("blog", RELEASE))
    state.save(manifest(RELEASE, own_server=changes.get("own_server", "")))
    Path(layout.release("blog", RELEASE), "requirements.lock").write_text("six==1.16.0\n")
    monkeypatch.setattr(AppState, "live_release", lambda self: RELEASE)
    wanted = {"revision": "a" * 40, "fingerprint": f"2:{'f' * 64}", **changes}
    spec = {"fingerprint": wanted["fingerprint"]}
    assert build._pins(state, spec, wanted["revision"], python) == pins


# Persistent directories


@pytest.mark.parametrize(
    ("in_code", "outside", "expected"),
    [
        ({"seed.txt": "seed"}, {}, {"seed.txt": "seed"}),
        ({"seed.txt": "seed"}, {"kept.txt": "kept"}, {"kept.txt": "kept"}),
        (None, {}, {}),
        ("link", {}, {}),
    ],
    ids=["seeded", "not over what is kept", "not in the source", "a link in the source"],
)
def test_a_persistent_directory_takes_the_place_of_the_sources(
    host: Path, as_myself: None, in_code: Any, outside: dict[str, str], expected: dict[str, str]
) -> None:
    code = host / "code"
    code.mkdir()
    place = code / "var/media"
    kept = Path(layout.shared("blog"), "var/media")
    kept.mkdir(parents=True)
    for name, content in outside.items():
        (kept / name).write_text(content)
    if in_code == "link":
        place.parent.mkdir()
        place.symlink_to("/etc")
    elif in_code is not None:
        place.mkdir(parents=True)
        for name, content in in_code.items():
            (place / name).write_text(content)
    furnishing.furnish("blog", str(code), {"x": "before", "y": ""}, [{"path": "var/media"}])
    assert (code / "x").read_text() == "before"
    assert os.readlink(place) == str(kept)
    assert {path.name: path.read_text() for path in kept.iterdir()} == expected


@pytest.mark.parametrize(
    ("in_code", "outside", "expected"),
    [("seed", None, "seed"), ("seed", "kept", "kept"), (None, None, None), ("link", None, None)],
    ids=["seeded", "not over what is kept", "not in the source", "a link in the source"],
)
def test_a_persistent_file_takes_the_place_of_the_sources(
    host: Path, as_myself: None, in_code: str | None, outside: str | None, expected: str | None
) -> None:
    """SQLite makes it, and its journal beside it, in a directory that the app may write to."""
    code, kept = host / "code", Path(layout.shared("blog"), "db.sqlite3")
    code.mkdir()
    kept.mkdir(parents=True)
    if outside is not None:
        (kept / "db.sqlite3").write_text(outside)
    if in_code == "link":
        (code / "db.sqlite3").symlink_to("/etc/passwd")
    elif in_code is not None:
        (code / "db.sqlite3").write_text(in_code)
    furnishing.furnish("blog", str(code), {}, [{"path": "db.sqlite3"}], ["db.sqlite3"])
    assert os.readlink(code / "db.sqlite3") == str(kept / "db.sqlite3")
    found = (kept / "db.sqlite3").read_text() if (kept / "db.sqlite3").exists() else None
    assert found == expected
    if expected is None:
        with contextlib.closing(sqlite3.connect(code / "db.sqlite3")) as database:
            database.execute("CREATE TABLE x (y)")
        assert (kept / "db.sqlite3").stat().st_size > 0


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "this is a file of the source: name it in persistent_files"),
        (["x"], "this is a directory of the source"),
    ],
)
def test_a_file_is_no_directory(host: Path, as_myself: None, files: list[str], says: str) -> None:
    code = host / "code"
    code.mkdir()
    if files:
        (code / "x").mkdir()
    else:
        (code / "x").write_text("")
    Path(layout.shared("blog"), "x").mkdir(parents=True)
    with pytest.raises(CommandFailed, match=says):
        furnishing.furnish("blog", str(code), {}, [{"path": "x"}], files)


# On disk before it is vouched for


@pytest.fixture
def prepared(host: Path, as_myself: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`prepared(hooks={…})`: prepare a release without network, uv or server; returns what was done, in order."""
    calls: list[str] = []

    def recorded(name: str, makes: str = "") -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            calls.append(name)
            if makes:
                os.makedirs(f"{layout.release('blog', RELEASE)}/{makes}", exist_ok=True)
            return [] if name == "build_venv" else ""

        return call

    for module, name, makes in (
        (build.checks, "check_host", ""),
        (build.checks, "check_server", ""),
        (build, "run_as", ""),
        (build, "sync", ""),
        (build.fetch, "fetch", "code"),
        (build.release_venv, "python_version", ""),
        (build.release_venv, "build_venv", "venv"),
    ):
        monkeypatch.setattr(module, name, recorded(name, makes))
    monkeypatch.setattr(build.release_venv, "freeze", lambda *_: "six==1.16.0\n")
    monkeypatch.setattr(build.environment, "run_line", lambda *words: calls.append(words[3]))
    real = AppState.save
    monkeypatch.setattr(AppState, "save", lambda self, made: (calls.append("save"), real(self, made)))
    os.makedirs(layout.APPS, exist_ok=True)
    spec = {
        "name": "blog",
        "source": {"path": "x"},
        "server": "uwsgi",
        "hooks": {"before_prepare": [], "after_prepare": []},
        "build": [],
        "persistent_directories": [],
        "static_files": [],
        "environment": {},
        "workers": {},
        "schedule": {},
        "wsgi": "wsgi",
        "paste": None,
        "entry": "",
        "launch": "",
        "import_check": "",
        "web": {"preload": True},
        "server_files": {},
        "units": {},
        "requirements": None,
        "health": {"timeout": 5},
        "fingerprint": "f" * 64,
        "domains": ["blog.example.com"],
        "migrate": None,
        "limits": {"request_timeout": 60},
        "on_demand": False,
        "path": "/",
        "python": None,
    }

    def prepare(**changes: Any) -> list[str]:
        build.prepare({**spec, **changes}, "a" * 40, RELEASE, {}, calls.append)
        return calls

    return prepare


def test_the_manifest_comes_after_all_of_the_release_is_on_disk(prepared: Callable[..., list[str]]) -> None:
    """A power cut leaves a whole release or none: what the manifest vouches for is synced first, and nothing comes later."""
    calls = prepared()
    assert calls[-2:] == ["sync", "save"]
    assert {"fetch", "build_venv", "check_server"} <= set(calls[:-2])
    assert AppState("blog").manifest(RELEASE) is not None


@pytest.mark.parametrize(("live", "runs"), [(None, True), ("20261101T000000-aaaaaaa", False)])
def test_the_setup_runs_before_the_first_check_and_never_again(
    prepared: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, live: str | None, runs: bool
) -> None:
    monkeypatch.setattr(AppState, "live_release", lambda self: live)
    calls = prepared(hooks={"before_prepare": [], "after_prepare": ["x"], "setup": ["make tables"]})
    assert ("hook setup" in calls) is runs
    if runs:
        assert calls.index("hook after_prepare") < calls.index("hook setup") < calls.index("check_server")


# entry.py


@pytest.mark.parametrize(
    ("app", "wsgi", "says"),
    [
        ("import os\ndef application(e, s): pass\nassert os.environ['A'] == '1'", "app:application", None),
        ("class X: pass\nx = X()\nx.y = print", "app:x.y", None),
        ("application = print", "app", None),
        ("application = 3", "app:application", "is 3, which cannot be called"),
        ("", "app:application", "has no attribute 'application'"),
        ("import nothing_there", "app:application", "No module named 'nothing_there'"),
        ("def (", "app:application", "SyntaxError"),
        (
            "import sys\nsys.path.insert(0, {other!r})\nimport older\napplication = print",
            "app",
            "another release",
        ),
    ],
)
@pytest.mark.parametrize(
    ("words", "environment"),
    [(["--check"], {}), ([], {"EMPEROR_STACK_CHECK": "1"})],
    ids=["word", "variable"],
)
def test_the_entry_checks_the_app(
    tmp_path: Path, app: str, wsgi: str, says: str | None, words: list[str], environment: dict[str, str]
) -> None:
    mine, other = tmp_path / "releases/r2", tmp_path / "releases/r1/code"
    (mine / "code").mkdir(parents=True)
    other.mkdir(parents=True)
    (other / "older.py").write_text("")
    (mine / "code/app.py").write_text(app.replace("{other!r}", repr(str(other))))
    for name in ("entry.py", "import_check.py"):
        (mine / name).write_text(ENTRY.with_name(name).read_text())
    (mine / "environment.json").write_text(
        json.dumps({"environment": {"A": "1", "APP_RELEASE": "r2"}, "wsgi": wsgi, "paste": None})
    )
    result = subprocess.run(
        [sys.executable, "-B", str(mine / "entry.py"), *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode == 0) is (says is None), result.stderr
    assert (says or "") in result.stderr
