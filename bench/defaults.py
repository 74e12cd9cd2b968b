"""Defaults of the served path that evidence chose: what each gives, before and after, in interleaved rounds.

The other settings of a pair are the same: nginx's tree as it is on the host, or a release's vassal, copied once with the
setting as it was and once as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from . import stats, wrk
from .hosts import inside, write
from .served import CONNECTIONS, PAGES, burst, start, uwsgi

#: Where the copies listen. Nginx's copies have a port each; vassals share one, and are told apart by Host.
PORTS = {"before": 8083, "after": 8084, "vassals": 8085}

NGINX = """
rm -rf /srv/bench/log-{state} && cp -rL /etc/nginx /srv/bench/log-{state} && cd /srv/bench/log-{state}
sed -i 's#/run/nginx.pid#/run/bench/log-{state}.pid#; s#modules-enabled/[*].conf#modules-enabled/none*.conf#' nginx.conf
sed -i 's#listen 80#listen 127.0.0.1:{port}#; /listen .::.:80/d' emperor-stack/*.conf
{change}
"""


@dataclass(frozen=True)
class Setting:
    """How a vassal is set, and started."""

    requests: int = 1000000
    listen: int = 4096
    #: Under the kernel's policy for batch work.
    batch: bool = True
    #: In a slice of its own, with a part of the processor of its own.
    slice: bool = True
    #: By the uWSGI inside of Debian's Python, in the place of Debian's uWSGI.
    inside: bool = True


#: What each pair's setting was before.
BEFORE = {
    "max-requests": Setting(requests=50000),
    "batch policy": Setting(batch=False),
    "server": Setting(inside=False),
    # What the apps' isolation costs.
    "own share": Setting(slice=False),
    "listen": Setting(listen=1024),
}


@dataclass
class Measured:
    """Per pair: rates, 99th percentiles and microseconds of processor a request, before and after."""

    rate: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    p99: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    spent: dict[str, dict[str, list[float]]] = field(default_factory=dict)
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
        for pair, setting in {"after": Setting(), **BEFORE}.items():
            unit = unit_of(pair, app)
            vassal(name, app, unit, setting)
            sites.append(
                f"server {{ listen 127.0.0.1:{PORTS['vassals']}; server_name {unit};\n"
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


def unit_of(pair: str, app: str) -> str:
    """The name of the vassal of *app* in *pair*, of its unit and of its site."""
    return f"{pair.replace(' ', '-')}-{app}"


def vassal(name: str, app: str, unit: str, setting: Setting) -> None:
    """The live release's vassal beside itself, with this setting."""
    release = f"/srv/apps/{app}/active/release"
    text = inside(name, f"cat {release}/vassal.ini")
    for option, value in {
        "max-requests": setting.requests,
        "listen": setting.listen,
        "socket": f"/run/bench/{unit}.sock",
        "chmod-socket": "666",
        "stats": f"/run/bench/{unit}.stats",
    }.items():
        text = re.sub(rf"^{option} = .*$", f"{option} = {value}", text, flags=re.MULTILINE)
    path = f"/srv/bench/{unit}.ini"
    write(name, path, f"{text}uid = {app}\ngid = {app}\n")
    server = uwsgi(release) if setting.inside else "uwsgi --plugin python3"
    policy = "chrt --batch 0 " if setting.batch else ""
    place = ["-p Slice=apps-bench.slice", "-p CPUWeight=100"] if setting.slice else []
    start(name, f"bench-{unit}", f"{policy}{server} --ini {path}", "-p KillSignal=SIGQUIT", *place)


def one(name: str, url: str, host: str, group: str, seconds: int) -> tuple[float, float, float]:
    """Requests per second, the 99th percentile in milliseconds, microseconds of processor a request."""
    before = wrk.processor(name, [group])
    said = wrk.load(name, url, host, CONNECTIONS, seconds)
    spent = wrk.processor(name, [group])[0] - before[0]
    return said.rate, said.p99, spent / 1000 / (said.rate * seconds)


def measure(name: str, rounds: int, seconds: int) -> Measured:
    found = Measured()
    prepare(name)
    inside(name, "sleep 3")

    def add(pair: str, state: str, values: tuple[float, float, float]) -> None:
        for kept, value in zip((found.rate, found.p99, found.spent), values, strict=True):
            kept.setdefault(pair, {}).setdefault(state, []).append(value)

    for number in range(rounds):
        for state in stats.turn(("before", "after"), number):
            url = f"http://127.0.0.1:{PORTS[state]}/"
            add(
                "access log", state, one(name, url, "hello.localhost", f"/bench-log-{state}.service", seconds)
            )
        for page, (app, path) in PAGES.items():
            url = f"http://127.0.0.1:{PORTS['vassals']}{path}"
            # The listen queue is for bursts, and no worker of a slower page is renewed in the time of a measurement.
            others = {"listen", "max-requests"} if page != "hello" else {"listen"}
            compared = [pair for pair in BEFORE if pair not in others]
            for pair in stats.turn([*compared, "after"], number):
                unit = unit_of(pair, app)
                values = one(name, url, unit, f"/bench-{unit}.service", seconds)
                for each in [pair] if pair != "after" else compared:
                    add(f"{each}, {page}", "after" if pair == "after" else "before", values)
    for state, unit in (("before", "listen-notes"), ("after", "after-notes")):
        _, failed, _ = burst(name, unit, PORTS["vassals"])
        found.burst_failed[state] = failed
    return found
