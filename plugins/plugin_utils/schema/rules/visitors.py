"""What a single text of the traffic features may be. Nothing that passes can end a directive."""

from __future__ import annotations

import ipaddress
import posixpath
import re

from ....module_utils.values.texts import Wrong, unprintable, words
from .paths import file_path, static_url

#: Said by the server itself, by the app, or by another key; a second one would contradict the first.
OTHERS_HEADERS = words(
    """
    accept-ranges age alt-svc cache-control connection content-disposition content-encoding content-length
    content-location content-range content-type date etag expires keep-alive last-modified location proxy-authenticate
    proxy-connection refresh retry-after server set-cookie status strict-transport-security te trailer transfer-encoding
    upgrade vary via www-authenticate x-accel-buffering x-accel-charset x-accel-expires x-accel-limit-rate
    x-accel-redirect x-cache x-release x-request-id
    """
)

#: The server's own names below each app's path.
OWN_URLS = "/emperor-stack-"

LONGEST_HEADER = 2000


def mount_path(text: str) -> Wrong | None:
    """Where below its domains an app answers: `/`, or a directory's URL."""
    if text == "/":
        return None
    if wrong := static_url(text):
        return wrong
    if not text.endswith("/"):
        return Wrong("the path of an app must end with a slash", f"{text}/")
    return _own(text)


def _own(text: str) -> Wrong | None:
    return (
        Wrong(f"names that begin with {OWN_URLS} are reserved for the web server")
        if OWN_URLS in text
        else None
    )


def files_url(text: str) -> Wrong | None:
    """The URL of a directory that only the app can send visitors to."""
    if not text.endswith("/") and not static_url(text):
        return Wrong("this is a directory: it must end with a slash", f"{text}/")
    return static_url(text) or _own(text)


def redirect_source(text: str) -> Wrong | None:
    """A plain path: no pattern."""
    return None if text == "/" else static_url(text) or _own(text)


_STATUS = ("301", "302", "303", "307", "308")


def redirect_target(text: str) -> Wrong | None:
    """A path or a URL, perhaps with a status after it."""
    target, blank, status = text.partition(" ")
    if blank and status not in _STATUS:
        better = "" if redirect_target(target) else f"{target} 302"
        return Wrong(f"only one of {', '.join(_STATUS)} may follow the target", better)
    if re.match(r"[a-z]+:", target) and not re.match(r"https?://[A-Za-z0-9]", target):
        return Wrong("the target of a redirect must be a path, or an http or https URL")
    if not re.match(r"/(?!/)|https?://", target):
        better = f"/{target.lstrip('/')}"
        return Wrong(
            "it must be a path that starts with one slash, or a complete URL",
            better if not redirect_target(better) else "",
        )
    if found := re.search(r"[^A-Za-z0-9._~:/?#\[\]@!&()*+,=%-]", target):
        return Wrong(f"the character {found.group()!a} is not allowed in a URL here: write it as %XX")
    if re.search(r"%(?![0-9A-Fa-f]{2})", target) or re.search(r"%(0[0-9A-Fa-f]|1[0-9A-Fa-f]|7[Ff])", target):
        return Wrong("two hex digits must follow %, and not those of a control character")
    return None


def network(text: str) -> Wrong | None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            better = str(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            return Wrong("it must be an address or a network, as in 192.0.2.7 or 10.0.0.0/8")
        return Wrong("it has host bits set beyond its prefix length", better)
    if "%" in text:
        return Wrong("a zone has no effect here", text.partition("%")[0])
    return None


def rate(text: str) -> Wrong | None:
    found = re.fullmatch(r"([1-9][0-9]{0,5})/(s|m)", text)
    if found:
        return None
    near = re.fullmatch(r"([1-9][0-9]{0,5})\s*(?:r|req|requests)?\s*/\s*(s|m)[a-z]*", text.strip().lower())
    return Wrong(
        "it must be requests per second or per minute, as in 10/s or 300/m",
        f"{near[1]}/{near[2]}" if near else "",
    )


def user_name(text: str) -> Wrong | None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", text):
        return None
    return Wrong(
        "a user's name consists of letters, digits and . _ @ + -, at most 64, and starts with a letter or digit"
    )


#: What crypt(3) of both Debians knows and checks in few milliseconds: each request has its password checked.
_HASH = re.compile(
    r"\$(?:5\$(?:rounds=[1-9][0-9]{3,5}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}"
    r"|6\$(?:rounds=[1-9][0-9]{3,5}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86})"
)


def password_hash(text: str) -> Wrong | None:
    if _HASH.fullmatch(text):
        return None
    return Wrong(
        "it must be the hash of a password, as `openssl passwd -6` prints it, and never the password itself"
    )


def header_name(text: str) -> Wrong | None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
        guess = re.sub(r"[^A-Za-z0-9]+", "-", text.strip()).strip("-")[:64]
        better = guess if guess and guess != text and header_name(guess) is None else ""
        return Wrong(
            "the name of a header consists of letters, digits and hyphens, and starts with a letter", better
        )
    if text.lower() == "strict-transport-security":
        return Wrong("`tls: {hsts: …}` sets this header")
    if text.lower() in OTHERS_HEADERS:
        return Wrong("this header belongs to the app or to the web server")
    return None


def header_value(text: str) -> Wrong | None:
    """One line of ASCII. nginx has no way to write a `$`."""
    if not text.strip():
        return Wrong("it is empty; use null to drop a default header")
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a header")
    if not text.isascii():
        return Wrong("a header must be ASCII")
    if taken := re.search(r"[$\\]", text):
        return Wrong(f"the character {taken.group()} cannot be part of a web server's configuration")
    if text != text.strip():
        return Wrong("it starts or ends with a blank", text.strip())
    if len(text) > LONGEST_HEADER:
        return Wrong(f"it is longer than {LONGEST_HEADER} characters")
    return None


#: Statuses for which a site may have a page of its own.
PAGE_STATUSES = ("404", "500", "502", "503", "504")


def page_status(text: str) -> Wrong | None:
    if text in PAGE_STATUSES:
        return None
    return Wrong(f"an error page is supported for {', '.join(PAGE_STATUSES)}")


def page_file(text: str) -> Wrong | None:
    if wrong := file_path(text):
        return wrong
    if posixpath.splitext(text)[1] not in (".html", ".htm"):
        return Wrong("it must be an HTML file whose name ends in .html")
    return None
