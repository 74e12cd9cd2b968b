"""SSH into a test host, as a controller has it into a machine: sshd in the container, a key, an inventory for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .console import Stop, command, run
from .container import inspect, require_ours

#: One call installs the server and lets the key in: as root, which the connection of the test hosts is too.
LET_IN = """
set -e
export DEBIAN_FRONTEND=noninteractive
if ! command -v sshd >/dev/null; then
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends openssh-server
fi
install -d -m 0700 /root/.ssh
cat >/root/.ssh/authorized_keys
systemctl enable --now --quiet ssh
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


def address(name: str) -> str:
    """Where the host *name* is reached from this machine."""
    found = inspect(name)
    if found is None:
        raise Stop(f"there is no host {name}", "Start it by python -m tools.container start.")
    require_ours(name, found)
    networks = found["NetworkSettings"]["Networks"].values()
    addresses = [network["IPAddress"] for network in networks if network.get("IPAddress")]
    if not addresses:
        raise Stop(f"{name} has no address", "Is it running?")
    return str(addresses[0])


def let_in(name: str, directory: Path) -> dict[str, str]:
    """Make the host *name* reachable by SSH; return its variables for an inventory. Keys are kept in *directory*."""
    key = directory / "key"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    public = key.with_suffix(".pub").read_text()
    said = run(
        ["docker", "exec", "--interactive", name, "sh", "-c", LET_IN], input=public, timeout=300
    ).stdout
    where = address(name)
    known = directory / f"known_hosts-{name}"
    known.write_text(f"{where} {said.splitlines()[-1]}\n")
    return {
        "ansible_host": where,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o IdentitiesOnly=yes",
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.ssh_access", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("directory", type=Path, help="where the key is kept")
    options = parser.parse_args(arguments)
    options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for variable, value in let_in(options.name, options.directory.resolve()).items():
        print(f"{variable}: {value}")
    return 0


if __name__ == "__main__":
    command(main)
