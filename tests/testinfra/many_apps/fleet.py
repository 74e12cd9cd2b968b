"""The apps of the scenario, and what is measured of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deploying import Profile, Stack
from testinfra.host import Host

APPS = "tests/testinfra/apps"
EXAMPLE = {"env": {"EXAMPLE_DIAGNOSTICS": "1"}, "secrets": ["SECRET_KEY"], "health": {"path": "/healthz"}}


def tiny(name: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": {"path": f"{APPS}/tiny"},
        "wsgi": "app:application",
        "health": {"answers": 1},
        **settings,
    }


LIVE: list[dict[str, Any]] = [
    {
        "name": "links",
        "domains": ["links.localhost"],
        "source": {"path": "examples/flask"},
        "wsgi": "wsgi:application",
        "migrate": "python -m links.migrate",
        "persistent": ["data"],
        **EXAMPLE,
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
        **EXAMPLE,
        "env": {"DJANGO_ALLOWED_HOSTS": "notes.localhost"},
    },
    {
        "name": "polls",
        "domains": ["polls.localhost"],
        "source": {"path": "examples/pyramid"},
        "paste": "production.ini",
        "migrate": "python -m polls.migrate",
        "persistent": ["data"],
        **EXAMPLE,
    },
    tiny(
        "victim",
        persistent=["data"],
        secrets=["SECRET"],
        workers={"jobs": {"command": "while :; do date >data/worked; sleep 1; done"}},
        schedule={"report": {"command": "date >data/reported", "every": "1m"}},
    ),
    # A package of the index: nothing but this entry and its file.
    {
        "name": "kinto",
        "domains": ["kinto.localhost"],
        "source": {"package": "kinto==26.5.0"},
        "paste": "kinto.ini",
        "files": {"kinto.ini": "tests/testinfra/real_apps/files/kinto.ini.j2"},
        "secrets": ["HMAC"],
        "health": {"path": "/v1/__lbheartbeat__"},
    },
    tiny("green", server="gunicorn", files={"requirements.txt": "tests/testinfra/many_apps/gunicorn.txt.j2"}),
    *(tiny(f"live-{number}") for number in range(1, 5)),
]
SLEEPING = [tiny(f"idle-{number:03}", on_demand=True, idle=20) for number in range(1, 101)]

#: Where they are set: in every app's own environment and nowhere else.
SECRETS = {
    **{name: {"SECRET_KEY": f"only-for-this-test-{name}-" * 3} for name in ("links", "notes", "polls")},
    "victim": {"SECRET": "what-the-neighbour-wants"},
    "kinto": {"HMAC": "only-for-this-test-kinto"},
}


@dataclass
class Filled:
    """The host, and what was measured while it filled up."""

    stack: Stack
    no_change_seconds: dict[int, float] = field(default_factory=dict)
    no_change: dict[int, Profile] = field(default_factory=dict)
    memory_with_live_ones: float = 0


def memory_of_apps(machine: Host) -> float:
    """MiB that all processes of all apps and of the emperor take; what processes share is counted once (Pss)."""
    script = (
        "import glob\n"
        "total = 0\n"
        "for path in glob.glob('/proc/[0-9]*'):\n"
        "    try:\n"
        "        groups, name = open(path + '/cgroup').read(), open(path + '/cmdline').read()\n"
        "        if '/apps.slice/' in groups or 'emperor-stack/emperor-' in name:\n"
        "            lines = open(path + '/smaps_rollup').read().splitlines()\n"
        "            total += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))\n"
        "    except OSError:\n"
        "        pass\n"
        "print(total / 1024)"
    )
    return float(machine.check_output("python3 -c %s", script))
