"""The script that installs what a lock pins, with a pip that does as it is told."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles/base/templates/install-locked.j2"

PIP = """
import pathlib, sys
target = next(word for word in sys.argv if word.startswith("--target=")).partition("=")[2]
pathlib.Path(target, "half").touch()
if pathlib.Path(sys.argv[-1]).read_text() == "bad":
    sys.exit("THESE PACKAGES DO NOT MATCH THE HASHES")
pathlib.Path(target, "half").rename(pathlib.Path(target, "whole"))
"""


class Host:
    def __init__(self, top: Path) -> None:
        self.top, self.lock = top, top / "tools.txt"
        self.lock.write_text("good")
        (top / "wheels").mkdir()
        (top / "temporary").mkdir()
        with zipfile.ZipFile(top / "wheels/pip-25.whl", "w") as wheel:
            wheel.writestr("pip/__main__.py", PIP)
        text = SCRIPT.read_text()
        for path, instead in {
            "/usr/share/python-wheels": top / "wheels",
            "/usr/bin/python3": sys.executable,
        }.items():
            assert text.count(path) == 1
            text = text.replace(path, str(instead))
        (top / "install-locked").write_text(text)

    def install(self, name: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/sh", str(self.top / "install-locked"), str(self.lock), str(self.top / name)]
        environment = {**os.environ, "TMPDIR": str(self.top / "temporary")}
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env=environment
        )
        assert os.listdir(self.top / "temporary") == []
        return found

    def there(self) -> dict[str, list[str]]:
        return {path.name: sorted(os.listdir(path)) for path in sorted(self.top.glob("tools-*"))}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_is_there_when_it_is_whole(host: Host) -> None:
    (host.top / "tools-a.new").mkdir()
    (host.top / "tools-a.new/of one that died").touch()
    assert host.install("tools-a").returncode == 0
    assert host.there() == {"tools-a": ["whole"]}
    # Not again.
    host.lock.write_text("bad")
    assert host.install("tools-a").returncode == 0


def test_what_cannot_be_had_leaves_the_one_before_alone(host: Host) -> None:
    host.install("tools-a")
    host.lock.write_text("bad")
    refused = host.install("tools-b")
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert "index-url in /etc/pip.conf" in refused.stderr
    assert host.there() == {"tools-a": ["whole"], "tools-b.new": ["half"]}
    host.lock.write_text("good")
    assert host.install("tools-b").returncode == 0
    assert host.there() == {"tools-a": ["whole"], "tools-b": ["whole"]}


def test_the_last_two_stay(host: Host) -> None:
    (host.top / "tools").symlink_to("tools-b")
    for number, name in enumerate(("tools-a", "tools-b", "tools-c")):
        assert host.install(name).returncode == 0
        os.utime(host.top / name, (number, number))
    assert list(host.there()) == ["tools-b", "tools-c"]
    assert (host.top / "tools").is_symlink()


def test_what_is_in_use_stays(host: Host) -> None:
    """By a link, and by an emperor that was started with it."""
    (host.top / "tools").symlink_to("tools-a")
    with subprocess.Popen(["sleep", "60"], env={"EMPEROR_STACK_UWSGI": str(host.top / "tools-b")}) as emperor:
        for number, name in enumerate(("tools-a", "tools-b", "tools-c", "tools-d", "tools-e")):
            assert host.install(name).returncode == 0
            os.utime(host.top / name, (number, number))
        emperor.kill()
    assert list(host.there()) == ["tools-a", "tools-b", "tools-d", "tools-e"]
    # One that is taken again is the newest.
    host.install("tools-a")
    (host.top / "tools").unlink()
    host.install("tools-f")
    assert list(host.there()) == ["tools-a", "tools-f"]


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"VERSION": "tools-a"}, id="the name alone"),
        pytest.param({"EMPEROR_STACK_UWSGI": "/somewhere/else/tools-a"}, id="the name elsewhere"),
        pytest.param({"EMPEROR_STACK_UWSGI": "{path}-2"}, id="a path that begins alike"),
        pytest.param({"PATH": "{path}:/usr/bin"}, id="not an emperor"),
    ],
)
def test_other_processes_keep_nothing(host: Host, environment: dict[str, str]) -> None:
    environment = {name: text.format(path=host.top / "tools-a") for name, text in environment.items()}
    with subprocess.Popen(["/bin/sleep", "60"], env=environment) as process:
        for number, name in enumerate(("tools-a", "tools-b", "tools-c")):
            assert host.install(name).returncode == 0
            os.utime(host.top / name, (number, number))
        process.kill()
    assert list(host.there()) == ["tools-b", "tools-c"]


def test_without_a_pip_it_says_what_brings_one(host: Host) -> None:
    (host.top / "wheels/pip-25.whl").unlink()
    refused = host.install("tools-a")
    assert refused.returncode == 1
    assert "python3-venv is missing" in refused.stderr
    assert host.there() == {}
