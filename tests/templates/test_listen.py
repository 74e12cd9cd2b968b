"""The length of an app's queue is one setting, and all that has to do with it goes along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.emperor.stack.plugins.plugin_utils.release.specs import LISTEN

ROOT = Path(__file__).resolve().parents[2]


def test_what_goes_without_saying_is_the_same_for_all(role_value: Callable[..., Any]) -> None:
    """For the emperor, who binds sockets, for the kernel, which caps them, and for what releases are known by."""
    wanted = role_value("python_apps", "python_apps_listen")
    assert role_value("uwsgi_emperor", "uwsgi_emperor_listen") == wanted
    assert role_value("base", "base_sysctl_minimum")["net.core.somaxconn"] == wanted
    assert wanted == LISTEN


def test_the_playbook_tells_the_emperor(render: Callable[..., str]) -> None:
    (play,) = (
        play for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text()) if play.get("roles")
    )
    assert play["vars"]["uwsgi_emperor_listen"] == "{{ python_apps_listen }}"
    text = render("uwsgi_emperor", "emperor.ini.j2", emperor="a", uwsgi_emperor_listen=77)
    assert "\nlisten = 77\n" in text
