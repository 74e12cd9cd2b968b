"""What the check of the inventory, which looks once for all hosts, leaves for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.project import ROOT

PLAYBOOK = f"""
- ansible.builtin.import_playbook: {ROOT}/playbooks/check.yml
- hosts: app_hosts
  gather_facts: false
  vars_files: [{ROOT}/playbooks/vars/deploy.yml]
  tasks:
    - ansible.builtin.debug:
        msg: "{{{{ inventory_hostname }}}} knows of {{{{ (python_apps_shared.blog | default([])) | join('+') }}}}"
"""

INVENTORY = """
app_hosts:
  vars:
    python_apps:
      - name: blog
        domains: [blog.example.com]
        source: {git: "https://git.example.com/blog.git", version: v1}
        wsgi: blog:app
  hosts: {web1: {}, web2: {}, web3: {}}
"""


def test_every_host_learns_which_apps_others_have_too(tmp_path: Path) -> None:
    """The command `emperor` and logins refuse to deploy such an app on one host alone."""
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    (tmp_path / "playbook.yml").write_text(PLAYBOOK)
    run = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "playbook.yml"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for host in ("web1", "web2", "web3"):
        assert f"{host} knows of web1+web2+web3" in run.stdout, run.stdout
