"""The way of a command into a release: take on its environment, go to its code, become the command.

Written by Emperor Stack; part of the release. Units name a process, and its command stands beside the secrets in
environment.json, where the app's user alone can read it:

    launch.py process NAME      a worker or a scheduled command
    launch.py command LINE      any command line
    launch.py program WORD...   a program with its arguments
"""

import json
import os
import re
import shlex
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))

_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
_FOR_THE_SHELL = re.compile(r"""[|&;<>()$`\\"'*?\[\]#~!{}\n]""")


def environment(entry):
    app = entry["app"]
    return {
        "TMPDIR": f"{app['home']}/tmp",  # noqa: S108
        **entry["environment"],
        "HOME": app["home"],
        "USER": app["name"],
        "LOGNAME": app["name"],
        "VIRTUAL_ENV": f"{HERE}/venv",
        "PATH": f"{HERE}/venv/bin:/usr/local/bin:/usr/bin:/bin",
    }


def words(line):
    """A command line as the words of a program: those of the shell, unless one simple command can do without.

    A shell in between would get the signal to stop in the command's place, and end without it.
    """
    if not _FOR_THE_SHELL.search(_QUOTED.sub("", line)):
        found = shlex.split(line)
        if shutil.which(found[0]):
            return found
    return ["/bin/sh", "-ec", line]


def main(kind, *rest):
    with open(f"{HERE}/environment.json", encoding="utf-8") as file:
        entry = json.load(file)
    os.environ.update(environment(entry))
    os.chdir(f"{HERE}/code")
    line = entry["commands"][rest[0]] if kind == "process" else rest[0]
    program = list(rest) if kind == "program" else words(line)
    os.execvp(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
