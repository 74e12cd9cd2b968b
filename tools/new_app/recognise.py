"""Recognise from source code alone which framework an app uses and how it is started. Nothing of it is run."""

from __future__ import annotations

import ast
import configparser
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: More files or larger ones are not looked at.
MOST_FILES = 2000
MOST_BYTES = 1 << 20
IGNORED = {".git", ".venv", "venv", "node_modules", "tests", "test", "docs", "examples", "migrations"}

#: Name of a class or factory whose result is an app, the key that serves it.
CALLABLES = {
    "Flask": "wsgi", "Bottle": "wsgi", "Falcon": "wsgi", "get_wsgi_application": "wsgi", "make_wsgi_app": "wsgi",
    "FastAPI": "asgi", "Starlette": "asgi", "Litestar": "asgi", "Quart": "asgi", "get_asgi_application": "asgi",
}  # fmt: skip


#: A module that makes an app of this kind in a function of its own.
_ASGI_APP = re.compile(rf"\b(?:{'|'.join(name for name, key in CALLABLES.items() if key == 'asgi')})\(")


#: What `database: postgresql` sets, and where a driver for it is named.
URL = "DATABASE_URL"
REQUIREMENTS = ("requirements.txt", "requirements.in", "pyproject.toml")


@dataclass
class Recognised:
    """Keys of the app's entry that follow from its code, and the names of secrets that the code reads."""

    framework: str
    keys: dict[str, Any] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


def recognise(code: Path) -> Recognised | None:
    """What the directory *code* holds; None where nothing in it is known."""
    sources = dict(_sources(code))
    found = _django(code, sources) or _paste(code) or _callable(sources)
    if found:
        found.secrets = _secrets(sources)
        if URL in found.secrets and _wants_postgresql(code):
            found.secrets.remove(URL)
            found.keys["database"] = "postgresql"
    return found


def _wants_postgresql(code: Path) -> bool:
    """Whether the app's requirements have a driver of PostgreSQL."""
    texts = [_text(code / name) or "" for name in REQUIREMENTS if (code / name).is_file()]
    return any(re.search(r"^\W*(?:psycopg|psycopg2|asyncpg)\b", text, re.MULTILINE) for text in texts)


def _sources(code: Path) -> Iterator[tuple[Path, str]]:
    count = 0
    for path in sorted(code.rglob("*.py"), key=lambda path: (len(path.parts), path)):
        relative = path.relative_to(code)
        if IGNORED & set(relative.parts[:-1]) or (text := _text(path)) is None:
            continue
        count += 1
        if count > MOST_FILES:
            return
        yield relative, text


def _text(path: Path) -> str | None:
    """The text of a regular file; None for a link, which may lead anywhere, for a pipe, and for what is too large."""
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode) or state.st_size > MOST_BYTES:
        return None
    return path.read_text(errors="replace")


def _django(code: Path, sources: dict[Path, str]) -> Recognised | None:
    if not (code / "manage.py").is_file():
        return None
    servers = {path.stem: path for path in reversed(sources) if path.name in ("wsgi.py", "asgi.py")}
    if not servers:
        return None
    kind = "wsgi" if "wsgi" in servers else "asgi"
    keys: dict[str, Any] = {
        kind: f"{_module(servers[kind])}:application",
        "migrate": "python manage.py migrate --noinput",
    }
    settings = "\n".join(text for path, text in sources.items() if "settings" in path.as_posix())
    if root := re.search(r"^STATIC_ROOT\s*=.*[\"']([\w-]+)/?[\"']", settings, re.MULTILINE):
        keys["build"] = ["python manage.py collectstatic --noinput"]
        keys["static"] = {"/static/": root[1]}
    if media := re.search(r"^MEDIA_ROOT\s*=.*[\"']([\w-]+)/?[\"']", settings, re.MULTILINE):
        keys["persistent"] = [media[1]]
    return Recognised("Django", keys)


def _paste(code: Path) -> Recognised | None:
    for path in sorted(code.glob("*.ini"), key=lambda path: (path.name != "production.ini", path.name)):
        parser = configparser.RawConfigParser(strict=False)
        if (text := _text(path)) is None:
            continue
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        if parser.has_section("app:main"):
            return Recognised("Pyramid", {"paste": path.name})
    return None


def _callable(sources: dict[Path, str]) -> Recognised | None:
    """The first module that assigns an app to a name at its top level; modules named wsgi or asgi come first."""
    for path in sorted(sources, key=lambda path: (path.stem not in ("wsgi", "asgi"), len(path.parts), path)):
        try:
            tree = ast.parse(sources[path])
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
                continue
            name, made_by = node.targets[0].id, _called(node.value)
            if made_by in CALLABLES:
                return Recognised(made_by, {CALLABLES[made_by]: f"{_module(path)}:{name}"})
            if name == "application" or (name == "app" and made_by.startswith(("create_", "make_"))):
                kind = "asgi" if _ASGI_APP.search(sources[path]) else "wsgi"
                return Recognised(kind.upper(), {kind: f"{_module(path)}:{name}"})
    return None


def _called(value: ast.expr) -> str:
    """The name of the function that *value* calls."""
    if not isinstance(value, ast.Call):
        return ""
    return getattr(value.func, "id", "") or getattr(value.func, "attr", "")


def _module(path: Path) -> str:
    parts = [*path.parent.parts, path.stem]
    return ".".join(parts[:-1] if path.stem == "__init__" else parts)


def _secrets(sources: dict[Path, str]) -> list[str]:
    """Environment variables that the code reads and whose names say that they are secret."""
    read = re.compile(
        r"environ(?:\.get\(|\[)\s*[\"']([A-Z][A-Z0-9_]*)[\"']|getenv\(\s*[\"']([A-Z][A-Z0-9_]*)[\"']"
    )
    names = {match[1] or match[2] for text in sources.values() for match in read.finditer(text)}
    return sorted(
        name for name in names if re.search(r"SECRET|TOKEN|PASSWORD|_KEY$|DATABASE_URL|_DSN$", name)
    )
