"""The image of a test host: Debian with systemd and Python, and nothing that the roles should bring."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import engine, system
from .console import Stop, command, last_lines, note, run, step
from .project import LABEL

SUITES = {12: "bookworm", 13: "trixie"}
REPOSITORY = "emperor-stack-host"

PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",  # a host boots, and systemctl answers
    "python3",
    "python3-apt",  # what Ansible needs of a host
    "ca-certificates",
    "iproute2",
    "procps",
    "sudo",  # what every Debian server has and minbase has not
]

#: PID 1 of a test host. Docker mounts these read-only without --privileged. systemd must make cgroups and limit them, and
#: a host may set its own network parameters; both belong to the container's namespaces, not to this machine. Controllers
#: of cgroup v1 are mounted one by one, and not every machine has all of them.
BOOT = """#!/bin/sh
mount -o remount,rw /sys/fs/cgroup 2>/dev/null
for controller in cpu cpuacct memory pids systemd; do
    mount -o remount,bind,rw,nosuid,nodev,noexec "/sys/fs/cgroup/$controller" 2>/dev/null
done
mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
exec /lib/systemd/systemd
"""

#: Runs in the image's root, whichever way it was built.
FINISH = """set -eu
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-clean /etc/apt/apt.conf.d/docker-gzip-indexes
: > /etc/machine-id
chmod 0755 /usr/local/sbin/boot-test-host
# Timers that would hold apt's lock, and units for hardware that a container has not.
for unit in apt-daily.timer apt-daily-upgrade.timer getty.target console-getty.service \\
    systemd-logind.service systemd-remount-fs.service dev-hugepages.mount sys-fs-fuse-connections.mount \\
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-udevd.service \\
    systemd-udev-trigger.service; do
  ln -sf /dev/null /etc/systemd/system/$unit
done
"""

DOCKERFILE = """FROM {base}
COPY boot-test-host /usr/local/sbin/boot-test-host
COPY finish /tmp/finish
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {packages} \\
 && sh /tmp/finish && rm /tmp/finish
