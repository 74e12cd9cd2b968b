"""Files of a commit, written as the app's user."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Sequence

from ..files import trees
from ..host import disk_quota
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from .git_calls import COMMON, SETTINGS, as_variables

# Checking out, as the app's user


def write(app: str, repository: str, index: str, paths: Sequence[bytes], inside: bytes, code: str) -> None:
    """Write *paths* of *index* and make of the directory *inside* of them, all of it where that is empty, the new *code*.

    The app's user writes every file, in a directory of its own. Raises ReleaseError and CommandFailed.
    """
    if not inside:
        make_code(app, code)
        _check_out(app, repository, index, paths, code)
        return
    with trees.temporary(".fetch-", os.path.dirname(code)) as directory:
        os.chmod(directory, 0o711)
        whole = f"{directory}/whole"
        make_code(app, whole)
        _check_out(app, repository, index, paths, whole)
        take_out(whole, inside, code, pwd.getpwnam(app).pw_uid)


def _check_out(app: str, repository: str, index: str, paths: Sequence[bytes], directory: str) -> None:
    with tempfile.TemporaryFile() as names:
        names.write(b"".join(path + b"\0" for path in paths))
        names.seek(0)
        run_as(
            app,
            ["git", "--git-dir", repository, "--work-tree", directory]
            + ["checkout-index", "--force", "--quiet", "-z", "--stdin"],
            what="checking out",
            cwd=directory,
            env={**COMMON, **as_variables(SETTINGS), "GIT_ALLOW_PROTOCOL": "none", "HOME": "/nonexistent"}
            | {"GIT_INDEX_FILE": index},
            stdin=names,
            shown_as="git checkout-index",
        )


def make_code(app: str, code: str) -> None:
    """An empty directory *code* of the app's user, in one of root's."""
    account = pwd.getpwnam(app)
    os.mkdir(code, 0o750)
    os.chown(code, account.pw_uid, account.pw_gid)
    disk_quota.count(code, account.pw_uid)


def take_out(whole: str, inside: bytes, code: str, uid: int) -> None:
    """Make the directory *inside* of *whole*, which is user *uid*'s, the new *code*, whose parent is root's.

    No link on the way is followed, however late it got there. Raises ReleaseError.
    """
    *above, name = inside.split(b"/")
    directory = os.open(whole, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for part in above:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            next_one = os.open(part, flags, dir_fd=directory)
            os.close(directory)
            directory = next_one
        os.rename(name, code, src_dir_fd=directory)
    finally:
        os.close(directory)
    # From here on nobody but root can put something else there.
    status = os.lstat(code)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(code)
        raise ReleaseError("a process of the app changed the code during the checkout: deploy it again")
