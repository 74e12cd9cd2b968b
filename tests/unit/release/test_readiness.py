"""What a deploy says of a host that `site.yml` has not set up for the app: before anything is built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout

from .playing import Host

NGINX = """# Written by Emperor Stack
server {
    server_name blog.example.com;
}
server {
    server_name www.blog.example.com;
    location / { return 301 $front_scheme://blog.example.com$request_uri; }
}
"""
APACHE = """<VirtualHost *:80>
    ServerName blog.example.com
</VirtualHost>
<VirtualHost *:80>
    ServerName www.blog.example.com
</VirtualHost>
"""


@pytest.fixture(params=[NGINX, APACHE], ids=["nginx", "apache"])
def sites(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "sites"
    directory.mkdir()
    (directory / "blog.conf").write_text(request.param)
    monkeypatch.setattr(layout, "FRONT_SITES", (str(tmp_path / "nowhere"), str(directory)))
    return directory


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"domains": ["new.example.com"]},
            "No site of this host's web server has new.example.com as its first domain.",
        ),
        # It is there, and leads to the other one.
        ({"domains": ["www.blog.example.com"]}, "has www.blog.example.com as its first domain."),
        (
            {"persistent_directories": [{"path": "media", "served": False}]},
            "/shared/media: persistent has a new",
        ),
    ],
)
def test_a_change_that_needs_the_site_playbook_is_said_before_anything_is_made(
    deploys: Host, sites: Path, changes: dict[str, object], said: str
) -> None:
    assert "error" not in deploys.deploy()
    made, live = list(deploys.calls), deploys.state.live_activation()
    outcome = deploys.phase("prepare", revision="b" * 40, **changes)
    assert said in outcome["error"] and "Run site.yml" in outcome["error"]
    assert deploys.calls == made and deploys.state.lock() is None
    assert deploys.state.live_activation() == live


def test_an_app_that_is_new_on_the_host_is_named(deploys: Host, sites: Path) -> None:
    os.rmdir(layout.state("blog"))
    said = deploys.phase("prepare")["error"]
    assert "This app is not set up on the host: it is new there, or was renamed." in said
    assert "Run site.yml" in said and deploys.calls == []


def test_a_persistent_directory_that_is_there_is_no_reason(deploys: Host, sites: Path) -> None:
    os.makedirs(f"{layout.shared('blog')}/media")
    changes = {"persistent_directories": [{"path": "media", "served": False}]}
    assert "error" not in deploys.phase("prepare", **changes)
