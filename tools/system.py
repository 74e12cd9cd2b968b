"""Facts about the controller that decide which way a tool goes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .console import Stop, run, step


def is_root() -> bool:
    return os.geteuid() == 0


def systemd_is_running() -> bool:
    """The test of sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def has_apt() -> bool:
    return shutil.which("apt-get") is not None


def apt_install(packages: list[str], why: str) -> None:
    """Install Debian packages on the controller, or say which command would."""
    wanted = " ".join(packages)
    if not has_apt():
        raise Stop(f"{why}, and this machine has no apt-get", f"Install what Debian calls {wanted} by hand.")
    if not is_root():
        raise Stop(f"{why}, and only root may install it", f"Run: sudo apt-get install {wanted}")
    step(f"Installing {wanted} from Debian's packages")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=120",
        *packages,
    ]
    if run(install, check=False, env=env).returncode == 0:
        return
    # Package lists may be missing or stale on a fresh machine: refresh them once, then the failure is real.
    updated = run(["apt-get", "update"], check=False, env=env)
    done = run(install, check=False, env=env)
    if done.returncode:
        reason = (done.stderr or updated.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise Stop(
            f"apt-get could not install {wanted}: {reason[-1]}",
            "Check this machine's network and apt sources with `apt-get update`.",
        )


def free_megabytes(path: str) -> int:
    """Free space of the file system that holds *path*, or would hold it."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free // 2**20


def require_disk(path: str, megabytes: int, what: str) -> None:
    free = free_megabytes(path)
    if free < megabytes:
        raise Stop(
            f"{what} needs {megabytes} MB in {path}, and only {free} MB are free",
            "Free some space there, e.g. with `docker system prune` or `apt-get clean`.",
        )
