"""Credentials in URLs: where they are, what messages show in their place, and what of them must be masked elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from .masking import MASK, SHORTEST_HIDDEN

#: A user without a password is masked wherever it occurs from this length on: shorter ones are names, such as `git`.
SHORTEST_TOKEN = 12

#: Names of query parameters that hold credentials, in small letters.
_SECRET_PARAMETER = re.compile(
    r"token|key|secret|sig|passw|pwd|auth|credential|sas|jwt|session|policy|access|ticket|code"
)

#: A URL as it stands in a text, with what comes before its host and, if there is one, its query.
_URL = re.compile(
    r"\b([a-z][a-z0-9+.-]{0,20})://(?:([^/\s@'\"]*)@)?([^\s'\"<>?#]*)(\?[^\s'\"<>#]*)?", re.IGNORECASE
)

#: Parts of one. What a build prints must not make them slow: none begins where another is still looking for its end.
_USERINFO = re.compile(
    r"\b([a-z][a-z0-9+.-]{0,20})://([^/\s@:'\"]{0,200}(?::[^/\s@'\"]{0,2000})?)@", re.IGNORECASE
)
_PARAMETER = re.compile(r"([?&;])([\w%.~-]{1,64})=([^\s'\"<>&;#]+)")


@dataclass(frozen=True)
class Login:
    """User and password for one server, as *origin*: `https://git.example.com:8443`."""

    origin: str
    user: str
    password: str


def origin(url: str) -> str:
    """Scheme, host and port of *url* in one form, empty where it has none: credentials are for no other place."""
    parts = _parts(url)
    if parts is None or not parts.scheme or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, standard) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        # Read only now, and raised for `https://host:x`.
        _ = parts.port
    except ValueError:
        return None
    return parts


def without_login(url: str) -> str:
    """*url* without user and password. The user of an ssh URL is a name and stays."""
    found = re.match(r"(https?|ftps?)://[^/?#]*@", url, re.IGNORECASE)
    if found:
        return f"{found[1]}://{url[found.end() :]}"
    # Nothing but a name before the host of any other kind of URL.
    return re.sub(r"^([a-z][a-z0-9+.-]*://[^/?#:@]*):[^/?#]*@", r"\1@", url, flags=re.IGNORECASE)


def login(url: str) -> Login | None:
    """User and password that *url* names for its own server; None where it names none. Only of http and https."""
    parts = _parts(url)
    if parts is None or parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Login(origin(url), user, password) if user or password else None


def without_credentials(url: str) -> str:
    """*url* as messages may show it: without user, password and query."""
    return re.split(r"[?#]", without_login(url), maxsplit=1)[0]


def secrets_of(text: str) -> list[str]:
    """All that must not be shown of the URLs in *text*: passwords, tokens, signatures, as they are written and as they are
    meant.
    """
    found: list[str] = []
    for scheme, userinfo, _, query in _URL.findall(text):
        user, colon, password = userinfo.partition(":")
        if colon:
            found += [userinfo, password, unquote(password)]
            pair = f"{unquote(user)}:{unquote(password)}"
            found.append(base64.b64encode(pair.encode()).decode())
        elif scheme.lower() in ("http", "https") and len(user) >= SHORTEST_TOKEN:
            found += [user, unquote(user), base64.b64encode(f"{unquote(user)}:".encode()).decode()]
        if scheme.lower() in ("http", "https") and colon and password in ("", "x-oauth-basic"):
            found += [one for one in (user, unquote(user)) if len(one) >= SHORTEST_TOKEN]
        for name, value in _parameters(query):
            if _is_secret(name, value) and len(value) >= SHORTEST_HIDDEN:
                found += [value, unquote(value)]
    return [one for one in dict.fromkeys(found) if one]


def _parameters(query: str) -> list[tuple[str, str]]:
    pairs = (one.partition("=") for one in re.split(r"[&;]", query.removeprefix("?")) if one)
    # `?TOKEN` alone is a value without a name.
    return [(name, value) if equals else ("token", name) for name, equals, value in pairs]


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_PARAMETER.search(unquote(name).lower())) or len(value) >= 2 * SHORTEST_TOKEN


def masked(text: str) -> str:
    """*text* with a mask in the place of each password and token in its URLs, whoever they belong to."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(_without_value, _USERINFO.sub(_without_userinfo, text))


def _without_userinfo(match: re.Match[str]) -> str:
    scheme, userinfo = match[1], match[2]
    named = ":" in userinfo or scheme.lower() in ("http", "https", "ftp")
    return f"{scheme}://{MASK if named and userinfo else userinfo}@"


def _without_value(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={MASK if _is_secret(match[2], match[3]) else match[3]}"


def all_secrets(values: Iterable[object]) -> list[str]:
    """`secrets_of` each of *values* that is a text."""
    return [one for value in values if isinstance(value, str) for one in secrets_of(value)]
