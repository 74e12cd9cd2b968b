"""Load once what every task of a run loads otherwise.

Each task runs in a fork of its own. Where a task uses one filter of the collection, Ansible loads all files with filters,
and it compiles modules of collections whenever it imports them: a quarter of a second of processor time for each of dozens
of tasks. A fork has what was imported before it.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil

#: All plugins of the collection, by whatever name it is imported.
PLUGINS = __name__.partition(".plugin_utils.")[0]


def preload() -> None:
    """Import all files with filters. What cannot be imported is named by Ansible where a task needs it."""
    with contextlib.suppress(ImportError):
        filters = importlib.import_module(f"{PLUGINS}.filter")
        for module in pkgutil.iter_modules(filters.__path__):
            with contextlib.suppress(Exception):
                importlib.import_module(f"{PLUGINS}.filter.{module.name}")
