"""What is wrong with the extra variables of a command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2.meta
import pytest
import yaml
from ansible.parsing.splitter import parse_kv
from ansible_collections.emperor.stack.plugins.action.extra_variables import of_roles, own_playbooks
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import extra_variables
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.extra_variables import (
    OPTIONS,
    PLAYBOOKS,
    message,
    typed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]


def said(words: list[str], playbooks: list[str] | None, **more: Any) -> str:
    """The message about *words*, arguments of -e; empty without a problem."""
    variables: dict[str, Any] = {}
    for word in words:
        variables |= json.loads(word) if word.startswith("{") else parse_kv(word)
    found = extra_variables.faults(words, variables, playbooks, **{"elsewhere": lambda name: False, **more})
    return message(found) if found else ""


@pytest.mark.parametrize(
    ("word", "left", "fix"),
    [
        (
            "command=python manage.py migrate --plan",
            "python, without manage.py migrate --plan",
            """-e "command='python manage.py migrate --plan'\"""",
        ),
        ("app=blog command=id -u", "id, without -u", """-e "command='id -u'\""""),
        ("command=make VERBOSE=1", "make, without VERBOSE=1", """-e "command='make VERBOSE=1'\""""),
        (
            'command=python -c "print(1)"',
            'python, without -c "print(1)"',
            r'''-e "command='python -c \"print(1)\"'"''',
        ),
        ("command=echo 'it is'", "echo, without 'it is'", """-e "command=\\"echo 'it is'\\"\""""),
        ("app=blog, shop", "blog,, without shop", """-e "app='blog, shop'\""""),
        ("json=/tmp/my status.json", "/tmp/my, without status.json", """-e "json='/tmp/my status.json'\""""),
    ],
)
def test_a_value_that_ansible_cuts_is_refused_with_what_to_type(word: str, left: str, fix: str) -> None:
    name = re.findall(r"(\w+)=", word)[-1 if word.startswith("app=blog c") else 0]
    assert said([word], ["run", "status"]) == (
        "The extra variables (-e) have a problem; no host was touched.\n\n"
        f"-e {name}\n"
        f"  reason: Ansible cuts the value at its first blank: it would be {left}\n"
        f"  fix:    quote the value for Ansible, too: {fix}\n"
    )
    # The playbook of somebody else may read any variable, but a cut value is never meant.
    assert f"-e {name}\n" in said([word], None)


@given(st.text(st.sampled_from(list("ab =\"'\\$`!~#&;|<>*?()%-") + ["é"]), min_size=1))
@settings(max_examples=60, deadline=None)
def test_what_the_fix_says_to_type_gives_the_value_in_a_real_shell(value: str) -> None:
    line = typed("command", value)
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    assert words[0] == "-e" and len(words) == 3
    word = words[1]
    assert (json.loads(word) if word.startswith("{") else parse_kv(word)) == {"command": value}
    assert not extra_variables.faults([word], {}, ["run"], lambda name: False)


def test_a_cut_value_of_a_variable_of_somebody_else_is_not_shown() -> None:
    text = said(["db_password=correct horse"], None)
    assert "-e db_password" in text and "correct" not in text and "horse" not in text


@pytest.mark.parametrize(
    ("word", "playbooks", "reason", "fix"),
    [
        ("ap=blog", ["restart", "deploy"], "no playbook, role or inventory has", "did you mean app?"),
        ("versoin=v1", ["deploy"], "deploy.yml would ignore it: no playbook", "did you mean version?"),
        (
            "json=x",
            ["check"],
            "check.yml would ignore it",
            "leave it out; status.yml takes it. check.yml takes no",
        ),
        ("full=true", ["deploy"], "deploy.yml would ignore it", "site.yml takes it. deploy.yml takes: app, "),
        ("python_apps_indx=x", ["deploy"], "no playbook", "did you mean python_apps_index?"),
        (
            "qqq=x",
            ["prune"],
            "no playbook",
            "define it in the inventory. prune.yml takes: archive, break_lock, confirm",
        ),
        ("app=", ["deploy"], "app is empty", "leave -e app= out"),
        ("force=ture", ["deploy"], "ture is not a value of force", "did you mean -e force=true?"),
        ("confirm=maybe", ["prune"], "maybe is not a value of confirm", "it is one of true, false"),
        ("action=bakcup", ["certificates"], "bakcup is not a value", "did you mean -e action=backup?"),
        ("state=up", ["maintenance"], "up is not a value of state", "it is one of on, off"),
        ("timeout=5m", ["run"], "5m is not a positive number", "-e timeout=600"),
        ("blog", ["deploy"], "this is not NAME=VALUE", "name the variable"),
    ],
)
def test_a_variable_without_effect_is_refused(word: str, playbooks: list[str], reason: str, fix: str) -> None:
    text = said([word], playbooks, near=lambda: ["python_apps_index"])
    assert reason in text and fix in text and text.count("reason:") == 1, text


@pytest.mark.parametrize(
    ("words", "playbooks"),
    [
        (["app=blog", "version=v1.5", "force=true"], ["deploy"]),
        (["app=blog version=v1.5 force=yes"], ["site"]),
        (["command='python manage.py check'", "app=blog"], ["run"]),
        (['{"app": "blog", "command": "python manage.py check", "everywhere": true, "timeout": 5}'], ["run"]),
        (["json=/tmp/status.json", "confirm=true"], ["status", "prune"]),
        (["state=on"], ["maintenance"]),
        (["state={{ wanted }}"], ["maintenance"]),
        (["mail_to=ops"], None),
    ],
)
def test_a_variable_with_an_effect_is_not(words: list[str], playbooks: list[str] | None) -> None:
    assert said(words, playbooks) == ""


