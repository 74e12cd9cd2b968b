"""What the tests know about the three example apps, and how they talk to them: as clients on the network."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from testinfra.host import Host

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@dataclass(frozen=True)
class App:
    """One example app: where it answers and what proves that a page is its own."""

    name: str
    heading: str
    #: The page that has the form, the fields to fill in ({} is replaced), and its hidden token.
    form: str
    fields: dict[str, str]
    token: str
    #: Static files: URL → file of the source tree that must arrive byte for byte.
    static: dict[str, str]
    #: A file of the source that must never be served.
    secret_file: str

    @property
    def domain(self) -> str:
        return f"{self.name}.localhost"


APPS = (
    App(
        name="notes",
        heading="All notes",
        form="/new",
        fields={"title": "{}", "body": "Grüße", "tags": "tests"},
        token="csrfmiddlewaretoken",
        static={
            "/static/notes/style.css": "django/notes/static/notes/style.css",
            "/favicon.ico": "django/notes/static/favicon.ico",
        },
        secret_file="manage.py",
    ),
    App(
        name="links",
        heading="Links worth keeping",
        form="/",
        fields={"url": "https://example.org/{}", "title": "{}"},
        token="token",
        static={
            "/static/style.css": "flask/links/static/style.css",
            "/favicon.ico": "flask/links/static/favicon.ico",
        },
        secret_file="wsgi.py",
    ),
    App(
        name="polls",
        heading="What do you think?",
        form="/ask",
        fields={"question": "{}", "answers": "Ja\nNö"},
        token="csrf_token",
        static={
            "/static/style.css": "pyramid/polls/static/style.css",
            "/favicon.ico": "pyramid/polls/static/favicon.ico",
        },
        secret_file="production.ini",
    ),
)


@dataclass(frozen=True)
class Front:
    """The web server in front of the apps, as far as one differs from another."""

    unit: str
    #: What it calls itself in the header Server.
    server: str
    check: str
    configuration: str
    #: Whether a request for no site of ours is left without any answer, or refused with one that tells nothing.
    is_silent: bool
    #: Whether it hands a chunked body on, or asks for a length.
    takes_chunks: bool

    @property
    def error_log(self) -> str:
        return f"/var/log/{self.unit}/error.log"


FRONTS = {
    "nginx": Front("nginx", "nginx", "nginx -t", "/etc/nginx", is_silent=True, takes_chunks=True),
    "apache": Front("apache2", "Apache", "apache2 -t", "/etc/apache2", is_silent=False, takes_chunks=False),
}


def front(host: Host) -> Front:
    """What the inventory wants in front of the apps of *host*."""
    variables = host.backend.ansible_runner.get_variables(host.backend.host)
    return FRONTS[variables.get("front_server", "nginx")]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A browser at one app of one host. It remembers cookies, and asks the container's own address."""

    host: Host
    app: App
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """One request on a connection of its own. A body that is an iterator is sent in chunks."""
        sent = {"Host": self.app.domain, **(headers or {})}
        if self.cookies and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(address(self.host), 80, timeout=timeout)
        try:
            connection.request(method, path, body, sent, encode_chunked=isinstance(body, Iterator))
            return self._answer(connection)
        finally:
            connection.close()

    def announce(self, path: str, length: int) -> Answer:
        """Say that a body of that length will follow, and wait for the answer without sending it."""
        connection = http.client.HTTPConnection(address(self.host), 80, timeout=20)
        try:
            connection.putrequest("POST", path, skip_host=True)
            for name, value in (("Host", self.app.domain), ("Content-Length", str(length))):
                connection.putheader(name, value)
            connection.endheaders()
            return self._answer(connection)
        finally:
            connection.close()

    def _answer(self, connection: http.client.HTTPConnection) -> Answer:
        response = connection.getresponse()
        set_cookies = [
            value.split(";")[0].partition("=") for value in response.headers.get_all("Set-Cookie", [])
        ]
        found = {name: value for name, _, value in set_cookies}
        self.cookies.update(found)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read(), found)

    def get(self, path: str, headers: dict[str, str] | None = None, timeout: float = 60) -> Answer:
        return self.ask("GET", path, headers=headers, timeout=timeout)

    def diagnostics(self, what: str) -> Any:
        answer = self.get(f"/diagnostics/{what}")
        assert answer.status == 200, (answer.status, answer.body[:300])
        return answer.json()

    def submit(self, word: str, headers: dict[str, str] | None = None) -> Answer:
        """Open the app's form and send it, filled in with *word*, as a browser does."""
        page = self.get(self.app.form, headers)
        token = re.search(rf'name="{self.app.token}" value="([^"]+)"', page.text)
        assert token, page.text[:500]
        values = {name: value.format(word) for name, value in self.app.fields.items()}
        body = urlencode(values | {self.app.token: token[1]}).encode()
        domain = (headers or {}).get("Host", self.app.domain)
        return self.ask(
            "POST",
            self.app.form,
            body,
            {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": f"http://{domain}",
                **(headers or {}),
            },
        )

    def works(self) -> bool:
        """Does the app answer a real page just now?"""
        try:
            answer = self.get("/", timeout=5)
        except OSError:
            return False
        except http.client.HTTPException:
            return False
        return answer.status == 200 and self.app.heading in answer.text

    def on_loopback(self, path: str) -> dict[str, str]:
        """The headers of an answer that the host itself gets."""
        script = (
            "import http.client, json\n"
            "c = http.client.HTTPConnection('127.0.0.1', 80, timeout=20)\n"
            f"c.request('GET', {path!r}, headers={{'Host': {self.app.domain!r}}})\n"
            "print(json.dumps({k.lower(): v for k, v in c.getresponse().getheaders()}))"
        )
        found: dict[str, str] = json.loads(python(self.host, script))
        return found


def container(host: Host) -> str:
    """The name of the container behind *host*."""
    inventory_name: str = host.backend.host
    name: str = host.backend.ansible_runner.get_variables(inventory_name).get("ansible_host", inventory_name)
    return name


def address(host: Host) -> str:
    """Asked anew each time: a container may come back from a restart with another one."""
    fields = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    done = subprocess.run(
        ["docker", "inspect", "--format", fields, container(host)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


def python(host: Host, script: str, user: str | None = None) -> str:
    """Run *script* with the host's Python; if given, as *user* (name or number), without other groups."""
    if user is None:
        done = host.run("python3 -c %s", script)
    else:
        group = user if user.isdigit() else host.check_output("id -g %s", user)
        done = host.run("setpriv --reuid=%s --regid=%s --clear-groups python3 -c %s", user, group, script)
    assert done.rc == 0, done.stderr
    output: str = done.stdout
    return output.strip()


def eventually(question: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask until the answer is yes."""
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.25)


def location(answer: Answer) -> str:
    """Where a redirect leads on this site: path and query."""
    parts = urlsplit(answer.headers["location"])
    return parts.path + (f"?{parts.query}" if parts.query else "")
