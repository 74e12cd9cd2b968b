"""What an attack is, and how it is judged: by what came back, by what the apps saw, and by who is served afterwards."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

WEAK_PORT = 8099
MARKS = {name: f"MARK-OF-THE-{name.upper()}" for name in ("victim", "neighbour", "secured")}

#: What no answer may hold: files of the host or of an app, and versions, programs and paths of the inside.
LEAKS = re.compile(
    rb"SOURCE-OF-THE-APP|HIDDEN-FILE|root:x:0:0|Index of /|Traceback|uwsgi|uWSGI|/srv/apps|/run/emperor|"
    rb"(?i:x-release:|nginx/[0-9]|apache/[0-9]|debian|python/[0-9]|x-powered-by)"
)

#: Stands for the answer where none came and the connection stays open: whoever waits so has not refused anything.
SILENCE = b"HTTP/0.0 000 nothing\r\n"


@dataclass(frozen=True)
class Outcome:
    #: All that came back, on all connections.
    raw: bytes
    #: What the apps saw, as `victim GET /path`, and the whole of it.
    seen: tuple[str, ...]
    requests: tuple[Mapping[str, Any], ...]

    @property
    def statuses(self) -> tuple[int, ...]:
        """Of all answers; none where the connection was closed without one."""
        return tuple(int(found) for found in re.findall(rb"(?m)^HTTP/[0-9.]+ ([0-9]{3}) ", self.raw))

    def header(self, name: str) -> list[str]:
        """A header's values in the answers."""
        found = re.findall(rb"(?mi)^" + name.encode() + rb":[ \t]*([^\r\n]*)", self.raw)
        return [value.decode("latin-1") for value in found]

    def __str__(self) -> str:
        statuses = " ".join(map(str, self.statuses)) or "no answer"
        seen = ", ".join(self.seen) if len(self.seen) < 4 else f"{self.seen[0]} and {len(self.seen) - 1} more"
        return f"{statuses}; seen: {seen or 'nothing'}"


Harm = Callable[[Outcome], str]


def none(outcome: Outcome) -> str:
    return ""


@dataclass(frozen=True)
class Attack:
    name: str
    #: Bytes for one connection, or what sends them by itself and returns what came back.
    sends: bytes | Callable[[Arena], bytes]
    #: All answers that are in order, each as the statuses on the connection. () is a connection closed without one.
    answers: tuple[tuple[int, ...], ...]
    #: What the apps may see of it, and no more; each in order. None leaves it to `harm`.
    seen: tuple[tuple[str, ...], ...] | None = ((),)
    #: What would be harm here, beyond what would be everywhere.
    harm: Harm = none
    tls: bool = False
    #: The weak server falls to it, so it is one that can get through.
    works_on_weak: bool = False


def common_harm(outcome: Outcome) -> str:
    if found := LEAKS.search(outcome.raw):
        return f"the answer tells {found[0]!r}"
    if smuggled := [one for one in outcome.seen if "/smuggled" in one]:
        return f"an app saw {smuggled[0]}"
    for name in MARKS.keys() - {"victim"}:
        asked = any(one.startswith(f"{name} ") for one in outcome.seen)
        if MARKS[name].encode() in outcome.raw and not asked:
            return f"the mark of {name} came back"
    return ""


@dataclass
class Arena:
    """The host as attackers and users reach it, over the network."""

    address: str
    port: int = 80
    #: How long a connection may be silent before it counts as answered.
    silence: float = 0.4
    apps: tuple[str, ...] = tuple(MARKS)
    counts: dict[str, int] = field(default_factory=dict)

    def on(self, port: int) -> Arena:
        """The same host and what is known of its apps, on another port."""
        return replace(self, port=port)

    def connect(self, port: int = 0) -> socket.socket:
        return socket.create_connection((self.address, port or self.port), timeout=10)

    def secure(
        self, name: str | None = "secured.localhost", alpn: Iterable[str] = ("http/1.1",)
    ) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(list(alpn))
        return context.wrap_socket(self.connect(443), server_hostname=name)

    def exchange(self, sent: bytes, tls: bool = False, name: str | None = "secured.localhost") -> bytes:
        """All that comes back on one connection until it is closed or silent."""
        with contextlib.closing(self.secure(name) if tls else self.connect()) as connection:
            return self.talk(connection, sent)

    def talk(self, connection: socket.socket, sent: bytes) -> bytes:
        # A server that has had enough closes in the middle.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(sent)
        return self.listen(connection)

    def listen(self, connection: socket.socket) -> bytes:
        came = b""
        # The first byte may take a while on a busy machine, and is waited for.
        connection.settimeout(10)
        try:
            while piece := connection.recv(65536):
                came += piece
                connection.settimeout(self.silence)
        except TimeoutError:
            return came or SILENCE
        except OSError:
            pass
        return came

    def ask(self, app: str, path: str, patience: float = 20) -> tuple[int, bytes]:
        """A usual request on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, 80, timeout=patience)
        if app == "secured":
            connection.sock = self.secure()
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": f"{app}.localhost"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def news(self) -> list[tuple[str, dict[str, Any]]]:
        """What the apps have seen since the last look. That each of them answers this is what users are promised."""
        found: list[tuple[str, dict[str, Any]]] = []
        for app in self.apps:
            status, body = self.ask(app, f"/seen?after={self.counts.get(app, 0)}")
            assert status == 200, f"{app} answers {status} after the attack: {body[:200]!r}"
            self.counts[app], requests = json.loads(body)
            found += [(app, request) for request in requests]
        return found

    def suffer(self, attack: Attack) -> Outcome:
        """The attack, and what came of it."""
        if not self.counts:
            self.news()
        raw = attack.sends(self) if callable(attack.sends) else self.exchange(attack.sends, attack.tls)
        news = self.news()
        seen = tuple(f"{app} {one['REQUEST_METHOD']} {one['PATH_INFO']}" for app, one in news)
        return Outcome(raw, seen, tuple(request for _, request in news))


def harm_of(attack: Attack, outcome: Outcome) -> str:
    return attack.harm(outcome) or common_harm(outcome)


def judge(attack: Attack, outcome: Outcome) -> str:
    """Why the attack was not stopped, or nothing."""
    if harm := harm_of(attack, outcome):
        return harm
    if outcome.statuses not in attack.answers:
        return f"the answers were {outcome.statuses}, and one of {attack.answers} was expected"
    if attack.seen is not None and outcome.seen not in attack.seen:
        return f"the apps saw {outcome.seen}, and one of {attack.seen} was expected"
    return ""
