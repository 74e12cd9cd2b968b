"""Measure what a converge costs beside the bare installs of the same packages, and what a run costs that changes nothing.

Two fresh hosts per round, one after the other on the same machine: one gets `apt-get install` of the packages that the roles
install and the venvs of the three examples by uv, by hand; the other gets `ansible-playbook site.yml`. Prints ratios of
medians and the seconds and tasks of the second run of site.yml.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools import container, engine, image
from tools.console import command, run, step
from tools.project import ROOT

CERTIFICATES = Path("/usr/local/share/ca-certificates")
EXAMPLES = ("django", "flask", "pyramid")

#: Seconds for the bare way. The packages are what site.yml installs; the venvs are made as its releases make theirs.
BARE = """
set -e
export DEBIAN_FRONTEND=noninteractive UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
export UV_COMPILE_BYTECODE=1 UV_CACHE_DIR=/root/uv PIP_CERT=/etc/ssl/certs/ca-certificates.crt
update-ca-certificates >/dev/null 2>&1
apt-get update -q
apt-get install -q -y --no-install-recommends $PACKAGES
python3 -m venv /root/tools
/root/tools/bin/pip install -q --disable-pip-version-check --require-hashes -r /root/uv.txt
for app in django flask pyramid; do
    /root/tools/bin/uv venv -q --python /usr/bin/python3 /root/venv-$app
    if [ -f /root/$app/requirements.txt ]; then
        /root/tools/bin/uv pip install -q --python /root/venv-$app/bin/python -r /root/$app/requirements.txt
    else
        /root/tools/bin/uv pip install -q --python /root/venv-$app/bin/python /root/$app
    fi
done
"""


@contextlib.contextmanager
def host(name: str, debian: int) -> Iterator[str]:
    container.remove(name)
    container.start(
        container.Host(name, f"emperor-stack-host:debian{debian}", labels=("emperor-stack.bench=1",))
    )
    try:
        yield name
    finally:
        container.remove(name)


def packages(name: str) -> list[str]:
    """What apt was told to install on a converged host."""
    shown = run(["docker", "exec", name, "apt-mark", "showmanual"]).stdout.split()
    return sorted(shown)


def bare(name: str, wanted: list[str]) -> float:
    for directory in EXAMPLES:
        run(["docker", "cp", f"{ROOT}/examples/{directory}", f"{name}:/root/{directory}"])
    run(["docker", "cp", f"{ROOT}/roles/python_apps/files/uv.txt", f"{name}:/root/uv.txt"])
    for path in CERTIFICATES.glob("*.crt"):
        run(["docker", "cp", str(path), f"{name}:/usr/local/share/ca-certificates/{path.name}"])
    began = time.monotonic()
    run(["docker", "exec", "-e", f"PACKAGES={' '.join(wanted)}", name, "sh", "-c", BARE])
    return time.monotonic() - began


def converge(name: str, directory: Path) -> tuple[float, dict[str, int]]:
    inventory = directory / name
    inventory.mkdir(exist_ok=True)
    (inventory / "hosts.yml").write_text(
        f"app_hosts: {{hosts: {{{name}: {{ansible_connection: community.docker.docker}}}}}}\n"
    )
    link = inventory / "group_vars"
    if not link.exists():
        link.symlink_to(ROOT / "inventories/local/group_vars")
    began = time.monotonic()
    program = Path(sys.executable).with_name("ansible-playbook")
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [str(program), "-i", str(inventory), "site.yml"],
        cwd=ROOT, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(done.stdout[-4000:])
    recap = dict(
        re.findall(r"(ok|changed|failed)=(\d+)", done.stdout.splitlines()[-2] + done.stdout.splitlines()[-1])
    )
    return seconds, {key: int(value) for key, value in recap.items()}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--debian", type=int, default=13)
    options = parser.parse_args(arguments)
    engine.ensure()
    image.ensure(options.debian)
    first, second, by_hand, tasks = [], [], [], 0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(options.rounds):
            step(f"round {number + 1}: site.yml on a fresh host, then again")
            with host("bench-stack", options.debian) as name:
                before = packages(name)
                seconds, _ = converge(name, Path(directory))
                first.append(seconds)
                wanted = sorted(set(packages(name)) - set(before))
                seconds, recap = converge(name, Path(directory))
                second.append(seconds)
                tasks = recap["ok"]
                if recap["changed"]:
                    sys.exit(f"the second run changed {recap['changed']} things; its time means nothing")
            step(f"round {number + 1}: the same packages and venvs by hand")
            with host("bench-bare", options.debian) as name:
                by_hand.append(bare(name, wanted))
    print(f"first converge {first}, second {second}, by hand {by_hand}")
    print(f"figure: first_converge_ratio = {statistics.median(first) / statistics.median(by_hand):.2f}")
    print(f"figure: no_change_seconds = {statistics.median(second):.1f}")
    print(f"figure: no_change_tasks = {tasks}")
    return 0


if __name__ == "__main__":
    command(main)
