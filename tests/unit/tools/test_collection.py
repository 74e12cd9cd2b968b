"""What the users of the collection get: nothing of a checkout but the collection, and that works by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import collection
from tools.project import ROOT, VENV

#: What somebody may have in a checkout beside what is tracked. None of it may leave the machine.
PRIVATE = (
    "secrets/blog_deploy_key",
    "deploy_key",
    "inventories/mine/hosts.yml",
    "inventories/mine/group_vars/app_hosts/vault.yml",
    "inventories/production/group_vars/app_hosts/vault.yml",
    "playbooks/group_vars/app_hosts/vault.yml",
    "playbooks/secrets/key.yml",
    "docs/secrets/plan.txt",
    "meta/secrets.yml",
    "tests/output/result.txt",
    ".vault_password",
    ".vault_password_blog",
    ".env",
    ".git/config",
    ".venv/bin/python",
    ".state/figures.json",
    ".cache/uv/uv.txt",
    "plugins/.mypy_cache/1.json",
    "plugins/modules/.ruff_cache/0.1/1",
    "roles/.ansible/tmp/1",
    "roles/nginx/.ansible/1",
    "roles/nginx/files/.keys/key",
    "plugins/modules/__pycache__/drift.cpython-311.pyc",
    "roles/nginx/tasks/.main.yml.swp",
    "roles/nginx/tasks/main.yml.orig",
    "roles/nginx/.vault_password",
    "emperor-stack-0.0.9.tar.gz",
)

MADE_BY_GALAXY = {"FILES.json", "MANIFEST.json"}


def tracked(*paths: str) -> list[str]:
    """What git knows below *paths*, or everywhere, and what is there and not ignored."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a checkout in which somebody works."""
    checkout, into = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("archive")
    for name in tracked():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)
    for name in PRIVATE:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("private")
    return collection.build(checkout, into)


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with collections into which it alone was installed."""
    place = tmp_path_factory.mktemp("installed")
    collection.install(archive, place)
    return place


def test_the_archive_has_the_whole_collection_and_nothing_else(archive):
    with tarfile.open(archive) as content:
        names = {member.name for member in content if not member.isdir()}
        assert not [member.name for member in content if member.issym() or member.islnk()]
    wanted = tracked(
        "README.md", "CHANGELOG.md", "LICENSE", "meta", "tests/config.yml", "docs", "playbooks", "plugins", "roles"
    )  # fmt: skip
    # Links by which playbooks of a checkout find the collection.
    assert names - MADE_BY_GALAXY == {name for name in wanted if not (ROOT / name).is_symlink()}


def test_the_archive_says_of_no_further_file_that_it_was_there(archive):
    with tarfile.open(archive) as content:
        listed = content.extractfile("FILES.json").read().decode()
    assert not [name for name in PRIVATE if name in listed]
    assert "secrets/" not in listed


def ansible(program: str, arguments: Sequence[str], place: Path) -> str:
    """What *program* prints, for a user who has the collection in *place* and is in no checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [str(VENV / "bin" / program), *arguments],
        cwd=place,
        env={**environment, "ANSIBLE_COLLECTIONS_PATH": str(place), "ANSIBLE_HOME": str(place / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    return done.stdout


def test_an_installed_collection_knows_each_of_its_playbooks(installed):
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    # The local inventory of this checkout has hosts for the plays; nothing is asked of them.
    arguments = [
        "-i", str(ROOT / "inventories" / "local"), "--syntax-check", *(f"emperor.stack.{name}" for name in names)
    ]  # fmt: skip
    said = ansible("ansible-playbook", arguments, installed)
    place = installed / "ansible_collections/emperor/stack/playbooks"
    assert [name for name in names if f"playbook: {place}/{name}.yml" not in said] == []


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("module", "modules/*.py"), ("callback", "callback/*.py"), ("filter", "filter/*.yml")],
)
def test_an_installed_collection_documents_each_of_its_plugins(installed, kind, pattern):
    said = ansible("ansible-doc", ["--list", "--type", kind, "emperor.stack"], installed)
    names = {path.stem for path in (ROOT / "plugins").glob(pattern)}
    assert {line.split()[0] for line in said.splitlines()} == {f"emperor.stack.{name}" for name in names}


def test_keys_of_a_checkout_are_not_offered_to_git():
    names = ["secrets/blog_deploy_key", "inventories/mine/secrets/blog.key"]
    ignored = subprocess.run(
        ["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == names
