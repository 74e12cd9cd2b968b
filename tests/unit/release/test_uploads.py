"""Which files in a served directory the web server cannot read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import TimedOut
from ansible_collections.emperor.stack.plugins.module_utils.release import uploads


@pytest.fixture
def media(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A persistent directory, which has the group of the web server: here the one of the tests."""

    def run_as(app: str, argv: list[str], **_: Any) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(uploads, "run_as", run_as)
    for kind in ("_FILES", "_DIRECTORIES"):
        text = getattr(uploads, kind).replace(layout.FRONT_USER, str(os.getgid()))
        monkeypatch.setattr(uploads, kind, text)
    monkeypatch.setattr(uploads, "NGINX", "/nowhere/nginx.pid")
    path = Path(layout.shared("blog")) / "media"
    path.mkdir(parents=True)
    path.chmod(0o2750)
    return path


def warnings(served: bool = True) -> list[str]:
    return uploads.unreadable("blog", [{"path": "media", "served": served}])


def correct(media: Path, warning: str) -> None:
    """Run the command that *warning* ends with."""
    (command,) = re.findall(r"-e app=blog -e \"command='([^']*)'\"$", warning)
    subprocess.run(["/bin/sh", "-ec", command], cwd=media.parent, check=True)


def put(path: Path, mode: int) -> None:
    path.write_text("x")
    path.chmod(mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_the_web_server_can_read(media: Path) -> None:
    put(media / "by-group", 0o640)
    put(media / "by-all", 0o604)
    os.chown(media / "by-all", -1, 12345)
    (media / "inner").mkdir(mode=0o750)
    (media / "link").symlink_to("/nowhere")
    assert warnings() == []


def test_what_was_moved_from_a_temporary_file(media: Path) -> None:
    put(media / "moved", 0o600)
    (found,) = warnings()
    assert found.startswith("media: the web server cannot read -rw------- moved, so visitors get 404. A file")
    assert warnings(served=False) == []
    correct(media, found)
    assert warnings() == []
    assert media.stat().st_mode & 0o7777 == 0o2750, "no process of an app may set that again"


def test_in_its_own_group_what_all_others_may_does_not_count(media: Path) -> None:
    put(media / "odd", 0o604)
    assert "-rw----r-- odd," in warnings()[0]


def test_a_directory_that_it_cannot_enter(media: Path) -> None:
    (media / "inner").mkdir(mode=0o700)
    put(media / "inner" / "x", 0o600)
    (found,) = warnings()
    assert "drwx--S--- inner," in found
    (media / "good").mkdir(mode=0o750)
    (media / "odd").mkdir()
    (media / "odd").chmod(0o744)
    correct(media, found)
    assert warnings() == []
    modes = {path.name: path.stat().st_mode & 0o7777 for path in media.rglob("*")}
    # With the setgid bit, the kernel would refuse the new mode: systemd's RestrictSUIDSGID.
    assert modes == {"inner": 0o755, "x": 0o644, "good": 0o2750, "odd": 0o755}


def test_names_are_bounded_and_printable(media: Path) -> None:
    for number in range(5):
        put(media / f"{number}\x1b[31m{'x' * 200}", 0o600)
    (found,) = warnings()
    assert " and more, so" in found and "\x1b" not in found and len(found) < 1000


def test_where_it_takes_too_long_nothing_is_said(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> str:
        raise TimedOut("looking", "find", "still running", "")

    put(media / "moved", 0o600)
    monkeypatch.setattr(uploads, "run_as", slow)
    assert warnings() == []
    shutil.rmtree(media)
    assert warnings() == []


def test_nginx_has_files_let_read_when_a_visitor_wants_them(
    media: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(media / "moved", 0o600)
    (tmp_path / "nginx.pid").write_text("1\n")
    monkeypatch.setattr(uploads, "NGINX", str(tmp_path / "nginx.pid"))
    assert warnings() == []
    (media / "inner").mkdir(mode=0o700)
    (found,) = warnings()
    assert "drwx--S--- inner," in found and "moved," not in found
    (found,) = uploads.unreadable("blog", [{"path": "media", "served": True, "private": True}])
    assert "moved" in found, "it is not asked about files that only the app sends"
