"""What the emperor has done for each vassal: `confine`, and the unit that it starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parents[3] / "roles/uwsgi_emperor/templates"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs that write down how they are called, one word a line."""
    for name in ("systemd-run", "busctl"):
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >>{tmp_path}/calls\n')
    (tmp_path / "pidwait").write_text(f'#!/bin/sh\necho "waits for $(cat "$2")" >>{tmp_path}/calls\n')
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    return tmp_path


def run(programs: Path, name: str, *words: str, **variables: str) -> list[str]:
    text = (TEMPLATES / f"{name}.j2").read_text().replace("/run/emperor-stack/", f"{programs}/")
    (programs / name).write_text(text)
    path = f"{programs}:{os.environ['PATH']}"
    subprocess.run(["/bin/sh", str(programs / name), *words], env={"PATH": path, **variables}, check=True)
    return (programs / "calls").read_text().splitlines()


def test_confine_starts_the_guard_and_waits_for_nothing(programs: Path) -> None:
    words = run(programs, "confine", UWSGI_VASSAL_CONFIG="/x/my-app@7.ini", UWSGI_VASSAL_PID="4711")
    assert {"--no-block", "--collect", "--unit=emperor-stack-guard-my-app-7-4711.service"} < set(words)
    # A shutdown ends the emperor first, and by it the vassals.
    assert "--property=DefaultDependencies=no" in words
    assert words[-3:] == ["/usr/local/lib/emperor-stack/guard", "my-app@7", "4711"]


def test_the_scope_ends_with_the_guard_which_ends_with_the_vassal(programs: Path) -> None:
    words = run(programs, "guard", "my-app@7", "4711")
    guard = "emperor-stack-guard-my-app-7-4711.service"
    scope = words.index("app_my-app_web.7.4711.scope")
    given = words[scope + 3 : -2]
    assert words[scope + 1 : scope + 3] == ["fail", "7"]
    assert " ".join(given[:7]) == "PIDs au 1 4711 Slice s apps-my\\x2dapp.slice"
    for kind in ("BindsTo", "After"):
        at = given.index(kind)
        assert given[at : at + 4] == [kind, "as", "1", guard]
    assert words[-1] == "waits for 4711"
    assert not list(programs.glob("guard.*")), "the file is gone once it is open"
