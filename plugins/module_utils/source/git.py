"""Code from git.

Root fetches objects and never writes a file of a tree: the app's own user does that, once all paths have been checked.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from ..host import credentials
from ..host.credentials import without_credentials
from ..host.release_error import ReleaseError
from . import git_tree
from .checkout import write
from .git_calls import git_environment
from .git_tree import Entry
from .repository import Git, repository
from .spec import Source

# Fetching, as root


def fetch_git(app: str, source: Source, key: str | None, commit: str, code: str) -> None:
    """Bring *commit* into the directory *code*; objects stay in the app's bare repository for the next time.

    Raises ReleaseError and CommandFailed.
    """
    account, url = pwd.getpwnam(app), str(source["git"])
    shown = without_credentials(url)
    with git_environment(source, key) as env:
        git = Git(repository(app, env, account.pw_gid), env, credentials.login(url))
        entries = git.entries(url, commit, bool(source.get("submodules")))
        git_tree.check(entries, f"{shown} at {commit[:7]}")
        inside = b""
        if wanted := source.get("subdirectory"):
            found = git_tree.directory(entries, os.fsencode(wanted), git.blob)
            if found is None:
                raise ReleaseError(
                    f"{shown} has no directory {wanted} in {commit[:7]}. Correct source.subdirectory."
                )
            inside = found
        paths = [one for one in entries if one.path.startswith(inside + b"/")] if inside else entries
        _check_room(paths, os.path.dirname(code), shown)
        with git.index(entries, account.pw_gid) as index:
            write(app, git.repository, index, [one.path for one in paths], inside, code)


def _check_room(entries: Sequence[Entry], directory: str, shown: str) -> None:
    """Raises ReleaseError where the files would take more than half of what is free."""
    space, size = os.statvfs(directory), sum(entry.size for entry in entries)
    if 2 * size > space.f_bavail * space.f_frsize or (space.f_files and 2 * len(entries) > space.f_favail):
        raise ReleaseError(
            f"{shown} has {len(entries)} files with {size >> 20} MiB, which exceeds the free space on "
            "this host"
        )
