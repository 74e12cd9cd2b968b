"""Write the manual page and the completion of the hosts' command `emperor`, from the definitions of its arguments.

`.venv/bin/python tools/manual.py` writes them anew; a unit test fails where they are outdated.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emperor.stack.plugins.module_utils.operate import arguments  # noqa: E402

MANUAL = ROOT / "roles/python_apps/files/emperor.8"
COMPLETION = ROOT / "roles/python_apps/files/emperor.bash"

FILES = """\
.SH FILES
.TP
.I /var/lib/emperor\\-stack/apps/
What the host knows of each app, secrets included: written by site.yml, for root alone.
.TP
.I /srv/apps/APP/state/history.jsonl
What became of each deploy and rollback.
.SH SEE ALSO
docs/on\\-the\\-host.md of Emperor Stack
"""


def verbs(parser: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Each verb with what it does, and its parser."""
    (sub,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    helps = {choice.dest: str(choice.help) for choice in sub._choices_actions}
    return {name: (helps[name], one) for name, one in sub.choices.items()}


def parts(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, bool]]:
    """Words, options and what they are for: as typed, the help, and whether it may be left out."""
    for action in parser._actions:
        if action.dest == "help":
            continue
        value = str(action.metavar or "")
        if action.choices:
            value = "|".join(map(str, action.choices))
        if action.option_strings:
            typed = ", ".join(action.option_strings)
            yield f"{typed} {value}" if action.nargs != 0 and value else typed, str(action.help), True
        else:
            yield value, str(action.help), action.nargs == "?"


def escaped(text: str) -> str:
    """*text* for roff: hyphens that can be copied, and no line that begins a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.splitlines())


def manual() -> str:
    parser = arguments.parser()
    examples, _, rest = arguments.EPILOG.partition("\n\n")
    lines = ['.TH EMPEROR 8 "" "Emperor Stack" "Administration"', ".SH NAME"]
    lines += [f"emperor \\- {escaped('see and change the apps of this host without a controller')}"]
    lines += [".SH SYNOPSIS", ".B emperor", ".I COMMAND", "[ARGUMENTS]"]
    lines += [".SH DESCRIPTION", escaped(str(parser.description)), ".PP"]
    for paragraph in rest.strip().split("\n\n"):
        lines += [escaped(re.sub(r"\s*\n\s*", " ", paragraph)), ".PP"]
    lines[-1:] = [".SH COMMANDS"]
    for name, (_, one) in verbs(parser).items():
        found = list(parts(one))
        words = [f"[{typed}]" if optional else typed for typed, _, optional in found]
        lines += [".TP", f".B {escaped(' '.join([name, *words]))}", escaped(str(one.description))]
        for typed, text, _ in found:
            lines += [".RS", ".TP", f".B {escaped(typed)}", escaped(text), ".RE"]
    lines += [".SH EXAMPLES", ".nf", escaped("\n".join(examples.splitlines()[1:])), ".fi"]
    return "\n".join(lines) + "\n" + FILES


def completion() -> str:
    known = verbs(arguments.parser())
    cases = []
    for name, (_, one) in known.items():
        options = [word for action in one._actions for word in action.option_strings if word.startswith("--")]
        cases.append(f"        {name}) options='{' '.join(sorted(options))}' ;;")
    return COMPLETION_TEXT.format(verbs=" ".join(known), cases="\n".join(cases))


COMPLETION_TEXT = """\
# bash completion of `emperor`, written by tools/manual.py. The names of apps are those of their slices, which everybody may
# see.
_emperor() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}} options='' apps
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W '{verbs} --help' -- "$word")
        return
    fi
    case $verb in
{cases}
        *) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif ((COMP_CWORD == 2)); then
        apps=$(cd /etc/systemd/system && for one in apps-*.slice; do
            one=${{one#apps-}} one=${{one%.slice}}
            [[ $one == '*' ]] || printf '%s\\n' "${{one//\\\\x2d/-}}"
        done)
        mapfile -t COMPREPLY < <(compgen -W "$apps" -- "$word")
    elif [[ $verb == maintenance ]] && ((COMP_CWORD == 3)); then
        mapfile -t COMPREPLY < <(compgen -W 'on off' -- "$word")
    fi
}}
complete -F _emperor emperor
"""

PAGES = ((MANUAL, manual), (COMPLETION, completion))


def main() -> None:
    for path, make in PAGES:
        Path(path).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
