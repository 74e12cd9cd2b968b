"""A copy of a tree, in which changes are tried first."""

from __future__ import annotations

import os
import shutil

from ..files.atomic import forget
from . import items as logic
from .items import Item


def copy_tree(tree: str, stage: str) -> None:
    """A copy to try things in: links into the tree lead into the copy, all others to where they led."""
    if not os.path.isdir(tree):
        os.makedirs(stage, exist_ok=True)
        return
    for directory, names, files in os.walk(tree):
        into = stage + directory[len(tree) :]
        os.makedirs(into, exist_ok=True)
        for name in [*names, *files]:
            source, copy = os.path.join(directory, name), os.path.join(into, name)
            if os.path.islink(source):
                os.symlink(logic.staged_target(source, os.readlink(source), tree, stage), copy)
            elif os.path.isfile(source):
                shutil.copy2(source, copy)


def set_aside(stage: str, paths: list[str]) -> dict[bytes, bytes]:
    """What stands for *paths* beside the copy, made so that a program can create its files there."""
    found = {}
    for path in sorted(paths, key=len, reverse=True):
        other = os.path.join(os.path.dirname(stage), "aside") + path
        os.makedirs(other if os.path.isdir(path) else os.path.dirname(other), exist_ok=True)
        found[path.encode()] = other.encode()
    return found


def stage_items(
    tree: str, stage: str, items: list[Item], removed: list[str], aside: dict[bytes, bytes]
) -> None:
    """Carry what is wanted into the copy. Who owns it there does not matter: root reads it."""
    for path in removed:
        if logic.within(path, tree):
            copy = stage + path[len(tree) :]
            if os.path.isdir(copy) and not os.path.islink(copy):
                os.rmdir(copy)
            else:
                forget(copy)
    for item in items:
        if not logic.within(item.path, tree):
            continue
        copy = stage + item.path[len(tree) :]
        os.makedirs(copy if item.kind == "directory" else os.path.dirname(copy), exist_ok=True)
        if item.kind == "link":
            forget(copy)
            os.symlink(logic.staged_target(item.path, item.target, tree, stage), copy)
        elif item.kind == "file" or (item.kind == "touch" and not os.path.lexists(copy)):
            content = item.content
            for there, beside in aside.items():
                content = content.replace(there, beside)
            forget(copy)
            with open(copy, "wb") as file:
                file.write(content)
