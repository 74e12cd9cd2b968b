"""A test host: a container with systemd as PID 1. The one place that knows how to start it."""

from __future__ import annotations

import argparse
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .console import Stop, command, run, wait_for
from .project import LABEL, ROOT

#: systemd wants these. `--privileged` would be simpler, and is refused in many places (nested containers).
RECIPE = [
    "--cap-add=SYS_ADMIN",
    "--cap-add=NET_ADMIN",
    "--cap-add=SYS_NICE",
    "--cap-add=SYS_PTRACE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=private",
    # As on a machine; the engine opens the low ports to everybody.
    "--sysctl=net.ipv4.ip_unprivileged_port_start=1024",
    "--tmpfs=/run:exec,mode=755",
    "--tmpfs=/run/lock",
    "--stop-signal=SIGRTMIN+3",
    "--env=container=docker",
]

#: Lets systemd run on cgroup v2 although the engine is on v1. The host is moved into a group of its own, of which it then
#: sees nothing but what is below. The controllers stay with v1: no limit holds, all that is a matter of groups does.
UNIFIED = """
set -e
mount -t cgroup2 none /mnt
mkdir -p "/mnt/$1"
echo $$ >"/mnt/$1/cgroup.procs"
umount /mnt
exec unshare --cgroup sh -ec 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec /lib/systemd/systemd'
"""


@dataclass(frozen=True)
class Host:
    name: str
    image: str
    ports: tuple[str, ...] = ()
    memory: str | None = None
    labels: tuple[str, ...] = ()
    #: On cgroup v2 alone, whatever the engine uses; see UNIFIED.
    unified: bool = False
    #: In a network of its own, which keeps it over a restart; empty: in the engine's, which gives any.
    address: str = ""


def run_arguments(host: Host) -> list[str]:
    """The whole `docker run` command of *host*."""
    arguments = [
        "docker",
        "run",
        "--detach",
        "--pull=never",
        f"--name={host.name}",
        f"--hostname={host.name}",
    ]
    arguments += [f"--label={label}" for label in (LABEL, f"emperor-stack.checkout={ROOT}", *host.labels)]
    arguments += RECIPE
    arguments += [f"--publish={port}" for port in host.ports]
    if host.address:
        arguments += [f"--network={network_of(host.address)}", f"--ip={host.address}"]
    if host.memory:
        arguments += [f"--memory={host.memory}", f"--memory-swap={host.memory}"]
    if host.unified:
        return [*arguments, "--entrypoint=/bin/sh", host.image, "-ec", UNIFIED, "sh", host.name]
    return [*arguments, host.image]


def network_of(address: str) -> str:
    """The engine's name of the network of *address*."""
    return f"emperor-stack-{ipaddress.ip_interface(f'{address}/24').network.network_address}"


def ensure_network(address: str) -> None:
    name = network_of(address)
    if run(["docker", "network", "inspect", name], check=False).returncode == 0:
        return
    subnet = str(ipaddress.ip_interface(f"{address}/24").network)
    done = run(["docker", "network", "create", f"--label={LABEL}", f"--subnet={subnet}", name], check=False)
    # Another host of the same network may have been faster.
    if done.returncode and run(["docker", "network", "inspect", name], check=False).returncode:
        raise Stop(
            f"the engine could not make the network {subnet}: {done.stderr.strip()}",
            "See `docker network ls`.",
        )


def inspect(name: str) -> dict[str, Any] | None:
    """What the engine knows of container *name*, None when there is none."""
    done = run(["docker", "container", "inspect", name], check=False, timeout=30)
    if done.returncode:
        return None
    details: list[dict[str, Any]] = json.loads(done.stdout)
    return details[0]


def owner(container: dict[str, Any]) -> str:
    """The checkout that made *container*; empty when this bundle did not."""
    checkout: str = container["Config"]["Labels"].get("emperor-stack.checkout", "")
    return checkout


