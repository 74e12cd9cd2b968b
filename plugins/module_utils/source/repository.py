"""The app's bare repository, into which root fetches."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..host import credentials, layout
from ..host.command import CommandFailed, run
from ..host.credentials import Login, without_credentials
from ..host.release_error import ReleaseError
from . import git_tree
from .git_calls import LONGEST_REFERENCES, SETTINGS, as_variables, read_git, variables_for
from .git_tree import Entry
from .submodules import submodule_url

#: Submodules of submodules are fetched too, down to here: a circle must end. And so many in all.
DEEPEST_SUBMODULE = 8
MOST_SUBMODULES = 200

#: Bytes that are read of what git says: of a commit's tree, of a remote's references, of `.gitmodules`.
LONGEST_TREE = 64 << 20
LONGEST_MODULES = 256 << 10

#: Bytes that are free where a fetch that fails is taken to have failed for want of room.
LEAST_ROOM = 64 << 20

#: The repository's mode: the app's group reads it, nobody else does, and new files in it get that group.
REPOSITORY_MODE = 0o2750


def repository(app: str, env: Mapping[str, str], gid: int) -> str:
    """The app's bare repository: root's, readable by group *gid* alone. One of an earlier version is taken over."""
    path = f"{layout.app_root(app)}/repo.git"
    if not os.path.isdir(path):
        partial = f"{path}.new"
        # Root's own: no app has ever written there.
        run(["rm", "-rf", partial], what="removing an incomplete repository")
        init = ["git", "init", "--quiet", "--bare", "--template=", "--shared=0640", partial]
        run(init, what="git init", env={**env, **as_variables(SETTINGS)})
        os.rename(partial, path)
    top = os.lstat(path)
    if (stat.S_IMODE(top.st_mode), top.st_gid) != (REPOSITORY_MODE, gid):
        _open_to_group(path, env, gid)
    return path


def _open_to_group(path: str, env: Mapping[str, str], gid: int) -> None:
    """Let group *gid*, and nobody else, read the repository at *path*. Its own directory goes last: then it is done."""
    # The names of these references were made of URLs with their passwords.
    earlier = read_git(
        ["--git-dir", path, "for-each-ref", "--format=delete %(refname)", "refs/fetched"],
        what="git for-each-ref",
        env=env,
        most=LONGEST_TREE,
    )
    update = ["--git-dir", path, "update-ref", "--stdin"]
    read_git(update, what="git update-ref", env=env, most=LONGEST_REFERENCES, stdin=earlier)
    for name in ("FETCH_HEAD", "hooks", "config.lock"):
        run(["rm", "-rf", f"{path}/{name}"], what=f"removing {name}")
    shared = ["git", "--git-dir", path, "config", "core.sharedRepository", "0640"]
    run(shared, what="git config", env=env)
    for _, names, files, directory in os.fwalk(path, follow_symlinks=False):
        for name in [*names, *files]:
            mode = os.lstat(name, dir_fd=directory).st_mode
            if not stat.S_ISLNK(mode):
                os.chown(name, 0 if os.geteuid() == 0 else -1, gid, dir_fd=directory)
                wanted = REPOSITORY_MODE if stat.S_ISDIR(mode) else 0o640 if mode & 0o200 else 0o440
                os.chmod(name, wanted, dir_fd=directory)
    os.chown(path, -1, gid)
    os.chmod(path, REPOSITORY_MODE)


@dataclass
class Git:
    """The app's bare repository, which holds the objects of its submodules too. No work tree ever has a `.git`.

    *login* is for the server of the app's repository, and for submodules that are on the same.
    """

    repository: str
    env: Mapping[str, str]
    login: Login | None
    #: How many submodules have been fetched.
    submodules: int = 0

    def _read(self, *arguments: str, what: str, most: int, stdin: bytes = b"") -> bytes:
        env = {**self.env, **as_variables(SETTINGS)}
        return read_git(
            ["--git-dir", self.repository, *arguments], what=what, env=env, most=most, stdin=stdin
        )

    def _has(self, commit: str) -> bool:
        try:
            self._read("cat-file", "-e", f"{commit}^{{tree}}", what="git cat-file", most=1024)
        except CommandFailed:
            return False
        return True

    def _fetch(self, url: str, references: Sequence[str], *options: str) -> None:
        space = os.statvfs(self.repository)
        free = space.f_bavail * space.f_frsize
        try:
            self._fetch_within(free // 2, url, references, *options)
        except CommandFailed as error:
            if free >= LEAST_ROOM:
                raise
            # git says of it that its own program failed.
            raise ReleaseError(
                f"{error}\n{self.repository}: No space left on device: {free // 2**20} MiB are free, of "
                "which a fetch may take half. Free some space."
            ) from error

    def _fetch_within(self, most: int, url: str, references: Sequence[str], *options: str) -> None:
        # No file of objects may take more than half of what is free: who serves a repository decides how large it is.
        run(
            ["prlimit", f"--fsize={most}", "--"]
            + [
                "git",
                "--git-dir",
                self.repository,
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
            ]
            + ["--force", "--no-write-fetch-head", *options]
            + ["--", credentials.without_login(url), *references],
            what=f"fetching {without_credentials(url)}",
            env={**self.env, **variables_for(url, self.login)},
            timeout=600,
            shown_as=f"git fetch {without_credentials(url)}",
        )

    def bring(self, url: str, commit: str) -> None:
        """Fetch *commit* from *url* unless it is here. Raises ReleaseError and CommandFailed."""
        # Locks of a git that was killed; it has the app's repository to itself while the phase runs.
        for left in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.repository}/{left}")
        if not self._has(commit):
            # By its id first: one commit and no history. Servers may refuse that; then all branches and tags.
            try:
                self._fetch(url, [commit], "--depth=1")
            except CommandFailed:
                place = f"refs/from/{hashlib.sha256(without_credentials(url).encode()).hexdigest()}"
                self._fetch(url, [f"+refs/{kind}/*:{place}/{kind}/*" for kind in ("heads", "tags")])
        if not self._has(commit):
            raise ReleaseError(f"{without_credentials(url)} has no commit {commit}. Push it.")
        # A reference keeps the commit from being collected as garbage.
        self._read("update-ref", f"refs/emperor-stack/{commit}", commit, what="git update-ref", most=1 << 20)

    def blob(self, entry: Entry) -> bytes:
        """What *entry* holds, which is a link."""
        return self._read("cat-file", "blob", entry.name, what="git cat-file", most=git_tree.LONGEST_PATH + 2)

    def entries(self, url: str, commit: str, submodules: bool, depth: int = 0) -> list[Entry]:
        """All of *commit* of *url*, with *submodules* those of its submodules in their places. Raises ReleaseError."""
        self.bring(url, commit)
        # -l: the sizes, by which it is known beforehand whether there is room.
        what = f"listing the tree of {commit[:7]}"
        tree = git_tree.parse(
            self._read("ls-tree", "-r", "-z", "-l", "--full-tree", commit, what=what, most=LONGEST_TREE)
        )
        # Before its `.gitmodules` says anything.
        git_tree.check(tree, f"{without_credentials(url)} at {commit[:7]}")
        modules = [entry for entry in tree if entry.mode == git_tree.SUBMODULE] if submodules else []
        if not modules:
            return tree
        if depth >= DEEPEST_SUBMODULE:
            raise ReleaseError(
                f"submodules are nested more than {DEEPEST_SUBMODULE} deep in {without_credentials(url)}"
            )
        places = self._places(tree, commit)
        whole = [entry for entry in tree if entry.mode != git_tree.SUBMODULE]
        for module in modules:
            self.submodules += 1
            if self.submodules > MOST_SUBMODULES:
                raise ReleaseError(f"there are more than {MOST_SUBMODULES} submodules, nested ones included")
            if module.path not in places:
                name = git_tree.shown(module.path)
                raise ReleaseError(f"the submodule {name} has no URL in .gitmodules of {commit[:7]}")
            where = submodule_url(url, places[module.path])
            whole += git_tree.below(self.entries(where, module.name, True, depth + 1), module.path)
        return whole

    def _places(self, entries: Sequence[Entry], commit: str) -> dict[bytes, str]:
        file = next((one for one in entries if one.path == b".gitmodules"), None)
        if file is None or file.mode == git_tree.LINK or file.size > LONGEST_MODULES:
            reason = "is missing" if file is None else "is a link or too large"
            raise ReleaseError(f"{commit[:7]} has submodules, and its .gitmodules {reason}: correct it there")
        return git_tree.places(
            self._read(
                *("config", "--no-includes", "--blob", file.name, "--null", "--list"),
                what=f"reading .gitmodules of {commit[:7]}",
                most=2 * LONGEST_MODULES,
            )
        )

    @contextlib.contextmanager
    def index(self, entries: Sequence[Entry], gid: int) -> Iterator[str]:
        """An index of *entries*, as a file that group *gid* can read. Git looks at each path of it once more."""
        # Of a run that died.
        for left in os.listdir(self.repository):
            if left.startswith("checkout-"):
                shutil.rmtree(f"{self.repository}/{left}", ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="checkout-", dir=self.repository) as directory:
            path = f"{directory}/index"
            env = {**self.env, **as_variables(SETTINGS), "GIT_INDEX_FILE": path}
            read_git(
                ["--git-dir", self.repository, "update-index", "-z", "--index-info"],
                what="making the index",
                env=env,
                most=LONGEST_TREE,
                stdin=git_tree.index_info(entries),
            )
            for one, mode in ((path, 0o640), (directory, 0o750)):
                os.chown(one, -1, gid)
                os.chmod(one, mode)
            yield path
