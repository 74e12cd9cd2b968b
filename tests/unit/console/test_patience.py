"""What takes long is named while it runs, and not too often."""

from __future__ import annotations

import time

from ansible_collections.emperor.stack.plugins.plugin_utils.console.patience import Pace, Watch, named


def test_the_longer_something_runs_the_rarer_it_is_named() -> None:
    pace = Pace()
    assert [second for second in range(300) if pace.is_due(second)] == [5, 10, 20, 40, 80, 140, 200, 260]


def test_a_moment_that_was_missed_is_not_made_up_for() -> None:
    pace = Pace()
    assert pace.is_due(100)
    assert not pace.is_due(101)


def test_each_task_is_named_once_for_all_of_its_hosts() -> None:
    watch = Watch(lambda line: None, tick=600)
    for number in range(5):
        watch.begin(f"web{number}", "base : install")
    watch.begin("db", "tls : issue")
    watch.end("web4")
    watch.end("never began")
    now = time.monotonic()
    assert watch.due(now) == []
    assert watch.due(now + 6) == [
        "... 6 s: base : install (web0, web1, web2 and 1 more)",
        "... 6 s: tls : issue (db)",
    ]
    assert watch.due(now + 7) == []
    watch.end("db")
    assert watch.due(now + 12) == ["... 12 s: base : install (web0, web1, web2 and 1 more)"]
    # The next task of a host has a patience of its own.
    watch.begin("db", "tls : report")
    assert watch.due(now + 13) == ["... 13 s: tls : report (db)"]
    watch.close()


def test_a_terminal_that_went_away_ends_it(capsys: object) -> None:
    def gone(line: str) -> None:
        raise BrokenPipeError

    watch = Watch(gone, tick=0.01)
    watch.begin("db", "task")
    watch._running["db"] = ("task", time.monotonic() - 60)
    assert watch._thread is not None
    watch._thread.join(timeout=10)
    assert not watch._thread.is_alive()


def test_hosts_are_named_or_counted() -> None:
    assert named(["a"]) == "a"
    assert named(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
