"""Making a release: what can be asked without a network, uv or other users."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils import (
    emperor_check,
    host_command,
    layout,
    release_build,
)
from ansible_collections.emperor.stack.plugins.module_utils.host_command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.release_source import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release_state import AppState, Manifest

RELEASE = "20261122T193000-ab12cd3"
ENTRY = Path(__file__).resolve().parents[3] / "roles/python_apps/files/entry.py"


# Environment


def test_the_platform_has_the_last_word_on_its_own_names() -> None:
    found = release_build.app_environment(
        "blog", "r", "v", {"APP_RELEASE": "x", "LANG": "C", "PYTHONUTF8": "0", "A": "1"}
    )
    assert found == {
        "A": "1",
        "APP_NAME": "blog",
        "APP_RELEASE": "r",
        "APP_REVISION": "v",
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
    }


def test_a_command_of_the_app_sees_its_environment_and_its_venv_first(host: Path) -> None:
    directory = layout.release("blog", RELEASE)
    os.makedirs(directory)
    Path(directory, "environment.json").write_text(
        json.dumps({"environment": {"A": "1", "PATH": "/evil", "HOME": "/"}})
    )
    found = release_build.command_environment("blog", RELEASE)
    assert found["A"] == "1"
    assert found["PATH"].startswith(f"{directory}/venv/bin:")
    assert found["HOME"] == layout.cache("blog")


def test_fill_puts_the_release_in(host: Path) -> None:
    text = "@RELEASE@ @RELEASE_DIRECTORY@/code @OTHER@"
    assert (
        release_build.fill(text, "blog", RELEASE)
        == f"{RELEASE} {layout.releases('blog')}/{RELEASE}/code @OTHER@"
    )


def test_a_release_is_loaded_by_the_uwsgi_that_will_serve_it(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which that is, the unit of the running emperor says."""
    ran: list[dict[str, Any]] = []
    monkeypatch.setattr(release_build, "run", lambda words, **how: ran.append({"words": words, **how}))
    asked: list[tuple[str, str]] = []

    def unit_property(emperor: str, name: str) -> str:
        asked.append((emperor, name))
        return "EMPEROR_STACK_UWSGI=/usr/local/lib/x-13-abc"

    monkeypatch.setattr(emperor_check, "unit_property", unit_property)
    monkeypatch.setattr(emperor_check, "running_emperor", lambda: "b")
    release_build.check_vassal("blog", str(host), 5)
    assert asked == [("b", "Environment")]
    assert ran[0]["env"]["EMPEROR_STACK_UWSGI"] == "/usr/local/lib/x-13-abc"
    assert "--no-server" in ran[0]["words"]


def test_a_host_of_an_earlier_version_is_named_as_such(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_build, "START_UWSGI", str(host / "start-uwsgi"))
    release_build.check_host("gunicorn")
    with pytest.raises(release_build.ReleaseError, match=r"run site\.yml first"):
        release_build.check_host("uwsgi")
    (host / "start-uwsgi").touch()
    release_build.check_host("uwsgi")


# Files of the app


def test_files_take_the_place_of_what_the_source_has(host: Path, as_myself: None) -> None:
    code, outside = host / "code", host / "outside"
    (code / "conf").mkdir(parents=True)
    outside.write_text("kept")
    (code / "conf/a.ini").write_text("the source's")
    (code / "conf/b.ini").symlink_to(outside)
    files = {"conf/a.ini": "it's $(id) `x` é\n", "conf/b.ini": "b", "new/deep/c": "", "-x": "no option"}
    release_build.write_files("blog", str(code), files)
    assert {name: (code / name).read_text() for name in files} == files
    assert outside.read_text() == "kept"
    assert all(mode(code / name) == 0o640 for name in files)
    (code / "conf/d").mkdir()
    with pytest.raises(CommandFailed, match="files: writing conf/d failed") as caught:
        release_build.write_files("blog", str(code), {"conf/d": "secret text"})
    assert "secret text" not in str(caught.value)


def test_a_command_that_says_a_secret_is_not_quoted(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_command, "_hidden", set())
    monkeypatch.setattr(
        release_build,
        "run_shell",
        lambda command, **options: host_command.run_shell(command, **{**options, "user": None, "cwd": "/"}),
    )
    os.makedirs(layout.release("blog", RELEASE))
    Path(layout.release("blog", RELEASE), "environment.json").write_text(
        json.dumps({"environment": {"KEY": "hunter22", "OPEN": "visible"}, "secrets": ["KEY"]})
    )
    said = release_build.run_app_command("blog", RELEASE, 'echo "$KEY $OPEN"', "build")
    assert said == "******** visible\n"
    with pytest.raises(CommandFailed) as caught:
        release_build.run_app_command("blog", RELEASE, 'echo "$KEY"; exit 1', "build")
    assert "hunter22" not in str(caught.value)


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
    assert release_build._pins(state, spec, wanted["revision"], python) == pins


# Ownership


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("before", "is_directory", "group_write", "after"),
    [
        (0o644, False, False, 0o640),
        (0o600, False, False, 0o640),
        (0o755, False, False, 0o750),
        (0o4755, False, False, 0o750),
        (0o666, False, True, 0o640),
        (0o444, False, True, 0o640),
        (0o777, True, False, 0o750),
        (0o2755, True, False, 0o750),
        (0o700, True, True, 0o750),
    ],
)
def test_modes_of_a_tree(
    tmp_path: Path, before: int, is_directory: bool, group_write: bool, after: int
) -> None:
    path = tmp_path / "tree/sub/it"
    path.parent.mkdir(parents=True)
    path.mkdir() if is_directory else path.write_text("")
    path.chmod(before)
    release_build.own_tree(str(tmp_path / "tree"), os.getuid(), os.getgid(), group_write)
    assert mode(path) == after
    assert mode(tmp_path / "tree") == mode(tmp_path / "tree/sub") == 0o750


