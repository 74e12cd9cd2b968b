"""What the firewall's rules become, what of the settings is refused, and how needrestart's answer reads."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.settings import hardening as settings


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ([{"port": 80}], ["tcp dport 80"]),
        ([{"port": "8000-8010"}, {"port": 443, "protocol": "udp"}], ["tcp dport 8000-8010", "udp dport 443"]),
        ([{"port": 80}, {"port": "80", "protocol": "tcp"}], ["tcp dport 80"]),
        (
            [{"port": 9100, "from": ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]}],
            ["ip saddr { 10.0.0.0/8, 192.0.2.7/32 } tcp dport 9100", "ip6 saddr { fd00::/8 } tcp dport 9100"],
        ),
        # nft takes no set in which one element lies in another.
        (
            [{"port": 9100, "from": ["10.1.0.0/16", "10.0.0.0/8"]}],
            ["ip saddr { 10.0.0.0/8 } tcp dport 9100"],
        ),
        # What balancers say to each other has no port.
        (
            [{"protocol": "vrrp", "from": ["10.0.0.21"]}],
            ["ip saddr { 10.0.0.21/32 } meta l4proto 112"],
        ),
        ([{"protocol": "vrrp", "from": []}], []),
        # Of clients of one family only, it must not be open to all of the other.
        ([{"port": 9100, "from": ["fd00::/8"]}], ["ip6 saddr { fd00::/8 } tcp dport 9100"]),
    ],
)
def test_rules(wanted: list[dict[str, Any]], matches: list[str]) -> None:
    assert [one["match"] for one in settings.rules(wanted)] == matches


def test_the_order_of_the_list_makes_no_other_firewall() -> None:
    one, two = {"port": 80}, {"port": 9100, "from": ["10.0.0.0/8"]}
    assert settings.rules([one, two]) == settings.rules([two, one])


@pytest.mark.parametrize(
    "port", ["0", "65536", "90-80", "http", "80; accept", "80 accept", "", "-80", None, "80\n"]
)
def test_a_port_that_is_none_is_refused(port: object) -> None:
    said = settings.problems([{"port": port}], {}, {}, "")
    assert len(said) == 1
    assert "nor a range" in said[0]


@pytest.mark.parametrize("network", ["10.0.0.1/8", "example.com", "10.0.0.0/8 } accept", ""])
def test_a_network_that_is_none_is_refused(network: str) -> None:
    said = settings.problems([{"port": 80, "from": [network]}], {}, {}, "")
    assert "Write an address or a network" in said[0]


@pytest.mark.parametrize(
    ("ssh", "sysctl", "reboot", "words"),
    [
        ({"X11Forwarding": False}, {}, "", 'Quote it: X11Forwarding: "no"'),
        ({"X11Forwarding": "no\nPermitRootLogin yes"}, {}, "", "not a keyword with a one-line value"),
        ({"Match User": "ann"}, {}, "", "not a keyword with a one-line value"),
        ({}, {"../../etc/passwd": 1}, "", "is not a kernel parameter"),
        ({}, {"net.ipv4.tcp_syncookies": True}, "", "is not a kernel parameter"),
        ({}, {}, "25:00", "must be a time"),
    ],
)
def test_settings_that_cannot_be_meant(
    ssh: dict[str, Any], sysctl: dict[str, Any], reboot: str, words: str
) -> None:
    said = settings.problems([], ssh, sysctl, reboot)
    assert len(said) == 1
    assert words in said[0]


def test_what_is_right_has_no_problem() -> None:
    rules = [{"port": 80}, {"port": "1-65535", "protocol": "udp", "from": ["::1", "10.0.0.0/8"]}]
    parameters = {"net.ipv4.conf.*.rp_filter": 2, "net.ipv4.tcp_rmem": "4096 131072 6291456"}
    assert settings.problems(rules, {"LogLevel": "VERBOSE"}, parameters, "04:00") == []


def test_what_needrestart_says() -> None:
    said = """NEEDRESTART-VER: 3.11
NEEDRESTART-KCUR: 6.1.0-1-amd64
NEEDRESTART-KEXP: 6.1.0-2-amd64
NEEDRESTART-KSTA: 3
NEEDRESTART-SVC: cron.service
NEEDRESTART-SVC: emperor@a.service
NEEDRESTART-SVC: nginx.service
"""
    ours, others, kernel = settings.outdated_services(said)
    assert "emperor@a.service, nginx.service" in ours
    assert "playbooks/restart.yml" in ours
    assert "cron.service" in others
    assert "6.1.0-1-amd64 runs, 6.1.0-2-amd64 is installed" in kernel


@pytest.mark.parametrize(
    "said", ["", "NEEDRESTART-VER: 3.11\nNEEDRESTART-KSTA: 1\n", "NEEDRESTART-KSTA: 0\n"]
)
def test_nothing_to_say(said: str) -> None:
    assert settings.outdated_services(said) == []
