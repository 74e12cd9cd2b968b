"""Whether a host has what `site.yml` makes for an app, and a deploy does not: asked before anything of a release is made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..host import layout
from ..host.release_error import ReleaseError
from .spec import ReleaseSpec

#: The canonical domain of a site, in the words of nginx and of Apache. The redirects of the other domains come after it.
_DOMAIN = re.compile(r"^\s*(?:server_name|ServerName)\s+([^\s;]+)", re.MULTILINE)


def check(spec: ReleaseSpec) -> None:
    """Raises ReleaseError where the host lacks something for the app of *spec*."""
    if lacking := next(_lacking(spec), None):
        raise ReleaseError(
            f"{lacking} Nothing was built, migrated or switched. Run site.yml: deploy.yml changes only releases. "
            "The end of site.yml reports what blocks the app there."
        )


def _lacking(spec: ReleaseSpec) -> Iterator[str]:
    app = spec["name"]
    if not os.path.isdir(layout.state(app)):
        yield "This app is not set up on the host: it is new there, or was renamed."
    for directory in spec["persistent_directories"]:
        path = f"{layout.shared(app)}/{directory['path']}"
        if not os.path.isdir(path):
            yield f"This host has no {path}: persistent has a new directory."
    domain = spec["domains"][0]
    sites = [path for front in layout.FRONT_SITES for path in Path(front).glob("*.conf")]
    found = {match[1] for path in sites if (match := _DOMAIN.search(path.read_text(errors="replace")))}
    if sites and domain not in found:
        yield f"No site of this host's web server has {domain} as its first domain."
