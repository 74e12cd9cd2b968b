"""What a commit's tree would put into a directory: read, put together with its submodules, and proved harmless.

All names are bytes, as git has them. Nothing here runs git or looks at a file system.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..host.release_error import ReleaseError

#: Files, links and submodules of one checkout.
MOST_ENTRIES = 200_000

#: Links on the way to `source.subdirectory`: a circle must end. As many as the kernel follows.
MOST_LINKS = 40

#: Bytes of the longest path, since Linux takes no longer one, and the directories that lie in one another at most.
LONGEST_PATH = 4095
DEEPEST_PATH = 256

FILE, PROGRAM, LINK, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o160000

#: Characters that HFS+ ignores in names, as git's `is_hfs_dotgit` has them, in UTF-8.
_IGNORED = re.compile(rb"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")


@dataclass(frozen=True)
class Entry:
    """A file, a link or a submodule at `path`; `name` is the id of its object, `size` that object's bytes."""

    mode: int
    name: str
    size: int
    path: bytes


def parse(listing: bytes) -> list[Entry]:
    """The entries in what `git ls-tree -r -z -l` printed. Raises ReleaseError for what no tree of ours has."""
    entries = []
    for line in listing.split(b"\0"):
        if not line:
            continue
        head, _, path = line.partition(b"\t")
        match = re.fullmatch(rb"([0-7]{6}) [a-z]+ ([0-9a-f]{40}) +([0-9]+|-)", head)
        mode = int(match[1], 8) if match else 0
        kind = mode & 0o170000
        if match is None or kind not in (0o100000, LINK, SUBMODULE):
            raise ReleaseError(
                f"the tree has an entry that is neither file, link nor submodule: {line[:200]!r}"
            )
        if kind == 0o100000:
            mode = PROGRAM if mode & 0o100 else FILE
        entries.append(Entry(mode, match[2].decode(), int(match[3]) if match[3] != b"-" else 0, path))
    return entries


def _complaint(part: bytes) -> str:
    """What is wrong with a part of a path, as git's own `verify_path` sees it on all systems; else empty."""
    if part in (b"", b".", b".."):
        return "leads out of the directory that it is checked out into"
    plain = _IGNORED.sub(b"", part).lower()
    # What NTFS takes for `.git`: its short name, and dots, blanks or a stream at the end.
    ntfs = re.split(rb"[:\\]", plain)[0].rstrip(b". ")
    if plain == b".git" or ntfs in (b".git", b"git~1"):
        return "would be a repository's own .git"
    return ""


def check(entries: Iterable[Entry], whose: str) -> None:
    """Raises ReleaseError when one of *entries*, which come from *whose*, would not become exactly what it says.

    No part of a path leads upwards or into a `.git`, no path is there twice, and none lies behind a file, a link or a
    submodule.
    """
    fix = "git itself creates no such tree: find out who wrote it, and remove that entry from the repository."
    paths: set[bytes] = set()
    for entry in entries:
        if len(paths) >= MOST_ENTRIES:
            raise ReleaseError(
                f"{whose} has more than {MOST_ENTRIES} files. Name the app's directory in "
                "source.subdirectory, or use a separate repository."
            )
        if entry.path in paths:
            raise ReleaseError(f"{whose}: {shown(entry.path)} is there twice; {fix}")
        paths.add(entry.path)
        wrong = next(filter(None, map(_complaint, entry.path.split(b"/"))), "")
        if not wrong and (len(entry.path) > LONGEST_PATH or entry.path.count(b"/") > DEEPEST_PATH):
            wrong = f"is longer than {LONGEST_PATH} bytes or more than {DEEPEST_PATH} directories deep"
        if wrong:
            raise ReleaseError(f"{whose}: {shown(entry.path)} {wrong}; {fix}")
    directories: set[bytes] = set()
    for path in paths:
        above = path
        while (above := above.rpartition(b"/")[0]) and above not in directories:
            if above in paths:
                reason = f"lies behind {shown(above)}, which is not a directory"
                raise ReleaseError(f"{whose}: {shown(path)} {reason}; {fix}")
            directories.add(above)


def shown(path: bytes) -> str:
    """*path* for a message: in quotes, on one line, and not endless."""
    text = ascii(path.decode(errors="backslashreplace"))
    return text if len(text) <= 160 else f"{text[:150]}…'"


def below(entries: Iterable[Entry], directory: bytes) -> list[Entry]:
    """*entries*, which come from a submodule, where they belong in the whole: in *directory*."""
    return [replace(entry, path=directory + b"/" + entry.path) for entry in entries]


def index_info(entries: Iterable[Entry]) -> bytes:
    """*entries* as `git update-index -z --index-info` reads them."""
    return b"".join(b"%06o %s 0\t%s\0" % (one.mode, one.name.encode(), one.path) for one in entries)


def directory(entries: Iterable[Entry], wanted: bytes, read: Callable[[Entry], bytes]) -> bytes | None:
    """The real path of the directory *wanted* in *entries*, links on the way followed inside of them.

    None where there is no such directory, or a link leads out. *read* gives what a link holds.
    """
    leaves = {entry.path: entry for entry in entries}
    directories = {b""}
    for path in leaves:
        while path := path.rpartition(b"/")[0]:
            if path in directories:
                break
            directories.add(path)
    links = 0
    done, left = b"", [part for part in wanted.split(b"/") if part not in (b"", b".")]
    while left:
        part = left.pop(0)
        if part == b"..":
            if not done:
                return None
            done = done.rpartition(b"/")[0]
            continue
        path = done + b"/" + part if done else part
        entry = leaves.get(path)
        if entry is not None and entry.mode == LINK:
            target = read(entry)
            links += 1
            if links > MOST_LINKS or target.startswith(b"/"):
                return None
            left = [one for one in target.split(b"/") if one not in (b"", b".")] + left
        elif path in directories:
            done = path
        else:
            return None
    return done or None


# Submodules


def places(listing: bytes) -> dict[bytes, str]:
    """path → URL in what `git config --null --list` printed of a `.gitmodules`. Names of submodules mean nothing here."""
    settings: dict[bytes, dict[bytes, bytes]] = {}
    for setting in filter(None, listing.split(b"\0")):
        name, _, value = setting.partition(b"\n")
        section, _, option = name.rpartition(b".")
        settings.setdefault(section, {})[option] = value
    return {
        posixpath.normpath(one[b"path"]): one[b"url"].decode(errors="backslashreplace")
        for one in settings.values()
        if {b"path", b"url"} <= set(one)
    }
