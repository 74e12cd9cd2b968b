"""A run in a fork is what a run in a process of its own is, but for its imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.playbook_server import PROGRAM, Server, Servers
from tools.project import ROOT

#: What a run can see of the process that it is in.
SEEN = """\
import json, os, sys
print(json.dumps({
    "directory": os.getcwd(), "variable": os.environ.get("PLANTED"), "input": sys.stdin.read(),
    "session": os.getsid(0),
}))
"""

PLAYBOOK = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "connection": "local",
        "tasks": [
            {"command": {"argv": ["{{ ansible_playbook_python }}", "-c", SEEN]}, "register": "seen"},
            {"debug": {"msg": "{{ seen.stdout }}"}},
            {"debug": {"msg": "{{ word }}"}},
            {"fail": {"msg": "planted failure"}, "when": "word == 'fail'"},
        ],
    }
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("played")
    (made / "play.yml").write_text(yaml.safe_dump(PLAYBOOK))
    (made / "sleep.yml").write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [{"pause": {"seconds": 60}}]}])
    )
    (made / "ansible.cfg").write_text(
        f"[defaults]\ninterpreter_python = {sys.executable}\nlocalhost_warning = false\n"
    )
    return made


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    left = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {
        **left,
        "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(place / "home"),
        "PLANTED": "planted",
    }


@pytest.fixture(scope="module")
def server(place: Path, environment: dict[str, str]) -> Iterator[Server]:
    made = Server(environment, place)
    yield made
    made.close()
    assert list((place / "home/tmp").iterdir()) == []
    # Nothing of Ansible's is where the playbooks are.
    assert sorted(path.name for path in place.iterdir()) == ["ansible.cfg", "home", "play.yml", "sleep.yml"]


def arguments(word: str) -> list[str]:
    return ["-i", "localhost,", "play.yml", "-e", f"word={word}"]


def seen(output: str) -> dict[str, Any]:
    line = next(line for line in output.splitlines() if '\\"directory\\"' in line)
    found: dict[str, Any] = json.loads(json.loads("{" + line.strip() + "}")["msg"])
    return found


@pytest.mark.parametrize("word", ["a", "fail"])
def test_it_prints_and_returns_what_an_ordinary_process_does(
    place: Path, environment: dict[str, str], server: Server, word: str
) -> None:
    usual = subprocess.run(
        [PROGRAM, *arguments(word)], cwd=place, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for _ in range(2 if word == "a" else 1):
        forked = server.run(arguments(word), 60)
        assert forked.returncode == usual.returncode == (2 if word == "fail" else 0), usual.stdout
        mine, its = seen(forked.stdout), seen(usual.stdout)
        assert {mine["directory"], mine["variable"], mine["input"]} == {str(place), "planted", ""}
        assert {**mine, "session": 0} == {**its, "session": 0}
        assert mine["session"] not in (os.getsid(0), its["session"])
        plain = [_without_seen(one) for one in (forked.stdout, usual.stdout)]
        assert plain[0] == plain[1]
        assert forked.stderr == usual.stderr


def _without_seen(output: str) -> list[str]:
    return [line for line in output.splitlines() if "directory" not in line]


def test_errors_are_in_their_order_where_they_are_merged(server: Server) -> None:
    done = server.run(["-i", "localhost,", "there_is_none.yml"], 60, merged=True)
    assert done.returncode != 0 and "there_is_none.yml" in done.stdout and done.stderr == ""
    apart = server.run(["-i", "localhost,", "there_is_none.yml"], 60)
    assert "there_is_none.yml" in apart.stderr and apart.stdout == ""


def test_runs_side_by_side_have_temporary_directories_of_their_own(place: Path, server: Server) -> None:
    found: dict[str, subprocess.CompletedProcess[str]] = {}

    def run(word: str) -> None:
        found[word] = server.run(arguments(word), 60)

    threads = [threading.Thread(target=run, args=(word,)) for word in ("a", "b", "fail")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {word: done.returncode for word, done in found.items()} == {"a": 0, "b": 0, "fail": 2}
    for word, done in found.items():
        assert f'"msg": "{word}"' in done.stdout
    # That of the server, which has the packed modules, is left.
    (left,) = (place / "home/tmp").iterdir()
    assert [path.name for path in left.iterdir()] == ["ansiballz_cache"]


def test_a_run_that_takes_too_long_is_killed(place: Path, server: Server) -> None:
    before = set((place / "home/tmp").iterdir())
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        server.run(["-i", "localhost,", "-c", "local", "sleep.yml"], 4)
    assert b"PLAY [localhost]" in raised.value.output
    # As any ansible-playbook that is killed, it leaves its temporary directory.
    (left,) = set((place / "home/tmp").iterdir()) - before
    shutil.rmtree(left)
    assert server.run(arguments("a"), 60).returncode == 0


def test_the_first_run_of_each_environment_is_an_ordinary_process(
    place: Path, environment: dict[str, str]
) -> None:
    servers = Servers()
    assert servers.server(environment, place) is None
    first = servers.server(environment, place)
    assert first is not None and servers.server(dict(environment), place) is first
    assert servers.server({**environment, "PLANTED": "other"}, place) is None
    assert servers.server(environment, place.parent) is None
    (place / "ansible.cfg").write_text((place / "ansible.cfg").read_text() + "nocows = true\n")
    assert servers.server(environment, place) is None
    servers.close()


def test_a_run_has_the_variables_beside_its_inventory(server: Server, place: Path, tmp_path: Path) -> None:
    """Ansible finds the plugin that reads them only where nothing has looked for such plugins before."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("planted: of the group\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {localhost: {}}}\n")
    task = {"debug": {"msg": "{{ planted }}"}}
    play = [{"hosts": "all", "gather_facts": False, "connection": "local", "tasks": [task]}]
    (tmp_path / "show.yml").write_text(yaml.safe_dump(play))
    done = server.run(["-i", str(tmp_path / "hosts.yml"), str(tmp_path / "show.yml")], 60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of the group" in done.stdout


#: An action that tells which files with filters its process has loaded.
LOADED = """\
import sys
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        names = sorted(name.rpartition(".")[2] for name in sys.modules if ".stack.plugins.filter." in name)
        return {"changed": True, "msg": " ".join(names), "failed": True}
"""


def test_the_first_task_of_a_run_finds_the_filters_loaded(tmp_path: Path) -> None:
    (tmp_path / "action_plugins").mkdir()
    (tmp_path / "action_plugins/loaded.py").write_text(LOADED)
    play = [{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [{"loaded": {}}]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    own = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    server = Server({**kept, **own}, ROOT)
    done = server.run(["-i", "localhost,", str(tmp_path / "play.yml")], 60)
    server.close()
    wanted = sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.py"))
    assert " ".join(wanted) in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert "configured" not in done.stdout + done.stderr
