"""Settings of role haproxy that are invalid although their type is right."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.settings import haproxy

HASH = "$6$abc$" + "x" * 86


def problems(
    users: dict[str, str] | None = None,
    address: str = "127.0.0.1",
    interval: str = "1s",
    hard_stop: str = "1h",
) -> list[str]:
    return haproxy.problems(users or {}, address, interval, hard_stop)


def test_the_defaults_and_users_with_hashes_are_right() -> None:
    assert problems() == []
    assert problems({"alice": HASH}, "*", "500ms", "10m") == []
    assert problems(address="fd00::1") == []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (problems({"alice": "secret"}), "the value of alice is not a hash"),
        (problems({"alice": f"{HASH}\nuser eve insecure-password x"}), "the value of alice is not a hash"),
        (problems({"a b": HASH}), "'a b' is not a name"),
        (problems(address="lb1"), "haproxy_status_address is 'lb1'"),
        (problems(interval="1"), "haproxy_check_interval is '1'"),
        (problems(hard_stop="1h\n    nbthread 1"), "haproxy_hard_stop is"),
    ],
)
def test_what_is_wrong_is_said(found: list[str], reason: str) -> None:
    assert len(found) == 1 and reason in found[0]
    assert "secret" not in found[0]
