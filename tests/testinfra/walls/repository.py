"""A Git repository written object by object: with trees that git itself would never make, one branch per app."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE, PROGRAM, LINK, TREE, GITLINK = "100644", "100755", "120000", "40000", "160000"


@dataclass(frozen=True)
class Link:
    """A symbolic link in a tree."""

    target: str


@dataclass(frozen=True)
class Submodule:
    """A commit of another repository in a tree."""

    commit: str


class Repository:
    """A bare repository at *path*, made anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for directory in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (path / directory).mkdir(parents=True)
        (path / "HEAD").write_text("ref: refs/heads/main\n")
        (path / "config").write_text(
            "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[uploadpack]\n\tallowAnySHA1InWant = true\n"
        )

    def put(self, kind: str, content: bytes) -> str:
        """Write an object as it is; return its id."""
        whole = f"{kind} {len(content)}".encode() + b"\0" + content
        name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
        path = self.path / "objects" / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(whole, 1))
        return name

    def tree(self, *entries: tuple[str, bytes, str]) -> str:
        """A tree of (mode, name, id), in that order, whatever it is."""
        return self.put(
            "tree",
            b"".join(f"{mode} ".encode() + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries),
        )

    def entry(self, name: bytes, content: bytes | Link | Submodule) -> tuple[str, bytes, str]:
        """One entry of a tree that is none itself."""
        if isinstance(content, Link):
            return LINK, name, self.put("blob", content.target.encode())
        if isinstance(content, Submodule):
            return GITLINK, name, content.commit
        return FILE, name, self.put("blob", content)

    def directory(self, files: Mapping[str | bytes, bytes | Link | Submodule]) -> str:
        """The tree of *files*, by their paths. However deep: nothing here calls itself."""
        entries: dict[tuple[bytes, ...], list[tuple[str, bytes, str]]] = {(): []}
        for path, content in files.items():
            *above, name = (path.encode() if isinstance(path, str) else path).split(b"/")
            for depth in range(len(above) + 1):
                entries.setdefault(tuple(above[:depth]), [])
            entries[tuple(above)].append(self.entry(name, content))
        for place in sorted(entries, key=len, reverse=True):
            # git compares a directory as if its name ended in a slash.
            found = sorted(entries[place], key=lambda one: one[1] + (b"/" if one[0] == TREE else b""))
            made = self.tree(*found)
            if not place:
                return made
            entries[place[:-1]].append((TREE, place[-1], made))
        raise AssertionError("there is always a root")

    def commit(self, tree: str) -> str:
        who = "Mallory <mallory@example.com> 1700000000 +0000"
        return self.put("commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nx\n".encode())

    def tag(self, name: str, tree: str) -> str:
        """Let *name* be the version that has *tree*; return its commit."""
        made = self.commit(tree)
        (self.path / "refs" / "tags" / name).write_text(f"{made}\n")
        return made
