"""What a module writes of how far it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import current_steps, phases
from ansible_collections.emperor.stack.plugins.module_utils.release.current_steps import CurrentSteps
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.progress import Steps
from ansible_collections.emperor.stack.plugins.plugin_utils.console import progress as shown

TOKEN = "0123456789abcdef"


def lines(token: str = TOKEN) -> list[str]:
    return Path(layout.current_steps(token)).read_text().splitlines()


def test_what_is_done_for_each_app(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_steps, "uptime", lambda: 993.51)
    made = CurrentSteps(TOKEN)
    with made.of("blog", "prepare"):
        assert lines() == ["blog prepare 993.5"]
        made.begin("blog", "venv")
        with made.of("shop", "prepare"):
            assert sorted(lines()) == ["blog venv 993.5", "shop prepare 993.5"]
            # As the controller reads it.
            assert shown.parsed("1000.50 1.00\n" + "\n".join(lines()))["blog"] == ("venv", 7.0)
        assert lines() == ["blog venv 993.5"]
    assert lines() == []
    directory = Path(layout.current_steps(TOKEN)).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert Path(layout.current_steps(TOKEN)).stat().st_mode & 0o777 == 0o600
    made.close()
    assert os.listdir(directory) == []


def test_files_of_runs_that_died_go(host: Path) -> None:
    made = CurrentSteps(TOKEN)
    made.begin("blog", "venv")
    directory = Path(layout.current_steps(TOKEN)).parent
    for name, age in (("old", 2 * current_steps.STALE), ("young", 60)):
        (directory / name).write_text("")
        then = (directory / name).stat().st_mtime - age
        os.utime(directory / name, (then, then))
    made.close()
    assert os.listdir(directory) == ["young"]


@pytest.mark.parametrize("token", ["", "../../etc/x", "0123456789abcde", f"{TOKEN}\n"])
def test_without_a_token_nothing_is_written(host: Path, token: str) -> None:
    made = CurrentSteps(token)
    with made.of("blog", "prepare"):
        made.begin("blog", "venv")
    made.close()
    assert not os.path.exists(f"{layout.RUN}/progress")


def test_a_file_that_cannot_be_written_is_no_failure(host: Path) -> None:
    Path(layout.RUN, "progress").write_text("in the way")
    with CurrentSteps(TOKEN).of("blog", "plan"):
        pass
    CurrentSteps(TOKEN).close()


def test_each_phase_names_itself(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def work(name: str, spec: object, options: object) -> dict[str, object]:
        seen.extend(line.rpartition(" ")[0] for line in lines())
        return {"switch_now": True} if name == "rollback" else {}

    for name in ("migrate", "rollback", "start", "switch"):
        monkeypatch.setitem(phases.PHASES, name, dataclasses.replace(phases.PHASES[name], work=work))
    options = Options(steps=CurrentSteps(TOKEN))
    phases.in_turn(["migrate", "start"], [{"name": "blog"}], options)
    assert seen == ["blog migrate", "blog start"]
    # One that is warm goes on to its switch at once.
    seen.clear()
    phases.in_turn(["rollback"], [{"name": "blog"}], options)
    assert seen == ["blog rollback", "blog start", "blog switch"]


def test_steps_of_the_making_of_a_release_are_told_as_they_begin() -> None:
    begun: list[str] = []
    steps = Steps(begun.append)
    for text in ("fetch", "warning: old", "venv"):
        steps.say(text)
    assert begun == ["fetch", "venv"] and steps.warnings == ["old"]
    # What a controller shows of them.
    assert all(shown.LINE.fullmatch(f"blog {step} 1.0") for step in begun)
