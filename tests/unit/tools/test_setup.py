from __future__ import annotations

import sys

import pytest

from tools import setup
from tools.console import Stop

LOCK = """\
urllib3==2.1 \\
    --hash=sha256:aaa
uv==0.9.1 \\
    --hash=sha256:bbb \\
    --hash=sha256:ccc
wcmatch==12 ; python_version < '3.12' \\
    --hash=sha256:ddd
"""


def test_the_locked_uv_comes_with_its_hashes_and_nothing_else():
    assert setup.locked(LOCK, "uv") == "uv==0.9.1 \\\n    --hash=sha256:bbb \\\n    --hash=sha256:ccc\n"


def test_the_last_package_of_a_lock_is_whole():
    assert (
        setup.locked("uv==0.9.1 \\\n    --hash=sha256:bbb\n", "uv") == "uv==0.9.1 \\\n    --hash=sha256:bbb\n"
    )


def test_a_lock_without_the_package_is_an_error_with_a_remedy():
    with pytest.raises(Stop, match=r"does not lock uv.*make lock"):
        setup.locked("uvicorn==1 \\\n    --hash=sha256:aaa\n", "uv")


def test_the_real_lock_has_uv_and_names_no_index():
    lock = setup.LOCK.read_text()
    assert "--hash=sha256:" in setup.locked(lock, "uv")
    assert "://" not in lock
    assert "--find-links" not in lock


def test_an_old_python_is_passed_over_for_a_newer_one(fake, monkeypatch):
    fake("python3.11", "echo 3 11")
    fake("old", "echo 3 9")
    monkeypatch.setattr(setup, "candidates", lambda: ["old", "python3.11"])
    assert setup.choose_python() == "python3.11"


def test_without_a_python_of_the_right_age_the_message_says_how_to_name_one(fake, monkeypatch):
    fake("old", "echo 3 9")
    monkeypatch.setattr(setup, "candidates", lambda: ["old"])
    with pytest.raises(Stop, match=r"no Python 3\.11 or newer.*make PYTHON="):
        setup.choose_python()


def test_a_shim_of_uv_that_does_not_work_is_not_used(fake, monkeypatch, tmp_path):
    fake("uv", "exit 1")
    monkeypatch.setattr(setup, "VENV", tmp_path / "none")
    monkeypatch.setattr(setup, "bootstrap_uv", lambda python: f"bootstrapped by {python}")
    assert setup.find_uv(sys.executable) == f"bootstrapped by {sys.executable}"


def test_a_python_without_ensurepip_gets_the_name_of_the_package(fake, monkeypatch, tmp_path):
    fake("python3.11", 'case "$*" in *ensurepip*) exit 1;; esac')
    monkeypatch.setattr(setup, "CACHE", tmp_path)
    monkeypatch.setattr(setup.system, "is_root", lambda: False)
    monkeypatch.setattr(setup.system, "has_apt", lambda: True)
    with pytest.raises(Stop, match="sudo apt-get install python3-venv"):
        setup.bootstrap_uv("python3.11")


def test_a_changed_lock_makes_the_venv_stale(monkeypatch, tmp_path):
    lock, stamp = tmp_path / "lock", tmp_path / "stamp"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    lock.write_text("uv==1")
    for name, value in {"LOCK": lock, "STAMP": stamp, "VENV": tmp_path}.items():
        monkeypatch.setattr(setup, name, value)
    assert not setup.is_current()
    stamp.write_text(setup.fingerprint())
    assert setup.is_current()
    lock.write_text("uv==2")
    assert not setup.is_current()


def test_bytecode_is_written_although_the_caller_writes_none(monkeypatch, tmp_path):
    package, collection = tmp_path / "ansible", tmp_path / "ansible_collections" / "x"
    for directory in (package, collection):
        directory.mkdir(parents=True)
        (directory / "__init__.py").touch()
    (package / "not_python.py").write_text("{% x %}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    setup.compile_bytecode(sys.executable)
    assert [path.parent.parent.name for path in tmp_path.rglob("*.pyc")] == ["ansible"]
