"""What an app may say to an operator: bounded, masked before it is cut, and harmless to a terminal."""

from __future__ import annotations

import json

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import masking, output


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_hidden", set())


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("hunter22", "********"),
        ("x=hunter22;", "x=********;"),
        ("hunter22hunter22", "****************"),
        (repr("two\nlines'"), '"********"'),
        ('{"a": "two\\nlines\'"}', '{"a": "********"}'),
        ("first two\nthen lines' too", "first two\nthen ******** too"),
        ("abc", "abc"),
        ("overlapping", "********"),
    ],
    ids=["alone", "inside", "twice", "by Python", "by JSON", "a line of it", "short", "two in each other"],
)
def test_what_no_message_shows(said: str, shown: str) -> None:
    masking.hide(["hunter22", "two\nlines'", "abc", "", "overlap", "lapping"])
    assert masking.hidden(said) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain\ttext\nwith é and ü\n", "plain\ttext\nwith é and ü\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07x\x1b]8;;http://e/\x1b\\y", "xy"),
        ("\x1bP1$r0m\x1b\\x", "x"),
        ("\x1bcx\x1b(By", "xy"),
        ("\x9b31mred\x9d0;t\x9cx", "redx"),
        ("\x1b\x1b[0m[31mred", "\ufffd[31mred"),
        ("\x1b]0;without an end", "\ufffd]0;without an end"),
        ("a\x00b\x08c\x7fd\x85e\x9ff", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf"),
        ("10%\r20%\r\ndone", "10%\n20%\ndone"),
        ("user\u202etxt.exe\u2066x\u200fy", "user\ufffdtxt.exe\ufffdx\ufffdy"),
        ("file-\udcff.txt", "file-\ufffd.txt"),
    ],
    ids=[
        *("harmless", "colour", "erase", "title and link", "DCS", "reset", "C1", "one in another", "no end"),
        *("control characters", "carriage returns", "directions", "no UTF-8"),
    ],
)
def test_nothing_acts_on_a_terminal(said: str, shown: str) -> None:
    assert output.clean(said) == shown
    json.dumps(output.clean(said), ensure_ascii=False).encode()


def test_a_secret_around_a_control_character_is_masked() -> None:
    masking.hide(["hunter22"])
    assert output.shown("hun\x1b[0mter22") == "********"


def test_a_result_is_clean_to_its_leaves() -> None:
    found = {"a\x1b[0m": ["x\x07", {"deep": ("y\udcff", 1, None, True)}]}
    assert output.printable(found) == {"a": ["x\ufffd", {"deep": ["y\ufffd", 1, None, True]}]}


def filled(limit: int, *parts: bytes) -> output.Tail:
    tail = output.Tail(limit)
    for part in parts:
        tail.add(part)
    return tail


@pytest.mark.parametrize(
    ("parts", "text", "left_out"),
    [
        ([], "", 0),
        ([b"short"], "short", 0),
        ([b"0123456789"], "0123456789", 0),
        ([b"0123456789A"], "123456789A", 1),
        ([b"x" * 1000, b"0123", b"456789"], "0123456789", 1000),
        ([b"x"] * 30, "x" * 10, 20),
        ([b"\xff\xfeab"], "\ufffd\ufffdab", 0),
    ],
)
def test_the_end_is_kept(parts: list[bytes], text: str, left_out: int) -> None:
    tail = filled(10, *parts)
    assert (tail.text(), tail.left_out) == (text, left_out)


@pytest.mark.parametrize("before", range(40))
def test_a_secret_on_the_cut_does_not_leak(before: int) -> None:
    """Wherever the cut is: no part of the secret longer than what is masked nowhere."""
    masking.hide(["correct-horse-battery"])
    text = filled(30, b"x" * 100, b"correct-horse-", b"battery", b"y" * before).text()
    assert text.endswith("y" * min(before, 30))
    assert set(text) <= set("xy*"), text


def test_what_is_kept_is_bounded_whatever_comes() -> None:
    tail = output.Tail(1000)
    for _ in range(10_000):
        tail.add(b"z" * 997)
    assert sum(map(len, tail._parts)) < 3000
    assert tail.text() == "z" * 1000


def test_the_whole_is_untouched_or_an_error() -> None:
    masking.hide(["secret"])
    whole = output.Whole(20)
    whole.add(b"secret\0\x1b[0m\xff")
    assert whole.text().encode(errors="surrogateescape") == b"secret\0\x1b[0m\xff"
    with pytest.raises(output.TooMuch, match="more than 20 bytes"):
        whole.add(b"x" * 20)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("short", "short"), ("one\ntwo\nthree", "two\nthree"), ("x" * 50, "x" * 10)],
    ids=["whole", "whole lines", "a long line"],
)
def test_the_last_of_a_text(text: str, shown: str) -> None:
    assert output.last(text, 10) == shown
