"""Settings of role keepalived that are invalid although their type is right."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.settings.keepalived import problems


@pytest.mark.parametrize(
    "given", [("", "", 0, 0), ("192.0.2.10/24", "eth0", 51, 0.5), ("2001:db8::10/64", "ens3.10", 255, 1)]
)
def test_right_settings_and_none_are_right(given: tuple[str, str, int, float]) -> None:
    assert problems(*given) == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("192.0.2.10", "eth0", 51, 0.5), "must be an IP address with its prefix"),
        (("vip/24", "eth0", 51, 0.5), "must be an IP address with its prefix"),
        (("192.0.2.10/24", "", 51, 0.5), "Set the network interface that gets 192.0.2.10/24"),
        (("192.0.2.10/24", "eth0 }", 51, 0.5), "keepalived_interface is 'eth0 }'"),
        (("192.0.2.10/24", "eth0", 0, 0.5), "keepalived_router_id is 0"),
        (("192.0.2.10/24", "eth0", 51, 0.01), "keepalived_interval is 0.01"),
    ],
)
def test_what_is_wrong_is_said(given: tuple[str, str, int, float], reason: str) -> None:
    (found,) = problems(*given)
    assert reason in found
