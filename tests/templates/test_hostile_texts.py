"""No text that somebody may type into `python_apps` changes the structure of a configuration.

Every text of the schema is found by walking it, so a new key is held to this without a word here. Each is given what ends a
directive somewhere: it is refused, or all that is rendered has the same directives as with a harmless text.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.module_utils.release.build import fill
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.apps import (
    app_slices,
    complete,
    sites,
    unit_files,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields.app import APP
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.kinds import (
    Choice,
    Field,
    Flag,
    Kind,
    ListOf,
    MapOf,
    Number,
    OneOrMore,
    Section,
    Text,
)

TEMPLATES = Path(__file__).resolve().parents[2] / "roles/python_apps/templates"
RELEASE = "20261122T193000-ab12cd3"
#: What a template would come to that somebody has typed.
PRODUCT = 7 * 712_345
HOSTILE = [
    *[
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\t",
        "\x0b",
        "\x85",
        "\u2028",
        "\\",
        "\\\n",
        "'",
        '"',
        "`id`",
        "#",
        "%",
        "%n",
        "<",
        ">",
    ],
    *[
        "{",
        "}",
        ";",
        "; ",
        "$",
        "$host",
        "${host}",
        "$(id)",
        "@(/etc/passwd)",
        "@RELEASE@\n",
        "*",
        "|",
        "&",
        ",",
    ],
    *[
        f"{{{{ {PRODUCT // 7} * 7 }}}}",
        "{% raw %}",
        "{# #}",
        "; return 200 x;",
        ";}\nserver { listen 81; }\n",
    ],
    *[
        "\nExecStartPre=/bin/sh -c id",
        "\n[Service]\nUser=root",
        "\nexec-pre-app = id",
        "\nProxyPass / http://x/",
    ],
    *["\r\nX-Injected: 1", "\nd /etc 0777 root root -"],
]

Entry = dict[str, Any]
Put = Callable[[Any], Entry]
Render = Callable[..., str]

SMALLEST: Entry = {
    "name": "blog",
    "domains": ["blog.example.com"],
    "source": {"path": "x"},
    "wsgi": "app:application",
}


def good(kind: Kind) -> Any:
    """A harmless value."""
    match kind:
        case Text():
            return kind.example
        case Number():
            return kind.least
        case Choice():
            return kind.words[0]
        case Flag():
            return True
        case ListOf():
            return [good(kind.item)]
        case OneOrMore():
            return good(kind.item)
        case MapOf():
            return {kind.key.example: good(kind.value)}
        case Section():
            return {field.name: good(field.kind) for field in kind.shortest()}
    raise AssertionError(f"say here what a harmless {type(kind).__name__} is")


def beside(section: Section, field: Field) -> Entry:
    """What a section with *field* needs besides."""
    group = section.exactly_one_of
    wanted = {one.name for one in section.fields if one.required}
    wanted |= set(group[:1]) if field.name not in group else set()
    return {one.name: good(one.kind) for one in section.fields if one.name in wanted - {field.name}}


def places(
    kind: Kind, where: str, put: Callable[[Any], Entry]
) -> Iterator[tuple[str, Kind, Callable[[Any], Entry]]]:
    """Every place for a single value: its name, its kind, and what makes an entry with a value there."""
    match kind:
        case Text() | Number() | Choice() | Flag():
            yield where, kind, put
        case ListOf():
            yield from places(kind.item, f"{where}[]", lambda value: put([value]))
        case OneOrMore():
            yield from places(kind.item, where, put)
            yield from places(kind.item, f"{where}[]", lambda value: put([value, f"{good(kind.item)}-2"]))
        case MapOf():
            yield from places(kind.key, f"{where} (name)", lambda value: put({value: good(kind.value)}))
            yield from places(kind.value, f"{where}.*", lambda value: put({kind.key.example: value}))
        case Section():
            for field in kind.fields:
                others = beside(kind, field)

                def with_field(value: Any, field: Field = field, others: Entry = others) -> Entry:
                    return put({**others, field.name: value})

                yield from places(field.kind, f"{where}.{field.name}".lstrip("."), with_field)
        case _:
            raise AssertionError(f"say here which values a {type(kind).__name__} has")


class Renderer:
    """Every text for a host or a web server that has something of the app in it, by file."""

    def __init__(self, render: Render) -> None:
        self.render = render
        self.known: dict[str, dict[str, str]] = {}

    def texts(self, entry: Entry) -> dict[str, str]:
        app = complete(entry)
        (site,) = sites([entry])
        (slice_,) = app_slices([entry])
        users = [{**SMALLEST, "name": app["name"]}]
        shared = {"app": slice_, "python_apps": users, "python_apps_memory_per_app": "1G"}
        return {
            **self.of_release(app),
            **self.of_role("python_apps", "app.slice.j2", shared),
            **self.of_role("python_apps", "tmpfiles.conf.j2", shared),
            **self.of_role("nginx", "vhost.conf.j2", {"site": site}),
            **self.of_role("nginx", "part.j2", {"part": "http", "nginx_sites": [site]}),
            **self.of_role("apache", "vhost.conf.j2", {"site": site}),
        }

    def of_role(self, role: str, template: str, variables: dict[str, Any]) -> dict[str, str]:
        key = f"{role} {template}"
        place = key + json.dumps(variables, sort_keys=True)
        if place not in self.known:
            self.known[place] = {key: self.render(role, template, **variables)}
        return self.known[place]

    def of_release(self, app: Entry) -> dict[str, str]:
        common = {
            "app": app,
            "listen": 1024,
        }
        found = {}
        server = "vassal.ini" if app["server"] == "uwsgi" else "gunicorn.conf.py"
        for file, template, variables in [(server, f"{server}.j2", {}), *unit_files(app)]:
            templar = Templar(loader=DataLoader(), variables={**common, **variables})
            text = str(templar.template(trust_as_template((TEMPLATES / template).read_text())))
            found[file] = fill(text, "blog", RELEASE)
        return found


_NGINX = re.compile(
    r"""\s+|\#[^\n]*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|[^\s;{}"'\#\\])(?:\\.|\$\{|[^\s;{\\])*?(?=[\s;{}]))|([;{}])""",
    re.DOTALL,
)


