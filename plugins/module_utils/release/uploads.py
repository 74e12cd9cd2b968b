"""Files that the app put into a directory which the web server shows, and that the web server cannot read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from ..files.trees import printable
from ..host import layout
from ..host.command import ANSWER, CommandFailed
from ..systemd.app_process import run_as
from .spec import PersistentDirectory

#: Seconds for the search: of a directory with millions of files a part is looked at.
PATIENCE = 10
#: Files that are named.
MOST = 3

_GROUP = layout.FRONT_USER
#: By the app's user: it alone may look into all that it made. Other apps never get as far as these directories. For the web
#: server the mode of the group counts where the group is its own, and that of all others elsewhere.
_DIRECTORIES = rf"-type d -group {_GROUP} ! -perm -g=x -o -type d ! -group {_GROUP} ! -perm -o=x"
_FILES = rf"-type f -group {_GROUP} ! -perm -g=r -o -type f ! -group {_GROUP} ! -perm -o=r"
#: Exists while nginx runs, for which the app's user lets files be read when a visitor wants them (app/readable.py).
NGINX = "/run/nginx.pid"

#: A directory that gets another mode loses its setgid bit: no process of an app may set a mode with it (RestrictSUIDSGID).
#: One whose group may read stays as it is.
_CORRECTION = (
    "find {}/ -mindepth 1 -type d -not -perm -g=rxs -not -perm -go=rx -exec chmod g-s,go+rx {{}} + "
    "-o -type f -not -perm -go=r -exec chmod go+r {{}} +"
)


def unreadable(app: str, directories: Iterable[PersistentDirectory]) -> list[str]:
    """A warning for each of *directories* that is served and has what the web server cannot read."""
    warnings = []
    for directory in directories:
        path = f"{layout.shared(app)}/{directory['path']}"
        if not directory["served"] or not os.path.isdir(path):
            continue
        let_read = os.path.exists(NGINX) and not directory.get("private")
        wanted = _DIRECTORIES if let_read else f"{_FILES} -o {_DIRECTORIES}"
        search = (
            f"find \"$@\" -xdev \\( {wanted} \\) -printf '%M %P\\n' 2>/dev/null | head --lines={MOST + 1}"
        )
        said = ""
        with contextlib.suppress(CommandFailed):
            said = run_as(
                app,
                ["/bin/sh", "-c", search, "sh", path],
                what="looking for files that the web server cannot read",
                timeout=PATIENCE,
                whole=ANSWER,
            )
        found = [printable(line) for line in said.splitlines() if line]
        if found:
            more = " and more" if len(found) > MOST else ""
            warnings.append(
                f"{directory['path']}: the web server cannot read {', '.join(found[:MOST])}{more}, so visitors get 404. "
                "A file or directory that is moved here from a temporary one keeps its mode: let the app call "
                "os.chmod(path, 0o644) (for a directory 0o755) after the move; in Django check "
                "FILE_UPLOAD_PERMISSIONS. To correct what is there: playbooks/run.yml -e app="
                f"{app} -e \"command='{_CORRECTION.format(directory['path'])}'\""
            )
    return warnings
