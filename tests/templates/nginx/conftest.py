"""The whole configuration of nginx as the role renders it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

from tests.templates.declared import APP, BUSY, SECURED


@pytest.fixture
def tree(tmp_path: Path, render: Callable[..., str], role_value: Callable[..., Any]) -> Callable[..., Path]:
    """`tree(nginx_http3=True)`: what the role writes below /etc/nginx, and the path of its nginx.conf."""

    def written(**variables: Any) -> Path:
        given = {"nginx_sites": apps.sites([APP, SECURED, BUSY]), **variables}
        given.setdefault("nginx_users", apps.site_users([BUSY], {"busy": {"ALICE_HASH": "$6$x"}}))
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
