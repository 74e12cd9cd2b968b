"""What people keep beside an inventory is no inventory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_templates_and_keys_beside_an_inventory_do_not_end_the_run(tmp_path: Path) -> None:
    inventory = tmp_path / "mine"
    for name, content in {
        "hosts.yml": "all: {children: {app_hosts: {hosts: {web1: {}}}}}\n",
        "templates/blog.ini.j2": "[app]\nx = {{ app.name }}\n",
        "templates/conf/plain": "no inventory\n",
        "secrets/blog_deploy_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
        "files/site.css": "body {}\n",
        "blog.ini.j2": "x = {{ y }}\n",
    }.items():
        (inventory / name).parent.mkdir(parents=True, exist_ok=True)
        (inventory / name).write_text(content)
    program = Path(sys.executable).with_name("ansible-inventory")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [program, "-i", str(inventory), "--list"],
        cwd=ROOT,
        env={**environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Unable to parse" not in done.stderr
    assert json.loads(done.stdout)["app_hosts"]["hosts"] == ["web1"]
