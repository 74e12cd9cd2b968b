"""What the callback shows of real runs against this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.callback import compact

from tools.project import ROOT

HOSTS = "[all:vars]\nansible_connection=local\nansible_pipelining=true\nansible_python_interpreter={}\n[all]\nh1\nh2\n"

APPS = {
    "blog": {"release": "r2", "activation": "blog@7", "version": "v1.5", "seconds": 14.2, "live": "r2"},
    "shop": {"error": "start: not healthy\nits log:\n  \x1b[31mboom", "phase": "start", "live": "r1"},
}

PLAY = """
- name: Play
  hosts: all
  gather_facts: false
  vars:
    apps: @APPS@
  tasks:
    # Of an action alone: a module is a process for each host, in all of the runs here.
    - name: Change nothing
      ansible.builtin.set_fact: {nothing: true}
    - name: Change something
      ansible.builtin.set_fact: {something: true}
      changed_when: inventory_hostname == 'h1'
    - name: Tell
      ansible.builtin.debug:
        msg: ["first {{ 'word ' * 40 }}end", "  second"]
      when: inventory_hostname == 'h1'
    - name: Tell in one line
      ansible.builtin.debug:
        msg: in one line
    - name: Include
      ansible.builtin.include_tasks: included.yml
    - name: Pass over
      ansible.builtin.command: "true"
      when: false
    - name: Write
      ansible.builtin.copy:
        content: "new\\n"
        dest: "{{ playbook_dir }}/written"
      when: inventory_hostname == 'h1' and ansible_check_mode
    - name: Wait
      ansible.builtin.command: sleep 7
      changed_when: false
      when: slow | default(false) | bool
    - name: Fail for each
      ansible.builtin.command: "sh -c 'echo so; exit {{ item }}'"
      loop: [0, 3]
      changed_when: false
      ignore_errors: true
      when: loops | default(false) | bool
    - name: Fail alike
      ansible.builtin.command: sh -c 'echo because >&2; exit 3'
      ignore_errors: true
      changed_when: false
      when: broken | default(false) | bool
    - name: Say what became of it
      emperor.stack.summary:
        report: "{{ {'apps': apps} | emperor.stack.release_report }}"
      when: inventory_hostname == 'h1' or not broken | default(false) | bool
    - name: Fail by a template
      ansible.builtin.debug:
        msg: "{{ nowhere }}"
      when: inventory_hostname == 'h2' and broken | default(false) | bool
"""

INCLUDED = """
- name: Warn
  warner:
  when: warns | default(false) | bool
