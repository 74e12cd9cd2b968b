"""Read an untrusted release archive (tar or zip): within bounds, and checked completely before any of it is unpacked."""

from __future__ import annotations

import bz2
import calendar
import contextlib
import gzip
import lzma
import math
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from ..files.copies import Room
from ..files.trees import DEEPEST, printable
from ..host.release_error import ReleaseError

#: Files, links and directories of one archive: Linux itself has fewer. Root holds all their names at once.
MOST_MEMBERS = 100_000

#: Bytes of the headers of a tar in all, and of one; of the directory of a zip.
MOST_OF_HEADERS = 128 << 20
MOST_OF_ONE_HEADER = 1 << 20
MOST_OF_DIRECTORY = 16 << 20

#: Bytes of memory for unpacking xz, whose files say how much they want; `xz -9` wants a quarter of it.
MOST_FOR_XZ = 256 << 20

#: Bytes of a path, as the kernel takes it, and of what a link leads to.
LONGEST_NAME = 4096

_PIECE = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A member of an archive: a directory, a link to `target`, or a file."""

    name: str
    kind: str
    size: int = 0
    executable: bool = False
    target: str = ""
    #: Of a file, in seconds: builds compare the times of sources with those of what was made from them.
    changed: int = 0
    #: The archive's own member, to read the file by.
    member: Any = None


def repack(archive: str, plain: str, subdirectory: str | None) -> None:
    """Write the tar file *plain* with what of *archive* (tar or zip) becomes the code, once all of it proved harmless.

    A single directory at the top is left out, as release archives have one. Raises ReleaseError.
    """
    try:
        with contextlib.ExitStack() as stack:
            read = _read_zip if zipfile.is_zipfile(archive) else _read_tar
            entries, opened = read(archive, f"{plain}.expanded", stack)
            _write(below(without_top(checked(entries)), subdirectory), opened, plain)
    except ReleaseError:
        raise
    # What reads archives fails on a crafted one in any way: headers without end, numbers that are none, other encodings.
    except Exception as error:
        reason = printable(str(error)) or type(error).__name__
        raise ReleaseError(
            f"the archive is neither a tar (gz, xz, bz2) nor a zip, or is broken: {reason}"
        ) from error
    os.chmod(plain, 0o600)


_Opener = Callable[[Entry], IO[bytes]]


def _write(entries: Iterable[Entry], opened: _Opener, plain: str) -> None:
    # In this format names are bytes, whatever their encoding.
    with tarfile.open(plain, "w", format=tarfile.GNU_FORMAT) as made:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.mode = 0o755 if entry.executable or entry.kind == "directory" else 0o644
            if entry.kind == "file":
                info.size, info.mtime = entry.size, entry.changed
                with opened(entry) as file:
                    made.addfile(info, file)
            else:
                info.type = tarfile.DIRTYPE if entry.kind == "directory" else tarfile.SYMTYPE
                info.linkname = entry.target
                made.addfile(info)


class _Unpacked:
    """What an archive unpacks to, member by member, and whether there is room: once more as a tar, and as the code."""

    def __init__(self, place: str) -> None:
        there = os.statvfs(os.path.dirname(place))
        self._free = there.f_bavail * there.f_frsize
        self._size = self._members = 0

    def add(self, size: int) -> None:
        """Raises ReleaseError where it is too much."""
        self._members += 1
        self._size += max(size, 0)
        if self._members > MOST_MEMBERS:
            raise ReleaseError(f"the archive has more than {MOST_MEMBERS} files and directories")
        if 2 * self._size > self._free:
            raise ReleaseError(
                f"the archive unpacks to {self._size // 2**20} MiB or more, which exceeds the free space"
            )


# tar


def _read_tar(archive: str, expanded: str, stack: contextlib.ExitStack) -> tuple[list[Entry], _Opener]:
    """The members of a tar, and what opens one: decompressed into *expanded* first, since they are read in any order."""
    stack.callback(_forget, expanded)
    if _expand(archive, expanded):
        archive = expanded
    file = _Headers(stack.enter_context(open(archive, "rb")))  # noqa: SIM115
    tar = tarfile.TarFile(fileobj=file)  # type: ignore[arg-type]
    unpacked = _Unpacked(expanded)
    members: dict[str, tarfile.TarInfo] = {}
    found = []
    for info in tar:
        unpacked.add(info.size)
        _check_name(info.name)
        _check_name(info.linkname)
        # Kept for each member, and of no use here.
        info.pax_headers = {}
        members[info.name] = info
        found.append(info)
    file.left = None

    def opened(entry: Entry) -> IO[bytes]:
        content = tar.extractfile(entry.member)
        if content is None:
            raise ReleaseError(f"the archive's {printable(entry.name)} is a dangling link")
        return content

    entries = [_tar_entry(members, info) for info in found]
    for entry, info in zip(entries, found, strict=True):
        if info.islnk():
            unpacked.add(entry.size)
    return entries, opened


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class _Headers:
    """An open tar, of which no header is read that is too large, nor too much in all until `left` is None."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left: int | None = MOST_OF_HEADERS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_OF_ONE_HEADER:
            raise ReleaseError(f"a header of the archive is larger than {MOST_OF_ONE_HEADER >> 20} MiB")
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise ReleaseError(f"the headers of the archive are larger than {MOST_OF_HEADERS >> 20} MiB")
        return self._file.read(size)


