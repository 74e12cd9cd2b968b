"""Bring the code of a release to a host: from git, from an archive, or from a directory of the controller."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import posixpath
import pwd
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from . import disk_quota, layout, trees, value_rules
from .archives import repack as repack
from .host_command import ANSWER, CommandFailed, run
from .release_error import ReleaseError as ReleaseError
from .release_state import write_atomically

#: Submodules of submodules are fetched too, down to here: a circle must end.
DEEPEST_SUBMODULE = 8

#: Bytes of a tree's list, of a hundred thousand files and more.
LISTING = 64 * 1024 * 1024


def version_of(source: Mapping[str, Any], revision: str) -> str:
    """What people call this version of the source, for messages and the manifest."""
    if source.get("package"):
        return str(source["package"]).rpartition("==")[2]
    if source.get("archive"):
        return posixpath.basename(urlsplit(source["archive"]).path)
    return str(source.get("version") or revision)


def fetch(spec: Mapping[str, Any], revision: str, code: str, proxies: Mapping[str, str]) -> None:
    """Bring the code of the app in *spec* at *revision* into the new directory *code*.

    Raises ReleaseError and CommandFailed.
    """
    app, source = spec["name"], spec["source"]
    if source.get("git"):
        fetch_git(app, source, spec.get("key"), revision, code)
    elif source.get("package"):
        make_code(app, code)
    else:
        with trees.temporary(".fetch-", os.path.dirname(code)) as directory:
            archive = _sent(spec, directory)
            if not source.get("archive"):
                unpack(app, archive, code)
                return
            if not archive:
                archive = f"{directory}/archive"
                download(source["archive"], archive, proxies)
            check_sum(archive, source["checksum"], source["archive"])
            plain = f"{directory}/source.tar"
            repack(archive, plain, source.get("subdirectory"))
            unpack(app, plain, code, compressed=False)


def _sent(spec: Mapping[str, Any], directory: str) -> str:
    """The archive that the controller sent: a file of its own, or within *spec*, which is put into *directory* then. Empty
    where the host fetches it itself."""
    if "archive_content" not in spec:
        return str(spec.get("archive") or "")
    path = f"{directory}/sent"
    with open(path, "wb") as file:
        file.write(base64.b64decode(spec["archive_content"]))
    return path


# Archives


def without_credentials(url: str) -> str:
    """*url* as messages may show it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def download(url: str, target: str, proxies: Mapping[str, str]) -> None:
    """Fetch *url* into the file *target*; user and password in it are sent to its own server alone.

    Raises ReleaseError.
    """
    shown = without_credentials(url)
    # The schema lets http and https through alone.
    request = urllib.request.Request(shown, headers={"User-Agent": "emperor-stack"})  # noqa: S310
    parts = urlsplit(url)
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(dict(proxies) or None))
    try:
        with opener.open(request, timeout=60) as answer, open(target, "wb") as file:
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ReleaseError(
            f"fetching {shown} failed: {reason}\nIs source.archive right, and can this host reach it?"
        ) from error


def check_sum(path: str, checksum: str, name: str) -> None:
    """Raises ReleaseError when the file at *path* has not the *checksum* (`sha256:…`)."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != f"sha256:{found}":
        raise ReleaseError(
            f"{without_credentials(name)} has sha256:{found}, and source.checksum is {checksum}. Somebody changed "
            "the file, or the checksum belongs to another version: compare with what its author publishes."
        )


def make_code(app: str, code: str) -> None:
    """An empty directory *code* of the app's user."""
    account = pwd.getpwnam(app)
    os.mkdir(code, 0o750)
    os.chown(code, account.pw_uid, account.pw_gid)
    disk_quota.count(code, account.pw_uid)


def unpack(app: str, archive: str, code: str, compressed: bool = True) -> None:
    """Unpack a tar file that the controller made of its directory: as the app's user, who can harm nobody else."""
    make_code(app, code)
    with open(archive, "rb") as file:
        run(
            ["tar", "--extract", *(["--gzip"] if compressed else [])]
            + ["--no-same-owner", "--no-same-permissions", f"--directory={code}"],
            what="unpacking the source",
            user=app,
            stdin=file,
        )


# git