"""

WARNER = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={})
module.warn("look at it")
module.exit_json(changed=False)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "play.yml").write_text(PLAY.replace("@APPS@", json.dumps(APPS)))
    (tmp_path / "included.yml").write_text(INCLUDED)
    (tmp_path / "library").mkdir()
    (tmp_path / "library/warner.py").write_text(WARNER)
    (tmp_path / "hosts").write_text(HOSTS.format(sys.executable))
    return tmp_path


def play(directory: Path, *words: str, **environment: str) -> str:
    program = Path(sys.executable).with_name("ansible-playbook")
    known = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    done = subprocess.run(
        [str(program), "-i", str(directory / "hosts"), str(directory / "play.yml"), *words],
        cwd=ROOT, env={**known, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    # The machine may be busy.
    return re.sub(r"^\.\.\. \d+ s: (?!Wait).*\n", "", done.stdout, flags=re.MULTILINE)


def test_what_changed_and_the_end(directory: Path) -> None:
    output = play(directory, "-e", "warns=true")
    assert "Change nothing" not in output and "Pass over" not in output
    assert "included" not in output and "TASK [Warn]" not in output
    # What a task warns of is shown, though it changed nothing.
    assert output.count("[WARNING]: look at it") == 1
    assert "TASK [Change something]" in output and "changed: [h1]" in output and "ok: [h2]" not in output
    # Messages are text: nothing is folded, quoted or escaped.
    assert f"[h1]\n  first {'word ' * 40}end\n    second\n" in output
    assert "[h1] in one line\n" in output and "[h2] in one line\n" in output
    # Both tables in one, the same error once, and no task that fails for it.
    end = output.rpartition("PLAY RECAP")[2]
    assert re.search(r"^h1 +: ok=\d+ .*failed=1 ", end, re.MULTILINE)
    assert "\n".join(end.strip().split("\n")[4:]) == "\n".join(
        [
            "app     live release  version  result         seconds  what to do next",
            "h1",
            "  blog  r2            v1.5     deployed          14.2",
            "  shop  r1            -        failed: start           fix, run again [1]",
            "h2",
            "  blog  r2            v1.5     deployed          14.2",
            "  shop  r1            -        failed: start           fix, run again [1]",
            "",
            "h1 blog: r2 is live as blog@7, switched in ? ms, after 14.2 s in all",
            "h2 blog: r2 is live as blog@7, switched in ? ms, after 14.2 s in all",
            "",
            "[1] shop on h1, h2: start: not healthy",
            "    its log:",
            "      boom",
        ]
    )
    assert output.count("not healthy") == 1
    assert "fatal:" not in output and "[ERROR]" not in output
    # No terminal, no colour.
    assert "\x1b" not in output


def test_colours_for_a_terminal(directory: Path) -> None:
    output = play(directory, ANSIBLE_FORCE_COLOR="1")
    assert "\x1b[0;31m  shop  r1" in output and "\x1b[0;33m  blog  r2" in output


def test_a_failure_is_said_once_and_where_it_is(directory: Path) -> None:
    output = play(directory, "-e", "broken=true", "-e", "loops=true")
    assert output.count("because") == 1
    assert re.search(
        r"^fatal: \[(h.)\]: FAILED!\n  .*non-zero return code\.?\n  because\n  at .*/play.yml:\d+\n"
        r"\.\.\.ignoring\nfatal: \[(h.)\]: FAILED! As on \1\.\n\.\.\.ignoring\n",
        output,
        re.MULTILINE,
    )
    assert re.search(
        r"^failed: \[h.\]: \(item=3\)\n  .*non-zero return code\.?\n  so\n  at ", output, re.MULTILINE
    )
    assert "'nowhere' is undefined" in output
    # A host that did not come to its report.
    assert re.search(r"^  \(all\) .*failed +see above$", output, re.MULTILINE)
    assert "[ERROR]" not in output


def test_verbose_shows_all_tasks_as_ever(directory: Path) -> None:
    output = play(directory, "-v")
    assert "TASK [Change nothing]" in output and "ok: [h2] => " in output and "nothing: true" in output
    assert output.rstrip().endswith("boom") and "app     live release" in output.rpartition("PLAY RECAP")[2]


def test_other_callbacks_show_the_report_of_each_host(directory: Path) -> None:
    output = play(directory, ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default")
    table = [line.strip() for line in output.split("\n")]
    assert table.count("shop  r1            -        failed: start           fix, run again [1]") == 2
    assert "[1] shop: start: not healthy" in table and "report" not in output
    assert "Task failed: Action failed: shop failed" in output
    # As JSON it is one line, and all of it.
    output = play(directory, ANSIBLE_STDOUT_CALLBACK="default", ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    assert r"[1] shop: start: not healthy\n    its log:" in output


def test_diffs_are_shown(directory: Path) -> None:
    output = play(directory, "--check", "--diff")
    assert "+new" in output and "TASK [Write]" in output


def test_a_task_that_takes_long_is_named_while_it_runs(directory: Path) -> None:
    assert re.search(r"^\.\.\. \d s: Wait \(h1, h2\)$", play(directory, "-e", "slow=true"), re.MULTILINE)


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        ({"msg": "no\n  such file\n"}, ["no", "  such file"]),
        ({"msg": "non-zero return code", "stdout": "o\n", "stderr": "e"}, ["non-zero return code", "e", "o"]),
        ({"msg": ["a", "b"]}, ["a", "b"]),
        ({"msg": "\x1b[2Jx\r"}, ["x"]),
        ({"msg": "", "module_stderr": "Traceback"}, ["Traceback"]),
        ({}, ["it does not say why"]),
        ({"msg": {"a": 1}}, ["{'a': 1}"]),
    ],
)
def test_what_a_failure_says(result: dict[str, object], lines: list[str]) -> None:
    assert compact.message(result) == lines
