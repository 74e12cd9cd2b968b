"""Attacks over the network against a host as `site.yml` makes it: none gets through, none takes it down.

Each is judged by what came back, by what the apps saw, and by whether they serve afterwards. The weak server shows that
the judges notice a success.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import eventually, python
from attacks import http2, slow
from attacks.arena import MARKS, Arena, Attack, harm_of, judge
from attacks.catalogue import ATTACKS, agreed, certificate_shown, get, openssl
from deploying import ROOT, Stack, figure, load
from testinfra.host import Host

#: Of each attack: what answered, and why it was not stopped, if so.
results: dict[str, tuple[str, str]] = {}


def noted(name: str, answered: str, problem: str) -> None:
    results[name] = (answered, problem)
    assert not problem, f"{name}: {problem} ({answered})"


@pytest.fixture(scope="session")
def processes(stack: Stack, arena: Arena) -> dict[str, str]:
    return running(stack.host)


def running(host: Host) -> dict[str, str]:
    """The processes that are to outlive everything here."""
    emperor = host.run("cat %s/emperor", layout.CONFIG).stdout.strip() or "a"
    found = {
        unit: host.check_output("systemctl show --property=MainPID --value %s", unit)
        for unit in ("nginx", f"emperor@{emperor}")
    }
    found["nginx workers"] = host.check_output("pgrep --parent %s", found["nginx"])
    for app in MARKS:
        found[app] = host.check_output("pgrep --oldest -u %s", app)
    return found


# That an attack can succeed, and is noticed then


def test_what_apps_see_is_noticed(arena: Arena) -> None:
    """Two usual requests on one connection: a smuggled one would be seen as these are."""
    both = get("/first").replace(b"Connection: close\r\n", b"") + get("/smuggled")
    outcome = arena.suffer(Attack("two requests", both, ()))
    assert outcome.seen == ("victim GET /first", "victim GET /smuggled")
    assert "an app saw" in harm_of(Attack("two requests", both, ()), outcome)
    neighbour = Attack("the neighbour's page", get("/quiet", host="neighbour.localhost"), ())
    assert harm_of(neighbour, arena.suffer(neighbour)) == "the mark of neighbour came back"


def test_a_usual_request_by_http2_is_answered(arena: Arena) -> None:
    good = Attack(
        "good",
        lambda arena: http2.exchange(arena, http2.request(http2.GOOD)),
        ((200,),),
        (("secured GET /h2",),),
    )
    assert judge(good, arena.suffer(good)) == ""


def test_a_handshake_that_succeeds_is_noticed(arena: Arena) -> None:
    for harm in (agreed, certificate_shown):
        usual = Attack("usual", openssl("-servername", "secured.localhost", "-tls1_2"), (), harm=harm)
        assert harm_of(usual, arena.suffer(usual)).startswith(("a connection was made", "a certificate came"))


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.works_on_weak], ids=lambda one: one.name)
def test_a_weak_server_falls_to_it(arena: Arena, weak: int, attack: Attack) -> None:
    outcome = arena.on(weak).suffer(attack)
    assert attack.harm(outcome), f"the attack proves nothing: {outcome}"


# The attacks


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_it_is_stopped(arena: Arena, processes: dict[str, str], attack: Attack) -> None:
    outcome = arena.suffer(attack)
    noted(attack.name, str(outcome), judge(attack, outcome))


@pytest.mark.parametrize("user", ["neighbour", "nobody"])
@pytest.mark.parametrize("which", ["socket", "statistics", "statistics of the emperor"])
def test_another_user_of_the_host_reaches_no_socket(
    stack: Stack, arena: Arena, user: str, which: str
) -> None:
    host = stack.host
    activation = host.check_output("readlink %s", layout.active("victim")).rpartition("/")[2]
    emperor = host.run("cat %s/emperor", layout.CONFIG).stdout.strip() or "a"
    path = {
        "socket": layout.socket("victim", activation),
        "statistics": layout.stats_socket("victim", activation),
        "statistics of the emperor": f"{layout.RUN}/emperor-{emperor}.stats",
    }[which]
    script = (
        "import errno, socket\n"
        "try:\n"
        f"    socket.socket(socket.AF_UNIX).connect({path!r})\n"
        "    print('connected')\n"
        "except OSError as error:\n"
        "    print(errno.errorcode[error.errno])"
    )
    assert python(host, script) == "connected", "root can, so it is there"
    came = python(host, script, user)
    noted(f"socket: {which}, by {user}", came, "" if came == "EACCES" else "it can be connected to")


def test_the_log_has_the_address_that_really_asked(stack: Stack, arena: Arena) -> None:
    """Whatever a visitor says: fail2ban and people read it."""
    arena.exchange(get("/forged-address", "X-Forwarded-For: 203.0.113.66", "X-Real-IP: 203.0.113.66"))
    arena.exchange(get('/forged-line%0a{"client":"203.0.113.66"}', 'User-Agent: x","client":"203.0.113.66'))
    log = "/var/log/nginx/victim.access.log"

    def entries() -> list[str]:
        said: list[str] = stack.host.check_output("tail -n 50 %s", log).splitlines()
        return [line for line in said if "/forged-" in line]

    eventually(lambda: len(entries()) == 2, 5, "both requests are in the log")
    clients = {json.loads(line)["client"] for line in entries()}
    real = [one for one in clients if one != "203.0.113.66"]
    noted(
        "log: a forged address",
        f"the log says {' '.join(real)}",
        "" if len(real) == len(clients) == 1 else "forged",
    )


def test_texts_of_the_inventory_change_no_configuration() -> None:
    """On the controller, where they are typed: the unit test that walks the schema."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-k", "no_text_changes"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOLECULE_")}
    done = subprocess.run(
        [*command, "tests/templates/test_hostile_texts.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"figure: hostile_texts_harmless = ([0-9]+)/([0-9]+)", done.stdout)
    assert found, done.stdout[-2000:]
    figure("hostile_texts_harmless", f"{found[1]}/{found[2]}")
    answered = f"{found[1]} of {found[2]} are refused, or change nothing"
    noted("texts of python_apps", answered, done.stdout[-2000:] if done.returncode else "")


# Slow clients


def test_slow_clients_stop_an_app_behind_a_weak_server(arena: Arena, weak: int) -> None:
    """Eight of them are enough: it hands bodies on as they come, and each holds one of the app's four threads."""
    with slow.held(arena.address, weak, slow.BODY, 8) as clients:
        slow.drip(clients, 2, b"x")
        with pytest.raises(TimeoutError):
            arena.ask("victim", "/quiet", patience=2)
    eventually(lambda: b" 200 " in arena.exchange(get("/quiet")), 30, "the app serves again")


def test_users_are_served_beside_slow_clients(stack: Stack, arena: Arena, processes: dict[str, str]) -> None:
    eventually(lambda: not arena.news(), 20, "the app has done with what was before")
    phases: dict[str, tuple[float, float, int]] = {}
    with load(stack.host, "victim.localhost", ["/quiet", "/static/style.css"], rate=40) as result:
        for name, first, byte in (
            ("slow heads", slow.LORIS, b"x"),
            ("slow bodies", slow.BODY, b"x"),
            ("slow readers", slow.READ, b""),
        ):
            with slow.held(arena.address, 80, first) as clients:
                began = time.time()
                slow.drip(clients, 7, byte)
                phases[name] = (began, time.time(), slow.open_ones(clients))
    figure("slow_connections_failed_requests", f"{result.failed}/{result.total}")
    for name, (began, ended, count) in phases.items():
        # That they were really there, and slow: what was closed at once would have hurt nobody.
        assert count >= 0.9 * slow.CONNECTIONS, (name, count)
        beside = [one for one in result.answers if began < one["began"] < ended]
        failed = [one for one in beside if one.get("failure")]
        assert len(beside) > 100, name
        answered = f"{len(failed)} of {len(beside)} requests of users failed beside {count} connections"
        noted(f"slow: {name}", answered, str(failed[:5]) if failed else "")
    assert result.failed == 0, result.failures()
    seen = {request["PATH_INFO"] for _, request in arena.news()}
    assert seen == {"/large"}, "what is not whole has not reached an app"


# Afterwards


def test_the_same_processes_serve_on(stack: Stack, arena: Arena, processes: dict[str, str]) -> None:
    assert running(stack.host) == processes
    died = stack.host.run("grep -h 'exited on signal' /var/log/nginx/error.log").stdout
    assert died == ""
    for app, mark in MARKS.items():
        assert arena.ask(app, "/quiet") == (200, f"{app} {mark}".encode())


def test_the_table_of_all_attacks() -> None:
    width = max(map(len, results))
    for name, (answered, problem) in results.items():
        print(f"  {name:<{width}}  {problem and 'GOT THROUGH: '}{problem or answered}")
    stopped = [name for name, (_, problem) in results.items() if not problem]
    figure("attacks_stopped", f"{len(stopped)}/{len(results)}")
    # And those at sockets, at the log, by texts and by slow clients.
    assert len(stopped) == len(results) == len(ATTACKS) + 6 + 1 + 1 + 3
