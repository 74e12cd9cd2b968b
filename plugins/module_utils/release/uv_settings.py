"""What uv is told: credentials by a pipe that uv alone reads, the rest by its environment, which builds read too.

uv runs as the app's user and runs build backends of whatever the app depends on. They read their own environment, the
arguments of all processes, and every file that this user may read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import IO
from urllib.parse import quote

from ..host import credentials, layout
from ..host.release_error import ReleaseError

#: Variables with index URLs, and what stands between them.
_INDEXES = {
    "UV_DEFAULT_INDEX": r"\s+",
    "UV_INDEX": r"\s+",
    "UV_INDEX_URL": r"\s+",
    "UV_EXTRA_INDEX_URL": r"\s+",
    "UV_FIND_LINKS": r"[\s,]+",
}
_PROXIES = {
    "HTTP_PROXY": ("http-proxy",),
    "HTTPS_PROXY": ("https-proxy",),
    "ALL_PROXY": ("http-proxy", "https-proxy"),
}

_LOGIN = re.compile(r"UV_INDEX_([A-Z0-9_]+)_(USERNAME|PASSWORD)")

#: Names of variables that hold credentials, or the place of some, and that uv has no other way for.
_SECRET = re.compile(r"PASSW|TOKEN|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY|(^|_)NETRC$")

#: With one of these, uv would not read what we tell it.
_OTHER_FILES = ("UV_CONFIG_FILE", "UV_NO_CONFIG", "XDG_CONFIG_HOME")

#: What a pipe takes at once.
LONGEST = 60_000


def split(environment: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """*environment* without credentials, and those as the text of a `uv.toml`; empty where there are none.

    uv keeps the user and password of every index that its configuration names, also of one that is used by nobody, for all
    that is fetched from that server. So the index stays where it was, and which one goes first is as before.
    """
    plain = dict(environment)
    urls: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, between in _INDEXES.items():
        for word in re.split(between, plain.get(name, "")):
            label, url = _named(word)
            if label:
                names[_variable(label)] = url
            if credentials.login(url):
                urls[url] = url
                plain[name] = plain[name].replace(url, credentials.without_login(url))
    for label, url in names.items():
        user = plain.get(f"UV_INDEX_{label}_USERNAME", "")
        password = plain.get(f"UV_INDEX_{label}_PASSWORD", "")
        if user or password:
            plain.pop(f"UV_INDEX_{label}_USERNAME", None)
            plain.pop(f"UV_INDEX_{label}_PASSWORD", None)
            pair = f"://{quote(user, safe='')}:{quote(password, safe='')}@"
            urls[url] = credentials.without_login(url).replace("://", pair, 1)
    lines = _proxies(plain)
    for number, url in enumerate(urls.values(), 1):
        # Explicit: no package is looked for there by this entry.
        lines += [
            "[[index]]",
            f'name = "emperor-stack-{number}"',
            f"url = {json.dumps(url)}",
            "explicit = true",
        ]
    return plain, "".join(f"{line}\n" for line in lines)


def _named(word: str) -> tuple[str, str]:
    """The name and the URL of an index in `name=URL` or `URL`."""
    found = re.fullmatch(r"([A-Za-z0-9._-]+)=(.*://.*)", word)
    return (found[1], found[2]) if found else ("", word)


def _variable(name: str) -> str:
    """*name* of an index as uv puts it into the names of variables."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _proxies(plain: dict[str, str]) -> list[str]:
    """Lines for proxies with a password, whose variables leave *plain*."""
    found: dict[str, str] = {}
    for name, keys in _PROXIES.items():
        for variable in (name, name.lower()):
            if "@" in plain.get(variable, ""):
                url = plain.pop(variable)
                for key in keys:
                    found.setdefault(key, url if "://" in url else f"http://{url}")
    if not found:
        return []
    lines = [f"{key} = {json.dumps(url)}" for key, url in found.items()]
    if exceptions := plain.get("NO_PROXY") or plain.get("no_proxy"):
        lines.append(
            f"no-proxy = {json.dumps([one.strip() for one in exceptions.split(',') if one.strip()])}"
        )
    return lines


def complaints(environment: Mapping[str, str]) -> list[str]:
    """What of *environment* builds would read although they must not, each with what to do; without any value."""
    plain, text = split(environment)
    found = []
    for name, value in sorted(plain.items()):
        if login := _LOGIN.fullmatch(name):
            found.append(
                f"{name}: builds can read uv's environment, and no index in python_apps_uv_environment is "
                f"called {login[1].lower()}. Put user and password into the index's URL in "
                "python_apps_index or python_apps_extra_indexes, where builds cannot read them: they are "
                "used for everything from that server, whatever an app's pyproject.toml calls it"
            )
        elif _SECRET.search(name):
            found.append(
                f"{name}: builds can read uv's environment and the files that uv can read, and uv accepts "
                "this only there. Remove it; put user and password of an index into its URL in "
                "python_apps_index or python_apps_extra_indexes"
            )
        elif credentials.secrets_of(value):
            kind = "index" if name in _INDEXES else "variable"
            found.append(
                f"{name}: this {kind} has a credential in its URL that uv accepts only from its "
                "environment, which builds can read. Put user and password before the host in the URLs "
                "of indexes and proxies"
            )
    others = [name for name in _OTHER_FILES if plain.get(name)]
    if text and others:
        found.append(
            f"{others[0]}: it would keep the credentials of indexes and proxies from uv. Remove it, or "
            "the credentials"
        )
    if len(text.encode()) > LONGEST:
        found.append(f"the credentials of all indexes together are more than {LONGEST} bytes")
    return found


def close(program: str) -> None:
    """Let nobody but root read uv's *program*: of one that they cannot read, the kernel shows no memory and no pipes to the
    processes of the same user.
    """
    program = os.path.realpath(program)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_IMODE(os.stat(program).st_mode) != 0o711:
            os.chmod(program, 0o711)


@contextlib.contextmanager
def told(text: str, uid: int) -> Iterator[tuple[dict[str, str], IO[bytes] | None]]:
    """The variables and the standard input with which a uv of user *uid* reads *text* as its user's configuration, once.

    Raises ReleaseError.
    """
    if not text:
        yield {}, None
        return
    if not os.path.lexists(layout.UV_CONFIG):
        raise ReleaseError("this host was set up by an earlier version of Emperor Stack: run site.yml first")
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe:
        with os.fdopen(writer, "wb") as file:
            # uv opens it anew, by its name: the pipe has to be this user's. Nobody else has it.
            os.fchown(reader, uid, -1)
            file.write(text.encode())
        # Else a project's configuration could have uv hand the user's name to a program.
        variables = {
            "XDG_CONFIG_HOME": os.path.dirname(os.path.dirname(layout.UV_CONFIG)),
            "UV_KEYRING_PROVIDER": "disabled",
        }
        yield variables, pipe
