"""`make app` as a whole, on an inventory and a repository of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.new_app import __main__ as new_app

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "inventory" / "group_vars" / "app_hosts"
    directory.mkdir(parents=True)
    (directory / "apps.yml").write_text("---\npython_apps: []\n")
    (tmp_path / "inventory" / "hosts.yml").write_text("app_hosts:\n  hosts:\n    web1:\n")
    monkeypatch.setattr(new_app, "PASSWORD", tmp_path / "password")
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    return tmp_path / "inventory"


def test_the_entry_passes_the_check_with_its_secrets(
    inventory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for example in ("django", "flask"):
        place = ["--domain", f"{example}.example.com", "--source", str(ROOT / "examples" / example)]
        assert new_app.main(["--name", example, *place, "--inventory", str(inventory)]) == 0
    said = capsys.readouterr().out
    assert "SECRET_KEY: a random value" in said
    password = tmp_path / "password"
    assert password.stat().st_mode & 0o777 == 0o600
    checked = subprocess.run(
        [
            new_app.VENV / "bin" / "ansible-playbook", "-i", inventory, "--vault-password-file", password,
            "playbooks/check.yml",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    assert "not checked" not in checked.stdout + checked.stderr


def test_a_repository_is_read_at_its_newest_tag(inventory: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git = ["git", "-C", str(repository), "-c", "user.name=T", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (repository / "web.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    for command in (["add", "."], ["commit", "--quiet", "-m", "a"], ["tag", "v1.2"]):
        subprocess.run([*git, *command], check=True)
    source = f"file://{repository}"
    arguments = [
        "--name",
        "shop",
        "--domain",
        "shop.example.com",
        "--source",
        source,
        "--inventory",
        str(inventory),
    ]
    assert new_app.main(arguments) == 0
    written = (inventory / "group_vars" / "app_hosts" / "apps.yml").read_text()
    assert f"source: {{git: '{source}', version: v1.2}}" in written
    assert "wsgi: web:app\n" in written
    assert new_app.main(arguments) == 1
    assert (inventory / "group_vars" / "app_hosts" / "apps.yml").read_text() == written


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--name", "Blog"], "the entry is invalid"),
        (["--inventory", "/nonexistent"], "has no group_vars/app_hosts"),
        (["--name", ""], "NAME is missing"),
    ],
)
def test_bad_input_writes_nothing(
    inventory: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    before = (inventory / "group_vars" / "app_hosts" / "apps.yml").read_text()
    source = str(ROOT / "examples" / "flask")
    given = ["--name", "blog", "--domain", "b.example.com", "--source", source, "--inventory", str(inventory)]
    assert new_app.main([*given, *options]) == 1
    assert reason in capsys.readouterr().err
    assert (inventory / "group_vars" / "app_hosts" / "apps.yml").read_text() == before
    assert not (inventory / "group_vars" / "app_hosts" / "vault.yml").exists()


def test_a_vault_that_is_encrypted_as_a_whole_is_left_alone(
    inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = inventory / "group_vars" / "app_hosts" / "vault.yml"
    vault.write_text("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    source = str(ROOT / "examples" / "flask")
    given = ["--name", "blog", "--domain", "b.example.com", "--source", source, "--inventory", str(inventory)]
    assert new_app.main(given) == 1
    assert "is encrypted as a whole" in capsys.readouterr().err
    assert vault.read_text() == "$ANSIBLE_VAULT;1.1;AES256\n00\n"


def test_a_secret_of_somebody_else_gets_no_value(
    inventory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check then refuses the app until the value is there."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").write_text('import os\napplication = make(os.environ["DATABASE_URL"])\n')
    place = ["--domain", "b.example.com", "--source", str(code), "--inventory", str(inventory)]
    assert new_app.main(["--name", "blog", *place]) == 0
    assert "ansible-vault encrypt_string --stdin-name DATABASE_URL" in capsys.readouterr().out
    vault = (inventory / "group_vars" / "app_hosts" / "vault.yml").read_text()
    assert vault == "---\nvault_python_apps_secrets:\n  blog: {}\n"


def test_a_run_that_was_killed_between_its_two_files_is_finished(inventory: Path) -> None:
    place = [
        "--domain",
        "b.example.com",
        "--source",
        str(ROOT / "examples" / "flask"),
        "--inventory",
        str(inventory),
    ]
    apps = inventory / "group_vars" / "app_hosts" / "apps.yml"
    before = apps.read_text()
    assert new_app.main(["--name", "blog", *place]) == 0
    vault = apps.with_name("vault.yml").read_text()
    apps.write_text(before)
    assert new_app.main(["--name", "blog", *place]) == 0
    assert apps.with_name("vault.yml").read_text() == vault
    assert "name: blog" in apps.read_text()
    assert sorted(path.name for path in apps.parent.iterdir()) == ["apps.yml", "vault.yml"]
