"""Which trees are written to a disk, and where a directory in one of them really is."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.source import git_tree
from ansible_collections.emperor.stack.plugins.module_utils.source.git_tree import Entry

ID = "a" * 40


def files(*paths: bytes) -> list[Entry]:
    return [Entry(git_tree.FILE, ID, 1, path) for path in paths]


@pytest.mark.parametrize(
    "paths",
    [
        [b"a", b"b/c", b"b/d/e"],
        [b"..a", b"a..", b"...", b".gitignore", b".gitmodules", b"git", b".git2", b"a/.gitkeep", b"git~2"],
        [b"caf\xe9", "日本".encode(), b"two\nlines", b"\x1b[31m", b"a\\b"],
        [b"a", b"a.b", b"a-b/c"],
        [b"/".join([b"d"] * 200)],
    ],
)
def test_trees_that_are_taken(paths: list[bytes]) -> None:
    git_tree.check(files(*paths), "x")


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ([b"../a"], "leads out"),
        ([b"a/../b"], "leads out"),
        ([b"a//b"], "leads out"),
        ([b"/etc/passwd"], "leads out"),
        ([b"./a"], "leads out"),
        ([b""], "leads out"),
        ([b".git/config"], "a repository's own"),
        ([b"a/.GIT"], "a repository's own"),
        ([b".Git /hooks"], "a repository's own"),
        ([b".git./x"], "a repository's own"),
        ([b".git::$INDEX_ALLOCATION/x"], "a repository's own"),
        ([b"GIT~1/x"], "a repository's own"),
        ([b".git\\hooks\\x"], "a repository's own"),
        ([".g\u200cit/config".encode()], "a repository's own"),
        ([b"a", b"b", b"a"], "is there twice"),
        ([b"a/b", b"a"], "lies behind 'a'"),
        ([b"a", b"a.b", b"a/b/c"], "lies behind 'a'"),
        ([b"/".join([b"d"] * 300)], "directories deep"),
        ([b"x" * 5000], "longer than 4095"),
    ],
)
def test_trees_that_are_refused(paths: list[bytes], says: str) -> None:
    with pytest.raises(ReleaseError, match=says) as caught:
        git_tree.check(files(*paths), "https://h/r at aaaaaaa")
    assert str(caught.value).startswith("https://h/r at aaaaaaa: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_tree_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_tree, "MOST_ENTRIES", 3)
    git_tree.check(files(b"a", b"b", b"c"), "x")
    with pytest.raises(ReleaseError, match=r"more than 3 files.*source\.subdirectory"):
        git_tree.check(files(b"a", b"b", b"c", b"d"), "x")


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (f"100644 blob {ID}      12\tname".encode(), Entry(0o100644, ID, 12, b"name")),
        (f"100664 blob {ID}       0\ta\tb\nc".encode(), Entry(0o100644, ID, 0, b"a\tb\nc")),
        (f"100755 blob {ID} 5\tx".encode(), Entry(0o100755, ID, 5, b"x")),
        (f"120000 blob {ID} 5\tx".encode(), Entry(0o120000, ID, 5, b"x")),
        (f"160000 commit {ID}       -\tx/y".encode(), Entry(0o160000, ID, 0, b"x/y")),
    ],
)
def test_what_git_lists(line: bytes, entry: Entry) -> None:
    assert git_tree.parse(line + b"\0") == [entry]


@pytest.mark.parametrize(
    "line", [b"garbage", f"140000 blob {ID} 5\tx".encode(), f"040000 tree {ID} -\tx".encode()]
)
def test_what_git_cannot_list(line: bytes) -> None:
    with pytest.raises(ReleaseError, match="neither file, link nor submodule"):
        git_tree.parse(line + b"\0")


def test_what_becomes_of_a_tree_in_an_index() -> None:
    inside = git_tree.below([Entry(git_tree.LINK, ID, 1, b"caf\xe9")], b"sub/mod")
    assert git_tree.index_info(inside) == f"120000 {ID} 0\tsub/mod/caf".encode() + b"\xe9\0"


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (b"submodule.a.path\nx\0submodule.a.url\n../x\0submodule.a.branch\nm\0", {b"x": "../x"}),
        (b"submodule.../../e.path\nsub/y/\0submodule.../../e.url\nhttps://h/y\0", {b"sub/y": "https://h/y"}),
        (b"submodule.a.path\nx\0submodule.b.url\ny\0core.bare\0", {}),
        (b"", {}),
    ],
)
def test_where_submodules_are(listing: bytes, expected: dict[bytes, str]) -> None:
    assert git_tree.places(listing) == expected
