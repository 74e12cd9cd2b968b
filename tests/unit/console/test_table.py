"""Tables fit, whatever is in them."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.console import report, table
from ansible_collections.emperor.stack.plugins.module_utils.console.table import Column
from hypothesis import given
from hypothesis import strategies as st

COLUMNS = (Column("app", 5), Column("version", 4), Column("s", 3, right=True))


def test_columns_are_as_wide_as_their_texts() -> None:
    assert table.render(COLUMNS, [("blog", "v1.5", "14.2"), ("a", "main", "1.0")]) == [
        "app   version     s",
        "blog  v1.5     14.2",
        "a     main      1.0",
    ]


def test_rows_further_in_than_their_titles() -> None:
    assert table.render(COLUMNS, [("blog", "v1", "1"), ("notes", "v2", "2")], indent=2) == [
        "app      version  s",
        "  blog   v1       1",
        "  notes  v2       2",
    ]


def test_a_column_without_a_text_is_left_out() -> None:
    assert table.render(COLUMNS, [("blog", "", "1"), ("a", "", "")]) == ["app   s", "blog  1", "a"]


def test_what_is_too_wide_is_cut_where_most_can_be_spared() -> None:
    assert table.render(COLUMNS, [("blog", "x" * 90, "14.2")], width=30) == [
        "app   version                s",
        "blog  xxxxxxxxxxxxxxxxx…  14.2",
    ]


@pytest.mark.parametrize("kind", report.TABLES)
def test_what_stays_of_all_columns_fits(kind: str) -> None:
    columns = report.TABLES[kind]
    assert sum(column.least for column in columns) + 2 * (len(columns) - 1) + 2 <= table.WIDTH
    for column in columns:
        assert column.least >= len(column.title), column


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("blog", 4, "blog"),
        ("blogs", 4, "blo…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
    ],
)
def test_cutting(text: str, width: int, shown: str) -> None:
    assert table.cut(text, width) == shown


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        (None, "-"), ("", "-"), ("v1.5", "v1.5"), ("ab12cd3" * 6, "ab12cd3ab12c"), ("f" * 41, "f" * 12),
        ("a" * 39, "a" * 39), ("release-2026", "release-2026"),
    ],
)  # fmt: skip
def test_a_version(version: str | None, shown: str) -> None:
    assert table.version(version) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\t c", "a b c"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("a\x00b", "a\ufffdb"),
        ("\u202eabc", "\ufffdabc"),
        ("a\rb", "a b"),
    ],
)
def test_a_cell_is_one_line_that_no_terminal_acts_on(text: str, shown: str) -> None:
    assert table.one_line(text) == shown


#: Whatever a branch, a domain or an answer of a host may hold.
HOSTILE = st.text(max_size=120)


@given(rows=st.lists(st.lists(HOSTILE, min_size=9, max_size=9), max_size=5), indent=st.sampled_from([0, 2]))
def test_every_table_fits_whatever_its_cells_hold(rows: list[list[str]], indent: int) -> None:
    for line in table.render(report.TABLES["status"], rows, indent=indent):
        assert table.text_width(line) <= table.WIDTH
        assert not any(character in line for character in "\n\r")
        assert not any(character in line for character in "\x1b\x07\x08\x7f\x9b\u202e")
