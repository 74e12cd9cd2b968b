"""Defaults of the served path that evidence chose: what each gives, before and after, in interleaved rounds.

The other settings of a pair are the same: nginx's tree as it is on the host, or a release's vassal, copied once with the
setting as it was and once as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from . import stats, wrk
from .hosts import inside, write
from .served import CONNECTIONS, PAGES, burst, start

#: Where the copies listen. Nginx's copies have a port each; vassals share one, and are told apart by Host.
PORTS = {"before": 8083, "after": 8084, "vassals": 8085}

NGINX = """
rm -rf /srv/bench/log-{state} && cp -rL /etc/nginx /srv/bench/log-{state} && cd /srv/bench/log-{state}
sed -i 's#/run/nginx.pid#/run/bench/log-{state}.pid#; s#modules-enabled/[*].conf#modules-enabled/none*.conf#' nginx.conf
sed -i 's#listen 80#listen 127.0.0.1:{port}#; /listen .::.:80/d' emperor-stack/*.conf
{change}
"""

#: Max-requests of a vassal, before and after, for each page that is measured with it.
MAX_REQUESTS = (5000, 50000)
LISTEN = (1024, 4096)


@dataclass
class Measured:
    """Per pair: rates, 99th percentiles and microseconds of processor a request, before and after."""

    rate: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    p99: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    processor: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    burst_failed: dict[str, int] = field(default_factory=dict)


def prepare(name: str) -> None:
    unbuffered = (
        "sed -i -E 's# buffer=[^ ;]+ flush=[^ ;]+;#;#' emperor-stack/log.conf emperor-stack/sites/*.conf"
    )
    for state, change in (("before", unbuffered), ("after", "")):
        inside(name, NGINX.format(state=state, port=PORTS[state], change=change))
        path = f"/srv/bench/log-{state}/nginx.conf"
        start(name, f"bench-log-{state}", f"nginx -c {path} -g 'daemon off;'")
    sites = []
    for app in ("hello", "links", "notes"):
        for state, requests, listen in zip(("before", "after"), MAX_REQUESTS, LISTEN, strict=True):
            unit = f"{state}-{app}"
            vassal(name, app, unit, requests, listen)
            sites.append(
                f"server {{ listen 127.0.0.1:{PORTS['vassals']}; server_name {unit} {app}.{state}.localhost;\n"
                "location / { include /etc/nginx/uwsgi_params; uwsgi_param HTTP_HOST "
                f"{app}.localhost; uwsgi_pass unix:/run/bench/{unit}.sock; }} }}"
            )
    text = "\n".join(
        [
            "user www-data; worker_processes auto; worker_rlimit_nofile 65536; pid /run/bench/vassals.pid;",
            "error_log /var/log/nginx/bench-vassals.error.log crit;",
            "events { worker_connections 8192; }",
            "http { access_log off; server_names_hash_bucket_size 128;",
            *sites,
            "}",
        ]
    )
    write(name, "/srv/bench/vassals.conf", text + "\n")
    start(name, "bench-vassals", "nginx -c /srv/bench/vassals.conf -g 'daemon off;'")


def vassal(name: str, app: str, unit: str, requests: int, listen: int) -> None:
    """The live release's vassal beside itself, with these settings."""
    text = inside(name, f"cat /srv/apps/{app}/active/release/vassal.ini")
    for option, value in {
        "max-requests": requests,
        "listen": listen,
        "socket": f"/run/bench/{unit}.sock",
        "chmod-socket": "666",
        "stats": f"/run/bench/{unit}.stats",
    }.items():
        text = re.sub(rf"^{option} = .*$", f"{option} = {value}", text, flags=re.MULTILINE)
    path = f"/srv/bench/{unit}.ini"
    write(name, path, f"{text}uid = {app}\ngid = {app}\n")
    start(name, f"bench-{unit}", f"uwsgi --ini {path}", "-p KillSignal=SIGQUIT")


def one(
    name: str, found: Measured, pair: str, state: str, url: str, host: str, groups: list[str], seconds: int
) -> None:
    before = wrk.processor(name, groups)
    said = wrk.load(name, url, host, CONNECTIONS, seconds)
    spent = sum(after - earlier for after, earlier in zip(wrk.processor(name, groups), before, strict=True))
    values = (
        (found.rate, said.rate),
        (found.p99, said.p99),
        (found.processor, spent / 1000 / (said.rate * seconds)),
    )
    for kept, value in values:
        kept.setdefault(pair, {}).setdefault(state, []).append(value)


def measure(name: str, rounds: int, seconds: int) -> Measured:
    found = Measured()
    prepare(name)
    inside(name, "sleep 3")
    for number in range(rounds):
        for state in stats.turn(("before", "after"), number):
            url = f"http://127.0.0.1:{PORTS[state]}/"
            groups = [f"/bench-log-{state}.service"]
            one(name, found, "access log", state, url, "hello.localhost", groups, seconds)
        for page, (app, path) in PAGES.items():
            for state in stats.turn(("before", "after"), number):
                url = f"http://127.0.0.1:{PORTS['vassals']}{path}"
                groups = [f"/bench-{state}-{app}.service"]
                one(name, found, f"max-requests, {page}", state, url, f"{state}-{app}", groups, seconds)
    for state in ("before", "after"):
        _, failed, _ = burst(name, f"{state}-notes", PORTS["vassals"])
        found.burst_failed[state] = failed
    return found