"""

CHANGES = [
    'CMD ["/usr/local/sbin/boot-test-host"]'
]  # the stop signal is not among what `docker import` takes


def name(debian: int) -> str:
    return f"{REPOSITORY}:debian{debian}"


def recipe(debian: int) -> str:
    """A hash of all that decides what is in the image: another recipe, another image."""
    parts = json.dumps([SUITES[debian], PACKAGES, BOOT, FINISH, DOCKERFILE, CHANGES])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def labels(debian: int) -> dict[str, str]:
    key, value = LABEL.split("=")
    return {key: value, "emperor-stack.recipe": recipe(debian)}


def is_current(debian: int) -> bool:
    done = run(
        [
            "docker",
            "image",
            "inspect",
            "--format",
            '{{index .Config.Labels "emperor-stack.recipe"}}',
            name(debian),
        ],
        check=False,
    )
    return done.returncode == 0 and done.stdout.strip() == recipe(debian)


def mirrors(targets: str, debian: int) -> list[str]:
    """apt source lines for *debian*, on the mirrors that this machine uses itself.

    *targets* is the output of `TARGETS`. Empty without a Debian source: mmdebstrap
    knows a default.
    """
    archive = security = ""
    for line in targets.splitlines():
        origin, _, rest = line.partition(" ")
        uri, _, release = rest.partition(" ")
        if origin != "Debian" or not uri:
            continue
        if release.endswith("-security"):
            security = security or uri
        elif "-" not in release:
            archive = archive or uri
    suite = SUITES[debian]
    lines = [f"deb {archive} {suite} main", f"deb {archive} {suite}-updates main"] if archive else []
    return lines + ([f"deb {security} {suite}-security main"] if archive and security else [])


TARGETS = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(CODENAME)", "Created-By: Packages"]


def pull(base: str) -> bool:
    """Whether *base* is here or a registry gives it."""
    if run(["docker", "image", "inspect", base], check=False).returncode == 0:
        return True
    return run(["docker", "pull", "--quiet", base], check=False, timeout=300).returncode == 0


def registry_answers() -> bool:
    """A cheap question first, so that a machine without a registry loses seconds, not minutes."""
    return (
        run(["docker", "manifest", "inspect", "debian:stable-slim"], check=False, timeout=8).returncode == 0
    )


def write_context(directory: Path, base: str) -> None:
    (directory / "Dockerfile").write_text(DOCKERFILE.format(base=base, packages=" ".join(PACKAGES)))
    (directory / "boot-test-host").write_text(BOOT)
    (directory / "finish").write_text(FINISH)


def build_on(base: str, debian: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        write_context(directory, base)
        with (directory / "Dockerfile").open("a") as dockerfile:
            dockerfile.writelines(f"{change}\n" for change in CHANGES)
        wanted = [f"--label={key}={value}" for key, value in labels(debian).items()]
        run(["docker", "build", "--network=host", f"--tag={name(debian)}", *wanted, place])


def bootstrap(debian: int) -> None:
    missing = [
        package
        for package, file in {
            "mmdebstrap": "/usr/bin/mmdebstrap",
            "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
        }.items()
        if not Path(file).exists()
    ]
    if missing:
        system.apt_install(
            missing, "no image registry answers, so the host image is built from Debian's packages"
        )
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        # mmdebstrap's own users must reach the files when it runs unprivileged.
        directory.chmod(0o755)
        write_context(directory, "scratch")
        tarball = directory / "root.tar"
        targets = run(TARGETS, check=False).stdout if system.has_apt() else ""
        build = [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
            # The lists stay: a first `--check` must know which packages could be installed.
            "--skip=cleanup/apt/lists",
            f"--customize-hook=copy-in {directory}/boot-test-host /usr/local/sbin",
            f"--customize-hook=copy-in {directory}/finish /tmp",
            '--customize-hook=chroot "$1" sh /tmp/finish',
            '--customize-hook=rm "$1/tmp/finish"',
            SUITES[debian],
            str(tarball),
            *mirrors(targets, debian),
        ]
        done = run(build, check=False)
        if done.returncode:
            raise Stop(
                f"mmdebstrap could not build Debian {debian}: {last_lines(done.stderr, 3)}",
                "Check this machine's network and apt sources with `apt-get update`.",
            )
        wanted = [f"LABEL {key}={value}" for key, value in labels(debian).items()]
        changes = [f"--change={change}" for change in [*CHANGES, *wanted]]
        run(["docker", "import", *changes, str(tarball), name(debian)])


def ensure(debian: int) -> bool:
    """Make sure that the image of *debian* is there and of this recipe. True when it had to be built."""
    if is_current(debian):
        return False
    system.require_disk(engine.data_directory(), 2000, f"the image of Debian {debian}")
    base = f"debian:{SUITES[debian]}"
    if registry_answers() and pull(base):
        step(f"Building {name(debian)} on {base}")
        build_on(base, debian)
    else:
        step(
            f"Building {name(debian)} from Debian's packages (no image registry answers; about half a minute)"
        )
        bootstrap(debian)
    # What the name pointed to before is of no more use; a container that runs on it keeps it.
    run(["docker", "image", "prune", "--force", f"--filter=label={LABEL}"], check=False)
    return True


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.image", description=__doc__)
    parser.add_argument("debian", nargs="*", type=int, help="default: all")
    options = parser.parse_args(arguments)
    unknown = set(options.debian) - set(SUITES)
    if unknown:
        raise Stop(f"Debian {unknown.pop()} is not supported", f"Choose from: {', '.join(map(str, SUITES))}.")
    engine.ensure()
    for debian in options.debian or SUITES:
        if not ensure(debian):
            note(f"{name(debian)} is up to date")
    return 0


if __name__ == "__main__":
    command(main)
