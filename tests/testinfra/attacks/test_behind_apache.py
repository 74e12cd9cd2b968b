"""The same attacks with Apache in front, as far as they need no TLS. What answers differs; what must not happen does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from appsite import address
from attacks.arena import Arena, Attack, harm_of
from attacks.catalogue import ATTACKS
from deploying import Stack, figure

#: What Apache takes for a request of its own, and lets an app see as it is: no other request is hidden in it.
TAKEN = {
    "smuggling: a request behind a body of no length": "neighbour xxxxxxxxxxGET /smuggled",
    "smuggling: a method in small letters": "victim get /smuggled",
    "smuggling: HTTP/3.1": "victim GET /smuggled",
    "host: victim.localhost.": "victim GET /",
    "host: VICTIM.LocalHost": "victim GET /",
}

stopped: list[str] = []


def needs_tls(attack: Attack) -> bool:
    # Without TLS the app that has it does not redirect to it.
    sent = attack.sends if isinstance(attack.sends, bytes) else b""
    return attack.tls or attack.name.startswith(("HTTP/2:", "TLS:")) or b"secured.localhost" in sent


PLAIN = [attack for attack in ATTACKS if not needs_tls(attack)]


@pytest.fixture(scope="module")
def behind_apache(stack: Stack, planted: None) -> Arena:
    apps = [{key: value for key, value in app.items() if key != "tls"} for app in stack.apps]
    other = replace(stack, apps=apps, variables={"front_server": "apache"})
    other.good("site.yml")
    return Arena(address(stack.host), apps=("victim", "neighbour"))


@pytest.mark.parametrize("attack", PLAIN, ids=lambda one: one.name)
def test_it_is_stopped_by_apache_too(behind_apache: Arena, attack: Attack) -> None:
    outcome = behind_apache.suffer(attack)
    if attack.name in TAKEN:
        assert outcome.seen[-1] == TAKEN[attack.name], outcome
    else:
        assert harm_of(attack, outcome) == "", outcome
    stopped.append(attack.name)


def test_how_many_it_stopped(behind_apache: Arena) -> None:
    figure("attacks_stopped_by_apache", f"{len(stopped)}/{len(PLAIN)}")
    assert len(stopped) == len(PLAIN)
