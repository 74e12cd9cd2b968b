"""What of an app's entry makes a new release of it, and what does not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.emperor.stack.plugins.module_utils.release.spec import Decided, ReleaseSpec
from ansible_collections.emperor.stack.plugins.plugin_utils.release import specs as release_specs
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields import app as app_fields
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields import processes
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.kinds import (
    Field,
    Flag,
    ListOf,
    MapOf,
    Number,
    Section,
    Text,
    chosen,
)

from tools.project import ROOT

APP: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com"],
    "source": {"git": "https://git.example.com/blog.git", "version": "v1"},
    "wsgi": "blog:app",
    "workers": {"jobs": {"command": "work"}},
    "schedule": {"nightly": {"command": "report", "at": "03:00"}},
    "secrets": ["TOKEN"],
}
SECRETS = {"TOKEN": "t", "OTHER": "o"}


def made(app: dict[str, Any], secrets: dict[str, str] = SECRETS, listen: int = 4096) -> str:
    """The fingerprint of a plan, for which not one file of the role is read."""
    loader = DataLoader()
    specs = release_specs.Specs(
        Templar(loader=loader), loader, lambda kind, name: pytest.fail(f"{name} is read"), {}, ROOT, listen
    )
    (spec,) = specs.make([apps.complete(app)], {"blog": secrets}, whole=False)
    return str(spec["fingerprint"])


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        # What goes without saying.
        ({"server": "uwsgi"}, True),
        ({"web": {"threads": 2}}, True),
        ({"web": None, "limits": {}}, True),
        ({"limits": {"body": "20m", "request_timeout": 60}, "health": {"path": "/", "status": []}}, True),
        ({"hooks": {"before_prepare": []}, "static": {}, "state": "present"}, True),
        ({"workers": {"jobs": {"command": "work", "count": 1, "overlap": True}}}, True),
        ({"schedule": {"nightly": {"command": "report", "at": "03:00", "timeout": 3600}}}, True),
        # What the front, the accounts or the revision are told.
        ({"tls": {"provider": "acme"}, "nginx": {"server": "x;"}, "cache": {"seconds": 5}}, True),
        ({"headers": {"X-A": "b"}, "maintenance": {"retry_after": 5}, "renamed_from": "log"}, True),
        ({"source": {**APP["source"], "version": "v2"}, "python": "3.12"}, True),
        # What was chosen.
        ({"web": {"threads": 3}}, False),
        ({"web": {"processes": 1}}, False),
        ({"limits": {"request_timeout": 61}}, False),
        ({"workers": {"jobs": {"command": "work", "count": 2}}}, False),
        ({"workers": {"jobs": {"command": "work"}, "more": {"command": "work"}}}, False),
        ({"workers": {"other": {"command": "work"}}}, False),
        ({"schedule": {"nightly": {"command": "report", "at": "03:00", "missed": "skip"}}}, False),
        ({"hooks": {"before_prepare": ["x"]}}, False),
        ({"hooks": {"after_prepare": ["x"]}}, False),
        ({"build": ["x"]}, False),
        ({"env": {"A": ""}}, False),
        ({"domains": ["blog.example.com", "www.example.com"]}, False),
        ({"path": "/blog/"}, False),
        ({"server": "gunicorn"}, False),
        ({"source": {**APP["source"], "submodules": True}}, False),
        ({"source": {"git": "https://git.example.com/other.git", "version": "v1"}}, False),
    ],
)
def test_what_makes_a_new_release(changes: dict[str, Any], same: bool) -> None:
    assert (made({**APP, **changes}) == made(APP)) is same


def test_every_change_is_another_one() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"hooks": {"before_prepare": ["x"]}},
        {"hooks": {"after_prepare": ["x"]}},
        {"build": ["x"]},
        {"persistent": ["x"]},
        {"health": {"path": "/x"}},
        {"health": {"status": [200]}},
        {"env": {"TOKEN": "t"}},
        {"limits": {"tasks": 100}},
        {"limits": {"open_files": 100}},
    ]
    assert len({made({**APP, **change}) for change in changes}) == len(changes)


def test_secrets_and_the_length_of_the_queue() -> None:
    assert made(APP, {"TOKEN": "t"}) == made(APP)
    assert made(APP, {"TOKEN": "u"}) != made(APP)
    assert made({**APP, "secrets": []}) != made(APP)
    assert made(APP, listen=100) != made(APP)


def test_files_count_by_what_is_in_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("{{ app.name }} {{ secrets.TOKEN }}")
    first = made({**APP, "files": {"x.ini": str(tmp_path / "one")}})
    assert first == made({**APP, "files": {"x.ini": str(tmp_path / "two")}})
    assert first != made({**APP, "files": {"y.ini": str(tmp_path / "one")}})
    assert first != made(APP)
    (tmp_path / "one").write_text("{{ app.name }}, {{ secrets.TOKEN }}")
    assert first != made({**APP, "files": {"x.ini": str(tmp_path / "one")}})


def typed(kind: type) -> set[str]:
    return set(get_type_hints(kind))


def test_the_plan_and_the_release_agree() -> None:
    loader = DataLoader()
    role = ROOT / "roles/python_apps"
    specs = release_specs.Specs(
        Templar(loader=loader), loader, lambda kind, name: str(role / kind / name), {}, ROOT, 4096
    )
    completed = {**apps.complete(APP), "action": "deploy", "revision": "a" * 40}
    (whole,) = specs.make([completed], {"blog": SECRETS}, whole=True)
    assert whole["fingerprint"] == made(APP)
    assert whole["fingerprint"].startswith(f"{release_specs.FORMAT}:")
    assert set(whole["units"]) == {
        "app_blog_jobs@.service",
        "app_blog_nightly.service",
        "app_blog_nightly.timer",
    }
    assert "vassal.ini" in whole["server_files"]
    assert whole["entry"] and whole["launch"]
    # What it has besides: the answers to a host, and the source itself.
    answers = {"former", "done", "leads", "lead", *typed(Decided)} - {"name"}
    assert typed(ReleaseSpec) - set(whole) == answers | {"digest", "refused", "archive", "archive_content"}
    # What it has of the entry and nobody reads is not named.
    assert set(whole) - typed(ReleaseSpec) <= set(apps.complete(APP))


@pytest.mark.parametrize("place", ["app", "limits", "worker"])
def test_a_new_key_changes_nothing_until_it_is_chosen(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    before = made(APP)
    more = Field("brand_new", Number(1, 9), "", "brand_new: 7", default=7)
    worker = Section((*processes.WORKER.fields, more))

    def field(one: Field) -> Field:
        kind: Any = one.kind
        if (place, one.name) == ("limits", "limits"):
            kind = Section((*kind.fields, more))
        elif (place, one.name) == ("worker", "workers"):
            kind = MapOf(kind.key, worker)
        return Field(one.name, kind, "", one.example, one.required, one.default)

    fields = [field(one) for one in app_fields.APP.fields]
    fields += [more] if place == "app" else []
    monkeypatch.setattr(apps, "APP", Section(tuple(fields), app_fields.APP.exactly_one_of))
    assert made(APP) == before
    declared = copy.deepcopy(APP)
    within = {
        "app": declared,
        "limits": declared.setdefault("limits", {}),
        "worker": declared["workers"]["jobs"],
    }
    within[place]["brand_new"] = 7
    assert made(declared) == before
    within[place]["brand_new"] = 8
    assert made(declared) != before


NAME = Text(lambda text: None, "a name", "x")
INNER = Section((Field("a", Number(0, 9), "", "", default=1), Field("b", Flag(), "", "", default=False)))
KINDS = Section(
    (
        Field("one", INNER, "", ""),
        Field("map", MapOf(NAME, INNER), "", "", default={}),
        Field("list", ListOf(INNER), "", "", default=()),
        Field("full", ListOf(Number(0, 9)), "", "", default=(1, 2)),
        Field("flag", Flag(), "", "", default=True),
    )
)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (None, {}),
        ({"one": {"a": 1, "b": False}, "full": [1, 2], "flag": True}, {}),
        ({"one": {"a": 2, "b": False}}, {"one": {"a": 2}}),
        ({"map": {"x": {"a": 1}, "y": {"b": True}}}, {"map": {"x": {}, "y": {"b": True}}}),
        ({"list": [{"a": 1}, {"a": 3}]}, {"list": [{}, {"a": 3}]}),
        ({"full": []}, {"full": []}),
        ({"full": [2, 1], "flag": False}, {"full": [2, 1], "flag": False}),
    ],
)
def test_defaults_are_dropped_at_every_depth(value: Any, left: Any) -> None:
    assert chosen(KINDS, KINDS.complete(value)) == left


def test_the_queue_that_goes_without_saying_is_the_role_s() -> None:
    defaults = yaml.safe_load((ROOT / "roles/python_apps/defaults/main.yml").read_text())
    assert defaults["python_apps_listen"] == release_specs.LISTEN
