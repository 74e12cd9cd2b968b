"""Code from git.

Root fetches objects and never writes a file of a tree: the app's own user does that, once all paths have been checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import urljoin

from ..files import trees
from ..files.atomic import write_atomically
from ..host import credentials, disk_quota, layout
from ..host.command import SYSTEM_PATH, CommandFailed, run
from ..host.credentials import Login, without_credentials
from ..host.release_error import ReleaseError
from ..systemd.app_process import run_as
from ..values import urls
from . import git_tree
from .git_tree import Entry
from .spec import Source

#: Submodules of submodules are fetched too, down to here: a circle must end. And so many in all.
DEEPEST_SUBMODULE = 8
MOST_SUBMODULES = 200

#: Bytes that are read of what git says: of a commit's tree, of a remote's references, of `.gitmodules`.
LONGEST_TREE = 64 << 20
LONGEST_REFERENCES = 1 << 20
LONGEST_MODULES = 256 << 10

#: Bytes that are free where a fetch that fails is taken to have failed for want of room.
LEAST_ROOM = 64 << 20

#: The repository's mode: the app's group reads it, nobody else does, and new files in it get that group.
REPOSITORY_MODE = 0o2750

#: What git's check of received objects lets pass: faults that old programs left in the heads of commits and tags of
#: well-known repositories, and file modes with a zero before them. None of them can decide what is written, or where.
_HARMLESS = (
    *(
        "badDate",
        "badDateOverflow",
        "badEmail",
        "badName",
        "badTimezone",
        "missingEmail",
        "missingNameBeforeEmail",
    ),
    *(
        "missingSpaceBeforeDate",
        "missingSpaceBeforeEmail",
        "multipleAuthors",
        "zeroPaddedDate",
        "zeroPaddedFilemode",
    ),
)

#: For every git: nobody's configuration but ours, no hooks, no other object in the place of one, and no fetch by itself.
_COMMON = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.fsmonitor": "false",
    "core.sharedRepository": "0640",
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    **{f"fetch.fsck.{name}": "ignore" for name in _HARMLESS},
}

#: What git runs to be told user and password. They come by the environment of root's process, which nobody else reads.
_HELPER = (
    '!f() { test "$1" != get || '
    'printf "username=%s\\npassword=%s\\n" "$EMPEROR_STACK_USER" "$EMPEROR_STACK_PASSWORD"; }; f'
)


def _settings(settings: Mapping[str, str]) -> dict[str, str]:
    """*settings* as git takes them from its environment."""
    made = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made


def _for(url: str, login: Login | None) -> dict[str, str]:
    """Variables for a git that talks to *url*: what it may speak, and *login* where that is this server's."""
    settings = dict(_SETTINGS)
    made = {"GIT_ALLOW_PROTOCOL": "file" if is_local(url) else "https:http:ssh:git"}
    login = credentials.login(url) or login
    if login is not None and login.origin == credentials.origin(url):
        if re.search(r"[\n\0]", login.user + login.password):
            raise ReleaseError(
                f"source.git: user or password for {login.origin} contains a line break (%0A), which git "
                "does not accept: correct the URL"
            )
        settings |= {"credential.helper": "", f"credential.{login.origin}.helper": _HELPER}
        made |= {"EMPEROR_STACK_USER": login.user, "EMPEROR_STACK_PASSWORD": login.password}
    return {**made, **_settings(settings)}


@contextlib.contextmanager
def _git_environment(source: Source, key: str | None) -> Iterator[dict[str, str]]:
    """Variables for git as root: no prompt, no configuration but ours, the app's deploy key and known hosts."""
    with tempfile.TemporaryDirectory(prefix="emperor-stack-git-") as directory:
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        if known_hosts := source.get("known_hosts"):
            path = f"{directory}/known_hosts"
            write_atomically(path, known_hosts.rstrip("\n") + "\n")
            ssh += ["-o", f"UserKnownHostsFile={path}", "-o", "StrictHostKeyChecking=yes"]
        else:
            ssh += ["-o", "StrictHostKeyChecking=accept-new"]
        if key:
            path = f"{directory}/key"
            write_atomically(path, key.rstrip("\n") + "\n")
            ssh += ["-i", path, "-o", "IdentitiesOnly=yes"]
        yield {**_COMMON, "GIT_SSH_COMMAND": " ".join(ssh), "HOME": directory}


