"""Fingerprints of format 1 as the code computed them that wrote them into manifests, and not as somebody remembers it.

To be deleted with plugins/plugin_utils/release/format_1.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.emperor.stack.plugins.plugin_utils.release import format_1
from ansible_collections.emperor.stack.plugins.plugin_utils.release import specs as release_specs
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields import app as app_fields
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.kinds import Field, Number, Section

from tools.project import ROOT

#: The last one that made releases of format 1.
COMMIT = "42dc1c2"

#: As the controller of that commit did it for a plan, with the files of its own role.
_OLD = """
import json, sys
from pathlib import Path
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.emperor.stack.plugins.module_utils.apps import complete_all
from ansible_collections.emperor.stack.plugins.plugin_utils.release_specs import Specs

asked = json.load(sys.stdin)
role = Path(sys.argv[1]) / "roles/python_apps"
loader = DataLoader()
found = []
for app, secrets, listen in asked["apps"]:
    specs = Specs(
        Templar(loader=loader), loader, lambda kind, name: str(role / kind / name), asked["variables"],
        Path(asked["root"]), listen,
    )
    made = specs.make(complete_all([app]), {app["name"]: secrets}, whole=False)
    found.append(made[0]["fingerprint"])
print(json.dumps(found))
"""

VARIABLES = {"inventory_hostname": "web1", "database": "db.example.com"}
BARE: dict[str, Any] = {"domains": ["x.example.com"], "source": {"path": "examples/flask"}, "wsgi": "a:b"}
WORKERS = {
    "a-b": {"command": "python work.py a-b", "count": 2, "stop_timeout": 20},
    "single": {"command": "run '100%' {{ x }} \\n", "overlap": False, "stop_signal": "INT"},
}
SCHEDULE = {
    "tick": {"command": "python work.py tick 2.5", "every": "1s"},
    "nightly": {"command": "true", "at": "03:00 UTC", "missed": "skip", "timeout": 60},
}


@functools.cache
def examples() -> list[dict[str, Any]]:
    local = yaml.safe_load((ROOT / "inventories/local/group_vars/app_hosts/apps.yml").read_text())
    return list(local["python_apps"])


def everything(templates: Path) -> dict[str, Any]:
    """An entry with every key of that time, each at another value than its default."""
    return {
        "name": "all-of-it",
        "state": "present",
        "renamed_from": "some-of-it",
        "domains": ["b.example.com", "a.example.com"],
        "source": {
            "git": "https://git.example.com/x.git",
            "version": "v1",
            "known_hosts": "git.example.com ssh-ed25519 AAAA",
            "subdirectory": "services/x/",
            "submodules": True,
        },
        "paste": "production.ini#x",
        "requirements": "requirements/prod.txt",
        "python": "3.12",
        "files": {"conf/x.ini": str(templates / "x.ini.j2"), "whole.json": str(templates / "whole.j2")},
        "build": ["make", "echo 'x'"],
        "migrate": "python -m migrate",
        "workers": WORKERS,
        "schedule": SCHEDULE,
        "hooks": {"before_prepare": ["a"], "after_drain": ["b", "c"]},
        "static": {"/static/": "static/", "/favicon.ico": "web/favicon.ico", "/media/": "media"},
        "persistent": ["media/", "invoices"],
        "env": {"A": "1", "B": "ü {{ x }}"},
        "secrets": ["ONE", "TWO"],
        "health": {"path": "/up?x=1", "status": [200, 204], "answers": 2, "timeout": 9},
        "web": {"processes": 3, "threads": 4, "max_requests": 1000},
        "on_demand": True,
        "idle": 20,
        "limits": {
            "body": "1g",
            "request_timeout": 7,
            "memory": "1G",
            "cpu": 50,
            "tasks": 100,
            "open_files": 128,
        },
        "tls": {"provider": "acme", "hsts": {"max_age": 1, "preload": True}},
        "path": "/shop/",
        "redirects": {"/a": "/b"},
        "allow": ["10.0.0.0/8"],
        "deny": ["10.6.0.0/16"],
        "users": {"ann": "ANN"},
        "rate_limit": {"requests": "1/s", "burst": 1, "connections": 1},
        "cache": {"seconds": 1, "size": "1m"},
        "headers": {"X-Frame-Options": None, "X-A": "a"},
        "static_max_age": 1,
        "private": {"/protected/": "invoices/"},
        "error_pages": {"404": "web/404.html"},
        "intercept_errors": True,
        "maintenance": {"allow": ["10.0.0.0/8"], "retry_after": 1},
        "nginx": {"server": "x;"},
    }


SECRETS = {"ONE": "{{ 7 * 7 }} ü", "TWO": "2", "UNUSED": "3", "SECRET_KEY": "s", "TOKEN": "t"}


def table(templates: Path) -> list[tuple[dict[str, Any], int]]:
    """Entries, each with python_apps_listen."""
    whole = everything(templates)
    single = {
        name: {
            **BARE,
            "name": "one-key",
            **({"source": whole["source"]} if name == "source" else {name: value}),
        }
        for name, value in whole.items()
        if name not in ("name", "domains", "paste")
    }
    single["idle"]["on_demand"] = True
    return [
        # That time had none of `asgi`, `database` and `redis`.
        *((app, 4096) for app in examples() if not {"asgi", "database", "redis"} & app.keys()),
        ({**BARE, "name": "bare"}, 4096),
        ({**BARE, "name": "bare"}, 100),
        ({**BARE, "name": "shop", "workers": WORKERS, "schedule": SCHEDULE, "secrets": ["TOKEN"]}, 4096),
        ({**BARE, "name": "shop-a", "server": "gunicorn", "workers": {"b": {"command": "x"}}}, 4096),
        ({**BARE, "name": "green", "server": "gunicorn", "web": {"processes": 2, "threads": 1}}, 100),
        (whole, 4096),
        ({**whole, "server": "gunicorn", "on_demand": False, "idle": None}, 4096),
        *((app, 4096) for app in single.values()),
    ]


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "x.ini.j2").write_text(
        "{{ app.name }} on {{ database }}\n{% for s in secrets %}\n{{ s }}\n{% endfor %}\n"
    )
    # Whatever it has of the entry is the entry of that time.
    (tmp_path / "whole.j2").write_text("{{ app | to_json }} {{ app.cache.size }} {{ app.tls.redirect }}")
    return tmp_path


@pytest.fixture
def old(tmp_path: Path, pytestconfig: pytest.Config) -> Callable[..., list[str]]:
    """The fingerprints that the code of `COMMIT` computes."""
    found = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"no git history with {COMMIT} here: {found.stderr.decode(errors='replace').strip()}")
    directory = tmp_path / "old"
    directory.mkdir()
    subprocess.run(["tar", "-x"], cwd=directory, input=found.stdout, check=True)

    def compute(rows: list[tuple[dict[str, Any], int]]) -> list[str]:
        asked = {
            "apps": [(app, SECRETS, listen) for app, listen in rows],
            "variables": VARIABLES,
            "root": str(ROOT),
        }
        # Its own plugins and nobody else's, wherever these tests have theirs from.
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{directory}/collections"}
        environment |= {
            "ANSIBLE_CONFIG": f"{directory}/ansible.cfg",
            "PYTHONPATH": f"{directory}/collections",
        }
        done = subprocess.run(
            [sys.executable, "-c", _OLD, str(directory)],
            cwd=directory, env=environment, input=json.dumps(asked), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return compute


def specs(listen: int = 4096) -> release_specs.Specs:
    loader = DataLoader()
    return release_specs.Specs(
        Templar(loader=loader),
        loader,
        lambda kind, name: pytest.fail(f"{name} is read"),
        VARIABLES,
        ROOT,
        listen,
    )


def test_the_same_as_the_code_of_that_time(old: Callable[..., list[str]], templates: Path) -> None:
    rows = table(templates)
    before = copy.deepcopy(rows)
    found = [specs(listen).former(app, SECRETS) for app, listen in rows]
    assert rows == before
    for (app, _), now, then in zip(rows, found, old(rows), strict=True):
        assert now == then, app
    # What only the front is told made no difference, all else did.
    assert len(set(found)) > len(rows) - 20


def test_a_completed_entry_is_the_same_as_the_declared_one(templates: Path) -> None:
    for app, listen in table(templates):
        assert specs(listen).former(apps.complete(app), SECRETS) == specs(listen).former(app, SECRETS)


@pytest.mark.parametrize(
    ("place", "value", "same"),
    [
        ((), 7, True),
        ((), 8, False),
        (("limits",), 7, True),
        (("limits",), 8, False),
        (("workers", "jobs"), 7, True),
        (("workers", "jobs"), 8, False),
    ],
)
def test_a_key_that_nobody_knew(
    monkeypatch: pytest.MonkeyPatch, place: tuple[str, ...], value: int, same: bool
) -> None:
    """At its default it changes nothing. Chosen it makes an app that no release of that time can be of."""
    declared = {**BARE, "name": "x", "workers": {"jobs": {"command": "x"}}, "limits": {"cpu": 50}}
    before = specs().former(declared, {})
    monkeypatch.setattr(apps, "APP", with_key(app_fields.APP, place))
    changed = copy.deepcopy(declared)
    functools.reduce(lambda within, name: within[name], place, changed)["brand_new"] = value
    assert specs().former(declared, {}) == before
    assert specs().former(changed, {}) == (before if same else "")


def with_key(section: Section, place: tuple[str, ...]) -> Section:
    """The schema with one more key in the section at *place*, a number with the default 7."""
    if not place:
        more = Field("brand_new", Number(1, 9), "A number.", "brand_new: 7", default=7)
        return Section((*section.fields, more), section.exactly_one_of)
    first, *rest = place
    fields = []
    for field in section.fields:
        made = field
        if field.name == first:
            kind: Any = field.kind
            # Its free key stands in the place.
            within = kind if isinstance(kind, Section) else kind.value
            deeper = with_key(within, tuple(rest if within is kind else rest[1:]))
            kind = deeper if within is kind else type(kind)(kind.key, deeper)
            made = Field(field.name, kind, "", field.example, field.required, field.default)
        fields.append(made)
    return Section(tuple(fields), section.exactly_one_of)


def test_a_default_that_changed_is_not_what_that_time_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never chose the number of threads has the release of two; who chooses two now chose what that time had."""
    before = specs().former({**BARE, "name": "x"}, {})
    fields = tuple(
        Field("threads", Number(1, 9), "", "threads: 4", default=4) if field.name == "threads" else field
        for field in next(field for field in app_fields.APP.fields if field.name == "web").kind.fields
    )
    schema = tuple(
        Field("web", Section(fields), "", "web: {}") if field.name == "web" else field
        for field in app_fields.APP.fields
    )
    monkeypatch.setattr(apps, "APP", Section(schema, app_fields.APP.exactly_one_of))
    assert specs().former({**BARE, "name": "x"}, {}) == before
    assert specs().former({**BARE, "name": "x", "web": {"threads": 2}}, {}) == before
    assert specs().former({**BARE, "name": "x", "web": {"threads": 4}}, {}) != before


def test_releases_that_are_all_to_be_made_anew_are_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever raises FORMAT deletes the takeover; who forgets it gets new releases all the same."""
    assert format_1.FOLLOWED_BY == release_specs.FORMAT
    monkeypatch.setattr(release_specs, "FORMAT", "3")
    assert specs().former({**BARE, "name": "x"}, {}) == ""
