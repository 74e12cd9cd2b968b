"""ask: tell whether the emperor runs with its role's current files. The role's file set runs this in every run."""

from __future__ import annotations

from ..uwsgi import emperor_check


def main(digest: str) -> int:
    """Print *digest*, which is that of the role's files, when the emperor does; otherwise print nothing."""
    if emperor_check.up_to_date():
        print(digest)
    return 0
