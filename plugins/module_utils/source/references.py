"""Which commit a branch, a tag or a commit id names in a remote."""

from __future__ import annotations

import re

from ..host import credentials
from ..host.command import CommandFailed
from ..host.credentials import without_credentials
from ..host.release_error import ReleaseError
from .git_calls import LONGEST_REFERENCES, git_environment, read_git, variables_for
from .spec import Source

# References


class NoSuchVersion(ReleaseError):
    """The repository has no such branch or tag."""


def is_commit(version: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", version) is not None


def resolve_git(source: Source, key: str | None) -> str:
    """The commit that `version` (branch, tag or full commit id) names in the remote now. Raises ReleaseError."""
    version, url = str(source["version"]), str(source["git"])
    if is_commit(version):
        return version
    shown = without_credentials(url)
    with git_environment(source, key) as env:
        try:
            listing = read_git(
                ["ls-remote", "--", credentials.without_login(url), version, f"{version}^{{}}"],
                what=f"asking {shown} for {version}",
                env={**env, **variables_for(url, None)},
                most=LONGEST_REFERENCES,
            )
        except CommandFailed as error:
            raise ReleaseError(f"{error}\n{_unreadable(error.output)}") from error
    return pick_reference(listing.decode(errors="replace"), version, shown)


def _unreadable(said: str) -> str:
    """What to do about a repository that git cannot read."""
    if "dubious ownership" in said:
        return (
            "source.git is a directory of this host that another user owns, who would decide what root runs and reads. "
            "Give it to root (chown -R root: and its path), or name it by a URL with ssh:// or https://, which reads it as "
            "its owner."
        )
    return "Check source.git, whether this host can reach it, and whether source.key may read it."


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
    raise NoSuchVersion(
        f"{url} has no branch or tag {version}. Push it, or correct source.version "
        "(a branch, a tag, or a full commit id of 40 digits)."
    )
