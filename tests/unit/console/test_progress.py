"""How far a long task is, is shown while it runs; whatever a host answers, and whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.console import patience, progress
from hypothesis import given
from hypothesis import strategies as st

UPTIME = "1000.50 3000.25\n"


@pytest.mark.parametrize(
    ("answer", "steps"),
    [
        (f"{UPTIME}blog build 993.5\nshop-2 start 1000.0\n", {"blog": ("build", 7.0), "shop-2": ("start", 0.5)}),
        # As a terminal has it, and with what sudo and a login say.
        (f"BECOME-SUCCESS-abc\r\nWelcome!\r\n{UPTIME}blog venv 990.5\r\n", {"blog": ("venv", 10.0)}),
        # A clock that goes back is none of the app's.
        (f"{UPTIME}blog venv 2000.0\n", {"blog": ("venv", 0.0)}),
        ("blog build 993.5\n", {}),
        ("", {}),
        (UPTIME, {}),
        (f"{UPTIME}blog build\nblog BUILD 1.0\n../x build 1.0\nblog build 1.0 more\nblog \x1b[2J 1.0\n", {}),
        (f"{UPTIME}blog build {'9' * 40}.0\n", {}),
    ],
)  # fmt: skip
def test_what_a_host_says(answer: str, steps: dict[str, tuple[str, float]]) -> None:
    assert progress.parsed(answer) == steps


@given(st.text(max_size=200))
def test_nothing_but_names_and_numbers_is_shown(answer: str) -> None:
    follower = progress.Follower("web1", "Deploy")
    for line in follower.lines(60, progress.parsed(f"{UPTIME}{answer}\nblog build 1.0\n{answer}")):
        assert line.isprintable() and line.isascii() and len(line) < 400


def test_an_answer_is_read_no_further_than_it_can_be_long() -> None:
    apps = "".join(f"app-{number} build 1.0\n" for number in range(10_000))
    assert len(progress.parsed(UPTIME + apps)) < progress.ANSWER / 10


def test_a_step_is_named_once_it_takes_long_and_then_more_rarely() -> None:
    follower = progress.Follower("web1", "Deploy")
    said = [follower.lines(second, {"blog": ("build", second - 2.0)}) for second in range(5, 60, 5)]
    assert [line for lines in said for line in lines] == [
        "... 5 s: Deploy (web1): build of blog",
        "... 8 s: build of blog (web1)",
        "... 13 s: build of blog (web1)",
        "... 23 s: build of blog (web1)",
        "... 43 s: build of blog (web1)",
    ]


def test_many_short_steps_and_a_host_that_does_not_say() -> None:
    follower = progress.Follower("web1", "Deploy")
    steps = {f"app-{number}": ("venv", 1.0) for number in range(4)}
    assert follower.lines(6, steps) == ["... 6 s: Deploy (web1): venv of app-0, venv of app-1, venv of app-2"]
    assert follower.lines(65, steps) == []
    assert follower.lines(67, {}) == ["... 67 s: Deploy (web1)"]


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks a hundred times as often, and less patience."""
    monkeypatch.setattr(progress, "FIRST", 0.01)
    monkeypatch.setattr(progress, "LOOKS", (0.01,))
    monkeypatch.setattr(progress, "PATIENCE", 0.3)
    monkeypatch.setattr(patience, "FIRST", 0.02)


def run(look: Callable[[], str] | None, seconds: float = 0.5) -> list[str]:
    """What is said of a task that takes *seconds*."""
    said: list[str] = []
    with progress.followed("web1", "Deploy", look, said.append):
        time.sleep(seconds)
    before = list(said)
    time.sleep(0.1)
    assert said == before, "something was said after the task"
    return said


def test_a_task_is_followed_while_it_runs(sooner: None) -> None:
    began = time.monotonic()
    said = run(lambda: f"{1000 + time.monotonic() - began:.2f} 1.00\nblog build 1000.0\n")
    assert "... 0 s: build of blog (web1)" in said


def test_a_host_that_cannot_be_asked_is_not_asked_for_ever(sooner: None) -> None:
    looks = []

    def look() -> str:
        looks.append(1)
        raise ConnectionError("gone")

    assert run(look)[0] == "... 0 s: Deploy (web1)"
    assert len(looks) == progress.FAILURES
    assert run(None)[0] == "... 0 s: Deploy (web1)"


def test_a_look_that_hangs_holds_nothing_up(sooner: None) -> None:
    """Neither the task, nor what can be said without it; and it is the only one."""
    released, looks = threading.Event(), []

    def look() -> str:
        looks.append(1)
        released.wait(30)
        return f"{UPTIME}blog build 1.0\n"

    began = time.monotonic()
    assert run(look, 1.0) == ["... 0 s: Deploy (web1)"]
    assert time.monotonic() - began < 10
    assert len(looks) == 1
    released.set()


def test_the_failure_of_the_task_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError), progress.followed("web1", "Deploy", None, print):
        raise KeyError
