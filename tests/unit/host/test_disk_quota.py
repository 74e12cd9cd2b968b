"""`limits.disk` as far as no kernel is asked; tests/testinfra/walls/test_disk_quota.py asks one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import disk_quota
from ansible_collections.emperor.stack.plugins.module_utils.host.disk_quota import Limit, Usage

ROOT = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"
APPS = "36 21 8:2 / /srv rw,relatime shared:2 - ext4 /dev/sdb1 rw,prjquota"


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        ([ROOT], "/srv/apps", False),
        ([ROOT + ",prjquota"], "/srv/apps", True),
        ([ROOT, APPS], "/srv/apps", True),
        ([ROOT, APPS], "/srvapps", False),
        (
            [ROOT + ",prjquota", "36 21 8:2 / /srv/apps rw - xfs /dev/sdb1 rw,attr2,noquota"],
            "/srv/apps",
            False,
        ),
        ([ROOT, "36 21 8:2 / /srv/apps rw - xfs /dev/sdb1 rw,attr2,inode64,prjquota"], "/srv/apps", True),
        # A mount over another one at the same place hides that.
        ([ROOT, APPS, "37 36 0:40 / /srv rw - tmpfs tmpfs rw"], "/srv/apps", False),
        ([ROOT, r"36 21 8:2 / /srv/my\040apps rw - ext4 /dev/sdb1 rw,prjquota"], "/srv/my apps", True),
        # Not the option's name in another one.
        ([ROOT.replace("rw,relatime", "rw,context=prjquota")], "/srv/apps", False),
    ],
)
def test_a_file_system_has_quotas_when_its_mount_says_so(lines: list[str], path: str, expected: bool) -> None:
    assert disk_quota.has_quotas(path, "\n".join(lines) + "\n") is expected


def test_a_limit_of_bytes_stands_for_a_number_of_files_too() -> None:
    assert Limit.of("2G") == Limit(2 * 1024**3)
    assert Limit.of("2G").inodes == 2 * 1024**3 // 8192
    assert Limit.of("16M").inodes == disk_quota.LEAST_INODES


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, ""),
        (Usage(10, 0, 3, 0), ""),
        (Usage(10 << 20, 16 << 20, 3, 20000), ""),
        (Usage(16 << 20, 16 << 20, 3, 20000), "It uses 16 of the 16 MiB of its limits.disk"),
        # What has no limit of bytes has none of files either.
        (Usage(1 << 20, 16 << 20, 20000, 20000), "It has 20000 files, but its limits.disk allows 20000"),
    ],
)
def test_a_failure_of_an_app_with_a_full_disk_says_so(
    monkeypatch: pytest.MonkeyPatch, found: Usage | None, expected: str
) -> None:
    monkeypatch.setattr(disk_quota, "usage", lambda project: found)
    assert disk_quota.hint("root").startswith(expected)
    assert bool(disk_quota.hint("root")) is bool(expected)
    assert disk_quota.hint("nobody-of-this-name") == ""


def test_a_host_without_quotas_is_left_alone_by_apps_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_quota, "usage", lambda project: None)
    assert disk_quota.ensure("blog", 4001, None) == []


def test_a_limit_that_cannot_hold_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(ROOT + "\n")
    monkeypatch.setattr(disk_quota, "MOUNTS", str(mounts))
    with pytest.raises(
        disk_quota.Unsupported, match=r"prjquota \(ext4: first run `tune2fs -O project,quota`"
    ):
        disk_quota.ensure("blog", 4001, Limit.of("16M"))
