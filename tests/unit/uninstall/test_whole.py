"""What leaves a host with Emperor Stack, and what does not."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.file_set import items
from ansible_collections.emperor.stack.plugins.module_utils.file_set import manifest as file_sets
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.uninstall import whole


class Place:
    """A host below *top*, whose commands are noted."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self.calls: list[str] = []
        self.debians: dict[str, str] = {}
        self.state = top / "var/lib/emperor-stack"
        self.sets = self.state / "file_set"
        self.sets.mkdir(parents=True)
        for name, path in (
            ("UNITS", "units"), ("CONFIG", "etc/emperor-stack"), ("RUN", "run"), ("LIBRARY", "lib"), ("APPS", "apps"),
            ("BACKUPS", "backups"), ("HOST_STATE", "var/lib/emperor-stack"),
        ):  # fmt: skip
            monkeypatch.setattr(layout, name, str(top / path))
        monkeypatch.setattr(file_sets, "MANIFESTS", str(self.sets))
        monkeypatch.setattr(whole, "TREES", (str(top / "etc/emperor-stack"),))
        monkeypatch.setattr(whole, "KEPT", (str(top / "local"), str(top / "tls")))
        monkeypatch.setattr(whole, "run", self._run)
        monkeypatch.setattr(whole, "_remove_logins", lambda: self.calls.append("logins"))
        (top / "units").mkdir()

    def _run(self, argv: list[str], **_: Any) -> str:
        if "dpkg-query" in argv:
            return "".join(f"{name}: {path}\n" for path, name in self.debians.items())
        if argv[0] == "sh" and "tar -C" in argv[2]:
            return os.popen(" ".join(["tar", "-C", "/", "-czf", argv[3], "--", *argv[4:]])).read()  # noqa: S605
        self.calls.append(" ".join(argv))
        if argv[:2] == ["systemctl", "disable"] and argv[-1].endswith(".slice"):
            raise CommandFailed("x", "x", "exit status 1", "Unit has no installation config")
        return ""

    def write(self, **sets: dict[str, str | None]) -> None:
        """Files by set: path below the top → content; None is a directory."""
        for name, files in sets.items():
            known = {}
            for path, content in files.items():
                full = self.top / path
                if content is None:
                    full.mkdir(parents=True, exist_ok=True)
                else:
                    full.parent.mkdir(parents=True, exist_ok=True)
                    full.write_text(content)
                known[str(full)] = [
                    items.fingerprint("directory" if content is None else "file", (content or "").encode())
                ]
            (self.sets / f"{name}.json").write_text(
                json.dumps({"version": 1, "files": known, "sensitive": []})
            )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_what_the_removal_of_apps_wrote_anew_goes_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    directories = place.top / "etc/tmpfiles.d/emperor-stack.conf"
    monkeypatch.setattr(whole, "REWRITTEN", frozenset({str(directories)}))
    place.write(python_apps={"etc/tmpfiles.d/emperor-stack.conf": "d /run/blog"})
    directories.write_text("")
    found = whole.written()
    whole.remove(found)
    assert found.edited == [] and not directories.exists()


def test_exactly_what_was_written_goes(place: Place) -> None:
    place.write(
        base={
            "etc/sysctl.d": None,
            "etc/sysctl.d/60-emperor-stack.conf": "x",
            "etc/own": None,
            "etc/own/a": "a",
        },
        nginx={"etc/nginx/nginx.conf": "ours", "etc/nginx/changed": "ours", "etc/gone": "x"},
    )
    (place.top / "etc/sysctl.d/99-local.conf").write_text("theirs")
    (place.top / "etc/nginx/changed").write_text("by hand")
    (place.top / "etc/gone").unlink()
    place.debians = {str(place.top / "etc/nginx/nginx.conf"): "nginx-common"}
    found = whole.written()
    assert found.edited == [str(place.top / "etc/nginx/changed")]
    assert whole.remove(found) == ["nginx-common"]
    left = {str(path.relative_to(place.top / "etc")) for path in (place.top / "etc").rglob("*")}
    assert left == {"nginx", "nginx/changed", "sysctl.d", "sysctl.d/99-local.conf"}
    assert not place.state.exists()
    said = whole.stays(["nginx-common"], found.edited)
    assert any("--reinstall" in line and "nginx-common" in line for line in said)
    assert any("etc/nginx/changed: changed since" in line for line in said)
    assert not whole.written()


