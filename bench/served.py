"""Requests served: our stack beside the best by hand, beside gunicorn as its documentation has it, and beside the ceilings.

All on one host, one after the other in interleaved rounds, with the same code, the same venvs, the same users and the same
database files. The load comes from the same machine, so that it takes its part of the processor from each alike.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.console import Stop, note
from tools.project import ROOT

from . import stats, wrk
from .hosts import Fleet, inside, send, write

HERE = Path(__file__).resolve().parent / "served"
CONNECTIONS = 32
SECRET = "only-for-this-measurement-0123456789abcdef0123456789"  # noqa: S105

APPS: list[dict[str, Any]] = [
    {
        "name": "hello",
        "domains": ["hello.localhost"],
        "source": {"path": "bench/apps/hello"},
        "wsgi": "app:application",
    },
    {
        "name": "links",
        "domains": ["links.localhost"],
        "source": {"path": "examples/flask"},
        "wsgi": "wsgi:application",
        "migrate": "python -m links.migrate",
        "static": {"/static/": "links/static"},
        "persistent": ["data"],
        "secrets": ["SECRET_KEY"],
        "health": {"path": "/healthz"},
    },
    {
        "name": "notes",
        "domains": ["notes.localhost"],
        "source": {"path": "examples/django"},
        "wsgi": "notes.wsgi:application",
        "build": ["python manage.py collectstatic --noinput"],
        "migrate": "python manage.py migrate --noinput",
        "static": {"/static/": "staticfiles"},
        "persistent": ["data", "media"],
        "env": {"DJANGO_ALLOWED_HOSTS": "notes.localhost"},
        "secrets": ["SECRET_KEY"],
        "health": {"path": "/healthz"},
    },
]
SECRETS = {name: {"SECRET_KEY": SECRET} for name in ("links", "notes", "cache")}


def microcache() -> list[dict[str, Any]]:
    """The Flask example once more, with its answers kept for a moment; empty where the schema does not know that."""
    if str(ROOT / "collections") not in sys.path:
        sys.path.insert(0, str(ROOT / "collections"))
    from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields.app import APP

    if "cache" not in {each.name for each in APP.fields}:
        return []
    links = next(app for app in APPS if app["name"] == "links")
    return [{**links, "name": "cache", "domains": ["cache.localhost"], "cache": {"seconds": 10}}]


#: What is asked for, by the name that the figures have. The app behind it, and its path.
PAGES = {"hello": ("hello", "/"), "flask": ("links", "/api/links"), "django": ("notes", "/")}

#: Rows for pages that look like pages: written once, by the apps themselves.
ROWS = {
    "links": """
from links import create_app
from links.database import current
with create_app().app_context():
    for n in range(10):
        current().execute("INSERT INTO link (slug, url, title) VALUES (?, ?, ?)",
                          (f"link-{n}", f"https://www.example.com/articles/{n}", f"Article {n} on measuring"))
""",
    "notes": """
import django
django.setup()
from notes.models import Note, Tag
tags = [Tag.objects.create(name=f"tag-{n}") for n in range(5)]
for n in range(20):
    note = Note.objects.create(title=f"Note {n}", body="What was measured, and how. " * 10)
    note.tags.set(tags[: n % 4])
""",
}

#: "best front" is the nginx tuned by hand before this bundle's app: what it loses to the best is the app's half of the gap,
#: what the bundle loses to it is nginx's. "equal" is by hand, too, and does most of what the bundle does for a request.
PORTS = {"stack": 80, "best": 8081, "best front": 8086, "equal": 8087, "gunicorn": 8082}
#: uWSGI's own HTTP, without nginx; it takes one port an app.
ALONE = {"hello": 8091, "links": 8092, "notes": 8093}


@dataclass
class Measured:
    """Rounds of each page and variant, in the order in which they were run."""

    rate: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    p50: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    p99: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    #: Microseconds of processor that the servers took for a request. A busy machine disturbs these least.
    processor: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, page: str, variant: str, said: wrk.Said) -> None:
        for kept, value in ((self.rate, said.rate), (self.p50, said.p50), (self.p99, said.p99)):
            kept.setdefault(page, {}).setdefault(variant, []).append(value)


def filled(template: str, values: Mapping[str, object]) -> str:
    """A file of bench/served with its @NAMES@ filled in."""
    text = (HERE / template).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def environment(app: Mapping[str, Any]) -> dict[str, str]:
    """What the app finds in its environment."""
    return {**app.get("env", {}), **SECRETS.get(app["name"], {})}


def servers(variant: str, socket: str) -> str:
    """nginx's server blocks of *variant*, one for each app; *socket* has `{app}` for its name."""
    template = f"{variant if variant in ('gunicorn', 'equal') else 'best'}.server.conf"
    found = []
    for app in APPS:
        key = app["name"]
        values = {
            "APP": key,
            "PORT": PORTS[variant],
            "PUBLIC": f"/srv/apps/{key}/active/release/public",
            "SOCKET": socket.format(app=key),
        }
        found.append(filled(template, values))
    return "".join(found)


