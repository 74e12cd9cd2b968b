"""The vassal's config of one activation, made of its release's, which never changes."""

from __future__ import annotations

#: What an activation's config does not have: its socket is bound by the emperor and handed over, where it says its
#: statistics is chosen by `enter`, and it has nothing to remove at its end. Releases of earlier versions have them.
WITHOUT = ("socket", "chmod-socket", "stats", "vacuum")


def of_activation(text: str) -> str:
    """The config of a release, *text*, as its activations run by it."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition("=")[0].strip() not in WITHOUT)
