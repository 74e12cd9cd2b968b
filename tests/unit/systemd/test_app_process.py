"""A command of an app as a service: what systemd is told, what it is not told, and what is said of its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import command as app_command
from ansible_collections.emperor.stack.plugins.module_utils.host import child_process, layout, masking, output
from ansible_collections.emperor.stack.plugins.module_utils.host import command as host_command
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.release import furnishing
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_process, app_units, unit_names
from ansible_collections.emperor.stack.plugins.module_utils.systemd.app_process import (
    Service,
    run_as,
)

R1 = "20261122T100000-aaaaaaa"
LAUNCH = Path(__file__).resolve().parents[3] / "roles/python_apps/files/launch.py"

ODD = {
    "PLAIN": "x",
    "QUOTES": 'it\'s "$(id)" `id` $HOME \\\\ %n',
    "LINES": "one\ntwo\n",
    "CONTROL": "a\rb\x1b[0m\x7f",
    "UMLAUT": "é",
    "EMPTY": "",
    "ALL": "".join(map(chr, range(1, 256))),
    "LONG": "y" * 100_000,
}


class Systemd:
    """systemd-run and systemctl as far as a command needs them: the command runs, and its end is kept to be asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        stand_in = directory / "systemd-run"
        stand_in.write_text(
            f"#!{sys.executable}\n"
            "import json, os, re, signal, subprocess, sys\n"
            f"directory = {str(directory)!r}\n"
            "mark = sys.argv.index('--')\n"
            "lines = [w.partition('=')[2] for w in sys.argv[1:mark] if w.startswith('--property=')]\n"
            "env = {'PATH': '/usr/bin:/bin'}\n"
            "for line in lines:\n"
            "    if line.startswith('EnvironmentFile='):\n"
            "        text = open(line.partition('=')[2]).read()\n"
            '        for name, value in re.findall(r\'(?s)(\\w+)="((?:[^"\\\\]|\\\\.)*)"\\n\', text):\n'
            "            env[name] = re.sub(r'(?s)\\\\(.)', r'\\1', value)\n"
            "for line in lines:\n"
            "    if line.startswith('WorkingDirectory='):\n"
            "        os.chdir(line.partition('=')[2])\n"
            # Somebody always reloads before the command begins: see `app_process.CHANGED`.
            "words = [re.sub(r'[;$]', r'\\\\\\g<0>', w) for w in sys.argv[mark + 1:]]\n"
            "open(f'{directory}/calls', 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            "code = subprocess.run(words, env=env).returncode\n"
            "how = ('2', -code) if code < 0 else ('1', code)\n"
            "result = 'success' if code == 0 else 'signal' if code < 0 else 'exit-code'\n"
            "open(f'{directory}/state', 'w').write('LoadState=loaded\\nActiveState=failed\\n'\n"
            "    f'Result={result}\\nExecMainCode={how[0]}\\nExecMainStatus={how[1]}\\n')\n"
            "sys.exit(255 if code < 0 else code)\n"
        )
        systemctl = directory / "systemctl"
        systemctl.write_text(
            f"#!/bin/sh\necho systemctl $* >>{directory}/systemctl.calls\n"
            f'[ "$1" = show ] && cat {directory}/state\nexit 0\n'
        )
        for program in (stand_in, systemctl):
            program.chmod(0o755)

    def asked(self) -> list[str]:
        """The words of the last systemd-run."""
        return list(json.loads((self.directory / "calls").read_text().splitlines()[-1]))


