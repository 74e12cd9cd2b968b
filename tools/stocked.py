"""The image of a test host that has what every host installs first: the packages, uv and the uWSGI that serves.

For scenarios that do not prove the first installation. It holds nothing that a role writes, so that no scenario meets the
work of an earlier checkout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from . import engine, image
from .console import Stop, command, last_lines, note, run, step
from .project import LABEL, ROOT

#: Of the roles base, hardening, uwsgi_emperor, python_apps, nginx and tls, as their defaults have them.
PACKAGES = [
    "ca-certificates",
    "curl",
    "iproute2",
    "logrotate",
    "procps",
    "uwsgi-core",
    "uwsgi-plugin-python3",
    "python3-venv",
    "git",
    "openssh-client",
    "util-linux",
    "nginx",
    "openssl",
    "nftables",
    "unattended-upgrades",
    "needrestart",
    "systemd-timesyncd",
]

LIBRARY = "/usr/local/lib/emperor-stack"
INSTALL = ROOT / "roles/base/templates/install-locked.j2"
LOCKS = {
    "tools": ROOT / "roles/python_apps/files/uv.txt",
    "pyuwsgi-{debian}": ROOT / "roles/uwsgi_emperor/files/uwsgi.txt",
}

#: Certificates that this machine trusts beside Debian's: the way to the index may lead through a proxy that has one.
AUTHORITIES = Path("/usr/local/share/ca-certificates")

#: In the container: $1 are the packages, $2 lines "LOCK DIRECTORY". No service starts, and none of ours is in the image.
STOCK = """set -eu
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1
cp /etc/ssl/certs/ca-certificates.crt /root/before.crt
cat /root/stock/*.crt >>/etc/ssl/certs/ca-certificates.crt 2>/dev/null || true
mkdir -p -m 0755 /usr/local/lib/emperor-stack
printf '%s\\n' "$2" | while read -r lock directory; do
    sh /root/stock/install-locked "$lock" "$directory"
done
mv /root/before.crt /etc/ssl/certs/ca-certificates.crt
rm -rf /root/stock /usr/sbin/policy-rc.d
: >/etc/machine-id
"""


def name(debian: int) -> str:
    return f"{image.name(debian)}-stocked"


def installations(debian: int) -> dict[str, Path]:
    """The directories that the roles would install into, each with its lock: they carry the lock's digest."""
    found = {}
    for place, lock in LOCKS.items():
        digest = hashlib.sha256(lock.read_text().rstrip("\n").encode()).hexdigest()[:12]
        found[f"{LIBRARY}/{place.format(debian=debian)}-{digest}"] = lock
    return found


def recipe(debian: int) -> str:
    """A hash of all that decides what is in the image."""
    texts = [INSTALL.read_text(), *(lock.read_text() for lock in LOCKS.values())]
    parts = json.dumps([image.recipe(debian), PACKAGES, STOCK, texts, image.CHANGES])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def is_current(debian: int) -> bool:
    said = run(
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
    return said.returncode == 0 and said.stdout.strip() == recipe(debian)


def ensure(debian: int) -> bool:
    """Make sure that the stocked image of *debian* is there and of this recipe. True when it had to be built."""
    image.ensure(debian)
    if is_current(debian):
        return False
    step(f"Building {name(debian)}, with the packages that every host installs")
    container = f"emperor-stack-stock-{uuid.uuid4().hex[:8]}"
    run(
        ["docker", "run", "--detach", f"--name={container}", f"--label={LABEL}", "--pull=never"]
        + [image.name(debian), "sleep", "1800"]
    )
    try:
        run(["docker", "exec", container, "mkdir", "/root/stock"])
        for file in [*AUTHORITIES.glob("*.crt"), *LOCKS.values()]:
            run(["docker", "cp", "--quiet", str(file), f"{container}:/root/stock/{file.name}"])
        run(["docker", "cp", "--quiet", str(INSTALL), f"{container}:/root/stock/install-locked"])
        wanted = "\n".join(
            f"/root/stock/{lock.name} {place}" for place, lock in installations(debian).items()
        )
        done = run(
            ["docker", "exec", container, "sh", "-c", STOCK, "sh", " ".join(PACKAGES), wanted],
            check=False,
            timeout=900,
        )
        if done.returncode:
            raise Stop(
                f"the packages for {name(debian)} could not be installed: {last_lines(done.stderr, 3)}",
                "Check this machine's network, apt sources and package index.",
            )
        changes = [
            *image.CHANGES,
            f"LABEL {LABEL}",
            f"LABEL emperor-stack.recipe={recipe(debian)}",
        ]
        run(["docker", "commit", *(f"--change={change}" for change in changes), container, name(debian)])
    finally:
        run(["docker", "rm", "--force", "--volumes", container], check=False)
    return True


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.stocked", description=__doc__)
    parser.add_argument("debian", nargs="*", type=int, help="default: all")
    options = parser.parse_args(arguments)
    engine.ensure()
    for debian in options.debian or image.SUITES:
        if not ensure(debian):
            note(f"{name(debian)} is up to date")
    return 0


if __name__ == "__main__":
    command(main)
