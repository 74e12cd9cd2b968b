"""gixy, which knows misconfigurations of nginx, over the whole tree that the role renders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.gixy import findings


@pytest.mark.parametrize("debian", ["12", "13"])
def test_gixy_finds_nothing(tree: Callable[..., Path], debian: str) -> None:
    path = tree(
        ansible_facts={"distribution": "Debian", "distribution_major_version": debian},
        nginx_http3=True,
        nginx_trusted_proxies=["10.0.0.0/8"],
        nginx_balancers=["10.0.0.21"],
    )
    assert (path.parent / "emperor-stack/snippets/shop.server.conf").exists()
    assert findings(path) == []


def test_gixy_reads_the_files_that_are_included(tree: Callable[..., Path]) -> None:
    path = tree()
    with (path.parent / "emperor-stack/snippets/shop.server.conf").open("a") as file:
        file.write("location /files { alias /srv/files/; }\n")
    assert [one["plugin"] for one in findings(path)] == ["alias_traversal"]
