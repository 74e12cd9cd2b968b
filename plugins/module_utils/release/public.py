"""Publish what a release has for the web server: copies that root makes of the sealed code, laid out as their URLs."""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections.abc import Iterator, Sequence

from ..files.copies import Room, copy, copy_file, made_directory
from ..files.reading import inside, readable
from ..files.trees import opened, printable
from ..host import layout
from ..host.release_error import ReleaseError
from .compress import compress
from .spec import StaticFile

#: Links that a warning names.
MOST_NAMED = 5


def publish(app: str, code: str, public: str, files: Sequence[StaticFile], venv: str = "") -> list[str]:
    """Copy the static files to where nginx reads them: root's, readable by nginx alone.

    Beside each that is worth it lies its compressed form. A persistent directory is linked instead. Links in a directory are
    followed within it, and to files of their own name in the sealed *code* and *venv*, as `collectstatic --link` makes them.
    Returns warnings about other links. Raises ReleaseError.
    """
    warnings = []
    front = grp.getgrnam(layout.FRONT_USER).gr_gid
    with contextlib.ExitStack() as stack:
        above = stack.enter_context(opened(os.path.dirname(public)))
        os.mkdir(public, 0o700)
        top = made_directory(above, os.path.basename(public), front)
        stack.callback(os.close, top)
        source = stack.enter_context(opened(code))
        within = [source, *([stack.enter_context(opened(venv))] if venv else [])]
        room = Room(top)
        for item in files:
            if left_out := _publish(app, within, top, item, front, room):
                warnings.append(_about_links(_place(item), item["path"], left_out))
        # Only when all are there: a later directory of the same URL may replace files of an earlier one.
        for item in files:
            if item["kind"] == "static" and item["directory"] and not item["persistent"]:
                place, names = _place(item), [name for name in item["url"].split("/") if name]
                with _directory(top, names, front, place) as directory:
                    compress(directory, front, room, place)
    return warnings


def _about_links(place: str, path: str, left_out: Sequence[str]) -> str:
    names = ", ".join(printable(f"{path}/{name}") for name in left_out[:MOST_NAMED])
    more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
    return (
        f"{place}: not published, because a link may only lead to a file in the same directory, or to one of its own name "
        f"in the release's code or venv: {names}{more}. Put the files themselves there"
    )


def _publish(
    app: str, within: Sequence[int], public: int, item: StaticFile, front: int, room: Room
) -> list[str]:
    """Publish *item* of the code, which is the first of the sealed trees *within*. Returns links that were left out."""
    names = [name for name in item["url"].split("/") if name]
    place = _place(item)
    if item["persistent"]:
        with _directory(public, names[:-1], front, place) as directory:
            os.symlink(f"{layout.shared(app)}/{item['path']}", names[-1], dir_fd=directory)
            os.chown(names[-1], -1, front, dir_fd=directory, follow_symlinks=False)
        return []
    what = f"{place}: {item['path']}"
    with _source(within[0], item) as source:
        if item["directory"]:
            with _directory(public, names, front, place) as directory:
                return copy(source, directory, front, room, what, within)
        with _directory(public, names[:-1], front, place) as directory:
            copy_file(source, directory, names[-1], front, room, what)
    return []


def _place(item: StaticFile) -> str:
    """Where the inventory says it."""
    key = {"private": "private", "page": "error_pages"}.get(item["kind"], "static")
    return f"{key} {item['url']}"


@contextlib.contextmanager
def _source(code: int, item: StaticFile) -> Iterator[int]:
    """The file or the directory of *item*, opened where it lies in the code. Raises ReleaseError.

    What was opened is what is copied, wherever a link leads to afterwards.
    """
    try:
        descriptor = readable(inside(code, item["path"]))
    except ReleaseError as error:
        raise ReleaseError(f"{_place(item)}: {error}") from None
    except OSError:
        descriptor = -1
    try:
        if descriptor < 0 or stat.S_ISDIR(os.fstat(descriptor).st_mode) != bool(item["directory"]):
            kind = "directory" if item["directory"] else "file"
            key = _place(item).partition(" ")[0]
            raise ReleaseError(
                f"{_place(item)}: the release has no {kind} {item['path']} after its build. "
                f"Correct `{key}:`, or add the `build:` command that makes it."
            )
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def _directory(public: int, names: Sequence[str], front: int, place: str) -> Iterator[int]:
    """The published directory *names*, made where it is missing. Raises ReleaseError where something else has its place."""
    with contextlib.ExitStack() as stack:
        directory = public
        for name in names:
            try:
                directory = made_directory(directory, name, front)
            except NotADirectoryError:
                raise ReleaseError(
                    f"{place}: {name} is already published, but is not a directory of the release. Choose "
                    "another URL"
                ) from None
            stack.callback(os.close, directory)
        yield directory
