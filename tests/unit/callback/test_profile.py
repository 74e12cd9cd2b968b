"""What `make profile` counts, of a real run against this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: one
  gather_facts: false
  tasks:
    - name: Ask by a module
      ansible.builtin.ping:
    - name: Ask twice by a loop
      ansible.builtin.raw: "true"
      loop: [1, 2]
      changed_when: false
    - name: Stay here
      ansible.builtin.assert: {that: true}
    - name: Pass over
      ansible.builtin.ping:
      when: false
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    play = tmp_path_factory.mktemp("profile") / "play.yml"
    play.write_text(PLAY)
    program = Path(sys.executable).with_name("ansible-playbook")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACKS_ENABLED": "emperor.stack.profile"}
    # Pipelining, as to a host: a module is one exchange then, and else several.
    variables = "ansible_connection=local ansible_pipelining=true"
    inventory = play.with_name("hosts")
    inventory.write_text(f"one {variables} ansible_python_interpreter={sys.executable}\n")
    done = subprocess.run(
        [str(program), "-i", str(inventory), str(play)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trips(output: str, task: str) -> int:
    found = re.search(rf"^ *[\d.]+ s +\d+ % +(\d+) {task}", output, re.MULTILINE)
    assert found, output
    return int(found[1])


def test_round_trips_of_each_task(output: str) -> None:
    assert trips(output, "Ask by a module$") == 1
    assert trips(output, "Ask twice by a loop$") == 2
    assert trips(output, "Stay here$") == 0
    assert trips(output, r"Pass over \(skipped\)$") == 0


def test_the_summary_is_what_tests_read(output: str) -> None:
    assert re.search(r"^profile: [\d.]+ seconds, 3 tasks, 1 skipped, 3 round trips$", output, re.MULTILINE)


def test_the_parts_are_the_whole(output: str) -> None:
    whole = float(re.search(r"^profile: ([\d.]+)", output, re.MULTILINE)[1])  # type: ignore[index]
    tasks = output.split("PROFILE")[1].split("\n\n")[1]
    seconds = [float(found) for found in re.findall(r"^ *([\d.]+) s", tasks, re.MULTILINE)]
    assert abs(sum(seconds) - whole) < 0.01 * len(seconds)
    assert seconds == sorted(seconds, reverse=True)
    assert "(start" in tasks
