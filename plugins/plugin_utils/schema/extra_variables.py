"""The extra variables of a command line (`-e`): which playbook takes which, and what is wrong with those that were given.

Ansible sets a variable that nothing reads without a word, and cuts a value of `-e NAME=VALUE` at its first blank.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.splitter import join_args, parse_kv, split_args

from .faults import Fault, closest

#: What `bool` of Ansible understands.
TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")

FLAG = (*TRUE, *FALSE)
TEXT = ()
NUMBER = re.compile(r"[1-9][0-9]*")

#: Every variable that a playbook takes from the command line, and what it may be.
OPTIONS: dict[str, tuple[str, ...] | re.Pattern[str]] = {
    "accept": TEXT,
    "across_migration": FLAG,
    "action": ("issue", "backup", "restore", "now", "list", "check", "test"),
    "again": FLAG,
    "app": TEXT,
    "archive": FLAG,
    "at": TEXT,
    "break_lock": FLAG,
    "command": TEXT,
    "commit": re.compile(r"[0-9a-f]{7,40}"),
    "confirm": FLAG,
    "databases": FLAG,
    "directory": TEXT,
    "everywhere": FLAG,
    "force": FLAG,
    "from": TEXT,
    "host": TEXT,
    "full": FLAG,
    "json": TEXT,
    "reboot": ("auto", "always", "never"),
    "release": TEXT,
    "state": ("on", "off", *TRUE, *FALSE),
    "timeout": NUMBER,
    "version": TEXT,
    "without": TEXT,
}

_DEPLOY = ("app", "version", "force", "again", "break_lock", "without")

#: Which playbook takes which. A unit test compares this table with what the playbooks read.
PLAYBOOKS: dict[str, tuple[str, ...]] = {
    "backup": ("action",),
    "certificates": ("action", "directory", "from", "force", "again"),
    "check": (),
    "deploy": _DEPLOY,
    "drain": ("host", "state", "force", "timeout"),
    "maintenance": ("app", "state"),
    "prune": ("confirm", "archive", "break_lock"),
    "remove": ("app", "archive", "break_lock"),
    "restart": ("app",),
    "restore": ("app", "host", "at", "from", "databases", "confirm"),
    "rollback": ("app", "release", "version", "commit", "across_migration", "break_lock", "without"),
    "run": ("app", "command", "everywhere", "timeout"),
    "site": (*_DEPLOY, "archive", "full"),
    "status": ("app", "json"),
    "uninstall": ("host", "confirm", "archive", "force", "timeout", "break_lock"),
    "upgrade": ("host", "reboot", "force", "timeout"),
    "upgrade_postgresql": ("host", "accept"),
    "upgrade_os": ("accept", "reboot", "timeout"),
}

#: A line for a shell, whose words may themselves look like variables (`make VERBOSE=1`).
_LINE = "command"

#: What means something to a shell within double quotes.
_SPECIAL, _ESCAPED = re.compile(r'(["$`\\])'), r"\\\1"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def faults(
    words: Sequence[str],
    variables: Mapping[str, Any],
    playbooks: Collection[str] | None,
    elsewhere: Callable[[str], bool],
    near: Callable[[], Collection[str]] = tuple,
) -> list[Fault]:
    """What is wrong with the extra variables of a command line.

    *words* are the arguments of `-e`, *variables* what Ansible made of them. *playbooks* are the names of the bundle's own
    playbooks that run; None when a playbook runs that is not the bundle's, which may read any variable. *elsewhere* says
    whether a variable that no playbook takes is one of a role or of the inventory; *near* gives those of roles, for a hint.
    """
    cut = [one for word in words for one in _assignments(word) if len(one[1]) > 1 or not one[0]]
    found = [_cut_value(name, pieces) for name, pieces in cut]
    if playbooks is None:
        return found
    takes = {name for playbook in playbooks for name in PLAYBOOKS[playbook]}
    told = {name for name, pieces in cut for name in (name, *(piece.partition("=")[0] for piece in pieces))}
    for name, value in variables.items():
        if name in told or name == "_raw_params":
            continue
        if name in takes:
            found += _invalid(name, value)
        elif not elsewhere(name):
            found.append(_unknown(name, sorted(playbooks), takes, near))
    return found


def unknown_hosts(without: Any, hosts: Collection[str]) -> list[Fault]:
    """A fault for each name in *without* (separated by commas) that is none of *hosts*."""
    found = []
    for name in str(without or "").split(","):
        if name and name not in hosts:
            near = closest(name, hosts)
            fix = f"-e without={near}" if near else f"name some of {', '.join(sorted(hosts))}"
            found.append(Fault(_at("without"), f"{name} is no host of group app_hosts", fix))
    return found


def message(found: Sequence[Fault]) -> str:
    count = "a problem" if len(found) == 1 else f"{len(found)} problems"
    listed = "\n\n".join(f"{fault.where}\n  reason: {fault.reason}\n  fix:    {fault.fix}" for fault in found)
    return f"The extra variables (-e) have {count}; no host was touched.\n\n{listed}\n"


def _at(name: str) -> str:
    return f"-e {name}"


def _assignments(word: str) -> list[tuple[str, list[str]]]:
    """Each variable of *word* with its value and what a blank separates from it; "" for what stands before the first one."""
    found: list[tuple[str, list[str]]] = []
    if word[:1] in ("@", "[", "{"):
        return found
    for piece in split_args(word):
        name, equals, value = piece.partition("=")
        if equals and _NAME.fullmatch(name) and not (found and found[-1][0] == _LINE):
            found.append((name, [value]))
        elif found:
            found[-1][1].append(piece)
        else:
            found.append(("", [piece]))
    return found


def _cut_value(name: str, pieces: list[str]) -> Fault:
    """The fault that Ansible takes only the first of *pieces* for the value of *name*."""
    if not name:
        return Fault(
            f"-e {shlex.quote(join_args(pieces))}",
            "this is not NAME=VALUE, and Ansible ignores it",
            "name the variable, or put @ before the name of a file: -e @FILE",
        )
    if name not in OPTIONS:
        # Perhaps a password: the value is not shown.
        return Fault(
            _at(name),
            "Ansible cuts the value at its first blank",
            f"quote the value for Ansible, too: -e \"{name}='…'\"",
        )
    return Fault(
        _at(name),
        f"Ansible cuts the value at its first blank: it would be {pieces[0].strip()}, without {join_args(pieces[1:])}",
        f"quote the value for Ansible, too: {typed(name, join_args(pieces))}",
    )


def typed(name: str, value: str) -> str:
    """What a person types in a shell for *name* to have *value*, whatever quotes and blanks the value has."""
    if _gives(word := f"{name}={value}", value):
        return f"-e {shlex.quote(word)}"
    for quote in ("'", '"'):
        if quote not in value and _gives(word := f"{name}={quote}{value}{quote}", value):
            # Within double quotes, a shell that a person types in replaces `!` whatever stands before it.
            return f"-e {shlex.quote(word)}" if "!" in word else f'-e "{_SPECIAL.sub(_ESCAPED, word)}"'
    return f"-e {shlex.quote(json.dumps({name: value}, ensure_ascii=False))}"


def _gives(word: str, value: str) -> bool:
    """Whether Ansible takes *value*, and no more variables, from *word*."""
    try:
        return list(parse_kv(word).values()) == [value]
    except AnsibleError:
        return False


def _invalid(name: str, value: Any) -> Iterator[Fault]:
    """A fault for a *value* that the option *name* cannot have."""
    text, form = str(value).strip(), OPTIONS[name]
    if "{{" in text:
        return
    if not text or value is None:
        yield Fault(_at(name), f"{name} is empty", f"give it a value, or leave -e {name}= out")
    elif isinstance(form, re.Pattern):
        if not form.fullmatch(text):
            yield Fault(_at(name), f"{text} is not a positive number", f"-e {name}=600")
    elif form and text.lower() not in form:
        choices = (
            ("true", "false") if form is FLAG else [one for one in form if one not in FLAG or one in form[:2]]
        )
        known = closest(text, choices)
        hint = f"did you mean -e {name}={known}?" if known else f"it is one of {', '.join(choices)}"
        yield Fault(_at(name), f"{text} is not a value of {name}", hint)


def _unknown(
    name: str, playbooks: Sequence[str], takes: Collection[str], near: Callable[[], Collection[str]]
) -> Fault:
    """The fault that nothing in *playbooks*, which take *takes*, reads *name*."""
    files = " and ".join(f"{playbook}.yml" for playbook in playbooks)
    takers = sorted(playbook for playbook, names in PLAYBOOKS.items() if name in names)
    verb = "takes" if len(playbooks) == 1 else "take"
    here = (
        f"{files} {verb}: {', '.join(sorted({*takes} - {'again'}))}"
        if takes
        else f"{files} {verb} no variables of its own"
    )
    if takers:
        reason = f"{files} would ignore it"
        also = ", ".join(f"{playbook}.yml" for playbook in takers)
        return Fault(
            _at(name), reason, f"leave it out; {also} {'takes' if len(takers) == 1 else 'take'} it. {here}"
        )
    reason = f"{files} would ignore it: no playbook, role or inventory has a variable of this name"
    if known := closest(name, takes) or closest(name, near()):
        return Fault(_at(name), reason, f"did you mean {known}?")
    return Fault(_at(name), reason, f"leave it out, or define it in the inventory. {here}")