def left_behind(container: dict[str, Any]) -> bool:
    """Whether this is a test host of another checkout that nothing uses any more: no test runs on one that stands still."""
    scenario = container["Config"]["Labels"].get("emperor-stack.scenario", "")
    return bool(owner(container) and scenario) and not container["State"]["Running"]


def require_ours(name: str, container: dict[str, Any]) -> None:
    """Names are shared with all other users of the engine: never touch what is not ours."""
    if owner(container) == str(ROOT):
        return
    if owner(container):
        raise Stop(
            f"container {name} belongs to the checkout in {owner(container)}",
            "Run `make down` there, or remove the container if that checkout is gone.",
        )
    raise Stop(
        f"a container named {name} exists that this bundle did not make",
        f"Rename it (docker rename {name} …) or remove it.",
    )


def system_state(name: str) -> str:
    """What systemd in the container says of itself: running, degraded, starting, …"""
    done = run(["docker", "exec", name, "systemctl", "is-system-running"], check=False, timeout=30)
    return done.stdout.strip() or done.stderr.strip()


def start(host: Host) -> bool:
    """Make sure that *host* exists and runs. True when something had to be done."""
    details = inspect(host.name)
    if details and owner(details) != str(ROOT) and left_behind(details):
        remove(host.name)
        details = None
    if details:
        require_ours(host.name, details)
    changed = not (details and details["State"]["Running"])
    if not details:
        if run(["docker", "image", "inspect", host.image], check=False).returncode:
            raise Stop(f"there is no image {host.image}", "Run `make images` first.")
        if host.address:
            ensure_network(host.address)
        done = run(run_arguments(host), check=False)
        if done.returncode:
            run(["docker", "rm", "--force", host.name], check=False)
            raise Stop(
                f"the engine could not start {host.name}: {done.stderr.strip().splitlines()[-1]}",
                "See `docker info` and the engine's log.",
            )
    elif changed:
        run(["docker", "start", host.name])
    if not wait_for(lambda: system_state(host.name) in {"running", "degraded"}, 60):
        raise Stop(
            f"systemd in {host.name} is not up after 60 s ({system_state(host.name)})",
            f"See `docker logs {host.name}` and `docker exec {host.name} systemctl list-jobs`.",
        )
    return changed


def remove(name: str) -> bool:
    """Remove container *name* with its anonymous volumes. True when there was one."""
    details = inspect(name)
    if not details:
        return False
    if not left_behind(details):
        require_ours(name, details)
    run(["docker", "rm", "--force", "--volumes", name])
    return True


def all_ours(kind: str, label: str = LABEL) -> list[str]:
    """Names of everything of *kind* (container, network, volume, image) with *label*.

    Containers of another checkout of this repository are not ours.
    """
    formats = {"network": "{{.Name}}", "volume": "{{.Name}}", "image": "{{.Repository}}:{{.Tag}}"}
    listing = ["docker", kind, "ls", "--format", formats.get(kind, "{{.Names}}"), f"--filter=label={label}"]
    if kind == "container":
        listing += ["--all", f"--filter=label=emperor-stack.checkout={ROOT}"]
    return run(listing, check=False).stdout.split()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.container", description=__doc__)
    parser.add_argument("action", choices=["start", "remove"])
    parser.add_argument("name")
    parser.add_argument("--image", default="")
    parser.add_argument("--memory", help="as docker takes it, e.g. 512m")
    parser.add_argument("--unified", action="store_true", help="on cgroup v2, without its controllers")
    parser.add_argument("--address", default="", help="in a network of its own, such as 10.213.0.11")
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--publish", action="append", default=[])
    options = parser.parse_args(arguments)
    if options.action == "remove":
        print("removed" if remove(options.name) else "absent")
        return 0
    host = Host(
        options.name,
        options.image,
        tuple(options.publish),
        options.memory,
        tuple(options.label),
        options.unified,
        options.address,
    )
    print("started" if start(host) else "running")
    return 0


if __name__ == "__main__":
    command(main)
