"""How git is run as root: by no configuration but ours, with credentials that nobody else reads, and within bounds."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from ..files.atomic import write_atomically
from ..host import credentials
from ..host.command import SYSTEM_PATH, CommandFailed
from ..host.credentials import Login
from ..host.release_error import ReleaseError
from .spec import Source
from .submodules import is_local

LONGEST_REFERENCES = 1 << 20

#: What git's check of received objects lets pass: faults that old programs left in the heads of commits and tags of
#: well-known repositories, and file modes with a zero before them. None of them can decide what is written, or where.
HARMLESS = (
    *(
        "badDate",
        "badDateOverflow",
        "badEmail",
        "badName",
        "badTimezone",
        "missingEmail",
        "missingNameBeforeEmail",
    ),
    *(
        "missingSpaceBeforeDate",
        "missingSpaceBeforeEmail",
        "multipleAuthors",
        "zeroPaddedDate",
        "zeroPaddedFilemode",
    ),
)

#: For every git: nobody's configuration but ours, no hooks, no other object in the place of one, and no fetch by itself.
COMMON = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.fsmonitor": "false",
    "core.sharedRepository": "0640",
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    **{f"fetch.fsck.{name}": "ignore" for name in HARMLESS},
}

#: What git runs to be told user and password. They come by the environment of root's process, which nobody else reads.
_HELPER = (
    '!f() { test "$1" != get || '
    'printf "username=%s\\npassword=%s\\n" "$EMPEROR_STACK_USER" "$EMPEROR_STACK_PASSWORD"; }; f'
)


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """*settings* as git takes them from its environment."""
    made = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        made |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return made


def variables_for(url: str, login: Login | None) -> dict[str, str]:
    """Variables for a git that talks to *url*: what it may speak, and *login* where that is this server's."""
    settings = dict(SETTINGS)
    made = {"GIT_ALLOW_PROTOCOL": "file" if is_local(url) else "https:http:ssh:git"}
    login = credentials.login(url) or login
    if login is not None and login.origin == credentials.origin(url):
        if re.search(r"[\n\0]", login.user + login.password):
            raise ReleaseError(
                f"source.git: user or password for {login.origin} contains a line break (%0A), which git "
                "does not accept: correct the URL"
            )
        settings |= {"credential.helper": "", f"credential.{login.origin}.helper": _HELPER}
        made |= {"EMPEROR_STACK_USER": login.user, "EMPEROR_STACK_PASSWORD": login.password}
    return {**made, **as_variables(settings)}


@contextlib.contextmanager
def git_environment(source: Source, key: str | None) -> Iterator[dict[str, str]]:
    """Variables for git as root: no prompt, no configuration but ours, the app's deploy key and known hosts."""
    with tempfile.TemporaryDirectory(prefix="emperor-stack-git-") as directory:
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        if known_hosts := source.get("known_hosts"):
            path = f"{directory}/known_hosts"
            write_atomically(path, known_hosts.rstrip("\n") + "\n")
            ssh += ["-o", f"UserKnownHostsFile={path}", "-o", "StrictHostKeyChecking=yes"]
        else:
            ssh += ["-o", "StrictHostKeyChecking=accept-new"]
        if key:
            path = f"{directory}/key"
            write_atomically(path, key.rstrip("\n") + "\n")
            ssh += ["-i", path, "-o", "IdentitiesOnly=yes"]
        yield {**COMMON, "GIT_SSH_COMMAND": " ".join(ssh), "HOME": directory}


def read_git(
    arguments: Sequence[str],
    *,
    what: str,
    env: Mapping[str, str],
    most: int,
    timeout: float = 120,
    stdin: bytes = b"",
) -> bytes:
    """What git prints, *most* bytes of it. Raises CommandFailed, and ReleaseError where it is more."""
    # The kernel ends it at the first byte too many: an untrusted server can make git print without end.
    command = ["prlimit", f"--fsize={most}", "--", "git", *arguments]
    with (
        tempfile.TemporaryFile() as answer,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as given,
    ):
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            command,
            cwd="/",
            env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **env},
            stdin=given,
            stdout=answer,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CommandFailed(what, "git", f"still running after {timeout:g} s", _end_of(said)) from None
        if code == -signal.SIGXFSZ or answer.seek(0, os.SEEK_END) >= most:
            raise ReleaseError(
                f"{what} failed: git printed more than {most >> 10} KiB, which cannot be right"
            )
        if code != 0:
            raise CommandFailed(what, f"git {arguments[0]}", f"exit status {code}", _end_of(said))
        answer.seek(0)
        return answer.read()


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 65536, 0))
    return file.read().decode(errors="replace")