def _read(
    arguments: Sequence[str],
    *,
    what: str,
    env: Mapping[str, str],
    most: int,
    timeout: float = 120,
    stdin: bytes = b"",
) -> bytes:
    """What git prints, *most* bytes of it. Raises CommandFailed, and ReleaseError where it is more."""
    # The kernel ends it at the first byte too many: an untrusted server can make git print without end.
    command = ["prlimit", f"--fsize={most}", "--", "git", *arguments]
    with (
        tempfile.TemporaryFile() as answer,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as given,
    ):
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            command,
            cwd="/",
            env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **env},
            stdin=given,
            stdout=answer,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CommandFailed(what, "git", f"still running after {timeout:g} s", _end_of(said)) from None
        if code == -signal.SIGXFSZ or answer.seek(0, os.SEEK_END) >= most:
            raise ReleaseError(
                f"{what} failed: git printed more than {most >> 10} KiB, which cannot be right"
            )
        if code != 0:
            raise CommandFailed(what, f"git {arguments[0]}", f"exit status {code}", _end_of(said))
        answer.seek(0)
        return answer.read()


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 65536, 0))
    return file.read().decode(errors="replace")


# References


def is_commit(version: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", version) is not None


def resolve_git(source: Source, key: str | None) -> str:
    """The commit that `version` (branch, tag or full commit id) names in the remote now. Raises ReleaseError."""
    version, url = str(source["version"]), str(source["git"])
    if is_commit(version):
        return version
    shown = without_credentials(url)
    with _git_environment(source, key) as env:
        try:
            listing = _read(
                ["ls-remote", "--", credentials.without_login(url), version, f"{version}^{{}}"],
                what=f"asking {shown} for {version}",
                env={**env, **_for(url, None)},
                most=LONGEST_REFERENCES,
            )
        except CommandFailed as error:
            raise ReleaseError(
                f"{error}\nCheck source.git, whether this host can reach it, and whether source.key may "
                "read it."
            ) from error
    return pick_reference(listing.decode(errors="replace"), version, shown)


def pick_reference(listing: str, version: str, url: str) -> str:
    """The commit of *version* in what `git ls-remote` printed: a tag before a branch, the commit a tag points at."""
    references = {}
    for line in listing.splitlines():
        commit, _, name = line.partition("\t")
        if re.fullmatch(r"[0-9a-f]{40}", commit):
            references[name] = commit
    for name in (
        f"refs/tags/{version}^{{}}",
        f"refs/tags/{version}",
        f"refs/heads/{version}",
        f"{version}^{{}}",
        version,
    ):
        if name in references:
            return references[name]
    raise ReleaseError(
        f"{url} has no branch or tag {version}. Push it, or correct source.version "
        "(a branch, a tag, or a full commit id of 40 digits)."
    )


# Fetching, as root


def fetch_git(app: str, source: Source, key: str | None, commit: str, code: str) -> None:
    """Bring *commit* into the directory *code*; objects stay in the app's bare repository for the next time.

    Raises ReleaseError and CommandFailed.
    """
    account, url = pwd.getpwnam(app), str(source["git"])
    shown = without_credentials(url)
    with _git_environment(source, key) as env:
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


def repository(app: str, env: Mapping[str, str], gid: int) -> str:
    """The app's bare repository: root's, readable by group *gid* alone. One of an earlier version is taken over."""
    path = f"{layout.app_root(app)}/repo.git"
    if not os.path.isdir(path):
        partial = f"{path}.new"
        # Root's own: no app has ever written there.
        run(["rm", "-rf", partial], what="removing an incomplete repository")
        init = ["git", "init", "--quiet", "--bare", "--template=", "--shared=0640", partial]
        run(init, what="git init", env={**env, **_settings(_SETTINGS)})
        os.rename(partial, path)
    top = os.lstat(path)
    if (stat.S_IMODE(top.st_mode), top.st_gid) != (REPOSITORY_MODE, gid):
        _open_to_group(path, env, gid)
    return path


def _open_to_group(path: str, env: Mapping[str, str], gid: int) -> None:
    """Let group *gid*, and nobody else, read the repository at *path*. Its own directory goes last: then it is done."""
    # The names of these references were made of URLs with their passwords.
    earlier = _read(
        ["--git-dir", path, "for-each-ref", "--format=delete %(refname)", "refs/fetched"],
        what="git for-each-ref",
        env=env,
        most=LONGEST_TREE,
    )
    update = ["--git-dir", path, "update-ref", "--stdin"]
    _read(update, what="git update-ref", env=env, most=LONGEST_REFERENCES, stdin=earlier)
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


def _check_room(entries: Sequence[Entry], directory: str, shown: str) -> None:
    """Raises ReleaseError where the files would take more than half of what is free."""
    space, size = os.statvfs(directory), sum(entry.size for entry in entries)
    if 2 * size > space.f_bavail * space.f_frsize or (space.f_files and 2 * len(entries) > space.f_favail):
        raise ReleaseError(
            f"{shown} has {len(entries)} files with {size >> 20} MiB, which exceeds the free space on "
            "this host"
        )


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
        env = {**self.env, **_settings(_SETTINGS)}
        return _read(["--git-dir", self.repository, *arguments], what=what, env=env, most=most, stdin=stdin)

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
            env={**self.env, **_for(url, self.login)},
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
        found = git_tree.parse(
            self._read("ls-tree", "-r", "-z", "-l", "--full-tree", commit, what=what, most=LONGEST_TREE)
        )
        # Before its `.gitmodules` says anything.
        git_tree.check(found, f"{without_credentials(url)} at {commit[:7]}")
        modules = [entry for entry in found if entry.mode == git_tree.SUBMODULE] if submodules else []
        if not modules:
            return found
        if depth >= DEEPEST_SUBMODULE:
            raise ReleaseError(
                f"submodules are nested more than {DEEPEST_SUBMODULE} deep in {without_credentials(url)}"
            )
        places = self._places(found, commit)
        whole = [entry for entry in found if entry.mode != git_tree.SUBMODULE]
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
            env = {**self.env, **_settings(_SETTINGS), "GIT_INDEX_FILE": path}
            _read(
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
            env={**_COMMON, **_settings(_SETTINGS), "GIT_ALLOW_PROTOCOL": "none", "HOME": "/nonexistent"}
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
    found = os.lstat(code)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(code)
        raise ReleaseError("a process of the app changed the code during the checkout: deploy it again")


# Where submodules come from


def is_local(url: str) -> bool:
    return url.startswith(("/", ".", "file:")) or not re.match(r"[a-z+]+://|[^/]+:", url)


def submodule_url(above: str, url: str) -> str:
    """Where a submodule with *url* comes from in a repository that came from *above*. Raises ReleaseError."""
    found = url
    if url.startswith(("./", "../")):
        if re.match(r"[a-z+]+://", above):
            scheme, _, rest = above.partition("://")
            found = f"{scheme}://" + urljoin(f"//{rest.rstrip('/')}/", url).removeprefix("//")
        else:
            host, colon, path = above.rpartition(":")
            found = host + colon + posixpath.normpath(f"{path}/{url}")
    if wrong := urls.git_url(found):
        raise ReleaseError(f"the submodule's URL {without_credentials(url)} is not accepted: {wrong.reason}")
    if is_local(found) and not is_local(above):
        # Else a repository from elsewhere could have root read any repository of this host.
        raise ReleaseError(
            f"the submodule's URL {without_credentials(url)} is a path of this host, and {without_credentials(above)} is not"
        )
    return found
