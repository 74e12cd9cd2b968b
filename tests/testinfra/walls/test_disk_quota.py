"""`limits.disk` on ext4 and xfs, in a kernel that has project quotas: containers share one that may have none."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from deploying import figure

from tools import system, uml

PROGRAM = Path(__file__).with_name("quota_program.py")

FILE_SYSTEMS = {
    "ext4": ("e2fsprogs", ["mkfs.ext4", "-q", "-O", "project,quota", "-N", "60000"], "prjquota"),
    "xfs": ("xfsprogs", ["mkfs.xfs", "-q"], "pquota"),
}


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_an_app_has_no_more_of_the_disk_than_its_limit(kind: str, tmp_path: Path) -> None:
    package, make, options = FILE_SYSTEMS[kind]
    if not uml.available():
        pytest.skip("a kernel in user mode is to be had on Debian for x86-64 alone")
    if shutil.which(make[0]) is None:
        system.apt_install([package], f"{make[0]} is missing")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run([*make, str(disk)], check=True)
    uml.kernel()
    said = uml.run(PROGRAM, {"ubd0": disk}, {"DEVICE": "/dev/ubda", "OPTIONS": options})
    lines = [line for line in said.splitlines() if line.startswith("RESULT ")]
    assert lines, said[-3000:]
    found = json.loads(lines[0].removeprefix("RESULT "))
    assert "mounted without them" in found["without"]
    assert found["check"] == [3, 0]
    assert (found["changes"], found["again"]) == (3, [])
    assert found["counted"] == 4
    assert found["within"] == "none"
    # xfs says of a project that the disk is full.
    assert found["beyond"] in ("EDQUOT", "ENOSPC")
    assert "of the 16 MiB of its limits.disk" in found["hint"]
    assert found["neighbour"] == "none"
    assert found["root"] == "none"
    assert found["outside"] == 0
    assert found["files"] in ("EDQUOT", "ENOSPC")
    assert found["raised"] == "limited to 64 MiB"
    assert found["lifted"] == 1
    assert found["after"] == "none"
    figure(f"disk_quota_held_{kind}", "1/1")
