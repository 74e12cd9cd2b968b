"""The log of an app in the message of a failure."""

from __future__ import annotations

from ansible_collections.emperor.stack.plugins.module_utils.release import log_excerpt


def request(number: int) -> str:
    """uWSGI's line about a probe."""
    return (
        f"[pid: {4000 + number}|app: 0|req: {number}/{number}] 127.0.0.1 () {{34 vars in 461 bytes}} "
        f"[Tue Dec  1 01:00:{number:02} 2026] GET /healthz => generated 145 bytes in {number} msecs "
        "(HTTP/1.1 500) 5 headers in 180 bytes (1 switches on core 0)"
    )


TRACEBACK = """Traceback (most recent call last):
  File "/srv/apps/blog/releases/r/venv/lib/python3.11/site-packages/django/db/backends/utils.py", line 105, in _execute
    return self.cursor.execute(sql, params)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
sqlite3.OperationalError: no such table: blog_post

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/apps/blog/releases/r/code/blog/views.py", line 12, in healthz
    Post.objects.count()
django.db.utils.OperationalError: no such table: blog_post""".splitlines()


def test_six_probes_of_a_failing_page_are_one_traceback() -> None:
    lines = ["WSGI app 0 ready in 1 seconds", "spawned uWSGI worker 1 (pid: 4000)"]
    for number in range(6):
        lines += [
            f"2026-12-01 01:00:{number:02} ERROR Internal Server Error: /healthz",
            *TRACEBACK,
            request(number),
        ]
    assert log_excerpt.shown(lines) == [
        "WSGI app 0 ready in 1 seconds",
        "spawned uWSGI worker 1 (pid: 4000)",
        "2026-12-01 01:00:05 ERROR Internal Server Error: /healthz",
        *TRACEBACK,
    ]
    assert log_excerpt.has_traceback(lines)


def test_probes_alone_say_nothing() -> None:
    lines = [request(number) for number in range(6)]
    assert log_excerpt.shown(lines) == [] and not log_excerpt.has_traceback(lines)


def test_a_traceback_is_found_whatever_follows_it() -> None:
    after = [f"worker {chr(97 + number)} says {'x' * number}" for number in range(26)] * 4
    said = log_excerpt.shown(["[2026-12-01] [ERROR] Error handling request", *TRACEBACK, *after])
    assert said[: len(TRACEBACK)] == TRACEBACK or said[1 : len(TRACEBACK) + 1] == TRACEBACK
    assert said[-1] == after[-1] and len(said) <= log_excerpt.LINES + len(TRACEBACK)


def test_of_two_tracebacks_the_last_is_whole() -> None:
    first = [
        "Traceback (most recent call last):",
        *(f"  File {chr(97 + n)}" for n in range(26)),
        "ImportError: x",
    ]
    recursion = [f"  File {chr(97 + n % 26)}{n}" for n in range(200)]
    last = ["Traceback (most recent call last):", *recursion, "RecursionError: y"]
    said = log_excerpt.shown([*first, "between", *last])
    assert said[-log_excerpt.TRACEBACK_LINES :] == last[-log_excerpt.TRACEBACK_LINES :]
    assert "ImportError: x" in said and "between" in said


def test_what_an_app_writes_after_a_traceback_is_not_a_part_of_it() -> None:
    lines = [
        *TRACEBACK,
        "",
        "[INFO] shutting down",
        "Traceback (most recent call last):",
        "  x",
        "KeyError: 1",
    ]
    assert log_excerpt.shown(lines) == [*TRACEBACK, "", *lines[-4:]]