def uwsgi(release: str) -> str:
    """The uWSGI inside of the Python of *release*, as a command; role uwsgi_emperor has installed it."""
    library = "/usr/local/lib/emperor-stack"
    return (
        f"env EMPEROR_STACK_UWSGI=$(echo {library}/pyuwsgi-*) {release}/venv/bin/python {library}/start-uwsgi"
    )


def start(name: str, unit: str, command: str, *properties: str) -> None:
    inside(name, f"systemctl stop {unit} 2>/dev/null; systemctl reset-failed {unit} 2>/dev/null; true")
    inside(name, f"systemd-run --quiet --unit={unit} -p LimitNOFILE=65536 {' '.join(properties)} {command}")


def sizes(name: str, app: str) -> tuple[int, int]:
    """Processes and threads that our stack gives *app* on this host."""
    text = inside(name, f"cat /srv/apps/{app}/active/release/vassal.ini")
    values = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return int(values["processes"]), int(values["threads"])


def prepare(name: str) -> None:
    """Put the other servers beside our stack, which has its apps already."""
    inside(name, "apt-get install -q -y --no-install-recommends wrk >/dev/null")
    inside(name, "mkdir -p /srv/bench && install -d -m 0777 /run/bench")
    uv = "/usr/local/lib/emperor-stack/tools/bin/uv"
    send(name, HERE / "gunicorn.txt", "/srv/bench/gunicorn.txt")
    inside(
        name,
        f"export UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never; cd /srv/bench"
        f" && {uv} venv -q --clear --python /usr/bin/python3 venv"
        f" && {uv} pip install -q --compile-bytecode --require-hashes --python venv/bin/python -r gunicorn.txt",
    )
    for app in APPS:
        place(name, app)
    for app in microcache():
        fill(name, app["name"])
    blocks = {
        "best": servers("best", "/run/bench/best-{app}.sock")
        + servers("best front", "/srv/apps/{app}/active/app.sock")
        + servers("equal", "/run/bench/equal-{app}.sock"),
        "gunicorn": servers("gunicorn", "/run/bench/gunicorn-{app}.sock"),
    }
    for variant, block in blocks.items():
        text = filled(f"{variant}.nginx.conf", {"SERVERS": block})
        write(name, f"/srv/bench/{variant}.nginx.conf", text)
        start(name, f"bench-{variant}-nginx", f"nginx -c /srv/bench/{variant}.nginx.conf -g 'daemon off;'")


def place(name: str, app: Mapping[str, Any]) -> None:
    """Rows for *app*, and the other servers of it."""
    key, release = app["name"], f"/srv/apps/{app['name']}/active/release"
    release = inside(name, f"readlink -f {release}").strip()
    if key in ROWS:
        fill(name, key)
    processes, threads = sizes(name, key)
    values: dict[str, object] = {
        "APP": key,
        "RELEASE": release,
        "WSGI": app["wsgi"],
        "PROCESSES": processes,
        "THREADS": threads,
    }
    given = [f"--setenv={k}={v}" for k, v in environment(app).items()]
    sockets = {
        "best": f"socket = /run/bench/best-{key}.sock\nchmod-socket = 666",
        "equal": f"socket = /run/bench/equal-{key}.sock\nchmod-socket = 666",
        # It closes after each answer and does not say so, which a client would take for an error.
        "alone": f"http-socket = 127.0.0.1:{ALONE[key]}\nadd-header = Connection: close",
    }
    for variant, socket in sockets.items():
        path = f"/srv/bench/{variant}-{key}.ini"
        write(name, path, filled("best.uwsgi.ini", {**values, "SOCKET": socket}))
        # All that is known to help: the uWSGI inside of Debian's Python, too. "equal" is in a slice, as the bundle's.
        place = ["-p Slice=apps-bench.slice", "-p CPUWeight=100"] if variant == "equal" else []
        command = f"{uwsgi(release)} --ini {path}"
        start(name, f"bench-{variant}-{key}", command, "-p KillSignal=SIGQUIT", *place, *given)
    # As its documentation has it: a Unix socket, (2 x cores) + 1 workers of the default kind.
    packages = f"{release}/venv/lib/python$(python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])')/site-packages"
    start(
        name,
        f"bench-gunicorn-{key}",
        f"/srv/bench/venv/bin/gunicorn --workers $(( 2 * $(nproc) + 1 )) --umask 0"
        f" --bind unix:/run/bench/gunicorn-{key}.sock {app['wsgi']}",
        f"--uid={key} --gid={key} --working-directory={release}/code --setenv=PYTHONPATH={packages}",
        *given,
    )