def test_a_directory_of_debian_stays_although_it_is_empty(place: Place) -> None:
    place.write(base={"etc/sysctl.d": None, "etc/sysctl.d/60-emperor-stack.conf": "x", "etc/own": None})
    place.debians = {str(place.top / "etc/sysctl.d"): "procps"}
    whole.remove(whole.written())
    assert (place.top / "etc/sysctl.d").is_dir()
    assert not (place.top / "etc/own").exists()


def test_a_link_out_of_what_is_ours_is_not_followed(place: Place) -> None:
    outside = place.top / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    config = place.top / "etc/emperor-stack"
    config.mkdir(parents=True)
    (config / "link").symlink_to(outside)
    place.write(base={"etc/own/a": "a"})
    whole.remove(whole.written())
    assert not config.exists() and (outside / "kept").exists()


def test_nothing_is_deleted_by_guess(place: Place) -> None:
    (place.sets / "base.json").write_text('{"version": 2}')
    with pytest.raises(ValueError, match="not a manifest"):
        whole.written()
    # Contents of sites, and no manifest.
    (place.sets / "base.json").unlink()
    (place.sets / "nginx.good.json").write_text("{}")
    (place.sets / "nginx.json.lock").write_text("")
    assert whole.written().files == []


def test_units_stop_before_their_files_go_and_visitors_before_all(place: Place) -> None:
    units = {
        f"units/{name}": "x"
        for name in ("a.service", "a.timer", "apps.slice", "emperor@.service", "a.socket")
    }
    place.write(uwsgi=units)
    (place.top / "units/nginx.service.d").mkdir()
    (place.top / "units/nginx.service.d/emperor-stack.conf").write_text("x")
    wants = place.top / "units/multi-user.target.wants"
    wants.mkdir()
    (wants / "emperor@a.service").symlink_to(place.top / "units/emperor@.service")
    (wants / "ssh.service").symlink_to(place.top / "units/absent")
    whole.stop_front()
    assert place.calls == ["systemctl disable --quiet --now nginx.service"]
    place.calls.clear()
    whole.remove(whole.written())
    stopped = [call.rpartition(" ")[2] for call in place.calls if " stop " in call or "--now" in call]
    assert stopped[:5] == ["a.timer", "a.socket", "a.service", "apps.slice", "apps.slice"]
    assert "emperor@a.service" in stopped
    assert place.calls.index("systemctl daemon-reload") > place.calls.index("systemctl stop apps.slice")
    assert sorted(os.listdir(wants)) == ["ssh.service"]


def test_a_run_that_dies_leaves_what_the_next_one_goes_on_by(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(base={"etc/own/a": "a"})

    def die() -> None:
        raise CommandFailed("userdel", "userdel", "exit status 8", "user is logged in")

    monkeypatch.setattr(whole, "_remove_logins", die)
    with pytest.raises(CommandFailed):
        whole.remove(whole.written())
    assert (place.sets / "base.json").exists()
    monkeypatch.setattr(whole, "_remove_logins", lambda: None)
    assert whole.written()
    whole.remove(whole.written())
    assert not whole.written()


def test_what_nobody_could_write_again_is_kept_for_root_alone(place: Place) -> None:
    assert whole.keep(0) == ""
    (place.top / "local/blog").mkdir(parents=True)
    assert whole.keep(0) == ""
    (place.top / "local/blog/x.conf").write_text("by hand")
    path = whole.keep(0)
    assert path.endswith("backups/host-19700101T000000Z.tar.gz")
    with tarfile.open(path) as archive:
        assert any(name.endswith("local/blog/x.conf") for name in archive.getnames())


def test_a_package_that_dpkg_names_with_its_architecture(place: Place) -> None:
    place.debians = {"/etc/a": "libfoo:amd64", "/etc/other": "x"}
    assert whole.owners(["/etc/a", "/etc/b"]) == {"/etc/a": "libfoo"}
    assert whole.owners([]) == {}
