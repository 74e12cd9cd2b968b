"""What the code of a release gets beside its source: rendered files, and links to what outlives releases."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping

from ..host import layout
from ..systemd.app_process import run_as
from .spec import PersistentDirectory

#: For each file: `file`, its path, its bytes, which come by standard input; a link or a file of the source gives way. For
#: each persistent directory: `link`, the path in the code, the directory. The group of what is copied is left to the
#: directory, which may give its files to nginx. For each persistent file: `keep`, the path in the code, the file.
_FURNISH = """
set -e
umask 027
while [ $# -gt 0 ]; do
    trap 'echo "$2: failed"' EXIT
    mkdir -p "$(dirname "$2")"
    if [ "$1" = file ]; then
        rm -f "$2"
        head -c "$3" > "$2"
    elif [ "$1" = keep ]; then
        if [ -d "$2" ] && [ ! -L "$2" ]; then
            echo "this is a directory of the source: name it in persistent, not in persistent_files"
            exit 1
        fi
        if [ -f "$2" ] && [ ! -L "$2" ] && [ -z "$(ls -A "$(dirname "$3")")" ]; then
            cp -P --preserve=timestamps "$2" "$3"
        fi
        rm -f "$2"
        ln -s "$3" "$2"
    else
        if [ -f "$2" ] && [ ! -L "$2" ]; then
            echo "this is a file of the source: name it in persistent_files, not in persistent"
            exit 1
        fi
        if [ -d "$2" ] && [ ! -L "$2" ]; then
            [ -n "$(ls -A "$3")" ] || cp -RP --preserve=mode,timestamps "$2/." "$3/"
        fi
        rm -rf "$2"
        ln -s "$3" "$2"
    fi
    shift 3
done
trap - EXIT
"""


def furnish(
    app: str,
    code: str,
    files: Mapping[str, str],
    persistent: Iterable[PersistentDirectory],
    persistent_files: Iterable[str] = (),
) -> None:
    """Put the rendered *files* of an app into its code, and a link to its directory in the place of each *persistent* path.

    Each of *persistent_files* has a directory of its own: SQLite and others write further files beside it. What the source
    has at any of these paths seeds the persistent directory while that is still empty. All of it as the app's user, who
    owns both places and could put a link into root's way; and in one command, each of which takes its time to begin.
    Raises CommandFailed.
    """
    contents = {name: content.encode() for name, content in files.items()}
    words = [
        word for name, content in contents.items() for word in ("file", f"{code}/{name}", str(len(content)))
    ]
    kept = list(persistent_files)
    for directory in (one for one in persistent if one["path"] not in kept):
        words += ["link", f"{code}/{directory['path']}", f"{layout.shared(app)}/{directory['path']}"]
    for path in kept:
        words += ["keep", f"{code}/{path}", f"{layout.shared(app)}/{path}/{os.path.basename(path)}"]
    if not words:
        return
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(contents.values()))
        file.seek(0)
        run_as(
            app,
            ["/bin/sh", "-c", 'eval "`printenv SCRIPT`"'],
            what="putting `files` and persistent directories into the code",
            # systemd changes some characters of arguments (`app_process.CHANGED`).
            env={"SCRIPT": f"set -- {shlex.join(words)}\n{_FURNISH}"},
            stdin=file,
            writable=(code,),
            shown_as=" ".join(word.removeprefix(f"{code}/") for word in words[1::3]),
        )