def fill(name: str, app: str) -> None:
    """Write *app*'s rows, as its user and in its environment."""
    rows = ROWS["links" if app == "cache" else app]
    write(name, f"/srv/bench/{app}.rows.py", rows)
    settings = "DJANGO_SETTINGS_MODULE=notes.settings " if app == "notes" else ""
    launch = f"/srv/apps/{app}/active/release/launch.py"
    line = f"{settings}PYTHONPATH=. python /srv/bench/{app}.rows.py"
    inside(name, f"setpriv --reuid={app} --regid={app} --clear-groups python3 {launch} command '{line}'")


def variants(page: str) -> dict[str, tuple[str, str]]:
    """What is compared for *page*: URL and Host of each."""
    app, path = PAGES[page]
    host = f"{app}.localhost"
    found = {name: (f"http://127.0.0.1:{port}{path}", host) for name, port in PORTS.items()}
    found["uwsgi alone"] = (f"http://127.0.0.1:{ALONE[app]}{path}", host)
    if page == "hello":
        found["return 200"] = (f"http://127.0.0.1:{PORTS['best']}/", "nobody.localhost")
    if page == "flask" and microcache():
        found["microcache"] = (f"http://127.0.0.1:{PORTS['stack']}{path}", "cache.localhost")
    return found


def bodies(name: str) -> None:
    """All of a page's variants must give the same page, or their rates cannot be compared."""
    for page in PAGES:
        found = {}
        for variant, (url, host) in variants(page).items():
            found[variant] = inside(
                name, f"curl -sS --retry 10 --retry-connrefused --fail -H 'Host: {host}' '{url}'"
            )
        if page != "hello":
            # Django's answers have a token of their own, Flask's have the host in their links.
            found = {variant: str(len(text)) for variant, text in found.items()}
        if len(set(found.values())) != 1:
            raise Stop(
                f"the servers differ in their answers for {page}: {json.dumps(found)[:2000]}", "Look at them."
            )


def measure(
    name: str, rounds: int, seconds: int, connections: int = CONNECTIONS, only: tuple[str, ...] = ()
) -> Measured:
    """Interleaved rounds over all pages and variants."""
    measured = Measured()
    for number in range(rounds):
        for page in PAGES:
            chosen = {key: value for key, value in variants(page).items() if not only or key in only}
            for variant in stats.turn(list(chosen), number):
                url, host = chosen[variant]
                watched = groups(PAGES[page][0]).get(variant, [])
                before = wrk.processor(name, watched)
                said = wrk.load(name, url, host, connections, seconds)
                measured.add(page, variant, said)
                if watched:
                    spent = sum(wrk.processor(name, watched)) - sum(before)
                    each = spent / 1000 / (said.rate * seconds)
                    measured.processor.setdefault(page, {}).setdefault(variant, []).append(each)
        note(f"round {number + 1} of {rounds}: " + summary(measured))
    return measured


#: What is asked for of static files: style sheets of the app and of Django's admin, and a file as large as a picture.
FILES = {
    "2.4 kB": "/static/notes/style.css",
    "style sheet": "/static/admin/css/base.css",
    "1 MiB": "/static/bench.bin",
}


