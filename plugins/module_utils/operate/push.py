"""`git push deploy_<app>@host:<app> v1.5`: a push into a repository of root's, whose output and result are a deploy's.

git receives as root, by no configuration but ours, and within bounds; two hooks of root's decide. `pre-receive` refuses a
push before its objects are kept. `proc-receive` writes the reference and deploys it; where that fails, the reference is
taken back and the push fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from ..files.atomic import forget, write_atomically
from ..host import layout
from ..release.known_app import KnownApp
from ..source.git_calls import COMMON, HARMLESS, SETTINGS, as_variables
from ..source.references import is_commit
from ..values.versions import git_version
from .surroundings import PATH, WHO

#: Bytes of one push, and of a repository from which on none is taken.
LARGEST_PUSH = 256 << 20
LARGEST_REPOSITORY = 1 << 30

#: What git may take for a push: bytes of memory and of a file, seconds of processor.
LIMITS = {resource.RLIMIT_AS: 2 << 30, resource.RLIMIT_FSIZE: LARGEST_REPOSITORY, resource.RLIMIT_CPU: 600}

NOTHING = "0" * 40

#: In the repository, while a push is deployed: what to take back where that is killed.
UNDER_WAY = "emperor-push"


class NotPushed(Exception):
    """The push is refused. The message says why."""


@dataclass(frozen=True)
class Command:
    """What a push wants of one reference."""

    old: str
    new: str
    ref: str

    @property
    def version(self) -> str:
        """The name of the tag or of the branch."""
        return self.ref.split("/", 2)[2]


def settings() -> dict[str, str]:
    return {
        **{key: value for key, value in SETTINGS.items() if not key.startswith("fetch.")},
        "receive.fsckObjects": "true",
        **{f"receive.fsck.{name}": "ignore" for name in HARMLESS},
        "core.hooksPath": f"{layout.LIBRARY}/push-hooks",
        "receive.maxInputSize": str(LARGEST_PUSH),
        # Whatever its size, through index-pack, which keeps to the limits.
        "receive.unpackLimit": "1",
        "receive.procReceiveRefs": "refs",
        "receive.advertisePushOptions": "false",
        "transfer.advertiseSID": "false",
        "pack.threads": "1",
    }


def refusal(known: KnownApp) -> str:
    """Why nothing can be pushed to the app; empty where it can."""
    app, url = known["name"], layout.pushed_url(known["name"])
    if known["spec"] is None or known["spec"]["source"].get("git") != url:
        return f"{app} is not deployed from pushes: its source.git in the inventory would have to be {url}"
    if _size(layout.pushed(app)) > LARGEST_REPOSITORY:
        return (
            f"{layout.pushed(app)} has more than {LARGEST_REPOSITORY >> 20} MiB: an administrator can shrink it "
            "(git gc --prune=now) or remove it (site.yml makes an empty one)"
        )
    return ""


def _size(directory: str) -> int:
    """Bytes of the files below it; nobody but root can write there."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            # Another push may be moving it into its place.
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(f"{place}/{name}").st_size
    return total


def receive(known: KnownApp) -> NoReturn:
    """Become the git that receives the push. Raises NotPushed."""
    if why := refusal(known):
        raise NotPushed(why)
    variables = {
        **COMMON,
        **as_variables(settings()),
        **{name: os.environ[name] for name in WHO if name in os.environ},
        "PATH": PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "EMPEROR_APP": known["name"],
    }
    _alone(layout.pushed(known["name"]))
    for limit, value in LIMITS.items():
        most = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if most == resource.RLIM_INFINITY else min(value, most), most))
    sys.stdout.flush()
    command = ["git", "receive-pack", layout.pushed(known["name"])]
    os.execve("/usr/bin/git", command, variables)  # noqa: S606


def _alone(repository: str) -> None:
    """Keep other pushes of the app out until git and its hooks have ended, and take back what a killed one left.

    Each may take as much memory as LIMITS says; and a deploy looks up the reference by its name, so that it must not find
    what another push has put there. Raises NotPushed.
    """
    place = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(place)
        raise NotPushed("another push is on its way: wait for its end, and push again") from None
    os.set_inheritable(place, True)
    with contextlib.suppress(FileNotFoundError), open(f"{repository}/{UNDER_WAY}", encoding="ascii") as file:
        _take_back(repository, _command(file.read()))


