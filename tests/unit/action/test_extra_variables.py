"""`-e` on the command line of the bundle's playbooks, as a shell passes it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def typed(tmp_path: Path, line: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`ansible-playbook` with *line*, for a host that cannot be reached: what is refused is refused on the controller."""
    (tmp_path / "hosts.yml").write_text(
        """
app_hosts:
  vars: {their_own: 1, python_apps: [], base_packages: "{{ [wanted_package | default('curl')] }}"}
  hosts: {nowhere: {ansible_connection: ssh, ansible_host: 192.0.2.1, ansible_ssh_timeout: 1}}
"""
    )
    program = shlex.quote(str(Path(sys.executable).with_name("ansible-playbook")))
    return subprocess.run(
        ["bash", "-c", f"{program} -i {tmp_path}/hosts.yml {line}"],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_command_that_readers_type_first_is_refused_with_what_to_type(tmp_path: Path) -> None:
    """Ansible makes `python` of it, and the run would report success."""
    run = typed(tmp_path, "playbooks/run.yml -e app=blog -e command='python manage.py migrate --plan'")
    assert run.returncode != 0 and "unreachable=0" in run.stdout
    said = """
  -e command
    reason: Ansible cuts the value at its first blank: it would be python, without manage.py migrate --plan
    fix:    quote the value for Ansible, too: -e "command='python manage.py migrate --plan'"
"""
    assert said in run.stdout


@pytest.mark.parametrize("playbook", ["deploy", "restart"])
def test_a_misspelt_variable_is_refused(tmp_path: Path, playbook: str) -> None:
    run = typed(tmp_path, f"playbooks/{playbook}.yml -e ap=blog -e their_own=2")
    assert run.returncode != 0 and "unreachable=0" in run.stdout
    assert "  -e ap\n    reason: " in run.stdout and "their_own" not in run.stdout


def test_variables_of_roles_inventories_and_ansible_are_taken(tmp_path: Path) -> None:
    (tmp_path / "vars.json").write_text(json.dumps({"vault_python_apps_secrets": {}, "python_apps": []}))
    run = typed(
        tmp_path,
        f"playbooks/check.yml -e @{tmp_path}/vars.json -e '{{\"__uwsgi_emperor_lock\": 1}}' -e ansible_port=22 "
        "-e awx_job_id=7 -e tower_user_name=ann -e '{\"semaphore_vars\": {}}' "
        "-e their_own=2 -e wanted_package=wget -e nginx_http_port=80 -e front_server=nginx -e base_asked_paths=[]",
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_playbook_of_somebody_else_may_read_any_variable(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(f"- import_playbook: {ROOT}/playbooks/check.yml\n")
    assert typed(tmp_path, f"{tmp_path}/mine.yml -e mail_to=ops").returncode == 0
    assert typed(tmp_path, f"{tmp_path}/mine.yml -e greeting='good morning'").returncode != 0


@pytest.mark.parametrize("cwd", ["elsewhere", "playbooks"])
def test_a_playbook_finds_the_bundle_from_any_directory(tmp_path: Path, cwd: str) -> None:
    """Ansible reads only the ansible.cfg of the current directory, which names the collection and the roles."""
    place = ROOT / "playbooks" if cwd == "playbooks" else tmp_path
    everything = " ".join(str(path) for path in [ROOT / "site.yml", *(ROOT / "playbooks").glob("*.yml")])
    known = typed(tmp_path, f"--syntax-check {everything}", place)
    assert known.returncode == 0, known.stdout + known.stderr
    run = typed(tmp_path, f"{ROOT}/playbooks/deploy.yml -e their_own=2", place)
    assert run.returncode == 0 and "python_apps : deploy" in run.stdout, run.stdout + run.stderr
