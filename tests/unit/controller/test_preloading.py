"""What each task of a run would load anew is there before the first one begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.controller import preloading

from tools.project import ROOT

#: Runs ansible-playbook; every task leaves the names of the filters' files that it finds loaded.
PROGRAM = """
import pathlib, sys
from ansible.cli.playbook import main
from ansible.executor.process.worker import WorkerProcess

carry_out = WorkerProcess._run

def run(self):
    loaded = sorted(name.rpartition(".")[2] for name in sys.modules if ".stack.plugins.filter." in name)
    pathlib.Path(self._task.get_name()).write_text(" ".join(loaded))
    return carry_out(self)

WorkerProcess._run = run
main(["ansible-playbook", "-i", "localhost,", *sys.argv[1:]])
"""
#: All playbooks validate the inventory in their first play.
PLAYS = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - {name: first, ansible.builtin.debug: {msg: validated}}
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - {name: second, ansible.builtin.debug: {msg: "{{ 'blog' | emperor.stack.maintenance_flag }}"}}
"""


def test_each_task_after_the_validation_finds_all_filters_loaded(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYS)
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "play.yml"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.py"))
    assert (tmp_path / "second").read_text().split() == wanted
    assert (tmp_path / "first").read_text() == ""


def test_a_file_that_cannot_be_imported_is_left_to_the_task_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half" / "filter").mkdir(parents=True)
    (tmp_path / "half" / "filter" / "broken.py").write_text("raise RuntimeError('broken')\n")
    (tmp_path / "half" / "filter" / "whole.py").write_text("there = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(preloading, "PLUGINS", "half")
    preloading.preload()
    assert sys.modules["half.filter.whole"].there
    assert "half.filter.broken" not in sys.modules


def test_without_filters_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preloading, "PLUGINS", "no_such_package")
    preloading.preload()