def static(name: str, rounds: int, seconds: int) -> Measured:
    """Static files through our site and through a bare one, interleaved."""
    inside(
        name,
        "cd $(readlink -f /srv/apps/notes/active/release/public)/static"
        " && head -c 1048576 /dev/urandom >bench.bin && chmod 0640 bench.bin && chgrp www-data bench.bin",
    )
    measured = Measured()
    for number in range(rounds):
        for page, path in FILES.items():
            for variant in stats.turn(("stack", "best"), number):
                url = f"http://127.0.0.1:{PORTS[variant]}{path}"
                measured.add(page, variant, wrk.load(name, url, "notes.localhost", CONNECTIONS, seconds))
    return measured


#: What nginx's workers ask of the kernel while one large file is fetched.
TRACE = """
pids=$(pgrep -P "$(cat /run/nginx.pid)" | sed 's/^/-p /')
strace -f -qq -e trace=sendfile,pread64,read,readv -o /srv/bench/trace $pids &
sleep 1
curl -sS -o /dev/null --fail -H 'Host: notes.localhost' http://127.0.0.1/static/bench.bin
sleep 0.5
kill -INT %1 2>/dev/null; wait
awk '/sendfile\\(/ && / = [0-9]+$/ {sent += $NF} /read/ && / = [0-9]+$/ && $NF > 65536 {read += $NF}
     END {print sent + 0, read + 0}' /srv/bench/trace
"""


def zero_copy(name: str) -> tuple[int, int]:
    """Bytes of a file of 1 MiB that nginx let the kernel send by itself, and bytes that it read."""
    inside(name, "apt-get install -q -y --no-install-recommends strace >/dev/null")
    write(name, "/srv/bench/trace.sh", TRACE)
    sent, read = inside(name, "bash /srv/bench/trace.sh").split()
    return int(sent), int(read)


#: Opens that many connections before the first is answered, sends a request on each, and counts the right answers.
BURST = """
import collections, resource, selectors, socket, sys, time
count, host = int(sys.argv[1]), sys.argv[2]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
chosen, said = selectors.DefaultSelector(), collections.Counter()
began = time.monotonic()
for _ in range(count):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", int(sys.argv[3])))
    chosen.register(one, selectors.EVENT_WRITE)
left, deadline = count, time.monotonic() + 60
while left and time.monotonic() < deadline:
    for key, events in chosen.select(1):
        one = key.fileobj
        try:
            if events & selectors.EVENT_WRITE:
                one.send(f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
                chosen.modify(one, selectors.EVENT_READ)
                continue
            answer = one.recv(65536)
            said[answer.split(b" ", 2)[1].decode() if answer else "closed"] += 1
        except OSError as error:
            said[type(error).__name__] += 1
        chosen.unregister(one)
        one.close()
        left -= 1
said["unanswered"] = left
right = said.pop("200", 0)
print(right, sum(said.values()), round(time.monotonic() - began, 2), dict(said))
"""


def burst(
    name: str, host: str = "notes.localhost", port: int = 80, connections: int = 2000
) -> tuple[int, int, str]:
    """So many connections at once: answered rightly, failed, and what happened to those."""
    write(name, "/srv/bench/burst.py", BURST)
    said = inside(name, f"python3 /srv/bench/burst.py {connections} {host} {port}").strip()
    right, failed, rest = said.split(" ", 2)
    return int(right), int(failed), rest


def groups(app: str) -> dict[str, list[str]]:
    """The control groups of each variant that has nginx in front: its nginx, and its server of *app*."""
    return {
        "stack": ["/nginx.service", f"/apps-{app}.slice/"],
        "best": ["/bench-best-nginx.service", f"/bench-best-{app}.service"],
        "best front": ["/bench-best-nginx.service", f"/apps-{app}.slice/"],
        "equal": ["/bench-best-nginx.service", f"/bench-equal-{app}.service"],
        "gunicorn": ["/bench-gunicorn-nginx.service", f"/bench-gunicorn-{app}.service"],
    }


def summary(measured: Measured) -> str:
    return ", ".join(
        f"{page} {statistics.median(rates['stack']) / statistics.median(rates['best']):.2f} of the best"
        for page, rates in measured.rate.items()
        if "best" in rates
    )


def host(hosts: Fleet, debian: int) -> str:
    """A host with our stack and the others beside it."""
    name = hosts.add("bench-served", debian)
    apps = [*APPS, *microcache()]
    secrets = {app["name"]: SECRETS[app["name"]] for app in apps if "secrets" in app}
    hosts.play("site.yml", [name], {"python_apps": apps, "vault_python_apps_secrets": secrets})
    prepare(name)
    bodies(name)
    return name
