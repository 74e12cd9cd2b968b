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
from ansible_collections.emperor.stack.plugins.module_utils import layout, release_build
from ansible_collections.emperor.stack.plugins.module_utils.release_build import UV, ReleaseError

RELEASE = "20261122T193000-ab12cd3"
ENTRY = Path(__file__).resolve().parents[3] / "roles/python_apps/files/entry.py"
A, B, C = "a" * 40, "b" * 40, "c" * 40


# git


@pytest.mark.parametrize(
    ("version", "is_one"),
    [
        (A, True),
        (A[:7], False),
        (A.upper(), False),
        (A + "a", False),
        (A + "\n", False),
        ("main", False),
        ("", False),
    ],
)
def test_what_is_a_commit(version: str, is_one: bool) -> None:
    assert release_build.is_commit(version) is is_one


@pytest.mark.parametrize(
    ("listing", "version", "commit"),
    [
        (f"{A}\trefs/heads/main\n", "main", A),
        (f"{A}\trefs/heads/v1\n{B}\trefs/tags/v1\n", "v1", B),
        (f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n", "v1", C),
        (f"{C}\trefs/heads/feature/main\n{A}\trefs/heads/main\n", "main", A),
        (f"{A}\tHEAD\n{B}\trefs/remotes/origin/HEAD\n", "HEAD", A),
        (f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n", "refs/tags/v1", C),
        (f"warning: redirecting\n{A}\trefs/heads/main\n", "main", A),
    ],
    ids=["branch", "tag first", "annotated", "not a suffix", "HEAD", "full name", "noise"],
)
def test_the_reference_that_a_version_names(listing: str, version: str, commit: str) -> None:
    assert release_build.pick_reference(listing, version, "url") == commit


@pytest.mark.parametrize("listing", ["", f"{A}\trefs/heads/x/main\n", "garbage"])
def test_a_version_that_the_remote_lacks(listing: str) -> None:
    with pytest.raises(ReleaseError, match=r"url has no branch or tag main\. Push it"):
        release_build.pick_reference(listing, "main", "url")


def test_a_commit_comes_from_a_repository_into_the_code(host: Path, git: Callable[..., str]) -> None:
    remote = host / "remote"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    (remote / "app.py").write_text("one")
    git(remote, "add", ".")
    git(remote, "commit", "-qm", "one")
    source = {"git": str(remote), "version": "main"}
    commit = release_build.resolve_git(source, None)
    assert commit == git(remote, "rev-parse", "HEAD")
    release_build.fetch_git("blog", source, None, commit, str(host / "code"))
    assert os.listdir(host / "code") == ["app.py"]
    # A killed git leaves its locks: nobody has to remove them by hand.
    repository = Path(layout.app_root("blog"), "repo.git")
    for lock in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
        (repository / lock).write_text("")
    release_build.fetch_git("blog", source, None, commit, str(host / "again"))
    with pytest.raises(ReleaseError, match=r"has no commit b.*Is it pushed"):
        release_build.fetch_git("blog", source, None, B, str(host / "none"))
    with pytest.raises(ReleaseError, match=r"Is source\.git right"):
        release_build.resolve_git({"git": str(host / "nothing"), "version": "main"}, None)


# venv


@pytest.mark.parametrize(
    ("requirements", "files", "expected"),
    [
        (None, [], []),
        (None, ["uv.lock", "requirements.txt", "pyproject.toml"], "sync"),
        (None, ["requirements.txt", "pyproject.toml"], "requirements.txt"),
        (None, ["pyproject.toml"], "project"),
        ("deploy/pinned.txt", ["requirements.txt", "uv.lock", "deploy/pinned.txt"], "deploy/pinned.txt"),
        ("api/uv.lock", ["requirements.txt", "api/uv.lock"], "sync api"),
        ("api/pyproject.toml", ["api/pyproject.toml"], "project api"),
    ],
)
def test_how_a_venv_is_filled(
    tmp_path: Path, requirements: str | None, files: list[str], expected: Any
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    code = str(tmp_path)
    steps = release_build.venv_steps(code, "/venv", requirements, set(os.listdir(code)))
    kind, _, where = str(expected).partition(" ")
    if not expected:
        assert steps == []
    elif kind == "sync":
        assert steps == [
            [UV, "sync", "--frozen", "--no-dev", "--no-editable", "--active", "--project"]
            + [f"{code}/{where}".rstrip("/")]
        ]
    elif kind == "project":
        assert steps == [
            [UV, "pip", "install", "--python", "/venv/bin/python", f"{code}/{where}".rstrip("/")]
        ]
    else:
        assert steps == [[UV, "pip", "install", "--python", "/venv/bin/python", "-r", f"{code}/{expected}"]]


@pytest.mark.parametrize(
    ("content", "hashes"),
    [
        ("flask==3.0 \\\n    --hash=sha256:aa\n", True),
        ("flask==3.0\n", False),
        ("# made without --hash=…\nflask==3.0  # --hash=x\n", False),
        ("caf\xe9==1\n", False),
    ],
)
def test_hashes_are_required_where_there_are_some(tmp_path: Path, content: str, hashes: bool) -> None:
    (tmp_path / "requirements.txt").write_bytes(content.encode("latin-1", errors="replace"))
    (step,) = release_build.venv_steps(str(tmp_path), "/venv", "requirements.txt", set())
    assert ("--require-hashes" in step) is hashes


def test_requirements_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"the source has no prod\.txt\. Correct `requirements:`"):
        release_build.venv_steps(str(tmp_path), "/venv", "prod.txt", set())


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
def test_the_entry_checks_the_app(tmp_path: Path, app: str, wsgi: str, says: str | None) -> None:
    mine, other = tmp_path / "releases/r2", tmp_path / "releases/r1/code"
    (mine / "code").mkdir(parents=True)
    other.mkdir(parents=True)
    (other / "older.py").write_text("")
    (mine / "code/app.py").write_text(app.replace("{other!r}", repr(str(other))))
    (mine / "entry.py").write_text(ENTRY.read_text())
    (mine / "environment.json").write_text(
        json.dumps({"environment": {"A": "1"}, "wsgi": wsgi, "paste": None})
    )
    result = subprocess.run(
        [sys.executable, "-B", str(mine / "entry.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (result.returncode == 0) is (says is None), result.stderr
    assert (says or "") in result.stderr
