"""The sites of the running web server that lead visitors to an app."""

from __future__ import annotations

import contextlib
import os

from ..host import layout
from .ending import active
from .traces import names_in


def own(app: str) -> list[str]:
    """The site file of *app*; none where the server that would load it does not run."""
    return [path for unit, path in layout.front_sites(app).items() if os.path.lexists(path) and active(unit)]


def of_other_apps(app: str) -> list[str]:
    """Site files of other apps, in whose domain *app* is mounted at a path."""
    socket = f"unix:{layout.active_socket(app)}".encode()
    sites = []
    for unit, mine in layout.front_sites(app).items():
        directory = os.path.dirname(mine)
        for path in (f"{directory}/{name}" for name in names_in(directory) if name.endswith(".conf")):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if path != mine and socket in file.read():
                    sites.append((unit, path))
    running = {unit for unit in {unit for unit, _ in sites} if active(unit)}
    return [path for unit, path in sites if unit in running]