def unlimited() -> None:
    """What is done now is the deploy's: the limits of the push end."""
    for limit in LIMITS:
        most = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (most, most))


def checked(commands: list[Command]) -> Command:
    """The one thing that a push may want. Raises NotPushed."""
    if len(commands) != 1:
        raise NotPushed(f"push one branch or tag, not {len(commands)}: what is pushed is deployed")
    (one,) = commands
    if not re.fullmatch(r"refs/(heads|tags)/.+", one.ref) or git_version(one.version) is not None:
        raise NotPushed("push a branch or a tag whose name has letters, digits and . _ / @ + # - only")
    if is_commit(one.version):
        raise NotPushed(
            "the name is the id of a commit, and that commit would be deployed: push it by another name"
        )
    if one.new == NOTHING:
        raise NotPushed("nothing can be deleted here")
    return one


def _command(line: str) -> Command:
    found = re.fullmatch(r"([0-9a-f]{40}) ([0-9a-f]{40}) (\S+)", line)
    if found is None:
        raise NotPushed("the push is damaged")
    return Command(*found.groups())


def before(lines: str) -> Command:
    """The hook `pre-receive`. Raises NotPushed."""
    return checked([_command(line) for line in lines.splitlines()])


def process(stdin: BinaryIO, stdout: BinaryIO, deploy: Callable[[str], int], repository: str) -> None:
    """The hook `proc-receive`, by the protocol that githooks(5) describes."""
    _packets(stdin)
    _write(stdout, b"version=1\n", None)
    commands = [_command(packet.decode(errors="replace").rstrip("\n")) for packet in _packets(stdin)]
    said: list[bytes | None] = []
    try:
        one = checked(commands)
        said.append(_done(one, deploy, repository).encode())
    except NotPushed as error:
        said += [f"ng {command.ref} {error}".encode() for command in commands]
    _write(stdout, *said, None)


def _done(one: Command, deploy: Callable[[str], int], repository: str) -> str:
    """Write the reference, deploy it, and take it back where that failed; what git is told."""
    if one.ref.startswith("refs/heads/") and _exists(repository, f"refs/tags/{one.version}"):
        return f"ng {one.ref} there is a tag of that name, which would be deployed instead"
    write_atomically(f"{repository}/{UNDER_WAY}", f"{one.old} {one.new} {one.ref}")
    before = _set(repository, one.ref, one.new, one.old)
    if before:
        forget(f"{repository}/{UNDER_WAY}")
        return f"ng {one.ref} {before}"
    good = False
    try:
        good = deploy(one.version) == 0
    finally:
        if good:
            forget(f"{repository}/{UNDER_WAY}")
        else:
            _take_back(repository, one)
    return f"ok {one.ref}" if good else f"ng {one.ref} the deploy failed"


def _take_back(repository: str, one: Command) -> None:
    """Whatever its deploy failed of: git sends nothing again that it finds here, so that the same push would deploy nothing.

    A reference that has changed since stays.
    """
    _set(repository, one.ref, one.old, one.new)
    forget(f"{repository}/{UNDER_WAY}")


def _exists(repository: str, ref: str) -> bool:
    return _git(repository, "show-ref", "--verify", "--quiet", ref)


def _set(repository: str, ref: str, new: str, old: str) -> str:
    """Let *ref* go from *old* to *new*; why not, where that failed."""
    words = ["update-ref", "-d", ref, old] if new == NOTHING else ["update-ref", ref, new, old]
    return "" if _git(repository, *words) else "the reference changed meanwhile"


def _git(repository: str, *words: str) -> bool:
    """Whether git does it."""
    done = subprocess.run(
        ["git", "-C", repository, *words],
        env={**COMMON, **as_variables(SETTINGS), "PATH": PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _packets(stream: BinaryIO) -> list[bytes]:
    """The packets up to the next flush. Raises NotPushed."""
    found: list[bytes] = []
    while True:
        head = stream.read(4)
        if not re.fullmatch(rb"[0-9a-f]{4}", head):
            raise NotPushed("the push is damaged")
        length = int(head, 16)
        if length == 0:
            return found
        found.append(stream.read(max(length - 4, 0)))


def _write(stream: BinaryIO, *packets: bytes | None) -> None:
    """Write packets; None is a flush."""
    for packet in packets:
        stream.write(b"0000" if packet is None else f"{len(packet) + 4:04x}".encode() + packet)
    stream.flush()
