"""The environment of an app's processes: made once, and taken on before a program starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import command as host_command
from ansible_collections.emperor.stack.plugins.module_utils.host import layout, masking
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.release import environment

RELEASE = "20261122T193000-ab12cd3"
ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "roles/python_apps/files"
#: As releases have them that earlier versions have made.
FORMER = ROOT / "plugins/plugin_utils/release/format_1"
DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture
def release(host: Path) -> Callable[..., Path]:
    """`release(declared)`: the directory of a release whose app has that environment."""

    def make(declared: Mapping[str, str], secrets: tuple[str, ...] = ()) -> Path:
        directory = Path(layout.release("blog", RELEASE))
        (directory / "code").mkdir(parents=True)
        entry = {
            "environment": environment.of_release("blog", RELEASE, "a" * 40, declared),
            "app": {"name": "blog", "home": layout.cache("blog")},
            "commands": {"show": f"{sys.executable} -c '{DUMP}'"},
            "secrets": list(secrets),
        }
        (directory / "environment.json").write_text(json.dumps(entry))
        (directory / "launch.py").write_text((FILES / "launch.py").read_text())
        return directory

    return make


def seen(command: list[str], surroundings: Mapping[str, str]) -> dict[str, str]:
    """The environment that a dumping *command* printed, without what Python itself sets where there is no locale."""
    done = subprocess.run(command, env=dict(surroundings), capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return {name: value for name, value in found.items() if name != "LC_CTYPE"}


def test_places_are_filled_into_env_and_never_into_secrets() -> None:
    declared = {"DATA": "@SHARED@/data:@CODE@", "OTHER": "@ELSE@", "KEY": "@CODE@"}
    found = environment.of_release("blog", RELEASE, "v", declared, ["KEY"], ["src", "lib/x"])
    code = f"/srv/apps/blog/releases/{RELEASE}/code"
    assert found["DATA"] == f"/srv/apps/blog/shared/data:{code}"
    assert (found["OTHER"], found["KEY"]) == ("@ELSE@", "@CODE@")
    assert found["PYTHONPATH"] == f"{code}/src:{code}/lib/x"
    assert "PYTHONPATH" not in environment.of_release("blog", RELEASE, "v", declared)


def test_the_platform_has_the_last_word_on_its_own_names() -> None:
    declared = {"APP_RELEASE": "x", "LANG": "C", "PYTHONUTF8": "0", "PATH": "/x", "HOME": "/x", "A": "1"}
    found = environment.of_release("blog", "r", "v", declared)
    assert found == {
        "A": "1",
        "HOME": "/srv/apps/blog/cache",
        "USER": "blog",
        "LOGNAME": "blog",
        "TMPDIR": "/srv/apps/blog/cache/tmp",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": "/srv/apps/blog/releases/r/venv",
        "PATH": "/srv/apps/blog/releases/r/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "APP_NAME": "blog",
        "APP_RELEASE": "r",
        "APP_REVISION": "v",
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
    }


@pytest.mark.parametrize("name", ["TMPDIR", "PYTHONUNBUFFERED"])
def test_an_app_may_set_the_others_itself(name: str) -> None:
    assert environment.of_release("blog", "r", "v", {name: ""})[name] == ""


def ways(directory: Path) -> dict[str, list[str]]:
    """How processes are begun: units of workers and timers, of gunicorn and the emperor's `enter`, and a shell by hand."""
    launch = layout.launch(str(directory))
    dump = [sys.executable, "-c", DUMP]
    return {
        "process": [*launch, "process", "show"],
        "command": [*launch, "command", f"{sys.executable} -c '{DUMP}'"],
        "program": [*launch, "program", *dump],
        "launched": environment.launched(str(directory), dump),
    }


