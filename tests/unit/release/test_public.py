"""Publishing: what of a release's code nginx shows, and what an app cannot have it show."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files import copies, trees
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import public as release_public
from ansible_collections.emperor.stack.plugins.module_utils.release.spec import StaticFile


def item(url: str, path: str, persistent: bool = False) -> StaticFile:
    return {
        "url": url,
        "path": path,
        "directory": url.endswith("/"),
        "kind": "static",
        "persistent": persistent,
    }


@pytest.fixture
def code(host: Path) -> Path:
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
    release_public.publish("blog", str(code), str(public), files)
    found = sorted(path.relative_to(public).as_posix() for path in public.rglob("*"))
    assert found == ["assets", "assets/v1", "assets/v1/css", "assets/v1/css/a.css", "media", "robots.txt"]
    assert os.readlink(public / "media") == f"{layout.shared('blog')}/media"


def test_the_apps_may_live_behind_a_link(host: Path, code: Path) -> None:
    (host / "link").symlink_to(host)
    release_public.publish(
        "blog", str(host / "link/code"), str(host / "public"), [item("/r.txt", "robots.txt")]
    )
    assert (host / "public/r.txt").read_text() == "r"


@pytest.mark.parametrize("target", ["/etc", "../outside", "../code-of-another"])
def test_a_link_out_of_the_source_is_refused(host: Path, code: Path, target: str) -> None:
    for name in ("outside", "code-of-another"):
        (host / name).mkdir()
    (code / "leak").symlink_to(target)
    with pytest.raises(ReleaseError, match="static /s/: leak is a link that leads out of the source"):
        release_public.publish("blog", str(code), str(host / "public"), [item("/s/", "leak")])


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
        release_public.publish("blog", str(code), str(host / "public"), [item(url, path)])


def published(host: Path, *files: dict[str, Any]) -> Path:
    release_public.publish("blog", str(host / "code"), str(host / "public"), files)
    return host / "public"


def test_links_lead_to_files_of_the_code_and_the_venv(host: Path, code: Path) -> None:
    """As `collectstatic --link` makes them, by whole paths; all others are named."""
    top, venv = code / "staticfiles", host / "venv"
    (venv / "admin").mkdir(parents=True)
    (venv / "admin/base.css").write_text("of the venv")
    (host / "environment.json").write_text("secret")
    (host / "code2").mkdir()
    (host / "code2/x").write_text("another")
    good = {
        "base.css": venv / "admin/base.css",
        "css/b.js": "a.css",
        "c.js": "css/b.js",
        "robots.txt": "../robots.txt",
    }
    bad = {
        "e": "/etc/passwd", "f": "../../environment.json", "g": "../../code2/x", "h": "nowhere", "i": "i",
        "j": venv / "admin", "k": "css", "l": "/dev/zero", "source.txt": "../robots.txt",
    }  # fmt: skip
    for name, target in {**good, **bad}.items():
        (top / name).symlink_to(target)
    warnings = release_public.publish(
        "blog", str(code), str(host / "public"), [item("/s/", "staticfiles")], str(venv)
    )
    found = {path.relative_to(host / "public/s").as_posix() for path in (host / "public").rglob("*.*")}
    assert found == {*good, "css/a.css"}
    assert (host / "public/s/base.css").read_text() == "of the venv"
    assert not any(path.is_symlink() for path in (host / "public").rglob("*"))
    names = ", ".join(f"staticfiles/{name}" for name in list(bad)[:5])
    assert warnings == [
        "static /s/: not published, because a link may only lead to a file in the same directory, or to one of its own name "
        f"in the release's code or venv: {names} and 4 more. Put the files themselves there"
    ]


def test_only_files_and_directories_are_published(host: Path, code: Path) -> None:
    top = code / "staticfiles"
    os.mkfifo(top / "fifo")
    if os.geteuid() == 0:
        os.mknod(top / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    public = published(host, item("/s/", "staticfiles"))
    assert sorted(path.name for path in public.rglob("*")) == ["a.css", "css", "s"]


def test_modes_and_names_that_are_no_utf8_come_through(host: Path, code: Path) -> None:
    top = code / "staticfiles"
    name = os.fsdecode(b"caf\xe9\n.txt")
    (top / name).write_text("c")
    (top / name).chmod(0o4777)
    umask = os.umask(0o077)
    try:
        public = published(host, item("/s/", "staticfiles"))
    finally:
        os.umask(umask)
    assert (public / "s" / name).read_text() == "c"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [public, *public.rglob("*")]}
    assert modes == {"public": 0o750, "s": 0o750, "css": 0o750, "a.css": 0o640, name: 0o750}


def test_the_time_of_a_file_says_what_is_in_it(host: Path, code: Path) -> None:
    """Of this and of its size web servers make an ETag; archives give each file the time 0."""
    top = code / "staticfiles"
    contents = {
        "a": b"one",
        "b": b"two",
        "c": b"one",
        "d": b"",
        "large": b"x" * (3 << 20),
        "other": b"x" * (3 << 20),
    }
    for number, (name, content) in enumerate(contents.items()):
        (top / name).write_bytes(content)
        os.utime(top / name, (number % 2, number % 2))
    with (top / "other").open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"y")
    first = published(host, item("/s/", "staticfiles")) / "s"
    times = {name: (first / name).stat().st_mtime_ns for name in contents}
    assert times["a"] == times["c"] and len(set(times.values())) == len(contents) - 1
    assert all(time % 10**9 == 0 and 0 <= time < 2**30 * 10**9 for time in times.values())


def test_a_file_of_twenty_gigabytes_with_nothing_in_it(host: Path, code: Path) -> None:
    with open(code / "staticfiles/sparse", "wb") as file:
        file.seek(10 << 30)
        file.write(b"middle")
        file.truncate(20 << 30)
    public = published(host, item("/s/", "staticfiles"))
    found = (public / "s/sparse").stat()
    assert (found.st_size, found.st_blocks < 100) == (20 << 30, True)
    with open(public / "s/sparse", "rb") as copied:
        copied.seek(10 << 30)
        assert copied.read(8) == b"middle\0\0"


@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_more_than_is_free(host: Path, code: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    (code / "staticfiles/large").write_bytes(b"x" * 5000)

    class Small(copies.Room):
        def __init__(self, place: Any) -> None:
            super().__init__(place)
            setattr(self, what, 1 if what == "inodes" else 4000)

    monkeypatch.setattr(release_public, "Room", Small)
    with pytest.raises(trees.TreeRefused, match=r"static /s/: staticfiles: it needs more than the free .*"):
        published(host, item("/s/", "staticfiles"))


def test_a_static_directory_behind_a_link(host: Path, code: Path) -> None:
    """As a whole it may be reached by links that stay in the source: what is opened there is what is copied."""
    (code / "there").symlink_to("staticfiles")
    public = published(host, item("/s/", "there/css"), item("/robots.txt", "./robots.txt"))
    assert (public / "s/a.css").read_text() == "a"
    (code / "out").symlink_to(host / "apps")
    (code / "circle").symlink_to("circle")
    os.mkfifo(code / "fifo")
    for path, says in (
        ("out/blog", "leads out of the source"),
        ("circle", "has no directory circle"),
        ("fifo", "has no directory fifo"),
    ):
        with pytest.raises(ReleaseError, match=says):
            release_public.publish("blog", str(code), str(host / f"public-{path[0]}"), [item("/s/", path)])


def test_a_link_that_takes_the_place_of_a_directory_while_it_is_copied(host: Path, code: Path) -> None:
    """In a loop, as a process of the app would: neither ends up in public, nor is anything behind the link."""
    secret = host / "elsewhere"
    secret.mkdir()
    (secret / "a.css").write_text("secret")
    place, aside = code / "staticfiles/css", code / "aside"
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            place.rename(aside)
            place.symlink_to(secret)
            place.unlink()
            aside.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(300):
            public = host / f"public{number}"
            try:
                release_public.publish("blog", str(code), str(public), [item("/s/", "staticfiles")])
            except ReleaseError:
                # It vanished: that is the app's affair.
                continue
            for path in public.rglob("*"):
                assert not path.is_symlink()
                assert path.is_dir() or path.read_text() == "a"
    finally:
        ended.set()
        thread.join()


def test_nothing_is_written_through_a_persistent_link(host: Path, code: Path) -> None:
    """What is behind it is the app's, who could put links there."""
    shared = Path(layout.shared("blog"), "media")
    shared.mkdir()
    victim = host / "victim"
    victim.write_text("kept")
    (shared / "a.css").symlink_to(victim)
    media = item("/media/", "media", persistent=True)
    with pytest.raises(ReleaseError, match="static /media/css/: media is already published"):
        published(host, media, item("/media/css/", "staticfiles/css"))
    with pytest.raises(ReleaseError, match="media"):
        release_public.publish(
            "blog", str(code), str(host / "again"), [media, item("/media/", "staticfiles/css")]
        )
    assert victim.read_text() == "kept"


def test_the_later_of_two_files_of_one_url(host: Path, code: Path) -> None:
    (code / "staticfiles/b").write_text("b")
    public = published(
        host, item("/s/", "staticfiles"), item("/s/b", "robots.txt"), item("/s/css/", "staticfiles")
    )
    assert (public / "s/b").read_text() == "r"
    assert (public / "s/css/a.css").read_text() == "a"
