"""The digest of a release's migrations."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release import migrations as release_migrations
from ansible_collections.emperor.stack.plugins.module_utils.release.migrations import migrations_digest


def test_the_digest_changes_with_migrations_alone(tmp_path: Path) -> None:
    def digest() -> str:
        return release_migrations.migrations_digest(str(tmp_path))

    (tmp_path / "app/migrations").mkdir(parents=True)
    (tmp_path / "alembic/versions").mkdir(parents=True)
    seen = [digest()]
    for name in ("app/migrations/0001.py", "alembic/versions/ab.py", "app/migrations/0002.sql"):
        (tmp_path / name).write_text("x")
        seen.append(digest())
    (tmp_path / "app/migrations/0001.py").write_text("y")
    seen.append(digest())
    (tmp_path / "app/migrations/0001.py").rename(tmp_path / "app/migrations/0003.py")
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    for name in ("app/views.py", "app/migrations/README", "app/migrations/0001.pyc"):
        (tmp_path / name).write_text("x")
    (tmp_path / "app/migrations/gone.py").symlink_to("nowhere")
    assert digest() == seen[-1]


def test_the_digest_is_that_of_releases_made_before(tmp_path: Path) -> None:
    """They are compared at a rollback: this is how it was reckoned, directory by directory, files first."""
    files = {
        "b/migrations/0001.py": b"1",
        "b/migrations/0000/versions/x.py": b"x",
        "a/versions/z.sql": b"z",
        "a.b/migrations/m.py": b"",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    expected = hashlib.sha256()
    for directory, names, found in os.walk(tmp_path):
        names.sort()
        if os.path.basename(directory) in ("migrations", "versions"):
            for name in sorted(found):
                path = f"{directory}/{name}"
                expected.update(os.path.relpath(path, tmp_path).encode() + b"\0")
                expected.update(hashlib.sha256(Path(path).read_bytes()).digest())
    assert migrations_digest(str(tmp_path)) == expected.hexdigest()[:16]


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    directory = tmp_path / "code/migrations"
    directory.mkdir(parents=True)
    (directory / "0001.py").write_text("x")
    return directory


def test_links_count_as_what_they_lead_to_in_the_code(migrations: Path) -> None:
    code, plain = str(migrations.parent), migrations_digest(str(migrations.parent))
    for name, target in (
        ("gone.py", "nowhere"),
        ("out.py", "/etc/hostname"),
        ("zero.py", "/dev/zero"),
        ("directory.py", "."),
        ("circle.py", "circle.py"),
    ):
        (migrations / name).symlink_to(target)
    os.mkfifo(migrations / "fifo.py")
    (migrations / "fifo-link.py").symlink_to("fifo.py")
    assert migrations_digest(code) == plain
    (migrations / "real.py").symlink_to("../elsewhere.txt")
    (migrations.parent / "elsewhere.txt").write_text("1")
    with_link = migrations_digest(code)
    (migrations.parent / "elsewhere.txt").write_text("2")
    assert len({plain, with_link, migrations_digest(code)}) == 3


def test_a_sparse_file_is_not_read_whole(migrations: Path) -> None:
    code, large = str(migrations.parent), migrations / "large.py"
    with open(large, "wb") as file:
        file.truncate(20 << 30)
    first = migrations_digest(code)
    with open(large, "r+b") as file:
        file.truncate((20 << 30) + 1)
    second = migrations_digest(code)
    with open(large, "r+b") as file:
        file.write(b"changed")
    assert len({first, second, migrations_digest(code)}) == 3


def test_all_that_is_read_is_bounded(migrations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_migrations, "MOST_OF_ALL", 10)
    for number in range(2, 6):
        (migrations / f"000{number}.py").write_text("x" * 6)
    first = migrations_digest(str(migrations.parent))
    (migrations / "0005.py").write_text("y" * 6)
    assert migrations_digest(str(migrations.parent)) == first
    (migrations / "0005.py").write_text("y" * 7)
    assert migrations_digest(str(migrations.parent)) != first


def test_names_that_are_no_utf8(migrations: Path) -> None:
    before = migrations_digest(str(migrations.parent))
    (migrations / os.fsdecode(b"\xff.py")).write_text("x")
    assert migrations_digest(str(migrations.parent)) != before