#: What is more than a value at the left of a `map` or `geo`, by nginx's documentation of the two.
_SPECIAL_KEY = re.compile(
    r"(?:default|hostnames|volatile|include|delete|proxy|proxy_recursive|ranges)$|[~\\]"
)


def nginx(text: str) -> list[str]:
    """The directives in order, each with its depth, how many words it has, and how many variables are in them."""
    found: list[str] = []
    words: list[str] = []
    blocks: list[str] = []
    depth = place = 0
    while place < len(text):
        token = _NGINX.match(text, place)
        if not token:
            raise ValueError(f"nginx could not read {text[place : place + 40]!r}")
        place = token.end()
        if token[1]:
            words.append(token[1])
        elif token[2]:
            depth -= token[2] == "}"
            if token[2] == "}":
                del blocks[depth:]
            variables = sum(word.count("$") for word in words)
            name = words[0] if words else ""
            if blocks and blocks[-1] in ("map", "geo") and not _SPECIAL_KEY.match(name.strip("\"'")):
                name = "key"
            found.append(f"{depth} {name} {len(words)} {variables} {token[2]}")
            if token[2] == "{":
                blocks.append(words[0] if words else "")
            depth += token[2] == "{"
            words = []
    if depth or words:
        raise ValueError("the file ends in the middle of a block")
    return found


def by_lines(text: str) -> list[str]:
    """The first word of each line, as Apache, systemd, uWSGI and tmpfiles read it, and its placeholders.

    A backslash at the end joins two lines.
    """
    lines = [line.strip() for line in re.sub(r"\\\r?\n", " ", text).splitlines()]
    told = [line for line in lines if line and line[0] not in "#;"]
    words = [re.split(r"[\s=]", line)[0] for line in told]
    placeholders = [len(re.findall("(?<!%)%(?!%)", line)) for line in told]
    return [f"{word} {count}" for word, count in zip(words, placeholders, strict=True)]


