"""The upgrade of Debian itself, and what is remembered of it, so that a run that died is gone on with.

apt runs in a unit of its own, which goes on when the connection breaks: a host must not be left between two versions.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import time
from dataclasses import asdict, dataclass, replace

from ..files.atomic import write_atomically
from ..host import layout
from ..host.command import ANSWER, CommandFailed, run
from ..host.release_error import ReleaseError
from ..release import pythons
from ..release.state import AppState
from . import apt, suites
from .suites import Debian

UNIT = "emperor-stack-os-upgrade.service"

#: Seconds for all of apt: a slow disk and a slow network.
LONGEST = 4 * 3600

#: `--fix-broken`: of a run that was cut off.
SCRIPT = """
set -eu
dpkg --force-confdef --force-confold --configure --pending
apt-get -q -oDPkg::Lock::Timeout=600 --error-on=any update
apt-get -q -oDPkg::Lock::Timeout=600 -oDpkg::Options::=--force-confdef -oDpkg::Options::=--force-confold \\
    -oAPT::Get::AutomaticRemove=false --yes --fix-broken full-upgrade
"""


@dataclass(frozen=True)
class Progress:
    """What a host remembers of its upgrade until the last step is done."""

    old: str
    new: str
    #: Whether the host was drained by somebody else before.
    drained: bool
    #: Whether the packages are those of the new version.
    upgraded: bool = False


def _path() -> str:
    return f"{apt.HOME}/progress.json"


def _kept_path() -> str:
    return f"{apt.HOME}/kept.json"


def progress() -> Progress | None:
    """That of an upgrade which has begun and is not done; None where there is none."""
    try:
        with open(_path(), encoding="utf-8") as file:
            return Progress(**json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _note(now: Progress) -> None:
    os.makedirs(apt.HOME, mode=0o755, exist_ok=True)
    write_atomically(_path(), json.dumps(asdict(now)) + "\n")


def number() -> str:
    """The version of Debian of this host."""
    with open("/etc/os-release", encoding="utf-8") as file:
        found = re.search(r'(?m)^VERSION_ID="?(\d+)', file.read())
    return found[1] if found else ""


def apps_of_host() -> list[str]:
    """Names of all apps that have a directory here, those that left the inventory among them."""
    names = os.listdir(layout.APPS) if os.path.isdir(layout.APPS) else []
    return sorted(name for name in names if os.path.isdir(layout.releases(name)))


def begin(old: Debian, new: Debian, drained: bool) -> None:
    """Name the old Python where it is used, keep it from apt, and let apt's sources name the new version."""
    _note(Progress(old.number, new.number, drained))
    for app in apps_of_host():
        pythons.name_in_venvs(app)
    keep_python(old)
    before = f"{apt.HOME}/sources"
    os.makedirs(before, mode=0o700, exist_ok=True)
    for path, text in suites.changes(old.name, new.name).items():
        with open(path, encoding="utf-8") as file:
            write_atomically(f"{before}/{os.path.basename(path)}", file.read())
        write_atomically(path, text, mode=0o644)


def keep_python(old: Debian) -> None:
    """Let nobody's `apt-get autoremove` take the Python that releases of before still run with."""
    installed = _packages_of(old)
    if not installed:
        return
    automatic = run(["apt-mark", "showauto", *installed], what="apt-mark showauto", whole=ANSWER).split()
    if automatic:
        write_atomically(_kept_path(), json.dumps({"python": old.python, "packages": automatic}) + "\n")
        run(["apt-mark", "manual", *automatic], what="apt-mark manual")


def _packages_of(old: Debian) -> list[str]:
    names = [
        f"{one}{old.python}{part}" for one in ("python", "libpython") for part in ("", "-minimal", "-stdlib")
    ]
    shell = [
        "sh",
        "-c",
        '"$@" || :',
        "sh",
        "dpkg-query",
        "--show",
        "--showformat=${db:Status-Abbrev}${Package}\\n",
    ]
    said = run([*shell, *names], what="dpkg-query", whole=ANSWER)
    return [line[3:].strip() for line in said.splitlines() if line.startswith("ii ")]


def packages(seconds: float = LONGEST) -> None:
    """Have apt do it, or wait for what a run before has started. Raises CommandFailed with apt's last words."""
    if _state() not in ("activating", "active"):
        _reset()
        settings = [f"--setenv={name}={value}" for name, value in apt.UNATTENDED.items()]
        unit = ["--unit", UNIT, "--description=Upgrade Debian", "--property=Type=oneshot"]
        unit += ["--property=RemainAfterExit=yes", f"--property=TimeoutStartSec={LONGEST}"]
        command = ["systemd-run", "--quiet", "--no-block", *unit, *settings, "/bin/sh", "-c", SCRIPT]
        run(command, what="starting the upgrade", timeout=60)
    deadline = time.monotonic() + seconds
    while (state := _state()) not in ("active", "failed", "inactive") and time.monotonic() < deadline:
        time.sleep(2)
    if state != "active":
        said = run(
            ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=25", "--unit", UNIT],
            what="journalctl",
        )
        raise CommandFailed("the upgrade of the packages", f"journalctl -u {UNIT}", state or "unknown", said)
    _reset()


def _state() -> str:
    """What systemd says of the unit; empty for a moment in which it cannot, as while it is replaced itself."""
    with contextlib.suppress(CommandFailed):
        show = ["systemctl", "show", "--property=ActiveState", "--value", UNIT]
        return run(show, what="systemctl show", timeout=30, whole=ANSWER).strip()
    return ""


def _reset() -> None:
    for verb in ("stop", "reset-failed"):
        with contextlib.suppress(CommandFailed):
            run(["systemctl", verb, UNIT], what=f"systemctl {verb}", timeout=60)


def upgraded(new: Debian) -> None:
    """Note that the packages are those of *new*. Raises ReleaseError where they are not."""
    if number() != new.number:
        raise ReleaseError(
            f"apt is done, and this host still has Debian {number()}: see journalctl -u {UNIT}"
        )
    now = progress()
    if now is not None:
        _note(replace(now, upgraded=True))


def finish() -> None:
    """The last step is done."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path())


def reboot_wanted() -> bool:
    """Whether the host runs another kernel than it would boot, or Debian asks for a reboot."""
    installed = [os.path.basename(path).removeprefix("vmlinuz-") for path in glob.glob("/boot/vmlinuz-*")]
    running = os.uname().release
    newest = max(installed, key=lambda name: os.stat(f"/boot/vmlinuz-{name}").st_mtime, default=running)
    # A container, and a host whose kernel comes from elsewhere, have none that they could boot.
    return os.path.exists("/run/reboot-required") or (running in installed and newest != running)


def kept() -> tuple[str, list[str]]:
    """The Python of before, and the releases that need it. Empty where none is kept.

    When no release needs it any more, `apt-get autoremove` may take it.
    """
    try:
        with open(_kept_path(), encoding="utf-8") as file:
            found = json.load(file)
        python, names = str(found["python"]), [str(name) for name in found["packages"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", []
    users = [
        f"{app} {manifest.release}"
        for app in apps_of_host()
        for manifest in AppState(app).manifests()
        if manifest.python == python and manifest.status != "failed"
    ]
    if not users:
        installed = set(_packages_of(Debian("", "", python)))
        if mine := [name for name in names if name in installed]:
            run(["apt-mark", "auto", *mine], what="apt-mark auto")
        os.unlink(_kept_path())
    return python, users