@contextlib.contextmanager
def _git_environment(source: Mapping[str, Any], key: str | None) -> Iterator[dict[str, str]]:
    """Variables for git as root: no prompt, no configuration but ours, the app's deploy key and known hosts."""
    with tempfile.TemporaryDirectory(prefix="emperor-stack-git-") as directory:
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        if source.get("known_hosts"):
            path = f"{directory}/known_hosts"
            write_atomically(path, source["known_hosts"].rstrip("\n") + "\n")
            ssh += ["-o", f"UserKnownHostsFile={path}", "-o", "StrictHostKeyChecking=yes"]
        else:
            ssh += ["-o", "StrictHostKeyChecking=accept-new"]
        if key:
            path = f"{directory}/key"
            write_atomically(path, key.rstrip("\n") + "\n")
            ssh += ["-i", path, "-o", "IdentitiesOnly=yes"]
        yield {
            "GIT_SSH_COMMAND": " ".join(ssh),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "HOME": directory,
            # A repository on this host's disk belongs to somebody else; reading it is what was asked for.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }


def is_commit(version: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", version) is not None


def resolve_git(source: Mapping[str, Any], key: str | None) -> str:
    """The commit that `version` (branch, tag or full commit id) names in the remote now. Raises ReleaseError."""
    version = source["version"]
    if is_commit(version):
        return str(version)
    with _git_environment(source, key) as env:
        try:
            listing = run(
                ["git", "ls-remote", "--", source["git"], version, f"{version}^{{}}"],
                what=f"asking {without_credentials(source['git'])} for {version}",
                env=env,
                timeout=120,
                whole=ANSWER,
            )
        except CommandFailed as error:
            raise ReleaseError(
                f"{error}\nIs source.git right, can this host reach it, and may source.key read it?"
            ) from error
    return pick_reference(listing, version, without_credentials(source["git"]))


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


def fetch_git(app: str, source: Mapping[str, Any], key: str | None, commit: str, code: str) -> None:
    """Bring *commit* into the directory *code*; objects stay in the app's bare repository for the next time."""
    repository = f"{layout.app_root(app)}/repo.git"
    with _git_environment(source, key) as env:
        if not os.path.isdir(repository):
            partial = f"{repository}.new"
            trees.remove(partial)
            run(["git", "init", "--quiet", "--bare", partial], what="git init", env=env)
            os.chmod(partial, 0o700)
            os.rename(partial, repository)
        git = Git(repository, env)
        subdirectory = source.get("subdirectory")
        if not subdirectory:
            git.check_out(source["git"], commit, code, bool(source.get("submodules")))
            return
        with trees.temporary(".fetch-", os.path.dirname(code)) as directory:
            whole = os.path.realpath(f"{directory}/whole")
            git.check_out(source["git"], commit, whole, bool(source.get("submodules")))
            inside = os.path.realpath(f"{whole}/{subdirectory}")
            if not inside.startswith(f"{whole}/") or not os.path.isdir(inside):
                raise ReleaseError(
                    f"{without_credentials(source['git'])} has no directory {subdirectory} in {commit[:7]}. "
                    "Correct source.subdirectory."
                )
            os.rename(inside, code)


@dataclass(frozen=True)
class Git:
    """The app's bare repository, which holds the objects of its submodules too. No work tree ever has a `.git`."""

    repository: str
    env: Mapping[str, str]

    def _run(
        self,
        *arguments: str,
        what: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
        whole: int | None = None,
    ) -> str:
        command = ["git", "--git-dir", self.repository, *arguments]
        return run(command, what=what, env={**self.env, **(env or {})}, timeout=timeout, whole=whole)

    def _has(self, commit: str) -> bool:
        try:
            self._run("cat-file", "-e", f"{commit}^{{tree}}", what="git cat-file")
        except CommandFailed:
            return False
        return True

    def bring(self, url: str, commit: str) -> None:
        """Fetch *commit* from *url* unless it is here. Raises ReleaseError and CommandFailed."""
        # Locks of a git that was killed; it has the app's repository to itself while the phase runs.
        for left in ("shallow.lock", "packed-refs.lock", f"refs/emperor-stack/{commit}.lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.repository}/{left}")
        shown = without_credentials(url)
        if not self._has(commit):
            fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--force"]
            # By its id first: one commit and no history. Servers may refuse that; then all branches and tags.
            try:
                self._run(*fetch, "--depth=1", "--", url, commit, what="git fetch")
            except CommandFailed:
                place = f"refs/fetched/{hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()}"
                everything = [f"+refs/{kind}/*:{place}/{kind}/*" for kind in ("heads", "tags")]
                self._run(*fetch, "--", url, *everything, what=f"fetching {shown}")
        if not self._has(commit):
            raise ReleaseError(f"{shown} has no commit {commit}. Is it pushed?")
        # A reference keeps the commit from being collected as garbage.
        self._run("update-ref", f"refs/emperor-stack/{commit}", commit, what="git update-ref")

    def check_out(self, url: str, commit: str, directory: str, submodules: bool, depth: int = 0) -> None:
        """Put the files of *commit* of *url* into *directory*, those of its submodules in their places."""
        self.bring(url, commit)
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="emperor-stack-index-") as index:
            self._run(
                *("--work-tree", directory, "checkout", "--quiet", "--force", commit, "--", "."),
                what=f"checking out {commit}",
                env={"GIT_INDEX_FILE": f"{index}/index"},
            )
        if not submodules:
            return
        if depth >= DEEPEST_SUBMODULE:
            raise ReleaseError(f"submodules are nested more than {DEEPEST_SUBMODULE} deep in {url}")
        for path, wanted, where in self._submodules(url, commit):
            self.check_out(where, wanted, f"{directory}/{path}", True, depth + 1)

    def _submodules(self, url: str, commit: str) -> Iterator[tuple[str, str, str]]:
        """(path, commit, URL) of each submodule of *commit*. The paths are the tree's own, so that none leads out."""
        tree = self._run("ls-tree", "-r", "-z", commit, what="git ls-tree", whole=LISTING)
        modules = {
            path: entry.split()[2]
            for entry, _, path in (line.partition("\t") for line in tree.split("\0"))
            if entry.startswith("160000 ")
        }
        if not modules:
            return
        settings: dict[str, dict[str, str]] = {}
        listing = self._run(
            *("config", "--blob", f"{commit}:.gitmodules", "--null", "--list"),
            what="reading .gitmodules",
            whole=ANSWER,
        )
        for setting in filter(None, listing.split("\0")):
            name, _, value = setting.partition("\n")
            section, _, option = name.rpartition(".")
            settings.setdefault(section, {})[option] = value
        places = {one["path"]: one["url"] for one in settings.values() if {"path", "url"} <= set(one)}
        for path, wanted in modules.items():
            if path not in places:
                raise ReleaseError(f"the submodule {path} has no URL in .gitmodules of {commit[:7]}")
            yield path, wanted, submodule_url(url, places[path])


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
    if wrong := value_rules.git_url(found):
        raise ReleaseError(f"the submodule's URL {without_credentials(url)} is not taken: {wrong.reason}")
    if is_local(found) and not is_local(above):
        # Else a repository from elsewhere could have root read any repository of this host.
        raise ReleaseError(f"the submodule's URL {url} is a path of this host, and {above} is not")
    return found