def structure(texts: dict[str, str]) -> dict[str, list[str]]:
    """What stays the same whatever the texts say. Raises ValueError where a file cannot be read at all."""
    found = {}
    for name, text in texts.items():
        if odd := re.search(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", text):
            raise ValueError(f"{name} has the character {odd[0]!a}")
        if str(PRODUCT) in text:
            raise ValueError(f"{name} has a template of the text carried out")
        if name.startswith("nginx"):
            found[name] = nginx(text)
        elif name.endswith(".py"):
            found[name] = [ast.dump(node)[:40] for node in ast.parse(text).body]
        else:
            found[name] = by_lines(text)
    return found


def merged(one: Any, other: Any) -> Any:
    """Both in one entry; of two single values the second."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: merged(one[key], other[key]) if key in one and key in other else {**one, **other}[key]
            for key in one | other
        }
    if isinstance(one, list) and isinstance(other, list) and one and isinstance(one[0], dict):
        return [merged(one[0], other[0])]
    return other


@dataclass
class Verdict:
    refused: int = 0
    harmless: int = 0
    changed: list[tuple[str, str]] = field(default_factory=list)


def judged(
    render: Render,
    schema: Section,
    texts: list[str] = HOSTILE,
    among: Callable[[str], bool] = lambda where: True,
) -> Verdict:
    """Try everything at every place: what the schema refuses, and what of the rest changes a structure.

    What is let through is rendered many places at a time, and each alone only where a structure has changed.
    """
    verdict, renderer = Verdict(), Renderer(render)
    let: dict[str, tuple[Put, list[str], Any]] = {}
    for where, kind, put in places(schema, "", lambda entry: entry):
        if not among(where):
            continue
        plain = good(kind)
        assert not list(schema.faults(put(plain), "app", "")), (where, plain)
        for text in texts:
            example = str(plain)
            values = (text, example + text, text + example, example[:1] + text + example[1:])
            allowed = [value for value in values if not list(schema.faults(put(value), "app", ""))]
            verdict.refused += len(values) - len(allowed)
            # One form of a text is enough from here on.
            if allowed:
                let.setdefault(where, (put, [], plain))[1].append(allowed[-1])
    while any(values for _, values, _ in let.values()):
        entry: Entry = {}
        harmless: Entry = {}
        taken = []
        for where, (put, values, plain) in let.items():
            candidate = merged(entry, put(values[0])) if values else None
            if candidate is not None and not list(schema.faults(candidate, "app", "")):
                entry, harmless = candidate, merged(harmless, put(plain))
                taken.append((where, put, values.pop(0), plain))
        if same(renderer, entry, harmless):
            verdict.harmless += len(taken)
            continue
        for where, put, value, plain in taken:
            if same(renderer, put(value), put(plain)):
                verdict.harmless += 1
            else:
                verdict.changed.append((where, value))
    return verdict


def same(renderer: Renderer, entry: Entry, harmless: Entry) -> bool:
    wanted = structure(renderer.texts(harmless))
    try:
        return structure(renderer.texts(entry)) == wanted
    except (ValueError, SyntaxError, AnsibleError):
        return False


def test_no_text_changes_a_configuration(render: Render) -> None:
    verdict = judged(render, APP)
    tried = verdict.refused + verdict.harmless + len(verdict.changed)
    print(f"\nfigure: hostile_texts_harmless = {verdict.refused + verdict.harmless}/{tried}")
    assert verdict.changed == []
    assert verdict.refused > 5000
    assert verdict.harmless > 300


@pytest.mark.parametrize(
    "where",
    [
        "name",
        "domains[]",
        "static (name)",
        "limits.body",
        "limits.memory",
        "schedule.*.at",
        "schedule.*.every",
        "workers (name)",
    ],
)
def test_a_rule_that_takes_anything_would_be_noticed(render: Render, where: str) -> None:
    """A key as somebody may add it who forgets the rule: the test above fails."""
    lax = without_rule(APP, where)
    texts = ["\n", "; ", "{{ 7 * 7 }}", "\n[Service]\nUser=root"]
    changed = judged(render, lax, texts, lambda place: place == where).changed
    assert {place for place, _ in changed} == {where}


def without_rule(kind: Any, where: str, here: str = "") -> Any:
    """The schema with nothing refused at one place."""
    if isinstance(kind, Text):
        return replace(kind, rule=lambda text: None) if here == where else kind
    if isinstance(kind, ListOf | OneOrMore):
        return replace(kind, item=without_rule(kind.item, where, f"{here}[]"))
    if isinstance(kind, MapOf):
        key = without_rule(kind.key, where, f"{here} (name)")
        return replace(kind, key=key, value=without_rule(kind.value, where, f"{here}.*"))
    if isinstance(kind, Section):
        fields = [
            replace(one, kind=without_rule(one.kind, where, f"{here}.{one.name}".lstrip(".")))
            for one in kind.fields
        ]
        return replace(kind, fields=tuple(fields))
    return kind
