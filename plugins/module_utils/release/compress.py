"""Compress what a release publishes once, so that the web server need not compress it for each visitor."""

from __future__ import annotations

import os
import stat
import zlib

from ..files.copies import Room
from ..files.trees import FILE, Entry, printable, walk
from ..host.release_error import ReleaseError

#: Endings of files that shrink and that nginx compresses, by their types in role nginx.
ENDINGS = {
    *(".atom", ".css", ".csv", ".geojson", ".gltf", ".htm", ".html", ".ico", ".ics", ".js", ".json", ".jsonld", ".m3u8"),
    *(".map", ".md", ".mjs", ".mpd", ".otf", ".rss", ".svg", ".ttf", ".txt", ".vtt", ".wasm", ".webmanifest", ".xml"),
    *(".yaml", ".yml"),
}  # fmt: skip

#: Bytes: nginx sends a smaller file as it is (gzip_min_length), and root holds a file of at most the larger size in memory.
SMALLEST, LARGEST = 1024, 16 << 20

#: Bytes of a directory of static files that are compressed: some seconds of a processor, which are root's and not the app's.
MOST_BYTES = 256 << 20

#: zlib's own default: 9 takes twice the time for one percent less.
LEVEL = 6
#: The largest window of zlib, in the format of gzip (zlib's manual, deflateInit2).
GZIP = 16 + zlib.MAX_WBITS
#: Bytes of a name, on every file system that Debian installs on.
LONGEST_NAME = 255


def compress(directory: int, gid: int, room: Room, what: str) -> None:
    """Write `NAME.gz` beside each file of the open *directory*, root's own copy, that is worth it and has none.

    nginx sends it to visitors that accept gzip (gzip_static). Its time is that of the file, of which an ETag is made.
    Raises ReleaseError.
    """
    left = MOST_BYTES
    for entry in walk(directory, what):
        ending = os.path.splitext(entry.name)[1].lower()
        if not stat.S_ISREG(entry.status.st_mode) or ending not in ENDINGS:
            continue
        if SMALLEST <= entry.status.st_size <= min(LARGEST, left):
            left -= entry.status.st_size
            try:
                _compress(entry, gid, room, what)
            except OSError as error:
                raise ReleaseError(f"{printable(f'{what}: {entry.path}.gz')}: {error.strerror}") from error


def _compress(entry: Entry, gid: int, room: Room, what: str) -> None:
    name = f"{entry.name}.gz"
    if len(os.fsencode(name)) > LONGEST_NAME or _is_there(name, entry.directory):
        return
    with open(os.open(entry.name, FILE, dir_fd=entry.directory), "rb") as file:
        content = file.read(LARGEST)
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    packed = packer.compress(content) + packer.flush()
    if len(packed) > 0.9 * len(content):
        return
    room.take(len(packed), what, inodes=1)
    target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=entry.directory)
    with open(target, "wb") as file:
        os.fchown(target, -1, gid)
        os.fchmod(target, 0o640)
        file.write(packed)
        file.flush()
        os.utime(target, ns=(entry.status.st_mtime_ns, entry.status.st_mtime_ns))


def _is_there(name: str, directory: int) -> bool:
    """As the app's build may have made it."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