def _expand(archive: str, expanded: str) -> bool:
    """Write what the compressed *archive* holds to *expanded*; False where it is not compressed. Raises ReleaseError."""
    with open(archive, "rb") as file:
        begin = file.read(6)
        file.seek(0)
        if begin.startswith(b"\x1f\x8b"):
            pieces = _pieces(gzip.GzipFile(fileobj=file))
        elif begin.startswith(b"BZh"):
            pieces = _pieces(bz2.BZ2File(file))
        elif begin.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
            pieces = _xz_pieces(file)
        else:
            return False
        room = Room(os.path.dirname(expanded))
        with open(expanded, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as made:
            for piece in pieces:
                room.take(len(piece), "unpacking the archive")
                made.write(piece)
    return True


def _pieces(file: gzip.GzipFile | bz2.BZ2File) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _xz_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """What an xz or lzma file holds. Not by LZMAFile: that takes as much memory as the file says that it wants."""
    while True:
        data = b""
        while not data:
            # Zeros may stand between two streams, and after the last.
            if not (read := file.read(_PIECE)):
                return
            data = read.lstrip(b"\0")
        decompressor = lzma.LZMADecompressor(memlimit=MOST_FOR_XZ)
        while not decompressor.eof:
            yield decompressor.decompress(data, _PIECE)
            data = b""
            if decompressor.needs_input and not decompressor.eof and not (data := file.read(_PIECE)):
                raise EOFError("it is truncated")
        file.seek(-len(decompressor.unused_data), os.SEEK_CUR)


def _tar_entry(members: dict[str, tarfile.TarInfo], info: tarfile.TarInfo) -> Entry:
    if info.isdir():
        return Entry(info.name, "directory")
    if info.issym():
        return Entry(info.name, "link", target=info.linkname)
    real = info
    if info.islnk():
        # It becomes a file of its own.
        if info.linkname not in members:
            raise ReleaseError(
                f"the archive's {printable(info.name)} is a link to a file that is not in the archive"
            )
        real = members[info.linkname]
    if not real.isreg():
        raise ReleaseError(f"the archive's {printable(info.name)} is a device or a pipe")
    return Entry(
        info.name, "file", real.size, bool(real.mode & 0o100), changed=_time(real.mtime), member=real
    )


# zip


def _read_zip(archive: str, expanded: str, stack: contextlib.ExitStack) -> tuple[list[Entry], _Opener]:
    """The members of a zip, and what opens one."""
    with open(archive, "rb") as file:
        # As ZipFile itself finds it, which reads a directory of any size whole.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if not end or end[zipfile._ECD_SIZE] > MOST_OF_DIRECTORY:  # type: ignore[attr-defined]
        raise ReleaseError(f"the archive's directory is larger than {MOST_OF_DIRECTORY >> 20} MiB")
    zipped = stack.enter_context(zipfile.ZipFile(archive))
    unpacked = _Unpacked(expanded)
    for info in zipped.infolist():
        unpacked.add(info.file_size)
        _check_name(info.filename)
        if info.compress_type == zipfile.ZIP_LZMA:
            # It would take as much memory as the member says that it wants.
            raise ReleaseError(f"the archive's {printable(info.filename)} is compressed by LZMA: use deflate")
    return [_zip_entry(zipped, info) for info in zipped.infolist()], lambda entry: zipped.open(entry.member)


def _zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    mode = info.external_attr >> 16
    if info.is_dir():
        return Entry(info.filename, "directory")
    if stat.S_ISLNK(mode):
        with archive.open(info) as file:
            target = os.fsdecode(file.read(LONGEST_NAME + 1))
        _check_name(target)
        return Entry(info.filename, "link", target=target)
    changed = 0
    with contextlib.suppress(ValueError):
        # In local time of whoever made the archive; many tools write none.
        changed = _time(calendar.timegm((*info.date_time, 0, 0, 0)))
    return Entry(info.filename, "file", info.file_size, bool(mode & 0o100), changed=changed, member=info)


# Times and names


def _time(seconds: float) -> int:
    """*seconds* in whole ones, not before 1970 and not after now; 1970 where it is no time."""
    return int(min(max(seconds, 0), time.time())) if math.isfinite(seconds) else 0


def _check_name(name: str) -> None:
    """Raises ReleaseError for a path that no file can have, or that no release needs."""
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise ReleaseError(f"the archive's {printable(name)} is longer than {LONGEST_NAME} bytes")
    if name.count("/") > DEEPEST:
        raise ReleaseError(f"the archive's {printable(name)} lies more than {DEEPEST} directories deep")


def checked(entries: Iterable[Entry]) -> list[Entry]:
    """*entries* with plain names. Raises ReleaseError for one that would leave the directory it is unpacked into."""
    found = []
    for entry in entries:
        parts = [part for part in entry.name.split("/") if part not in ("", ".")]
        if entry.name.startswith("/") or ".." in parts or "\\" in entry.name or "\0" in entry.name:
            raise ReleaseError(
                f"the archive's {_quoted(entry)} leads out of the directory it is unpacked into"
            )
        if parts:
            found.append(Entry(**{**vars(entry), "name": "/".join(parts)}))
    links = {entry.name for entry in found if entry.kind == "link"}
    for entry in found:
        if links and not links.isdisjoint(_directories(entry.name)):
            raise ReleaseError(f"the archive's {_quoted(entry)} lies behind a link")
        if entry.kind == "link" and not _stays(entry, entry.name.split("/")[:-1]):
            raise ReleaseError(
                f"the archive's {_quoted(entry)} is a link that leads out of it: {printable(entry.target)}"
            )
    return found


def _quoted(entry: Entry) -> str:
    return f"'{printable(entry.name)}'"


def _directories(name: str) -> Iterator[str]:
    """Those that *name* lies in."""
    end = name.find("/")
    while end >= 0:
        yield name[:end]
        end = name.find("/", end + 1)


def _stays(link: Entry, above: list[str]) -> bool:
    """Whether a link leads to a place inside: up to the top at most, and only downwards from there.

    A `..` after a name could go up from where another link leads to.
    """
    parts = [part for part in link.target.split("/") if part not in ("", ".")]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return not link.target.startswith("/") and ".." not in parts[up:] and up <= len(above)


def without_top(entries: list[Entry]) -> list[Entry]:
    """*entries* without the one directory that all of them lie in, where there is such a one."""
    tops = {entry.name.partition("/")[0] for entry in entries}
    if len(tops) != 1 or any(entry.kind != "directory" and "/" not in entry.name for entry in entries):
        return entries
    # A link from inside up to the top itself may not lead above it now.
    return checked(_below(entries, tops.pop()))


def below(entries: list[Entry], subdirectory: str | None) -> list[Entry]:
    """Those of *entries* that lie in *subdirectory*, with names from there. Raises ReleaseError."""
    if not subdirectory:
        return entries
    found = _below(entries, subdirectory)
    if not found:
        raise ReleaseError(f"the archive has no directory {subdirectory}. Correct source.subdirectory.")
    return checked(found)


def _below(entries: Iterable[Entry], top: str) -> list[Entry]:
    inside = [entry for entry in entries if entry.name.startswith(f"{top}/")]
    return [Entry(**{**vars(entry), "name": entry.name.removeprefix(f"{top}/")}) for entry in inside]
