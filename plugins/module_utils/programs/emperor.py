"""emperor COMMAND: see and change the apps of this host without a controller. `emperor --help` says how."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from ..operate import arguments, shown, surroundings, verbs
from ..release import known_app
from ..release.known_app import Unknown


def main(argv: Sequence[str]) -> int:
    words = list(argv)
    command: list[str] = []
    if words[:1] == ["run"] and "--" in words:
        at = words.index("--")
        words, command = words[: at + 1], words[at + 1 :]
        words[at] = "-"
    asked = arguments.parser().parse_args(words)
    if command:
        asked.command = command
    if os.geteuid() != 0:
        return shown.complain("only root may do this: use sudo")
    surroundings.as_a_module_runs()
    try:
        return do(asked)
    except (Unknown, verbs.Refused) as error:
        return shown.complain(str(error))
    except KeyboardInterrupt:
        return shown.complain(
            "interrupted: what serves is complete. The same command finishes or reverts the rest"
        )
    except BrokenPipeError:
        # Nobody reads any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return shown.BAD


def do(asked: argparse.Namespace) -> int:
    words = vars(asked)
    if asked.verb == "status":
        names = [asked.app] if asked.app else known_app.known_apps()
        return verbs.status([known_app.read(name) for name in names], asked.json)
    known = known_app.read(asked.app)
    if asked.verb == "deploy":
        return verbs.deploy(known, asked.version, words)
    if asked.verb == "rollback":
        return verbs.rollback(known, asked.to, words)
    if asked.verb == "run":
        return verbs.run(known, asked.command, asked.timeout)
    if asked.verb == "restart":
        return verbs.restart(known)
    if asked.verb == "maintenance":
        return verbs.maintenance(known, asked.state)
    if asked.verb == "history":
        return verbs.history(known, asked.lines, asked.json)
    return subprocess.run(verbs.logs(known, asked.lines, asked.follow), check=False).returncode
