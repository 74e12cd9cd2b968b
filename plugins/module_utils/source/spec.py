"""What a host is told of an app's code. Types alone; see `release/spec.py`."""

from __future__ import annotations

from typing import TypedDict


class Source(TypedDict, total=False):
    """Where the code comes from: one of `git`, `path`, `archive` and `package`; the others are None."""

    git: str | None
    version: str | None
    key: str | None
    known_hosts: str | None
    path: str | None
    archive: str | None
    checksum: str | None
    package: str | None
    subdirectory: str | None
    submodules: bool


class Named(TypedDict):
    """What each phase is told of an app; those after `prepare` are told no more."""

    name: str


class Located(Named, total=False):
    """Whose code it is, and where it comes from."""

    source: Source
    #: Private key for the repository, decrypted.
    key: str | None


class Sent(TypedDict, total=False):
    """The source, where the controller has it: base64 of an archive, or the path of one on the host."""

    archive_content: str
    archive: str


class ToFetch(Located, Sent):
    """All that bringing the code takes."""
