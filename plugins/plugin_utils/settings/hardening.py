"""What role hardening is given, checked and made ready for its templates; and what needrestart says, made readable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from . import parameters

PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
#: Matching of one rule would end where these begin.
KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
#: What balancers say to each other; it has no ports.
VRRP = "vrrp"
OURS = re.compile(r"^(?:nginx|emperor@[ab]|app_.+)\.service$")


def span(port: object) -> tuple[int, int] | None:
    """The first and the last port that *port* means, None when it means none."""
    match = PORT.fullmatch(str(port))
    if not match:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return (first, last) if 1 <= first <= last <= 65535 else None


def networks(texts: Iterable[str]) -> list[tuple[str, list[str]]]:
    """nft's word for each family of addresses with what is in *texts*; what lies in another is not repeated."""
    parsed = [ip_network(text) for text in texts]
    four = collapse_addresses(network for network in parsed if isinstance(network, IPv4Network))
    six = collapse_addresses(network for network in parsed if isinstance(network, IPv6Network))
    families = [("ip", [str(network) for network in four]), ("ip6", [str(network) for network in six])]
    return [(family, members) for family, members in families if members]


def rules(wanted: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules of nft, each with its protocol and its first and last port. Sorted, so that order makes no difference."""
    made: dict[str, dict[str, Any]] = {}
    for rule in wanted:
        if rule.get("protocol") == VRRP:
            for family, of in networks(rule.get("from") or []):
                match = f"{family} saddr {{ {', '.join(of)} }} meta l4proto 112"
                made[match] = {"match": match, "protocol": VRRP, "first": 0, "last": 0}
            continue
        ports = span(rule["port"])
        if ports is None:
            continue
        protocol = rule.get("protocol") or "tcp"
        first, last = ports
        text = f"{protocol} dport {first if first == last else f'{first}-{last}'}"
        sources = networks(rule.get("from") or [])
        for match in [f"{family} saddr {{ {', '.join(of)} }} {text}" for family, of in sources] or [text]:
            made[match] = {"match": match, "protocol": protocol, "first": first, "last": last}
    return [made[match] for match in sorted(made)]


def problems(
    wanted: Iterable[Mapping[str, Any]], ssh: Mapping[str, Any], sysctl: Mapping[str, Any], reboot: str
) -> list[str]:
    """Invalid settings: place, reason and fix of each."""
    texts = []
    for rule in wanted:
        if rule.get("protocol") != VRRP and span(rule.get("port", "")) is None:
            texts.append(
                f"hardening_firewall_allow: the port {rule.get('port')!r} is neither a number from 1 to 65535 nor a range. "
                "Write {port: 9100} or {port: 8000-8010}"
            )
        for text in rule.get("from") or []:
            try:
                ip_network(text)
            except ValueError as error:
                texts.append(
                    f"hardening_firewall_allow: {error}. Write an address or a network without host bits, "
                    "such as from: [192.0.2.7, 10.0.0.0/8]"
                )
    for keyword, value in ssh.items():
        if isinstance(value, bool):
            texts.append(f'hardening_ssh_settings: {keyword} is a boolean of YAML. Quote it: {keyword}: "no"')
        elif not KEYWORD.fullmatch(str(keyword)) or "\n" in str(value):
            texts.append(f"hardening_ssh_settings: {keyword!r} is not a keyword with a one-line value")
    texts += parameters.problems("hardening_sysctl", sysctl, several=True)
    if reboot and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(reboot)):
        texts.append(f'hardening_upgrades_reboot is {reboot!r}, but must be a time such as "04:00", or empty')
    return texts


def outdated_services(said: str) -> list[str]:
    """Lines for a person from `needrestart -b`; none where all is up to date."""
    services = re.findall(r"^NEEDRESTART-SVC: (\S+)$", said, re.MULTILINE)
    ours = [name for name in services if OURS.match(name)]
    others = [name for name in services if name not in ours]
    lines = []
    if ours:
        lines.append(f"old libraries in {', '.join(ours)}: run playbooks/restart.yml, which drops no request")
    if others:
        lines.append(f"old libraries in {', '.join(others)}: restart them with systemctl when convenient")
    kernel = dict(re.findall(r"^NEEDRESTART-K(STA|CUR|EXP): (.+)$", said, re.MULTILINE))
    # 1 means that the newest one runs, 0 that nobody knows.
    if kernel.get("STA") in ("2", "3"):
        lines.append(
            f"kernel {kernel.get('CUR')} runs, {kernel.get('EXP')} is installed: reboot when convenient"
        )
    return lines
