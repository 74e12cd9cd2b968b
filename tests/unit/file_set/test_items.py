"""The pure half of file_set, as tables."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.file_set import diffs, pruning
from ansible_collections.emperor.stack.plugins.module_utils.file_set import items as logic
from ansible_collections.emperor.stack.plugins.module_utils.file_set import manifest as manifests
from ansible_collections.emperor.stack.plugins.module_utils.file_set.items import Current, FileSetError, Item
from ansible_collections.emperor.stack.plugins.module_utils.file_set.manifest import Manifest
from ansible_collections.emperor.stack.plugins.module_utils.file_set.plan import Plan
from ansible_collections.emperor.stack.plugins.module_utils.file_set.pruning import Prune

FILE = Item("/a", "file", content=b"x", mode=0o644)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"path": "a", "content": ""}, "a: path must be absolute and plain, without '//', '.', '..' or"),
        ({"path": "/a/../b", "content": ""}, "/a/../b: path must be absolute and plain"),
        ({"path": "/a/", "content": ""}, "/a/: path must be absolute and plain"),
        ({"path": "/", "directory": True}, "/: path must be absolute and plain"),
        ({"path": "/a"}, "touch: true (found none of them)"),
        ({"path": "/a", "content": "", "link": "b"}, "(found content and link)"),
        ({"path": "/a", "content": "", "mode": "420"}, None),
        (
            {"path": "/a", "content": "", "mode": "64"},
            "/a: mode '64' is not octal. Quote it and write all digits",
        ),
        ({"path": "/a", "content": "", "mode": "u=rw"}, "/a: mode 'u=rw' is not octal"),
        ({"path": "/a", "link": "b", "mode": "0644"}, "/a: a link has no mode of its own"),
        ({"path": "/a", "content": ""}, None),
    ],
)
def test_item_is_refused(raw: dict[str, object], message: str | None) -> None:
    if message is None:
        logic.parse_item(raw)
        return
    with pytest.raises(FileSetError) as error:
        logic.parse_item(raw)
    assert message in str(error.value)


def test_directories_come_first_and_outer_before_inner() -> None:
    raw = [
        {"path": "/a/b/c", "content": ""},
        {"path": "/a/b", "directory": True},
        {"path": "/a", "directory": True},
    ]
    assert [item.path for item in logic.parse_items(raw)] == ["/a", "/a/b", "/a/b/c"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([{"path": "/a", "content": "1"}, {"path": "/a", "content": "2"}], "/a: wanted twice in this set"),
        (
            [{"path": "/a", "content": "1"}, {"path": "/a/b", "content": "2"}],
            "/a/b: lies in /a, which this set wants as a file",
        ),
    ],
)
def test_items_that_contradict_each_other_are_refused(raw: list[dict[str, object]], message: str) -> None:
    with pytest.raises(FileSetError, match=message):
        logic.parse_items(raw)


@pytest.mark.parametrize(
    ("item", "current", "ids", "reasons"),
    [
        (FILE, Current("absent"), (None, None), ("absent",)),
        (FILE, Current("file", b"x", "", 0, 0, 0o644), (None, None), None),
        (FILE, Current("file", b"y", "", 0, 0, 0o644), (None, None), ("content",)),
        (FILE, Current("file", b"x", "", 0, 0, 0o600), (None, None), ("mode",)),
        (FILE, Current("file", b"x", "", 0, 0, 0o644), (1, 0), ("owner",)),
        (FILE, Current("file", b"x", "", 0, 0, 0o644), (0, 1), ("group",)),
        (FILE, Current("link", b"", "x", 0, 0, 0o777), (None, None), ("content",)),
        (Item("/a", "link", target="x"), Current("link", b"", "x", 0, 0, 0o777), (0, 0), None),
        (Item("/a", "link", target="x"), Current("link", b"", "y", 0, 0, 0o777), (0, 0), ("target",)),
        (Item("/a", "link", target="x"), Current("link", b"", "x", 0, 0, 0o777), (7, 0), ("owner",)),
        (Item("/a", "link", target="x"), Current("file", b"x", "", 0, 0, 0o644), (0, 0), ("target",)),
        (Item("/a", "touch", mode=0o640), Current("file", b"log", "", 0, 0, 0o640), (0, 0), None),
        (Item("/a", "touch", mode=0o640), Current("file", b"log", "", 0, 0, 0o644), (0, 0), ("mode",)),
        (Item("/a", "directory", mode=0o755), Current("directory", mode=0o755), (None, None), None),
    ],
)
def test_compare(
    item: Item, current: Current, ids: tuple[int | None, int | None], reasons: tuple[str, ...] | None
) -> None:
    change = logic.compare(item, current, *ids)
    assert (change.reasons if change else None) == reasons


@pytest.mark.parametrize(
    ("item", "state", "message"),
    [
        (
            FILE,
            "directory",
            "/a: is a directory, but must be a file. Move it away by hand; nothing was changed",
        ),
        (Item("/a", "directory"), "file", "/a: is a file, but must be a directory"),
        (Item("/a", "directory"), "link", "/a: is a link, but must be a directory"),
        (FILE, "other", "/a: is a device, pipe or socket, but must be a file"),
        (Item("/a", "touch"), "link", "/a: is a link, but must be a file. Remove the link by hand"),
    ],
)
def test_compare_refuses_what_it_would_have_to_destroy(item: Item, state: logic.State, message: str) -> None:
    with pytest.raises(FileSetError, match=message):
        logic.compare(item, Current(state), None, None)


def test_digest_follows_every_property_and_not_the_order() -> None:
    other = Item("/b", "file", content=b"x", mode=0o644)
    base = logic.digest([FILE, other])
    assert base == logic.digest([other, FILE])
    for changed in (
        Item("/a", "file", content=b"y", mode=0o644),
        Item("/a", "file", content=b"x", mode=0o600),
        Item("/a", "file", content=b"x", mode=0o644, owner="root"),
        Item("/a", "link", target="x"),
    ):
        assert logic.digest([changed, other]) != base


def test_digest_stands_in_the_content_and_does_not_depend_on_itself() -> None:
    item = Item("/a", "file", content=b"return @FILE_SET_DIGEST@;")
    value = logic.digest([item])
    assert logic.with_digest([item], value)[0].content == f"return {value};".encode()


@pytest.mark.parametrize(
    ("path", "current", "where"),
    [
        ("/d/ours", Current("file", b"1"), "remove"),
        ("/d/ours", Current("file", b"2"), "edited"),
        ("/d/ours", Current("link", target="1"), "edited"),
        ("/d/other", Current("file", b"1"), "foreign"),
        ("/d/ours2", Current("file", b"1"), "foreign"),
        ("/d/wanted", Current("file", b"anything"), None),
        ("/d/parent", Current("directory"), None),
    ],
)
def test_leftovers(path: str, current: Current, where: str | None) -> None:
    manifest = Manifest({"/d/ours": [logic.fingerprint("file", b"1")], "/d/wanted": ["0"]})
    found = pruning.leftovers(manifest, ["/d/wanted", "/d/parent/x"], {path: current})
    lists = {"remove": found.remove, "edited": found.edited, "foreign": found.foreign}
    assert {name for name, paths in lists.items() if path in paths} == ({where} if where else set())


def test_a_run_that_died_half_way_still_owns_both_contents() -> None:
    old = Manifest({"/a": [logic.fingerprint("file", b"old")]})
    between = manifests.before_run(old, [FILE])
    for content in (b"old", b"x"):
        assert pruning.leftovers(between, [], {"/a": Current("file", content)}).remove == ("/a",)
    after = manifests.after_run(between, [FILE], [])
    assert pruning.leftovers(after, [], {"/a": Current("file", b"old")}).edited == ("/a",)


def test_manifest_round_trip_and_touched_files_are_not_in_it() -> None:
    items = [FILE, Item("/s", "file", content=b"", sensitive=True), Item("/log", "touch")]
    manifest = manifests.after_run(Manifest(), items, [])
    assert set(manifest.files) == {"/a", "/s"}
    assert manifest.sensitive == {"/s"}
    assert manifests.load_manifest(manifests.dump_manifest(manifest)) == manifest


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "files": {}}', '{"version": 1, "files": {"/a": "x"}}']
)
def test_a_strange_manifest_is_an_error_and_not_an_empty_one(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        manifests.load_manifest(text)


@pytest.mark.parametrize(
    ("name", "pattern", "result"),
    [
        ("a.conf", "*.conf", True),
        ("a.conf.bak", "*.conf", False),
        (".a.conf", "*.conf", False),
        (".a", ".*", True),
        ("app2", "app", False),
    ],
)
def test_matches(name: str, pattern: str, result: bool) -> None:
    assert pruning.matches(name, pattern) is result


def test_prune_takes_names_only() -> None:
    assert pruning.parse_prune([{"directory": "/d"}]) == [Prune("/d", "*")]
    with pytest.raises(FileSetError, match="has no '/'"):
        pruning.parse_prune([{"directory": "/d", "pattern": "x/*"}])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/e/{site.name}.conf", "/e/blog.conf"),
        ("/e/{part}", "/e/http"),
        ("/e/plain", "/e/plain"),
        ("/e/{}", "/e/{}"),
    ],
)
def test_expand(text: str, result: str) -> None:
    assert logic.expand(text, {"site": {"name": "blog"}, "part": "http"}) == result


@pytest.mark.parametrize("text", ["{site.nome}", "{sit}", "{part.upper}", "{site.__class__}"])
def test_expand_reaches_keys_only(text: str) -> None:
    with pytest.raises(FileSetError, match=r"is unknown. Known: part, site"):
        logic.expand(text, {"site": {"name": "blog"}, "part": "http"})


@pytest.mark.parametrize(
    ("link", "target", "result"),
    [
        ("/etc/x/on/a", "/etc/x/off/a", "/stage/x/off/a"),
        ("/etc/x/on/a", "../off/a", "../off/a"),
        ("/etc/x/on/a", "/usr/share/a", "/usr/share/a"),
        ("/etc/x/on/a", "../../y/a", "/etc/y/a"),
        ("/etc/x/a", "/etc/xy", "/etc/xy"),
    ],
)
def test_links_of_a_staged_tree(link: str, target: str, result: str) -> None:
    assert logic.staged_target(link, target, "/etc/x", "/stage/x") == result


def test_sensitive_content_is_in_no_diff() -> None:
    item = Item("/a", "file", content=b"hunter2", mode=0o600, sensitive=True)
    for current in (Current("absent"), Current("file", b"hunter1", mode=0o600)):
        change = logic.compare(item, current, None, None)
        assert change is not None
        for whole in (False, True):
            assert "hunter" not in str(diffs.diff_of_change(change, whole))
            assert "hunter" not in str(diffs.diff_of_removal("/a", Current("file", b"hunter1"), True, whole))


PROGRAM = "/usr/local/lib/emperor-stack/retire"


@pytest.mark.parametrize(
    ("path", "current", "line"),
    [
        ("/etc/a", Current("absent"), "/etc/a: new file 0644, 3 lines\n"),
        (PROGRAM, Current("absent"), f"{PROGRAM}: new file 0644, 3 lines\n"),
        (
            PROGRAM,
            Current("file", b"1\n4\n", mode=0o644),
            f"{PROGRAM}: changed, +2 -1 lines (-vv shows the lines)\n",
        ),
    ],
)
def test_a_diff_names_new_files_and_programs_in_a_line(path: str, current: Current, line: str) -> None:
    change = logic.compare(Item(path, "file", content=b"1\n2\n3\n", mode=0o644), current, None, None)
    assert change is not None
    assert diffs.diff_of_change(change, whole=False) == {"prepared": line}
    assert diffs.diff_of_change(change, whole=True)["after"] == "1\n2\n3\n"


def test_a_diff_shows_the_lines_of_a_changed_setting() -> None:
    current = Current("file", b"1\n", mode=0o644)
    change = logic.compare(Item("/etc/a", "file", content=b"2\n", mode=0o644), current, None, None)
    assert change is not None
    shown = diffs.diff_of_change(change, whole=False)
    assert (shown["before"], shown["after"]) == ("1\n", "2\n")
    assert diffs.diff_of_removal("/etc/a", current, False, whole=False)["before"] == "1\n"
    assert diffs.diff_of_removal(PROGRAM, current, False, whole=False) == {
        "prepared": f"{PROGRAM}: removed\n"
    }


@pytest.mark.parametrize(("new", "whole", "lines"), [(5, False, 8), (6, False, 3), (6, True, 9)])
def test_many_programs_of_the_bundle_are_one_line(new: int, whole: bool, lines: int) -> None:
    """As on a fresh host, which gets the whole library."""
    changes = [
        logic.compare(Item(path, "file", content=b"1\n"), Current("absent"), None, None)
        for path in ["/etc/a", *(f"{PROGRAM}-{number}" for number in range(new))]
    ]
    removed = [f"{PROGRAM}-old", "/etc/old"] if new == 6 or whole else ["/etc/old", "/etc/older"]
    present = dict.fromkeys(removed, Current("file", b"1\n"))
    left = pruning.Leftovers(tuple(removed), (), ())
    plan = Plan([], "", [change for change in changes if change], left, present)
    said = diffs.diff_of_plan(plan, Manifest(), whole)
    assert len(said) == lines, said
    if lines == 3:
        assert said[0]["prepared"] == (
            "/usr/local/lib/emperor-stack/: 6 new, 0 changed, 1 removed files of Emperor Stack's own programs "
            "(-vv shows them)\n"
        )
        assert said[1]["prepared"].startswith("/etc/a: new") and said[2]["before"] == "1\n"
