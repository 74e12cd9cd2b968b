"""The phase `resolve`: which commit a version is. The first host of an app asks for all of its hosts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..source.references import is_commit, resolve_git
from .options import Options, Outcome
from .spec import ReleaseSpec

GIT = "/usr/bin/git"


def resolve(spec: ReleaseSpec, options: Options) -> Outcome:
    """The commit, or nothing where that is not to be asked for, or git is not there yet. Raises ReleaseError."""
    if "source" not in spec or not is_asked_for(spec["source"]) or not os.path.exists(GIT):
        return {}
    return {"commit": resolve_git(spec["source"], spec.get("key"))}


def is_asked_for(source: Mapping[str, Any]) -> bool:
    """Whether the version is a branch or a tag of a repository that all hosts reach under this name."""
    url = str(source.get("git") or "")
    elsewhere = "://" in url and not url.startswith("file:")
    # host:path, as ssh has it.
    elsewhere = elsewhere or (":" in url.partition("/")[0] and "://" not in url)
    return elsewhere and not is_commit(str(source.get("version")))