@pytest.fixture
def systemd(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    path = f"{tmp_path}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(host_command, "SYSTEM_PATH", path)
    monkeypatch.setattr(app_process, "SYSTEM_PATH", path)
    monkeypatch.setattr(app_process, "SYSTEMD", str(tmp_path))
    monkeypatch.setattr(app_process, "PATIENCE", 2)
    return Systemd(tmp_path)


def shell(line: str, **options: Any) -> str:
    return run_as("blog", ["/bin/sh", "-c", line], what="building", shown_as=line, **options)


@pytest.mark.parametrize(
    "given", [False, True], ids=["nothing on standard input", "a file on standard input"]
)
def test_the_environment_arrives_byte_for_byte_and_systemd_is_not_told(
    systemd: Systemd, tmp_path: Path, given: bool
) -> None:
    wanted = {name: value for name, value in ODD.items() if not (given and name in ("CONTROL", "ALL"))}
    source, program = tmp_path / "source", tmp_path / "program"
    source.write_bytes(b"its own\0input")
    program.write_text("import json, os, sys; print(json.dumps([dict(os.environ), sys.stdin.read()]))")
    argv = [sys.executable, str(program)]
    with open(source, "rb") as file:
        said = run_as("blog", argv, what="x", env=wanted, whole=10**6, stdin=file if given else None)
    seen, read = json.loads(said)
    assert {name: seen.get(name) for name in wanted} == wanted
    assert read == ("its own\0input" if given else "")
    told = " ".join(systemd.asked())
    assert not [value for name, value in wanted.items() if len(value) > 1 and value in told]


def test_a_value_that_systemd_would_drop_is_refused(systemd: Systemd, tmp_path: Path) -> None:
    with open(os.devnull, "rb") as nothing, pytest.raises(CommandFailed, match="variable A has a control"):
        shell("true", env={"A": "x\ry"}, stdin=nothing)


def test_arguments_that_systemd_changes_stay_as_they_are(systemd: Systemd, tmp_path: Path) -> None:
    """As when somebody reloads before the command begins: without an input by way of a script, with one they are refused."""
    words = ["$HOME", "${X}", "$$", "a;b", "a\rb", "it's", '"', "\\", "%n", "é", ""]
    echo = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    assert json.loads(run_as("blog", [*echo, *words], what="x")) == words
    assert systemd.asked()[-2:] == ["--", "/bin/sh"]
    for word in words[:5]:
        with open(os.devnull, "rb") as nothing, pytest.raises(CommandFailed, match="may change the argument"):
            run_as("blog", ["/bin/echo", word], what="x", stdin=nothing)


def test_files_are_put_into_the_code_whatever_systemd_does_to_arguments(systemd: Systemd, host: Path) -> None:
    code = host / "code"
    code.mkdir()
    furnishing.furnish("blog", str(code), {"conf/a.ini": "x = $1; y\n", "b": ""}, [])
    assert (code / "conf/a.ini").read_text() == "x = $1; y\n"
    assert (code / "b").read_text() == ""


def test_a_command_that_was_not_passed_on_has_not_ended_well(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_process, "SHELL", "/bin/true")
    with pytest.raises(CommandFailed, match="did not pass the command"):
        shell("true")


def test_nothing_of_a_part_of_a_command_is_run(tmp_path: Path) -> None:
    whole = app_process.script(["touch", f"{tmp_path}/ran"], {"A": "x\ny", "B": "z"})
    for length in range(len(whole)):
        subprocess.run(["/bin/sh"], input=whole[:length], capture_output=True, check=False)
        assert not (tmp_path / "ran").exists() or length == len(whole) - 1
    assert (tmp_path / "ran").exists()


def test_it_is_told_the_sandbox_of_the_workers(systemd: Systemd, tmp_path: Path) -> None:
    code, sealed = tmp_path / "code", "/usr"
    code.mkdir()
    shell("echo $HOME '$$'", cwd=str(code), writable=[sealed], timeout=5)
    asked = systemd.asked()
    assert {f"--property={line}" for line in app_units.sandbox("blog")} < set(asked)
    assert "--property=Slice=apps-blog.slice" in asked
    assert "--property=TimeoutStartSec=5.0" in asked
    assert "--property=KillMode=mixed" in asked
    # A oneshot: systemd takes the end by SIGTERM of any other service for a success.
    assert "--service-type=oneshot" in asked
    own = [word for word in asked if word.startswith("--property=ReadWritePaths=") and str(code) in word]
    assert own == (
        [f"--property=ReadWritePaths={code}"] if os.getuid() else [f"--property=ReadWritePaths=/usr {code}"]
    )


@pytest.mark.parametrize(
    ("line", "outcome", "status"),
    [
        ("echo why; exit 3", "exit status 3", 3),
        ("echo why; kill -TERM $$", "ended by SIGTERM", None),
        ("echo why; kill -KILL $$", "ended by SIGKILL", None),
        (
            "echo why; exit 226",
            r"exit status 226, which systemd reports when it cannot start a command \(NAMESPACE\)",
            226,
        ),
    ],
)
def test_how_it_ended(systemd: Systemd, line: str, outcome: str, status: int | None) -> None:
    with pytest.raises(CommandFailed, match=rf"building failed \({outcome}\): .*\nwhy$"):
        shell(line)
    ran = Service("blog", "x", "/", 5).run(["/bin/sh", "-c", line], {}, None)
    assert (ran.status, ran.timed_out) == (status, False)
    assert "reset-failed" in (systemd.directory / "systemctl.calls").read_text()


@pytest.mark.parametrize(
    ("found", "code", "refused", "outcome", "timed_out"),
    [
        (
            {"Result": "timeout", "ExecMainCode": "2", "ExecMainStatus": "15"},
            1,
            0,
            "still running after 5 s",
            True,
        ),
        ({}, None, 0, "still running after 5 s", True),
        ({"Result": "oom-kill", "ExecMainCode": "2", "ExecMainStatus": "9"}, 1, 0, "limits.memory", False),
        ({"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}, 1, 1, "limits.memory", False),
        ({"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}, 1, 0, "ended by SIGKILL", False),
        (
            {"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "137"},
            137,
            1,
            "limits.memory",
            False,
        ),
        ({"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "1"}, 1, 1, "exit status 1", False),
        ({"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "15"}, 1, 1, "ended by SIGTERM", False),
        (
            {"Result": "core-dump", "ExecMainCode": "3", "ExecMainStatus": "11"},
            1,
            0,
            "ended by SIGSEGV",
            False,
        ),
        ({"Result": "resources"}, 1, 0, "systemd-run: exit status 1, resources", False),
        ({}, 1, 0, "systemd-run: exit status 1", False),
    ],
)
def test_ends_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
    found: dict[str, str],
    code: int | None,
    refused: int,
    outcome: str,
    timed_out: bool,
) -> None:
    monkeypatch.setattr(app_process, "memory_refused", lambda app: refused)
    tail = output.Tail()
    said = Service("blog", "x", "/", 5)._failed(child_process.Ended(code, tail, tail), found, 0)
    assert outcome in said.outcome
    assert said.timed_out is timed_out
    assert (said.status is None) is (code is None or found.get("ExecMainCode") in ("2", "3"))


def test_one_that_systemd_does_not_end_is_ended(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for systemd knows no time limit."""
    monkeypatch.setattr(app_process, "PATIENCE", 0)
    monkeypatch.setattr(app_process, "STOP_SECONDS", 0)
    (systemd.directory / "state").write_text("LoadState=not-found\nActiveState=inactive\n")
    with pytest.raises(host_command.TimedOut, match=r"still running after 0\.5 s"):
        shell("sleep 30", timeout=0.5)
    assert "kill --signal=KILL app_blog_command@" in (systemd.directory / "systemctl.calls").read_text()


# Names


def test_commands_are_known_by_their_names(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transient = Path(layout.TRANSIENT_UNITS)
    transient.mkdir()
    ours = ["app_blog_command@1796069918896608691-1.service", "app_blog_command@7-12.service"]
    others = [
        "app_blog_run@1796069918896608691-1.service",
        "app_blog-a_command@1796069918896608691-1.service",
        "app_blog_command-x@1-1.service",
        "emperor-stack-retire-blog-1.service",
    ]
    for name in [*ours, *others]:
        (transient / name).touch()
    # A worker may have the name.
    (Path(layout.UNITS) / "app_blog_command@7-2.service").touch()
    assert unit_names.command_units("blog") == sorted(ours)
    assert {*ours, others[0]} <= set(unit_names.all_units("blog"))
    calls: list[Sequence[str]] = []
    monkeypatch.setattr(app_process, "run", lambda argv, **_: calls.append(argv))
    app_process.end_left("blog")
    assert [call[1] for call in calls] == ["kill", "stop", "reset-failed"]
    assert all(set(call[2:]) - {"--signal=KILL"} == set(ours) for call in calls)
    calls.clear()
    app_process.end_left("shop")
    assert calls == []


# What playbooks/run.yml runs


@pytest.fixture
def release(host: Path) -> Path:
    directory = Path(layout.release("blog", R1))
    (directory / "code").mkdir(parents=True)
    environment = {"KEY": "very-secret", "PIN": "123", "PATH": "/usr/bin:/bin"}
    entry = {"environment": environment, "secrets": ["KEY", "PIN"]}
    (directory / "environment.json").write_text(json.dumps(entry))
    (directory / "launch.py").write_text(LAUNCH.read_text())
    return directory


def test_its_output_is_masked_and_bounded(
    systemd: Systemd, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "_hidden", set())
    app_command.hide_secrets("blog", R1)
    said = app_command.run_command("blog", R1, 'pwd; echo "$KEY $APP"; printf "\\033[31mred\\n"', 5)
    assert said.output == f"{release}/code\n******** \nred\n"
    assert (said.failure, said.status) == ("", 0)
    assert any(word.startswith("--unit=app_blog_run@") for word in systemd.asked())
    said = app_command.run_command("blog", R1, "yes 2>/dev/null | head -c 1000000; exit 7", 20)
    assert said.output.startswith("[934464 earlier bytes omitted; the last 65536 are shown]\ny\n")
    assert len(said.output) < 66_000
    assert (said.failure, said.status) == ("exit status 7", 7)


def test_a_release_without_a_list_of_its_secrets_is_refused(release: Path) -> None:
    (release / "environment.json").write_text(json.dumps({"environment": {}}))
    with pytest.raises(app_command.CannotRun, match=r"older version .*-e app=blog -e force=true"):
        app_command.hide_secrets("blog", R1)
    (release / "environment.json").unlink()
    with pytest.raises(app_command.CannotRun, match=r"no environment.json. .*-e force=true"):
        app_command.hide_secrets("blog", R1)


def test_what_has_its_own_input_is_the_first_program(systemd: Systemd) -> None:
    """Nothing stands between systemd and it that the app's processes could look into: they would take the input."""
    with open(os.devnull, "rb") as nothing:
        run_as("blog", ["/bin/true", "a"], what="x", stdin=nothing)
    words = systemd.asked()
    assert words[words.index("--") + 1 :] == ["/bin/true", "a"]


def test_what_runs_as_an_app_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its user, without its privileges, and with an end for what it leaves behind."""
    program = tmp_path / "setpriv"
    # It notes how it was called, and becomes what stands behind its "--".
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n'
        'while [ $# -gt 0 ]; do [ "$1" = -- ] && { shift; exec "$@"; }; shift; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(host_command, "SYSTEM_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(app_process, "SYSTEMD", str(tmp_path / "none"))
    with pytest.raises(CommandFailed, match="exit status 3"):
        run_as("blog", ["/bin/sh", "-ec", f"(sleep 1; touch {tmp_path}/left) & exit 3"], what="x")
    words = "--reuid=blog --regid=blog --clear-groups --no-new-privs --pdeathsig=KILL -- setpriv -- /bin/sh"
    assert (tmp_path / "calls").read_text().startswith(words)
    time.sleep(1.5)
    assert not (tmp_path / "left").exists()
