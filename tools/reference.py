"""Write docs/reference/python_apps.md from the schema: `python tools/reference.py`.

With --check it only compares, and exits 1 when the file is outdated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference" / "python_apps.md"

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emperor.stack.plugins.module_utils.values import names as app_names  # noqa: E402
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import listed  # noqa: E402
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields.app import APP, PER_HOST  # noqa: E402
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.kinds import Field, MapOf, Section  # noqa: E402
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import environment, processes  # noqa: E402

HEAD = """\
# `python_apps`

<!-- Written by tools/reference.py from plugins/plugin_utils/schema/fields. Change it there. -->

Describe the apps of a host in this list. The controller checks it for the whole inventory before any host is
touched; a key that is not listed here is refused. The smallest app:

```yaml
python_apps:
  - name: blog
    domains: [blog.example.com]
    source: {git: "https://git.example.com/team/blog.git", version: v1.4.0}
    wsgi: blog.wsgi:application
```
"""


def reference() -> str:
    parts = [HEAD, "## Keys of an app\n", *_table(APP), *_sections(APP, ""), *_rules()]
    return "\n".join(parts)


def _table(section: Section) -> Iterator[str]:
    if section.exactly_one_of:
        names = listed(section.exactly_one_of)
        yield f"Exactly one of {names} is required.\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for field in section.fields:
        cells = (f"`{field.name}`", _cell(field.kind.described()), _default(field), _cell(field.description))
        yield f"| {' | '.join(cells)} |"
    yield "\nExamples:\n\n```yaml"
    yield from (field.example for field in section.fields)
    yield "```\n"


def _sections(section: Section, above: str) -> Iterator[str]:
    for field in section.fields:
        kind, name = field.kind, f"{above}{field.name}"
        if isinstance(kind, MapOf):
            kind, name = kind.value, f"{name}.<name>"
        if isinstance(kind, Section):
            yield f"## `{name}`\n\n{field.description}\n"
            yield from _table(kind)
            yield from _sections(kind, f"{name}.")


def _rules() -> Iterator[str]:
    may_differ = " and ".join(f"`{name}`" for name in PER_HOST)
    yield f"""\
## Rules between apps and hosts

- A name is unique on a host. On several hosts it means the same app, whose entries must be identical: only
  {may_differ} may differ.
- A domain belongs to one app of the whole inventory, or to several at different `path`s. These apps have the same
  `domains`, the same `tls` and the same hosts, and none serves a URL below the path of another.
- A static URL lies neither below another static URL nor above the health path, and its directory contains no persistent
  directory.
- Persistent directories do not contain each other.
- No redirect and no private directory covers the health path or a static URL.
- Each name of `secrets` and each name in `users` has a value in `vault_python_apps_secrets.<app>`, and each value there
  is named by one of the two:

```yaml
vault_python_apps_secrets:    # in a file encrypted by ansible-vault
  blog:
    SECRET_KEY: …
```

## Reserved names

App names: {_listed(app_names.RESERVED_NAMES)}, and all names that start with
{_listed(app_names.RESERVED_PREFIXES)}.

Names of workers and of scheduled commands: {_listed(processes.RESERVED_PROCESSES)}. No name can stand for both.

Environment variables: {_listed(environment.RESERVED_ENV)}; `PYTHONPATH` (use `pythonpath`) and `PYTHONHOME`; all names that
start with `UWSGI_`; and what the system's loader reads: {_listed(environment.LOADER)}.
"""


def _listed(names: frozenset[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _default(field: Field) -> str:
    if field.required:
        return "**required**"
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    return f"`{default}`" if default not in (None, (), {}) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    text = reference()
    if "--check" in arguments:
        if TARGET.is_file() and TARGET.read_text() == text:
            return 0
        print(
            f"{TARGET.relative_to(ROOT)} is outdated: run python tools/reference.py",
            file=sys.stderr,
        )
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
