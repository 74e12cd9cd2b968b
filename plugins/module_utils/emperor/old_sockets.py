"""Leave the directories in which earlier versions let apps bind their sockets: an app can fill /run there, or plant links.

What an earlier version has started serves from there until it is replaced, as `handover.move_app` does under traffic.
"""

from __future__ import annotations

import contextlib
import os
import re

from ..host import layout
from ..host.command import CommandFailed, run
from ..release import lifecycle
from ..release.lifecycle import NotHealthy
from ..release.state import AppState
from ..uwsgi.emperor_check import old_socket_directories

#: A process that still runs in there may make new files meanwhile.
_TRIES = 5


def apps() -> list[str]:
    """Every app of the host that such a directory is left of."""
    return sorted({os.path.basename(path) for path in old_socket_directories()})


def activations(app: str) -> list[str]:
    """Activations of *app* that run and whose socket is in one."""
    return [
        activation
        for _, activation in lifecycle.running_activations(app)
        if not lifecycle.is_out_of_reach(app, activation)
    ]


def _named_by_units(app: str) -> list[str]:
    """Units that may write to the directory, and would not start without it."""
    old = re.compile(
        rf"^ReadWritePaths=.*\s{re.escape(layout.old_socket_directory(app))}(?:\s|$)", re.MULTILINE
    )
    names = []
    for name in sorted(os.listdir(layout.UNITS)):
        if name.startswith(f"app_{app}_") and name.endswith(".service"):
            with (
                contextlib.suppress(FileNotFoundError),
                open(layout.unit_file(name), encoding="utf-8") as file,
            ):
                if old.search(file.read()):
                    names.append(name)
    return names


def leave(app: str) -> None:
    """Remove the directories of *app*. Raises NotHealthy where something uses them still, OSError, CommandFailed."""
    state = AppState(app)
    used = [*activations(app), *_named_by_units(app)]
    if used:
        raise NotHealthy(f"{', '.join(used)} use a socket directory that the app can write to")
    with contextlib.ExitStack() as stack:
        if os.path.isdir(layout.state(app)):
            stack.enter_context(state.working(seconds=120))
        for path in (layout.old_socket_directory(app), layout.old_waiting_directory(app)):
            _remove(path)
    with contextlib.suppress(OSError):
        os.rmdir(layout.old_waiting())


def _remove(path: str) -> None:
    """Remove a directory whose parent is root's, with all that an app has put there."""
    for tries in range(_TRIES):
        try:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            # From now on the app makes nothing more in it.
            os.chown(f"/proc/self/fd/{descriptor}", 0, 0)
            os.chmod(f"/proc/self/fd/{descriptor}", 0o700)
        finally:
            os.close(descriptor)
        try:
            run(
                ["rm", "--recursive", "--force", "--one-file-system", "--", path],
                what="removing an earlier version's sockets",
                timeout=600,
            )
        except CommandFailed:
            if tries == _TRIES - 1:
                raise
