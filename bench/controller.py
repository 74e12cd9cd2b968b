"""What the controller itself spends on many hosts: processor seconds of playbooks/check.yml, which contacts none of them.

Processor seconds of the whole process tree, which a busy machine hardly changes; no host and no container is needed.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tools.playbook_server import PROGRAM
from tools.project import ROOT

#: Hosts, and apps on each of them.
SHAPES = {"200_hosts": (200, 5), "100_hosts_200_apps": (100, 200)}

#: One app as people write it; some of it differs between hosts by a template.
APP = """
  - name: {name}
    domains: [{name}.example.com, www.{name}.example.com]
    wsgi: app:app
    source: {{git: "https://git.example.com/{name}.git", version: v1.{number}}}
    env: {{LEVEL: info, {host}}}
    secrets: [SECRET_KEY]
    persistent: [media]
    static: {{/static/: static}}
    migrate: python manage.py migrate --noinput
    web: {{processes: 2, threads: 2}}
    limits: {{memory: 256M, request_timeout: 30}}
"""


def inventory(directory: Path, hosts: int, apps: int, shared: bool) -> Path:
    """Write an inventory of *hosts* with *apps* each: the same on all of them, from group variables, or each host's own."""
    names = [f"web{number:03}" for number in range(hosts)]
    lines = "".join(
        f"    {name}: {{ansible_host: 10.0.{n // 250}.{n % 250}}}\n" for n, name in enumerate(names)
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.yml").write_text(f"app_hosts:\n  hosts:\n{lines}")
    if shared:
        (directory / "group_vars").mkdir()
        (directory / "group_vars/app_hosts.yml").write_text(_variables("app", apps))
    else:
        (directory / "host_vars").mkdir()
        for name in names:
            (directory / f"host_vars/{name}.yml").write_text(_variables(name, apps))
    return directory


def _variables(prefix: str, apps: int) -> str:
    names = [f"{prefix}-{number}" for number in range(apps)]
    # Apps of the same name have to be equal on all hosts: only the ones of a single host may name it.
    host = "REGION: eu" if prefix == "app" else 'HOST: "{{ inventory_hostname }}"'
    declared = "".join(APP.format(name=name, number=n, host=host) for n, name in enumerate(names))
    secrets = "".join(f"  {name}: {{SECRET_KEY: only-for-this-measurement-{name}}}\n" for name in names)
    return f"python_apps:\n{declared}\nvault_python_apps_secrets:\n{secrets}"


def check_seconds(inventory: Path) -> float:
    """Processor seconds of check.yml for *inventory*. Fails where the check finds a problem."""
    argv = [str(PROGRAM), "-i", str(inventory), str(ROOT / "playbooks/check.yml")]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"check.yml failed:\n{output.read()}")
    # Of its children, too: it has waited for all of them.
    return used.ru_utime + used.ru_stime


def measure(repeats: int) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for shape, (hosts, apps) in SHAPES.items():
        for kind in ("shared", "own"):
            with tempfile.TemporaryDirectory(prefix="bench-") as directory:
                place = inventory(Path(directory), hosts, apps, shared=kind == "shared")
                found.setdefault(shape, {})[kind] = [check_seconds(place) for _ in range(repeats)]
    return found
