"""gixy, which knows misconfigurations of nginx, over the whole tree that the role renders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

from tests.templates.declared import APP, BUSY, SECURED
from tools.gixy import findings


@pytest.fixture
def tree(tmp_path: Path, render: Callable[..., str], role_value: Callable[..., Any]) -> Callable[..., Path]:
    """`tree(nginx_http3=True)`: what the role writes below /etc/nginx, and the path of its nginx.conf."""

    def written(**variables: Any) -> Path:
        given = {"nginx_sites": apps.sites([APP, SECURED, BUSY]), **variables}
        given["nginx_users"] = apps.site_users([BUSY], {"busy": {"ALICE_HASH": "$6$x"}})
        for item in role_value("nginx", "__nginx_files", **given):
            if not item["path"].startswith("/etc/nginx/") or "template" not in item:
                continue
            name = item.get("as", "item")
            for element in item.get("each", [None]):
                given_as = {name: SimpleNamespace(**element) if isinstance(element, dict) else element}
                place = item["path"].format(**given_as)
                path = tmp_path / place.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(render("nginx", item["template"], **{**given, name: element}))
        (tmp_path / "etc/nginx/mime.types").write_text("types { }\n")
        return tmp_path / "etc/nginx/nginx.conf"

    return written


@pytest.mark.parametrize("debian", ["12", "13"])
def test_gixy_finds_nothing(tree: Callable[..., Path], debian: str) -> None:
    path = tree(
        ansible_facts={"distribution": "Debian", "distribution_major_version": debian},
        nginx_http3=True,
        nginx_trusted_proxies=["10.0.0.0/8"],
    )
    assert (path.parent / "emperor-stack/snippets/shop.server.conf").exists()
    assert findings(path) == []


def test_gixy_reads_the_files_that_are_included(tree: Callable[..., Path]) -> None:
    path = tree()
    with (path.parent / "emperor-stack/snippets/shop.server.conf").open("a") as file:
        file.write("location /files { alias /srv/files/; }\n")
    assert [one["plugin"] for one in findings(path)] == ["alias_traversal"]
