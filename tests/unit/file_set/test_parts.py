"""Which parts are held back, by a program that is played by a function."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.file_set import parts
from ansible_collections.emperor.stack.plugins.module_utils.file_set.items import Item


def item(part: str, content: str, name: str = "") -> Item:
    return Item(f"/tree/{name or part or 'common'}.conf", "file", content.encode(), mode=0o644, part=part)


class Program:
    """Refuses files with the word `bad`, by name; two with the same `zone` by the name of the second; and, by no name,
    those with `silent`."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, items: list[Item]) -> str:
        self.asked += 1
        zones = set()
        for one in items:
            text = one.content.decode()
            if "bad" in text:
                return f"it is bad in {one.path}:1"
            if "silent" in text:
                return "cannot load it"
            for word in text.split():
                if word.startswith("zone") and word in zones:
                    return f"{word} is there twice in {one.path}:1"
                zones.add(word)
        return ""


GOOD = {"": [item("", "c1")], "a": [item("a", "a1")], "b": [item("b", "b1")], "z": [item("z", "z1 zone9")]}


@pytest.mark.parametrize(
    ("new", "held", "asked"),
    [
        pytest.param({}, [], 1, id="nothing changed"),
        pytest.param({"a": "a2", "b": "b2"}, [], 1, id="all is well"),
        pytest.param({"a": "bad", "b": "b2"}, ["a"], 2, id="named"),
        pytest.param(
            {"a": "bad", "b": "bad", "z": "bad"}, ["a", "b", "z"], 4, id="one after the other is named"
        ),
        pytest.param(
            {"a": "a2 zone9", "b": "b2"}, ["a"], 4, id="an innocent one is named, which did not change"
        ),
        pytest.param({"a": "a2", "b": "silent"}, ["b"], 4, id="nobody is named"),
        pytest.param({"new": "bad"}, ["new"], 2, id="one that never ran"),
        pytest.param({"": "c2", "a": "bad"}, ["a"], 2, id="with what all share"),
    ],
)
def test_the_fewest_are_held_back(new: dict[str, str], held: list[str], asked: int) -> None:
    contents = {part: items[0].content.decode() for part, items in GOOD.items()} | new
    wanted = [item(part, content) for part, content in contents.items()]
    program = Program()
    found = parts.choose(wanted, GOOD, program)
    assert sorted(found) == held
    assert all(found.values())
    assert program.asked == asked
    running = {one.part: one.content.decode() for one in parts.effective(wanted, GOOD, found)}
    assert running == {
        part: content if part not in held else GOOD[part][0].content.decode()
        for part, content in contents.items()
        if part not in held or part in GOOD
    }


MAIN = item("", "# load\n  # @FILE_SET_KEPT@ load {part}\n# end")


def running(wanted: list[Item], good: parts.Good) -> tuple[dict[str, str], dict[str, str]]:
    """What runs in the end, and what is held back."""
    found = parts.choose(wanted, good, Program())
    return {one.path: one.content.decode() for one in parts.effective(wanted, good, found)}, found


@pytest.mark.parametrize("wrong", ["bad", "silent"])
def test_what_a_broken_new_part_is_to_replace_stays(wrong: str) -> None:
    good = {"": [MAIN], "shop": [item("shop", "s1")], "z": [item("z", "z1")]}
    now, held = running([MAIN, item("blog", wrong), item("z", "z2")], good)
    assert now == {
        "/tree/common.conf": "# load\n  load shop\n# end",
        "/tree/shop.conf": "s1",
        "/tree/z.conf": "z2",
    }
    assert sorted(held) == ["blog", "shop"]
    said = parts.describe(held, good)
    assert said[0].startswith("blog: it is left out, because it never ran")
    assert (
        said[1].startswith("shop: it keeps its last working files")
        and "blog, which may replace it" in said[1]
    )
    # Kept again in the next run, and gone as soon as the new one is good.
    good = parts.by_part(parts.effective([MAIN, item("blog", wrong), item("z", "z2")], good, held))
    assert running([MAIN, item("blog", wrong), item("z", "z2")], good)[0] == now
    now, held = running([MAIN, item("blog", "b"), item("z", "z2")], good)
    assert now["/tree/common.conf"] == MAIN.content.decode()
    assert held == {} and "/tree/shop.conf" not in now


def test_what_is_no_longer_wanted_goes_where_nothing_new_is_held_back() -> None:
    good = {"shop": [item("shop", "s1")], "z": [item("z", "z1")]}
    assert running([item("z", "bad")], good)[0] == {"/tree/z.conf": "z1"}
    assert running([item("z", "z2")], good)[0] == {"/tree/z.conf": "z2"}


def test_what_does_not_go_with_the_rest_is_given_up() -> None:
    good = {
        "clash": [item("clash", "zone1")],
        "moved": [item("moved", "m", "same")],
        "shop": [item("shop", "s1")],
    }
    now, held = running([item("blog", "bad"), item("a", "a1 zone1"), item("b", "n", "same")], good)
    assert now == {"/tree/a.conf": "a1 zone1", "/tree/same.conf": "n", "/tree/shop.conf": "s1"}
    assert sorted(held) == ["blog", "shop"]


@pytest.mark.parametrize("new", [{"": "bad"}, {"": "silent", "a": "a2"}, {"": "bad", "a": "bad"}])
def test_what_all_share_is_refused_as_a_whole(new: dict[str, str]) -> None:
    contents = {part: items[0].content.decode() for part, items in GOOD.items()} | new
    with pytest.raises(parts.SharedFault):
        parts.choose([item(part, content) for part, content in contents.items()], GOOD, Program())


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ('unknown directive "x" in /tree/a.conf:3', "a"),
        ("Syntax error on line 3 of /tree/a.conf:", "a"),
        ("in /tree/a.conf.bak:3", ""),
        ("in /tree/aa.conf:3", ""),
        ("bind() to 127.0.0.1:8099 failed (98: Address already in use)", "b"),
        ("bind() to [::1]:8099 failed (98: Address already in use)", "b"),
        ("bind() to 0.0.0.0:80 failed (98: Address already in use)", ""),
    ],
)
def test_who_is_named(said: str, part: str) -> None:
    wanted = [item("a", "x"), item("b", "# listen 80;\nlisten 127.0.0.1:8099;"), item("", "listen 80;")]
    assert parts.blamed(said, wanted, ["a", "b"]) == part


def test_what_ran_is_read_back() -> None:
    wanted = [item("", "c"), item("a", "ü\udcff".encode(errors="surrogateescape").decode(errors="replace"))]
    outside = Item("/etc/unit", "file", b"u")
    log = Item("/tree/log", "touch", part="a")
    good = parts.LastGood("d", parts.remembered([*wanted, outside, log], "/tree"), "ask it")
    assert good.parts == {"": [wanted[0]], "a": [wanted[1]]}
    assert parts.load(parts.dump(good)) == good
    binary = parts.LastGood("d", {"a": [Item("/tree/x", "file", b"\xff\x00", part="a")]})
    assert parts.load(parts.dump(binary)) == binary


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "parts": {"a": [1]}}']
)
def test_anything_else_is_not_taken_for_it(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parts.load(text)