def test_a_variable_of_a_role_or_of_the_inventory_is_not_refused() -> None:
    assert said(["their=1"], ["deploy"], elsewhere=lambda name: name == "their") == ""


def test_only_the_bundles_own_playbooks_are_known() -> None:
    assert own_playbooks([str(ROOT / "site.yml"), str(ROOT / "playbooks/run.yml")], ROOT) == ["site", "run"]
    assert own_playbooks(["emperor.stack.deploy"], ROOT) == ["deploy"]
    assert own_playbooks([str(ROOT / "playbooks/run.yml"), "mine.yml"], ROOT) is None


# The table, and what the playbooks read


def texts(value: Any) -> Iterator[str]:
    """Each text in *value* that Ansible may read as a template; a condition is an expression without braces."""
    if isinstance(value, dict):
        for key, item in value.items():
            conditions = item if isinstance(item, list) else [item]
            if key in ("when", "that"):
                yield from (f"{{{{ {one} }}}}" for one in conditions if isinstance(one, str))
            else:
                yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def read_by(path: Path) -> set[str]:
    """The variables that a playbook reads, with the files and playbooks that it names."""
    environment = jinja2.Environment(autoescape=True)
    # Only names of variables count.
    environment.filters = _Anything()  # type: ignore[assignment]
    environment.tests = _Anything()  # type: ignore[assignment]
    found: set[str] = set()
    for play in yaml.safe_load(path.read_text()):
        if imported := play.get("ansible.builtin.import_playbook"):
            found |= read_by(path.parent / imported)
        parts = [
            play,
            *(yaml.safe_load((path.parent / one).read_text()) for one in play.get("vars_files", [])),
        ]
        for part in parts:
            for text in texts(part):
                found |= jinja2.meta.find_undeclared_variables(environment.parse(text))
    return found


class _Anything(dict[str, Any]):
    """Of filters and tests: it has every name."""

    def get(self, name: str, default: Any = None) -> Any:
        return default or str


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_the_table_has_what_the_playbook_reads(playbook: str) -> None:
    read = read_by(ROOT / "playbooks" / f"{playbook}.yml")
    magic = {"hostvars", "groups", "inventory_hostname", "lookup", "ansible_check_mode", "omit"}
    magic |= {"ansible_play_hosts_all", "playbook_dir"}
    options = {name for name in read - of_roles(ROOT) - magic if not name.startswith("__")}
    if playbook == "release":
        # The second half of two playbooks, no command.
        assert playbook not in PLAYBOOKS and options <= set(PLAYBOOKS["deploy"])
    elif playbook in ("databases", "balancers"):
        # A part of site.yml, no command.
        assert playbook not in PLAYBOOKS and options <= set(PLAYBOOKS["site"])
    elif playbook == "upgrade_os":
        # It goes on as site.yml does, for all apps: the check refuses what would choose some.
        assert options - set(PLAYBOOKS["site"]) == set(PLAYBOOKS[playbook])
    else:
        assert options == set(PLAYBOOKS[playbook])


def test_every_option_is_one_of_a_playbook() -> None:
    assert set(OPTIONS) == {name for names in PLAYBOOKS.values() for name in names}


@pytest.mark.parametrize("playbook", sorted(PLAYBOOKS))
def test_every_playbook_validates_its_extra_variables_first(playbook: str) -> None:
    first = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())[0]
    if imported := first.get("ansible.builtin.import_playbook"):
        assert imported == "check.yml"
    else:
        assert "emperor.stack.extra_variables" in first["tasks"][0]
        assert "always" in (*first.get("tags", ()), *first["tasks"][0].get("tags", ()))


# What readers type

#: A playbook and what follows it, within a line.
COMMAND = re.compile(r"(?:playbooks/)?(\w+)\.yml([^\n`]*)")
#: An argument of -e, as a shell reads it.
ARGUMENT = re.compile(r"""-e ("(?:[^"\\]|\\.)*"|'[^']*'|[^\s\]\[;:,"'()]+(?:'[^']*'|"[^"]*")?)""")


def shown() -> Iterator[tuple[str, str, str]]:
    """Each -e that a document, a comment or a message shows with its playbook: the file, the playbook and the argument."""
    files = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("playbooks/*.yml")]
    files += [*ROOT.glob("roles/*/defaults/*.yml"), *ROOT.glob("plugins/**/*.py")]
    for path in files:
        for command in COMMAND.finditer(path.read_text()):
            if command[1] in PLAYBOOKS:
                for argument in ARGUMENT.findall(command[2].partition(" # ")[0]):
                    yield path.name, command[1], shlex.split(argument)[0].replace("…", "x")


def test_every_command_that_is_shown_has_an_effect_when_it_is_typed() -> None:
    wrong = []
    commands = list(shown())
    for name, playbook, word in commands:
        # A choice in the place of a value, or a value that a message fills in.
        typed_out = re.sub(r"=(\w+)\|.*", r"=\1", re.sub(r"=\{\w+\}", "=x", word))
        if typed_out.startswith("{") or not typed_out.partition("=")[2]:
            continue
        if text := said([typed_out], [playbook]):
            wrong.append((name, text))
    assert not wrong and len(commands) > 30, wrong


@pytest.mark.parametrize(
    ("without", "told"),
    [
        (None, []),
        ("web1,web2", []),
        ("wep1", [("wep1 is no host of group app_hosts", "-e without=web1")]),
        ("web1,balancer", [("balancer is no host of group app_hosts", "name some of web1, web2")]),
    ],
)
def test_a_deploy_is_not_done_without_a_host_that_nobody_knows(without: Any, told: Any) -> None:
    found = extra_variables.unknown_hosts(without, ["web1", "web2"])
    assert [(fault.reason, fault.fix) for fault in found] == told
    assert all(fault.where == "-e without" for fault in found)
