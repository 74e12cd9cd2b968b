"""Where the bundle is, and what its templates say when they fail."""

from __future__ import annotations

import os


def bundle_root(playbook_directory: str) -> str:
    """The directory above the playbooks that has the bundle's ansible.cfg; that of the playbooks where there is none."""
    directory = playbook_directory
    while not os.path.exists(os.path.join(directory, "ansible.cfg")):
        parent = os.path.dirname(directory)
        if parent == directory:
            return playbook_directory
        directory = parent
    return directory


def cause(error: BaseException) -> str:
    """The innermost reason, in one line: what surrounds it tells of files and lines, as the place does."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = getattr(error, "message", None) or str(error)
    return " ".join(str(text).split())
