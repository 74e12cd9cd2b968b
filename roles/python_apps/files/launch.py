"""The way of a process into a release: take on its environment, go to its code, become the program.

Written by Emperor Stack; part of the release. Whatever runs in a release is begun by this, so that its environment is there
before the program starts, and the same for all. Units name a process, and its command stands beside the secrets in
environment.json, where the app's user alone can read it:

    launch.py process NAME      a worker or a scheduled command
    launch.py command LINE      any command line
    launch.py program WORD...   a program with its arguments
"""

import json
import os
import re
import shlex
import sys

HERE = os.path.dirname(os.path.realpath(__file__))

#: Variables, or how they begin, by which systemd, the emperor and a deploy's checks tell a process about itself. No other
#: variable of whatever starts it is passed on.
OF_PROCESS = ("INVOCATION_ID", "JOURNAL_STREAM", "LOG_NAMESPACE", "SYSTEMD_EXEC_PID")
OF_PROCESS += ("LISTEN_", "MEMORY_PRESSURE_", "TRIGGER_", "UWSGI_", "EMPEROR_STACK_")

_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
_FOR_THE_SHELL = re.compile(r"""[|&;<>()$`\\"'*?\[\]#~!{}\n]""")


def words(line, path):
    """A command line as the words of a program on *path*: those of the shell, unless one simple command can do without.

    A shell in between would get the signal to stop in the command's place, and end without it.
    """
    # Not for each web server: it takes time to load.
    import shutil

    if not _FOR_THE_SHELL.search(_QUOTED.sub("", line)):
        found = shlex.split(line)
        if shutil.which(found[0], path=path):
            return found
    return ["/bin/sh", "-ec", line]


def main(kind, *rest):
    with open(f"{HERE}/environment.json", encoding="utf-8") as file:
        entry = json.load(file)
    own = {name: value for name, value in os.environ.items() if name.startswith(OF_PROCESS)}
    environment = {**entry["environment"], **own}
    os.chdir(f"{HERE}/code")
    line = entry["commands"][rest[0]] if kind == "process" else rest[0]
    program = list(rest) if kind == "program" else words(line, environment["PATH"])
    os.execvpe(program[0], program, environment)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
