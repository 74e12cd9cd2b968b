"""Rendered at once and rendered one by one is the same text, to the byte: the digests of releases come from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.plugin_utils.controller.rendering import render_each
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.apps import complete, unit_files

ROLES = Path(__file__).resolve().parents[3] / "roles"
BLOCKS = {"escape_backslashes": False, "overrides": {"trim_blocks": True, "lstrip_blocks": True}}

ROWS = [
    {"site": {"name": "blog", "domains": ["a", "b"], "tls": True}, "other": ""},
    {"site": {"name": "{{ 7 * 7 }}", "domains": [], "tls": False}, "other": "\n\n"},
    {"site": {"name": "back\\slash {% x %}", "domains": ["c"], "tls": False}, "other": "x\n"},
]


def one_by_one(
    text: str, rows: list[dict[str, Any]], searchpath: list[str] | None = None, **how: Any
) -> list[str]:
    found = []
    for row in rows:
        templar = Templar(loader=DataLoader(), variables={"host": "web1", **row})
        templar = templar.copy_with_new_env(searchpath=searchpath)
        rendered = templar.template(trust_as_template(text), **how)
        found.append("" if rendered is None else str(rendered))
    return found


def at_once(
    text: str, rows: list[dict[str, Any]], searchpath: list[str] | None = None, **how: Any
) -> list[str]:
    return render_each(Templar(loader=DataLoader()), text, rows, {"host": "web1"}, searchpath, **how)


@pytest.mark.parametrize("how", [{}, BLOCKS], ids=["as release", "as file_set"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "plain\n",
        "no newline",
        "\n\nfirst lines are empty\n\n\n",
        "{{ site.name }}",
        "{{ site.name }}\n",
        "{{ other }}",
        "x{{ other }}\n",
        "x{{ other }}\n\n\n",
        "{% if site.tls %}\nyes\n{% endif %}\n",
        "{% if site.tls %}yes{% endif %}",
        "  {% if site.tls %}\n  yes\n  {% endif %}\n",
        "{% for d in site.domains %}{{ d }};{{ loop.index }}\n{% endfor %}",
        "{% for d in site.domains %}\n    {{ d }}\n{% endfor %}\n\n",
        "a {# comment #}\n{# whole line #}\nb\n",
        "{{ host }} {{ site.name }} \\ back \\n\n",
        "{% raw %}{{ x }}{% endraw %}\n",
        "{%- if site.tls -%}\n x \n{%- endif -%}\n y",
        "#jinja2: trim_blocks: False\n{% if site.tls %}\nx\n{% endif %}\n",
        "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(site.name) }}\n",
        "tab\t\n   ",
    ],
)
def test_the_same_to_the_byte(text: str, how: dict[str, Any]) -> None:
    assert at_once(text, ROWS, **how) == one_by_one(text, ROWS, **how)


def test_includes_see_the_row(tmp_path: Path) -> None:
    (tmp_path / "blog.j2").write_text("blog of {{ site.name }}\n")
    (tmp_path / "shop.j2").write_text("{% if site.domains %}\nshop {{ host }}\n{% endif %}\n")
    rows = [{"site": {"name": name, "domains": ["x"]}} for name in ("blog", "shop")]
    text = "# {{ host }}\n{% include site.name ~ '.j2' %}\n"
    where = [str(tmp_path)]
    assert at_once(text, rows, where, **BLOCKS) == one_by_one(text, rows, where, **BLOCKS)


def test_what_is_undefined_in_one_of_them_fails_all() -> None:
    with pytest.raises(AnsibleError, match="domains"):
        at_once("{{ site.domains }}\n", [{"site": {"domains": 1}}, {"site": {}}])


def test_no_row_no_text() -> None:
    assert at_once("x {{ y }}", []) == []


def fleet() -> list[dict[str, Any]]:
    bare: dict[str, Any] = {"domains": ["x.example.com"], "source": {"path": "x"}, "wsgi": "a:b"}
    everything = {
        "workers": {"jobs": {"command": "run 100%\\n"}, "more": {"command": "x", "stop_signal": "INT"}},
        "schedule": {
            "nightly": {"command": "x", "at": "03:00", "missed": "skip"},
            "often": {"command": "y", "every": "5m"},
        },
        "web": {"processes": 3, "threads": 4},
        "limits": {"memory": "1G", "cpu": 50, "request_timeout": 7},
    }
    apps = [
        {"name": "blog", **bare},
        {"name": "shop", **bare, **everything},
        {"name": "green", **bare, **everything, "server": "gunicorn"},
        {"name": "nap", **bare, "on_demand": True, "idle": 9},
    ]
    return [complete(app) for app in apps]


@pytest.mark.parametrize("template", ["vassal.ini.j2", "gunicorn.conf.py.j2"])
def test_servers_of_many_apps(template: str) -> None:
    text = (ROLES / "python_apps/templates" / template).read_text()
    rows = [
        {
            "app": app,
            "listen": 77,
        }
        for app in fleet()
    ]
    texts = at_once(text, rows)
    assert texts == one_by_one(text, rows)
    assert len(set(texts)) == len(rows)


def test_units_of_many_apps() -> None:
    rows: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for app in fleet():
        for _, template, more in unit_files(app):
            row = {"app": app, "socket_directory": "/x", "listen": 7, **more}
            rows.setdefault((template, tuple(sorted(row))), []).append(row)
    assert max(map(len, rows.values())) > 3
    for (template, _), group in rows.items():
        text = (ROLES / "python_apps/templates" / template).read_text()
        assert at_once(text, group) == one_by_one(text, group)


def test_slices_of_many_apps() -> None:
    text = (ROLES / "python_apps/templates/app.slice.j2").read_text()
    rows = [{"app": app, "python_apps_memory_per_app": "50%"} for app in fleet()]
    assert at_once(text, rows, **BLOCKS) == one_by_one(text, rows, **BLOCKS)