@pytest.mark.parametrize(
    "declared", [{}, {"TMPDIR": "/srv/apps/blog/shared/tmp", "A": "x'$(id)\n", "ODD": "ü\udcff\x01"}]
)
def test_the_environment_is_the_same_everywhere(
    release: Callable[..., Path], declared: dict[str, str]
) -> None:
    """Whatever starts a process, and whatever locale that has: it sees what environment.json says, byte for byte."""
    directory = release(declared)
    wanted = environment.entry("blog", RELEASE)["environment"]
    for name, command in ways(directory).items():
        for surroundings in ({}, {"LANG": "de_DE.ISO-8859-1", "LC_ALL": "C", "SHELL": "/x", "PATH": "/x"}):
            assert seen(command, surroundings) == wanted, (name, surroundings)


def test_a_process_keeps_what_it_is_told_of_itself(release: Callable[..., Path]) -> None:
    """And an app cannot tell it otherwise."""
    directory = release({"LISTEN_FDS": "7", "LISTEN_PORT": "80"})
    own = {"LISTEN_FDS": "1", "UWSGI_EMPEROR_FD": "9", "EMPEROR_STACK_UWSGI": "/x", "JOURNAL_STREAM": "1:2"}
    wanted = {**environment.entry("blog", RELEASE)["environment"], **own}
    for name, command in ways(directory).items():
        assert seen(command, {**own, "OTHER": "x"}) == wanted, name


def test_it_is_there_before_a_program_starts(release: Callable[..., Path]) -> None:
    """Python and the C library read some variables once."""
    directory = release({"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "0"})
    says = (
        "import sys, time; print(time.strftime('%z'), sys.flags.hash_randomization, sys.stdout.write_through)"
    )
    command = environment.launched(str(directory), [sys.executable, "-c", says])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "+0900 0 True\n"


def test_a_release_of_an_earlier_version_keeps_its_own_launcher(release: Callable[..., Path]) -> None:
    """Its environment.json has less than today's, and its launch.py adds what is missing."""
    directory = release({})
    entry: dict[str, Any] = environment.entry("blog", RELEASE)
    wanted = {name: value for name, value in entry["environment"].items() if name != "PYTHONUNBUFFERED"}
    had = {"APP_NAME", "APP_RELEASE", "APP_REVISION", "LANG", "PYTHONUTF8"}
    entry["environment"] = {name: value for name, value in wanted.items() if name in had}
    (directory / "environment.json").write_text(json.dumps(entry))
    (directory / "launch.py").write_text((FORMER / "launch.py.txt").read_text())
    command = environment.launched(str(directory), [sys.executable, "-c", DUMP])
    found = seen(command, {"LANG": "C"})
    # It has always been told where it lies, and not by whom.
    assert found == {**wanted, "PATH": found["PATH"], "VIRTUAL_ENV": f"{directory}/venv"}
    assert found["PATH"].startswith(f"{directory}/venv/bin:")


def test_a_line_is_run_in_the_release_and_says_no_secret(
    release: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "_hidden", set())
    monkeypatch.setattr(environment, "run_as", lambda _, argv, **how: host_command.run(argv, **how))
    directory = release({"KEY": "hunter22", "OPEN": "visible"}, secrets=("KEY",))
    said = environment.run_line("blog", RELEASE, 'echo "$KEY $OPEN $USER"; pwd', "build")
    assert said == f"******** visible blog\n{directory}/code\n"
    with pytest.raises(
        CommandFailed, match=r'^build failed \(exit status 1\): echo "\$KEY"; exit 1\n\*'
    ) as caught:
        environment.run_line("blog", RELEASE, 'echo "$KEY"; exit 1', "build")
    assert "hunter22" not in str(caught.value)
    assert not [value for value in os.environ.values() if value == "hunter22"]


def test_a_process_begins_in_the_code_and_ends_as_its_command_does(release: Callable[..., Path]) -> None:
    directory = release({})
    command = [*layout.launch(str(directory)), "command", "pwd; exit 9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (9, f"{directory}/code\n")
