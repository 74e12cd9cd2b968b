"""Where submodules come from."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urljoin

from ..host import layout
from ..host.credentials import without_credentials
from ..host.release_error import ReleaseError
from ..values import urls

# Where submodules come from


def is_local(url: str) -> bool:
    return url.startswith(("/", ".", "file:")) or not re.match(r"[a-z+]+://|[^/]+:", url)


def is_pushed(url: str) -> bool:
    """Whether those who log in to deploy an app decide what is in the repository at *url*."""
    path = url.removeprefix("file://")
    return path.startswith("/") and posixpath.normpath(f"/{path.lstrip('/')}").startswith(f"{layout.PUSHED}/")


def submodule_url(above: str, url: str) -> str:
    """Where a submodule with *url* comes from in a repository that came from *above*. Raises ReleaseError."""
    resolved = url
    if url.startswith(("./", "../")):
        if re.match(r"[a-z+]+://", above):
            scheme, _, rest = above.partition("://")
            resolved = f"{scheme}://" + urljoin(f"//{rest.rstrip('/')}/", url).removeprefix("//")
        else:
            host, colon, path = above.rpartition(":")
            resolved = host + colon + posixpath.normpath(f"{path}/{url}")
    if wrong := urls.git_url(resolved):
        raise ReleaseError(f"the submodule's URL {without_credentials(url)} is not accepted: {wrong.reason}")
    if is_local(resolved) and (not is_local(above) or is_pushed(above)):
        # Else a repository from elsewhere, or whoever pushes to one, could have root read any repository of this host.
        raise ReleaseError(
            f"the submodule's URL {without_credentials(url)} is a path of this host, and {without_credentials(above)} "
            f"{'gets its contents by a push' if is_local(above) else 'is not'}"
        )
    return resolved
