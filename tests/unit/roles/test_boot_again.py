"""What the emperor runs for a vassal that has ended."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parents[3] / "roles/uwsgi_emperor/templates"


@pytest.mark.parametrize("stopped", [True, False])
def test_the_emperors_hook(tmp_path: Path, stopped: bool) -> None:
    """What it leaves running has none of the emperor's sockets: their clients would wait for it."""
    said = tmp_path / "said"
    helper = tmp_path / "boot-apps"
    helper.write_text(
        f"#!/bin/sh\n(echo \"$@\"; readlink /proc/$$/fd/* | grep -c '^socket:') >{said}.new\nmv {said}.new {said}\n"
    )
    helper.chmod(0o755)
    vassals = tmp_path / "vassals/b"
    vassals.mkdir(parents=True)
    if not stopped:
        (vassals / "blog@7.ini").symlink_to("/nowhere")
    hook = tmp_path / "boot-again"
    text = (TEMPLATES / "boot-again.j2").read_text().replace("/usr/local/lib/emperor-stack", str(tmp_path))
    hook.write_text(text.replace("sleep 1 ", "sleep 0.1 "))
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    # It ends when the program in the background has let go of the pipe.
    subprocess.run(
        ["/bin/bash", str(hook), "blog@7.ini"],
        env={"PATH": "/usr/bin:/bin", "UWSGI_VASSALS_DIR": str(vassals)},
        stdout=subprocess.PIPE,
        pass_fds=[one.fileno() for one in sockets],
        check=True,
        timeout=30,
    )
    for one in sockets:
        one.close()
    assert said.exists() is not stopped
    if not stopped:
        assert said.read_text() == "b blog@7.ini\n0\n"
