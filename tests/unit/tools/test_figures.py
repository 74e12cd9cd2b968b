from __future__ import annotations

import io

import pytest

from tools import figures


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("figure: switch_milliseconds = 12\n", {"switch_milliseconds": "12"}),
        (".figure: refused = 20/20  \nok", {"refused": "20/20"}),
        ("  \x1b[2m│\x1b[0m figure: ratio = 1.3\x1b[0m", {"ratio": "1.3"}),
        ("figure: a = 1\nfigure: a = 2\n", {"a": "2"}),
        ("figure: two_words = 3 of 4\n", {"two_words": "3 of 4"}),
        ("figure: = 1\nfigure: Upper = 1\nfigure: empty = \nconfigure: x = 1\n", {}),
    ],
)
def test_figures_are_found_wherever_a_line_has_them(text, expected):
    assert figures.parse(text) == expected


def test_the_last_run_wins_and_others_stay():
    known = figures.merge({}, {"b": "1", "a": "1"}, "first", "yesterday")
    assert figures.merge(known, {"b": "2"}, "second", "today") == {
        "a": {"value": "1", "source": "first", "date": "yesterday"},
        "b": {"value": "2", "source": "second", "date": "today"},
    }


def test_recorded_figures_are_read_again_and_shown(state):
    figures.record("figure: rollback_seconds = 0.4\n", "scenario deploy")
    figures.record("no figure here", "scenario default")
    assert figures.table(figures.read()).splitlines()[1].split()[:4] == [
        "rollback_seconds",
        "0.4",
        "scenario",
        "deploy",
    ]


def test_a_broken_file_of_figures_is_replaced(state):
    state.mkdir()
    figures.path().write_text("{half")
    figures.record("figure: a = 1", "bench")
    assert figures.read()["a"]["value"] == "1"


def test_collecting_passes_the_output_on(state, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\nfigure: a = 1\n"))
    figures.main(["--collect", "bench"])
    assert capsys.readouterr().out == "one\nfigure: a = 1\n"
    assert figures.read()["a"]["source"] == "bench"
