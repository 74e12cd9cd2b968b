"""What a host and a release are checked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed, TimedOut
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import checks
from ansible_collections.emperor.stack.plugins.module_utils.release.dependency_files import Wanted
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import emperor_check


def test_a_release_is_loaded_by_the_uwsgi_that_will_serve_it(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which that is, the unit of the running emperor says."""
    ran: list[dict[str, Any]] = []
    monkeypatch.setattr(checks, "run_as", lambda _, words, **how: ran.append({"words": words, **how}))
    asked: list[tuple[str, str]] = []

    def unit_property(emperor: str, name: str) -> str:
        asked.append((emperor, name))
        return "EMPEROR_STACK_UWSGI=/usr/local/lib/x-13-abc"

    monkeypatch.setattr(emperor_check, "unit_property", unit_property)
    monkeypatch.setattr(emperor_check, "running_emperor", lambda: "b")
    checks.check_vassal("blog", str(host), 5)
    assert asked == [("b", "Environment")]
    assert ran[0]["env"]["EMPEROR_STACK_UWSGI"] == "/usr/local/lib/x-13-abc"
    assert ran[0]["words"][: len(layout.launch(""))] == layout.launch(str(host))
    # Without a socket uWSGI has no process, and does not mind that nothing could be loaded.
    assert ran[0]["words"][-3:] == ["--socket", "127.0.0.1:0", "--no-server"]


def test_a_host_of_an_earlier_version_is_named_as_such(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "START_UWSGI", str(host / "start-uwsgi"))
    checks.check_host("gunicorn")
    with pytest.raises(ReleaseError, match=r"run site\.yml first"):
        checks.check_host("uwsgi")
    (host / "start-uwsgi").touch()
    checks.check_host("uwsgi")


def test_directories_of_modules_have_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "file").write_text("")
    checks.check_python_path(str(tmp_path), ["src"])
    for name in ("lib", "out", "file"):
        with pytest.raises(ReleaseError, match=rf"pythonpath: the source has no directory {name}\."):
            checks.check_python_path(str(tmp_path), [name])


def test_a_missing_module_is_explained_where_nothing_was_installed(tmp_path: Path) -> None:
    missing = CommandFailed("importing the app", "python", "exit status 1", "No module named 'django'")
    other = CommandFailed("importing the app", "python", "exit status 1", "SyntaxError")
    code = str(tmp_path)
    said = str(checks.lacks_dependencies(code, Wanted(), missing))
    assert said.startswith("nothing was installed, because the code has no file that names its dependencies")
    assert said.endswith(f"\n{missing}")
    assert checks.lacks_dependencies(code, Wanted(), other) is other
    assert checks.lacks_dependencies(code, Wanted(package="kinto==1"), missing) is missing
    (tmp_path / "requirements.txt").write_text("")
    assert checks.lacks_dependencies(code, Wanted(), missing) is missing


def test_a_disk_that_is_nearly_full(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_space()
    monkeypatch.setattr(checks, "NEEDED_BYTES", 2**70)
    with pytest.raises(ReleaseError, match="MiB free, but a build needs"):
        checks.check_space()


def test_an_import_that_takes_too_long_names_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> None:
        raise TimedOut("loading the app in uWSGI", "uwsgi", "still running after 5 s", "")

    monkeypatch.setattr(checks, "check_vassal", slow)
    with pytest.raises(
        ReleaseError, match=r"still running after 5 s\): uwsgi\nhealth\.timeout \(5 s\) limits the import"
    ):
        checks.check_server("uwsgi", "blog", "/r", 5)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("", "add gunicorn>=27.0 to its requirements"),
        ("26.2.0", "bring gunicorn 26.2.0. Before 27.0 it corrupts answers"),
        ("27.0.0", None),
        ("28.1", None),
    ],
)
def test_which_gunicorn_will_do(monkeypatch: pytest.MonkeyPatch, version: str, says: str | None) -> None:
    asked: list[list[str]] = []

    def run_as(app: str, argv: list[str], **_: Any) -> str:
        asked.append(argv)
        return f"{version}\n"

    monkeypatch.setattr(checks, "run_as", run_as)
    if says:
        with pytest.raises(ReleaseError, match=says):
            checks.check_gunicorn("blog", "/r", 5)
    else:
        checks.check_gunicorn("blog", "/r", 5)
        assert asked[-1][-4:] == ["gunicorn", "--check-config", "--config", "/r/gunicorn.conf.py"]


def test_a_time_that_systemd_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_: Any) -> str:
        if argv[-1] == "2026-02-31":
            raise CommandFailed(
                "systemd-analyze", "x", "exit status 1", "Failed to parse calendar expression"
            )
        return ""

    monkeypatch.setattr(checks, "run", run)
    checks.check_calendar({"a": {"at": "03:00"}, "b": {"at": None}})
    with pytest.raises(
        ReleaseError, match=r"schedule\.c\.at: .* does not accept .2026-02-31.: Failed to parse"
    ):
        checks.check_calendar({"c": {"at": "2026-02-31"}})
