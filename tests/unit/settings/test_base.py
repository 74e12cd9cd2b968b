"""Invalid settings of role base."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.settings import base


@pytest.mark.parametrize(
    ("minimum", "certificates", "words"),
    [
        ({"net.core.somaxconn": "many"}, [], "base_sysctl_minimum: net.core.somaxconn: many is not a kernel"),
        ({"net.core.somaxconn": "1 2"}, [], "with a number. Write net.core.somaxconn: 4096"),
        ({"net.core.somaxconn": True}, [], "is not a kernel parameter"),
        ({"$(id).x": 1}, [], "$(id).x: 1 is not a kernel parameter"),
        ({"a'.b": 1}, [], "is not a kernel parameter"),
        ({"../x": 1}, [], "is not a kernel parameter"),
        ({"net.core.x'; id #": 1}, [], "is not a kernel parameter"),
        ({"somaxconn": 1}, [], "is not a kernel parameter"),
        ({}, ["a/root.crt", "b/root.pem", "c.crt"], "base_ca_certificates: root: several files"),
    ],
)
def test_what_is_invalid_is_named(minimum: dict[str, Any], certificates: list[str], words: str) -> None:
    (said,) = base.problems(minimum, certificates)
    assert words in said


def test_what_is_right_has_no_problem() -> None:
    minimum = {"net.core.somaxconn": 4096, "vm.max_map_count": "262144", "net/ipv4/conf/eth0.1/mtu": 1}
    assert base.problems(minimum, ["a/root.crt", "other.crt"]) == []