def test_what_a_link_points_at_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_text("")
    for path, bits in ((outside, 0o711), (outside / "deep", 0o711), (outside / "file", 0o604)):
        path.chmod(bits)
    top = tmp_path / "tree"
    top.mkdir()
    (top / "file").symlink_to(outside / "file")
    (top / "directory").symlink_to(outside)
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "fifo")
    release_build.own_tree(str(top), os.getuid(), os.getgid())
    assert (mode(outside), mode(outside / "deep"), mode(outside / "file")) == (0o711, 0o711, 0o604)


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
    release_build.link_persistent("blog", [{"path": "var/media"}], str(code))
    assert os.readlink(place) == str(kept)
    assert {path.name: path.read_text() for path in kept.iterdir()} == expected


# Static files


def item(url: str, path: str, persistent: bool = False) -> dict[str, Any]:
    return {"url": url, "path": path, "directory": url.endswith("/"), "persistent": persistent}


@pytest.fixture
def code(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(release_build, "own_tree", lambda *_: None)
    top = host / "code"
    (top / "staticfiles/css").mkdir(parents=True)
    (top / "staticfiles/css/a.css").write_text("a")
    (top / "robots.txt").write_text("r")
    return top


def test_files_are_laid_out_as_their_urls(host: Path, code: Path) -> None:
    (code / "staticfiles/leak").symlink_to("/etc/passwd")
    (code / "staticfiles/leaks").symlink_to("/etc")
    public = host / "public"
    files = [
        item("/assets/v1/", "staticfiles"),
        item("/media/", "media", persistent=True),
        item("/robots.txt", "robots.txt"),
    ]
    release_build.publish("blog", str(code), str(public), files)
    found = sorted(path.relative_to(public).as_posix() for path in public.rglob("*"))
    assert found == ["assets", "assets/v1", "assets/v1/css", "assets/v1/css/a.css", "media", "robots.txt"]
    assert os.readlink(public / "media") == f"{layout.shared('blog')}/media"


def test_the_apps_may_live_behind_a_link(host: Path, code: Path) -> None:
    (host / "link").symlink_to(host)
    release_build.publish(
        "blog", str(host / "link/code"), str(host / "public"), [item("/r.txt", "robots.txt")]
    )
    assert (host / "public/r.txt").read_text() == "r"


@pytest.mark.parametrize("target", ["/etc", "../outside", "../code-of-another"])
def test_a_link_out_of_the_source_is_refused(host: Path, code: Path, target: str) -> None:
    for name in ("outside", "code-of-another"):
        (host / name).mkdir()
    (code / "leak").symlink_to(target)
    with pytest.raises(ReleaseError, match="static /s/: leak is a link that leads out of the source"):
        release_build.publish("blog", str(code), str(host / "public"), [item("/s/", "leak")])


@pytest.mark.parametrize(
    ("url", "path", "says"),
    [
        ("/s/", "nothing", "no directory nothing after its build"),
        ("/s/", "robots.txt", r"no directory robots\.txt"),
        ("/s.txt", "staticfiles", "no file staticfiles"),
        ("/s.txt", "nothing", "no file nothing"),
    ],
)
def test_static_files_that_the_build_did_not_make(
    host: Path, code: Path, url: str, path: str, says: str
) -> None:
    with pytest.raises(ReleaseError, match=f"static {url}: the release has {says}.*add the `build:` command"):
        release_build.publish("blog", str(code), str(host / "public"), [item(url, path)])


# Migrations


def test_the_digest_changes_with_migrations_alone(tmp_path: Path) -> None:
    def digest() -> str:
        return release_build.migrations_digest(str(tmp_path))

    (tmp_path / "app/migrations").mkdir(parents=True)
    (tmp_path / "alembic/versions").mkdir(parents=True)
    seen = [digest()]
    for name in ("app/migrations/0001.py", "alembic/versions/ab.py", "app/migrations/0002.sql"):
        (tmp_path / name).write_text("x")
        seen.append(digest())
    (tmp_path / "app/migrations/0001.py").write_text("y")
    seen.append(digest())
    (tmp_path / "app/migrations/0001.py").rename(tmp_path / "app/migrations/0003.py")
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    for name in ("app/views.py", "app/migrations/README", "app/migrations/0001.pyc"):
        (tmp_path / name).write_text("x")
    (tmp_path / "app/migrations/gone.py").symlink_to("nowhere")
    assert digest() == seen[-1]


def test_a_disk_that_is_nearly_full(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release_build.check_space()
    monkeypatch.setattr(release_build, "NEEDED_BYTES", 2**70)
    with pytest.raises(ReleaseError, match="MiB left and a build wants"):
        release_build.check_space()


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
    (mine / "entry.py").write_text(ENTRY.read_text())
    (mine / "environment.json").write_text(
        json.dumps(
            {"environment": {"A": "1"}, "wsgi": wsgi, "paste": None, "app": {"name": "blog", "home": "/"}}
        )
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
