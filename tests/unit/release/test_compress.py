"""Compressed forms of published files: which there are, and that they are those of the files."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import compress, public
from ansible_collections.emperor.stack.plugins.module_utils.release.spec import StaticFile

TEXT = b"a { color: red }\n" * 100


def item(url: str, path: str, **others: Any) -> StaticFile:
    found: Any = {
        "url": url,
        "path": path,
        "directory": True,
        "kind": "static",
        "persistent": False,
        **others,
    }
    return found


def published(host: Path, *items: StaticFile) -> Path:
    public.publish("blog", str(host / "code"), str(host / "public"), items or [item("/s/", "s")])
    return host / "public"


@pytest.fixture
def source(host: Path) -> Path:
    (host / "code/s/css").mkdir(parents=True)
    return host / "code/s"


def test_text_has_its_compressed_form_beside_it(host: Path, source: Path) -> None:
    (source / "css/a.CSS").write_bytes(TEXT)
    top = published(host)
    plain, packed = top / "s/css/a.CSS", top / "s/css/a.CSS.gz"
    assert gzip.decompress(packed.read_bytes()) == TEXT == plain.read_bytes()
    assert packed.stat().st_mtime_ns == plain.stat().st_mtime_ns, "an ETag is made of it"
    assert stat.S_IMODE(packed.stat().st_mode) == 0o640
    assert packed.stat().st_gid == plain.stat().st_gid


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("short.css", TEXT[:1023]),
        ("picture.png", TEXT),
        ("css", TEXT),
        ("random.js", os.urandom(5000)),
        (f"{'n' * 249}.css", TEXT),
    ],
)
def test_what_is_not_worth_it_is_left_as_it_is(host: Path, source: Path, name: str, content: bytes) -> None:
    (source / "css").rmdir()
    (source / name).write_bytes(content)
    assert os.listdir(published(host) / "s") == [name]


def test_the_longest_file_is_bounded(host: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress, "LARGEST", 2000)
    (source / "a.css").write_bytes(TEXT[:1700].ljust(2000))
    (source / "b.css").write_bytes(TEXT[:1700].ljust(2001))
    top = published(host)
    assert sorted(path.name for path in (top / "s").iterdir()) == ["a.css", "a.css.gz", "b.css", "css"]


def test_so_much_of_a_directory_is_compressed_and_no_more(
    host: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "MOST_BYTES", 2 * len(TEXT))
    for name in ("a.css", "b.css", "c.css"):
        (source / name).write_bytes(TEXT)
    top = published(host)
    assert sorted(path.name for path in (top / "s").glob("*.gz")) == ["a.css.gz", "b.css.gz"]


def test_what_the_build_compressed_stays(host: Path, source: Path) -> None:
    (source / "a.css").write_bytes(TEXT)
    (source / "a.css.gz").write_bytes(b"by the build")
    assert (published(host) / "s/a.css.gz").read_bytes() == b"by the build"


def test_a_later_directory_of_the_same_url_counts(host: Path, source: Path) -> None:
    later = host / "code/t"
    later.mkdir()
    (source / "a.css").write_bytes(TEXT)
    (later / "a.css").write_bytes(TEXT.replace(b"red", b"blue"))
    top = published(host, item("/s/", "s"), item("/s/", "t"))
    assert gzip.decompress((top / "s/a.css.gz").read_bytes()) == (top / "s/a.css").read_bytes()
    assert b"blue" in (top / "s/a.css").read_bytes()


def test_private_files_and_those_of_the_app_are_left_as_they_are(host: Path, source: Path) -> None:
    (source / "a.css").write_bytes(TEXT)
    top = published(host, item("/p/", "s", kind="private"), item("/m/", "media", persistent=True))
    assert sorted(path.name for path in (top / "p").iterdir()) == ["a.css", "css"]


def test_a_full_disk_is_said_of_the_file(host: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (source / "css/a.css").write_bytes(TEXT)
    monkeypatch.setattr(compress.os, "fchown", full)
    with pytest.raises(ReleaseError, match=r"static /s/: css/a\.css\.gz: No space left on device"):
        compress_only(host)


def compress_only(host: Path) -> None:
    descriptor = os.open(host / "code/s", os.O_RDONLY)
    try:
        compress.compress(descriptor, os.getgid(), public.Room(descriptor), "static /s/")
    finally:
        os.close(descriptor)
