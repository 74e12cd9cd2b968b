"""What a host says of itself: the distribution as Ansible's own facts have it, and packages that are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emperor.stack.plugins.modules import host_state

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'


@pytest.mark.parametrize(
    ("os_release", "debian_version", "wanted"),
    [
        (DEBIAN, "13.7\n", ("Debian", "13.7", "13")),
        (DEBIAN, "", ("Debian", "13", "13")),
        ("ID=debian\n", "trixie/sid\n", ("Debian", "trixie/sid", "")),
        (UBUNTU, "trixie/sid\n", ("Ubuntu", "24.04", "24")),
        ("ID=arch\n", "", ("arch", "", "")),
        ("", "", ("unknown", "", "")),
    ],
)
def test_distribution(os_release: str, debian_version: str, wanted: tuple[str, str, str]) -> None:
    facts = host_state.distribution(os_release, debian_version)
    names = ("distribution", "distribution_version", "distribution_major_version")
    assert tuple(facts[name] for name in names) == wanted


def test_a_package_that_was_removed_or_half_installed_is_missing() -> None:
    listing = "ii curl\nrc nginx\niF uwsgi\nii libc6\n"
    wanted = ["curl", "nginx", "uwsgi", "unheard-of"]
    assert host_state.missing(wanted, {}, listing) == ["nginx", "uwsgi", "unheard-of"]


def test_a_package_whose_work_another_one_does_is_not_missing() -> None:
    """apt would take the other one away, to install it."""
    wanted, alternatives = ["curl", "systemd-timesyncd"], {"chrony": "systemd-timesyncd"}
    assert host_state.missing(wanted, alternatives, "ii curl\nii chrony\n") == []
    assert host_state.missing(wanted, alternatives, "ii curl\nrc chrony\n") == ["systemd-timesyncd"]


def test_a_path_or_something_that_a_pattern_matches_is_there(tmp_path: Path) -> None:
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    pattern = f"{tmp_path}/releases/*/asgi.py"
    assert host_state.is_there(f"{tmp_path}/releases") and not host_state.is_there(f"{tmp_path}/none")
    assert not host_state.is_there(pattern)
    (tmp_path / "releases" / "r1" / "asgi.py").touch()
    assert host_state.is_there(pattern)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([], False),
        (["lock", "partial", "auxfiles"], False),
        (["deb.example.com_debian_dists_bookworm_InRelease"], False),
        (["deb.example.com_debian_dists_bookworm_main_binary-amd64_Packages.lz4"], True),
    ],
)
def test_whether_apt_has_lists(tmp_path: Path, names: list[str], wanted: bool) -> None:
    assert host_state.has_package_lists(str(tmp_path / "none")) is False
    for name in names:
        (tmp_path / name).touch()
    assert host_state.has_package_lists(str(tmp_path)) is wanted


def ask(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        host_state.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_all_in_one_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "os-release").write_text(DEBIAN)
    monkeypatch.setattr(host_state, "OS_RELEASE", str(tmp_path / "os-release"))
    monkeypatch.setattr(host_state, "DEBIAN_VERSION", str(tmp_path / "none"))
    monkeypatch.setattr(host_state, "APT_LISTS", str(tmp_path / "none"))
    monkeypatch.setattr(host_state, "dpkg_listing", lambda packages: f"ii {packages[0]}\n")
    there, not_there = str(tmp_path / "os-release"), str(tmp_path / "none")
    found = ask(capsys, packages=["curl", "nginx"], paths=[there, not_there])
    assert found["changed"] is False
    assert found["missing"] == ["nginx"]
    assert found["present"] == [there]
    assert found["package_lists"] is False
    assert found["ansible_facts"]["distribution_major_version"] == "13"


def test_another_system_is_not_asked_for_its_packages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "os-release").write_text("ID=arch\n")
    monkeypatch.setattr(host_state, "OS_RELEASE", str(tmp_path / "os-release"))

    def never(packages: list[str]) -> str:
        raise AssertionError("dpkg was asked")

    monkeypatch.setattr(host_state, "dpkg_listing", never)
    assert ask(capsys, packages=["curl"])["missing"] == ["curl"]
