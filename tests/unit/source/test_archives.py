"""Archives that were made to hurt: each is refused with a word, for its own app, and in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import archives

LATIN = os.fsdecode(b"caf\xe9\n.txt")


def tar_of(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(content) if member.size and content else None)
    return made.getvalue()


def member(name: str, **changes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    return member(name, type=kind, size=size).tobuf(tarfile.GNU_FORMAT)


def zip_of(*names: str, content: bytes = b"x", **changes: Any) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return made.getvalue()


def encrypted(archive: bytes) -> bytes:
    """*archive* with one member, which says that it needs a password."""
    made, central = bytearray(archive), archive.index(b"PK\1\2")
    made[6] |= 1
    made[central + 8] |= 1
    return bytes(made)


def repacked(tmp_path: Path, archive: bytes) -> dict[str, bytes]:
    """name → content, or the target of a link."""
    (tmp_path / "archive").write_bytes(archive)
    plain = tmp_path / "plain.tar"
    archives.repack(str(tmp_path / "archive"), str(plain), None)
    assert sorted(os.listdir(tmp_path)) == ["archive", "plain.tar"]
    with tarfile.open(plain) as made:
        return {
            info.name: os.fsencode(info.linkname) if info.issym() else made.extractfile(info).read()  # type: ignore[union-attr]
            for info in made
            if not info.isdir()
        }


@pytest.mark.parametrize(
    "compress",
    [
        bytes,
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
        lambda content: lzma.compress(content[:700]) + b"\0" * 8 + lzma.compress(content[700:]) + b"\0" * 4,
        lambda content: gzip.compress(content[:700]) + gzip.compress(content[700:]) + b"\0" * 512,
        lambda content: bz2.compress(content[:700]) + bz2.compress(content[700:]),
    ],
    ids=["plain", "gz", "bz2", "xz", "lzma", "xz in two", "gz in two", "bz2 in two"],
)
def test_what_archives_are_compressed_by(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = os.urandom(1 << 20) * 2
    archive = tar_of(member("t/large", size=len(content)), content=content)
    assert repacked(tmp_path, compress(archive)) == {"large": content}


def times(tmp_path: Path, archive: bytes) -> list[float]:
    repacked(tmp_path, archive)
    with tarfile.open(tmp_path / "plain.tar") as made:
        return [info.mtime for info in made]


def test_files_keep_their_times(tmp_path: Path) -> None:
    """Builds compare them. A time that is none, or is still to come, would only confuse."""
    before = int(time.time())
    link = member("t/e", type=tarfile.LNKTYPE, linkname="t/a")
    odd = {"t/b": 1e11, "t/c": -5.0, "t/d": float("nan"), "t/f": float("inf")}
    members = [member("t/a", mtime=1764633600), *(member(name, mtime=value) for name, value in odd.items())]
    with_odd = io.BytesIO()
    with tarfile.open(fileobj=with_odd, mode="w", format=tarfile.PAX_FORMAT) as made:
        for one in [*members, link]:
            one.pax_headers = {"mtime": str(one.mtime)}
            one.mtime = 0 if one.name in odd else one.mtime
            made.addfile(one)
    found = times(tmp_path, with_odd.getvalue())
    assert found[0] == found[5] == 1764633600
    assert before <= found[1] <= time.time() and found[2:5] == [0, 0, 0]
    assert times(tmp_path, zip_of("t/a", date_time=(2025, 12, 2, 0, 0, 0))) == [1764633600]
    assert times(tmp_path, zip_of("t/a", date_time=(1980, 0, 0, 0, 0, 0))) == [0]


def test_names_that_are_no_utf8_come_through(tmp_path: Path) -> None:
    archive = tar_of(
        member(f"t/{LATIN}", size=1), member("t/l", type=tarfile.SYMTYPE, linkname=LATIN), content=b"x"
    )
    assert repacked(tmp_path, archive) == {LATIN: b"x", "l": os.fsencode(LATIN)}


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (tar_of(member("a" + "/b" * 101, size=0)), r"a/b/.*… ?.*lies more than 100 directories deep"),
        (tar_of(member("n" * 5000)), r"is longer than 4096 bytes"),
        (tar_of(member("l", type=tarfile.SYMTYPE, linkname="n" * 5000)), r"is longer than 4096 bytes"),
        (header(tarfile.XHDTYPE, 4 << 30), r"a header of the archive is larger than 1 MiB"),
        (header(tarfile.XGLTYPE, 4 << 30), r"a header of the archive is larger than 1 MiB"),
        (header(tarfile.GNUTYPE_LONGNAME, 4 << 30), r"a header of the archive is larger than 1 MiB"),
        (header(tarfile.REGTYPE, 1 << 60), r"unpacks to \d+ MiB or more, which exceeds the free space"),
        (header(tarfile.REGTYPE, 100), r"is broken: unexpected end of data"),
        (
            (header(tarfile.XHDTYPE, 10) + b"10 a=bcde\n".ljust(512, b"\0")) * 3000,
            r"is broken: maximum recursion depth",
        ),
        (tar_of(member(f"../{LATIN}")), r"'\.\./caf\\xe9\\n\.txt' leads out of the directory"),
        (
            tar_of(member("l", type=tarfile.SYMTYPE, linkname="/\x1b[2J")),
            r"leads out of it: /\\x1b\[2J",
        ),
        (tar_of(member("f", type=tarfile.FIFOTYPE)), r"f is a device or a pipe"),
        (gzip.compress(b"x" * 600)[:-9], r"is broken: Compressed file ended"),
        (lzma.compress(b"x" * 600)[:-9], r"is broken: it is truncated"),
        (b"\x1f\x8b" + b"x" * 600, r"is broken"),
        (b"", r"neither a tar"),
        (zip_of("a" + "/b" * 101), r"more than 100 directories deep"),
        (zip_of("l", external_attr=0o120777 << 16, content=b"n" * 5000), r"is longer than 4096 bytes"),
        (zip_of("x", compress_type=zipfile.ZIP_LZMA), r"x is compressed by LZMA: use deflate"),
        (encrypted(zip_of("x")), r"is broken: .*encrypted"),
        (zip_of("x", flag_bits=0).replace(b"x", b"y", 1), r"is broken"),
    ],
    ids=[
        *("deep", "long", "long target", "pax header", "global header", "long name header", "huge", "cut"),
        *("headers of headers", "leaves", "target out", "fifo", "gz cut", "xz cut", "gz broken", "nothing"),
        *("zip deep", "zip long target", "zip lzma", "zip encrypted", "zip that differs"),
    ],
)  # fmt: skip
def test_archives_that_are_refused(tmp_path: Path, archive: bytes, says: str) -> None:
    with pytest.raises(ReleaseError, match=says) as caught:
        repacked(tmp_path, archive)
    str(caught.value).encode()
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "plain.tar.expanded").exists()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_how_many_members_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 5)
    names = [f"t/{number}" for number in range(6)]
    for count in (5, 6):
        archive = zip_of(*names[:count]) if kind == "zip" else tar_of(*map(member, names[:count]))
        if count == 5:
            assert len(repacked(tmp_path, archive)) == 5
            continue
        with pytest.raises(ReleaseError, match="more than 5 files and directories"):
            repacked(tmp_path, archive)


def test_what_would_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gzip of zeros is a thousandth of them; hard links to one file become files of their own."""
    real = os.statvfs(tmp_path)

    class Small:
        f_bavail, f_frsize, f_files, f_favail = (70 << 20) // real.f_frsize, real.f_frsize, 1, 10**6

    monkeypatch.setattr(os, "statvfs", lambda _: Small)
    zeros = gzip.compress(tar_of(member("x", size=50 << 20), content=bytes(50 << 20)))
    with pytest.raises(ReleaseError, match="unpacking the archive: it needs more than the free 6 MiB"):
        repacked(tmp_path, zeros)
    links = [member(f"l{number}", type=tarfile.LNKTYPE, linkname="x") for number in range(100)]
    with pytest.raises(ReleaseError, match="which exceeds the free space"):
        repacked(tmp_path, tar_of(member("x", size=1 << 20), *links, content=bytes(1 << 20)))


def test_memory_that_an_xz_file_says_it_wants(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    content = bytearray(lzma.compress(tar_of(member("x")), filters=filters))
    # The size of the dictionary in the header of the first block, and that header's checksum: now the largest there is.
    assert content[12:16] == b"\x02\x00\x21\x01"
    content[16] = 40
    content[20:24] = struct.pack("<I", __import__("zlib").crc32(bytes(content[12:20])))
    with pytest.raises(ReleaseError, match=r"[Mm]emory usage limit"):
        repacked(tmp_path, bytes(content))
