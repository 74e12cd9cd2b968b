"""What a single text of `python_apps` may be.

A rule takes the text and returns None, or what is wrong together with a text that would be right (empty when
none can be guessed). The patterns are narrow on purpose: what they let through means nothing to nginx, to a
uWSGI ini or to a shell, so that nothing typed into `python_apps` can end one directive of a config and begin
another.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from . import nginx_syntax


class Wrong(NamedTuple):
    reason: str
    better: str = ""


Rule = Callable[[str], Wrong | None]


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Users and groups that Debian or a package next to us owns; an app of that name would take over its files.
RESERVED_NAMES = words(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody _apt
    adm tty disk dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl
    plugdev staff users nogroup input kvm render sgx kmem crontab netdev wheel docker ssh ssl-cert
    nginx uwsgi sshd messagebus polkitd postgres mysql mariadb redis memcache rabbitmq postfix exim dovecot
    opendkim bind unbound dnsmasq ntp ntpsec chrony avahi uuidd statd rpc tcpdump tss munin prometheus grafana
    nagios zabbix haproxy varnish apache squid debian admin ansible vagrant ubuntu emperor waiting sockets
    """
)
RESERVED_PREFIXES = ("systemd-", "debian-", "emperor-stack")

#: Set by the platform for every app, or a way to swap the interpreter's or the linker's files.
RESERVED_ENV = words(
    """
    APP_NAME APP_RELEASE APP_REVISION PATH HOME USER LOGNAME SHELL LANG PYTHONUTF8 PYTHONPATH PYTHONHOME
    VIRTUAL_ENV
    """
)
RESERVED_ENV_PREFIXES = ("LD_", "UWSGI_")

#: Names of an app's own units: its web server, and commands of `playbooks/run.yml`.
RESERVED_PROCESSES = ("run", "web")

#: The kernel takes 128 KiB for a variable, its name and two more bytes included.
LONGEST_ENV_VALUE = 127 * 1024

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9._~@+][A-Za-z0-9._~@+-]*")
_CHALLENGES = "/.well-known/acme-challenge/"


def unprintable(text: str) -> str:
    """The first character of *text* that no config or command should hold, in a form to show; else empty."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return ascii(character)
    return ""


def _odd_character(text: str, allowed: str) -> str:
    found = re.search(rf"[^{allowed}]", text)
    return ascii(found.group()) if found else ""


def name(text: str) -> Wrong | None:
    if text in RESERVED_NAMES or text.startswith(RESERVED_PREFIXES):
        return Wrong(
            "it is reserved for Debian, a package or Emperor Stack, and an app's name becomes its Unix user",
            f"{text}-app" if not text.startswith(RESERVED_PREFIXES) else "",
        )
    if re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text):
        return None
    guess = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789")[:31]
    return Wrong(
        "it becomes a Unix user and a path: start with a lowercase letter, then use lowercase letters, digits and hyphens, "
        "31 characters at most",
        guess if guess and name(guess) is None else "",
    )


def domain(text: str) -> Wrong | None:
    wrong = _domain(text)
    if wrong and wrong.better and _domain(wrong.better):
        return wrong._replace(better="")
    return wrong


def _domain(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a host name")
    if "://" in text:
        return Wrong("this is a URL; write the host name only", _hostname(text))
    if "*" in text:
        return Wrong("wildcards are not supported: list every name")
    if "/" in text:
        return Wrong("this has a path; write the host name only", _hostname(f"http://{text}"))
    if re.fullmatch(r"[^:]+:\d+", text):
        return Wrong("this has a port; write the host name only", text.partition(":")[0].lower())
    if not text.isascii():
        return Wrong("write it in the ASCII form that DNS uses", _idna(text))
    if text.endswith("."):
        return Wrong("write it without the dot at the end", text.rstrip(".").lower())
    if text != text.lower():
        return Wrong("write host names in lowercase", text.lower())
    if "_" in text:
        reason = "a host name has no underscore (certificate authorities and some browsers reject it)"
        return Wrong(reason, text.replace("_", "-"))
    if found := _odd_character(text, "a-z0-9.-"):
        return Wrong(f"the character {found} is not allowed in a host name")
    if len(text) > 253:
        return Wrong(f"it has {len(text)} characters, and DNS allows 253")
    labels = text.split(".")
    if labels[-1].isdigit():
        return Wrong("this is an address, but nginx chooses the app by host name: write a host name")
    for label in labels:
        if not _LABEL.fullmatch(label):
            return Wrong(
                f"the part {label!r} is not valid: between dots there are 1 to 63 letters, digits or "
                "hyphens, "
                "with no hyphen at the ends"
            )
        if label.startswith("xn--") and not _decodes(label):
            return Wrong(f"the part {label!r} is not valid punycode")
    return None


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _idna(text: str) -> str:
    try:
        return text.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _decodes(label: str) -> bool:
    try:
        label.encode("ascii").decode("idna")
    except UnicodeError:
        return False
    return True


def relative_path(text: str) -> Wrong | None:
    """A path inside the app's code. One slash at the end is fine: people write directories so."""
    if not text:
        return Wrong("it is empty")
    if text.startswith("/"):
        return Wrong("it must be relative to the app's code, without a slash at the start", _tidy(text))
    if ".." in text.split("/"):
        return Wrong("it leads out of the app's code with '..'")
    body = text.removesuffix("/")
    if any(part in ("", ".") for part in body.split("/")):
        better = _tidy(text)
        if better:
            return Wrong("it has an empty or a '.' part", better)
        return Wrong("this is the whole code: name a part of it")
    if ".git" in body.split("/"):
        return Wrong(".git cannot be used: it contains the history and possibly credentials")
    if found := _odd_character(body, "A-Za-z0-9._~@+/-"):
        return Wrong(f"the character {found} is not allowed: use letters, digits and . _ ~ @ + -")
    for part in body.split("/"):
        if not _SEGMENT.fullmatch(part):
            return Wrong(f"the part {part!r} starts with a hyphen, so programs would take it for an option")
    return None


def _tidy(text: str) -> str:
    """The relative path that was probably meant, or nothing."""
    path = posixpath.normpath(text.lstrip("/")) if text.strip("/") else "."
    return "" if path == "." or relative_path(path) else path


def file_path(text: str) -> Wrong | None:
    if text.endswith("/") and not relative_path(text):
        return Wrong("it must be a file, but a trailing slash means a directory", text.rstrip("/"))
    return relative_path(text)


def static_url(text: str) -> Wrong | None:
    if not text.startswith("/"):
        better = f"/{text}"
        return Wrong("a URL path starts with a slash", "" if static_url(better) else better)
    if text == "/":
        return Wrong("this would hide the whole app behind files: use a path such as /static/")
    if found := _odd_character(text, "A-Za-z0-9._~@+/-"):
        return Wrong(
            f"the character {found} is not allowed: write a plain path (no pattern) of letters, "
            "digits and . _ ~ @ + -"
        )
    parts = text[1:].removesuffix("/").split("/")
    if ".." in parts or "." in parts or "" in parts:
        better = posixpath.normpath(re.sub("/+", "/", text)) + ("/" if text.endswith("/") else "")
        good = better != text and not static_url(better)
        return Wrong("it has an empty, '.' or '..' part", better if good else "")
    if ".git" in parts:
        return Wrong(".git is never served")
    if text == _CHALLENGES.rstrip("/") or text.startswith(_CHALLENGES):
        return Wrong("this path is reserved for issuing certificates")
    return None


def env_name(text: str) -> Wrong | None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        guess = re.sub(r"[^A-Za-z0-9_]+", "_", text)
        return Wrong(
            "the name of an environment variable consists of letters, digits and underscores, and does "
            "not start with a digit",
            guess if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", guess) and env_name(guess) is None else "",
        )
    if text in RESERVED_ENV or text.startswith(RESERVED_ENV_PREFIXES):
        return Wrong(f"{text} is set by Emperor Stack, and an app cannot change it")
    return None


def env_value(text: str) -> Wrong | None:
    """Newlines are fine: values reach the app by a JSON file, not by a config."""
    if "\0" in text:
        return Wrong("it has a NUL character, which an environment cannot contain")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Wrong("it has characters that cannot be encoded as UTF-8")
    if size > LONGEST_ENV_VALUE:
        return Wrong(
            f"it has {size // 1024} KiB, but an environment variable holds at most 127: render it into a file with `files`"
        )
    return None


def secret_value(text: str) -> Wrong | None:
    return Wrong("it is empty") if not text else env_value(text)


def command(text: str) -> Wrong | None:
    if not text.strip():
        return Wrong("it is empty")
    if "\n" in text or "\r" in text:
        return Wrong("it has a line break, but a command is one line: split it, or add a script to the code")
    if found := unprintable(text.replace("\t", " ")):
        return Wrong(f"the character {found} is not allowed in a command")
    return None


def process_name(text: str) -> Wrong | None:
    """The name of a worker or of a scheduled command: a part of the name of its units."""
    if text in RESERVED_PROCESSES:
        return Wrong("this name is reserved for another unit of the app", f"{text}-1")
    if re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text):
        return None
    guess = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789").rstrip("-")[:31]
    return Wrong(
        "it becomes a part of a unit's name: start with a lowercase letter, then use lowercase letters, digits and hyphens, "
        "31 characters at most",
        guess if guess and process_name(guess) is None else "",
    )


_SPAN = re.compile(r"([0-9]+)(s|m|h|d)")


def span(text: str) -> Wrong | None:
    found = _SPAN.fullmatch(text)
    if not found:
        near = re.fullmatch(r"([0-9]+)\s*([smhd])[a-z]*", text.strip().lower())
        better = f"{near[1]}{near[2]}" if near else ""
        return Wrong("it must be a number with s, m, h or d, as in 15m", better)
    seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    if not 1 <= seconds <= 366 * 86400:
        return Wrong("it must be between 1s and 366d")
    return None


_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DATE = r"[0-9*.,/~]+(?:-[0-9*.,/~]+){1,2}"
_TIME = r"[0-9*.,/]+(?::[0-9*.,/]+){1,2}"
_ZONE = r"(?:UTC|[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z0-9_+-]+){1,2})"
_CALENDAR = re.compile(
    "(?:minutely|hourly|daily|weekly|monthly|quarterly|semiannually|yearly|annually"
    rf"|(?:{_DAY}(?:(?:\.\.|,){_DAY})*)?(?:(?:^| ){_DATE})?(?:(?:^| ){_TIME})?)(?: {_ZONE})?"
)


def calendar(text: str) -> Wrong | None:
    """A systemd calendar expression, as far as its form goes; the host asks systemd before anything changes."""
    if text.strip() and _CALENDAR.fullmatch(text) and text[0] != " ":
        return None
    reason = 'it must be a time, as in "03:00", or a calendar expression of systemd, as in "Mon..Fri 18:30"'
    if _SPAN.fullmatch(text):
        return Wrong("this is an interval; use `every` instead")
    if re.fullmatch(r"[-0-9*/,]+( [-0-9*/,]+){4}", text):
        return Wrong(f"this is a cron expression; {reason}")
    return Wrong(reason)


def wsgi(text: str) -> Wrong | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*", text):
        return None
    if text.endswith(")") and ":" in text:
        return Wrong(
            "a call is not supported here: call it in a module of the code (application = create_app()) and "
            "name the result"
        )
    module, _, attribute = text.partition(":")
    better = f"{module.removesuffix('.py').strip('./').replace('/', '.')}:{attribute or 'application'}"
    return Wrong(
        "it must be module:callable, as in blog.wsgi:application",
        better if better != text and wsgi(better) is None else "",
    )


def paste(text: str) -> Wrong | None:
    path, hash_sign, section = text.partition("#")
    if wrong := file_path(path):
        return wrong
    if not path.endswith(".ini"):
        return Wrong("it must be a PasteDeploy file ending in .ini, optionally with #section")
    if hash_sign and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", section):
        return Wrong("the name of a section [app:NAME] must follow the #: letters, digits and . _ -")
    return None


def git_url(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a URL")
    if re.search(r"\s", text):
        return Wrong("a URL must not contain blanks")
    if text.startswith("-"):
        return Wrong("it starts with a hyphen, so that git would take it for an option")
    if "::" in text.split("/", 1)[0] and not text.startswith("["):
        return Wrong("git would run a helper program for this kind of URL (as for ext::); use https or ssh")
    if re.match(r"(?:[a-z+]+://)?(?:[^/@]*@)?-", text):
        return Wrong("its host starts with a hyphen, so that ssh would take it for an option")
    if not text.isascii() or re.search(r"[\"'`\\<>|;{}$]", text):
        return Wrong("it has a character that must be escaped in a URL: write it as %XX")
    return None


def git_version(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if text.startswith("-"):
        return Wrong("it starts with a hyphen, so that git would take it for an option")
    if ".." in text or "@{" in text or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/@+#-]*", text):
        return Wrong("it must be one tag, branch or commit, as in v1.4.0")
    return None


def archive(text: str) -> Wrong | None:
    """A URL to fetch, or a file on the controller."""
    if "://" not in text:
        return controller_path(text)
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a URL")
    if not re.fullmatch(r"https?://[^\s\"'`\\<>|;{}$]+", text) or not text.isascii():
        return Wrong("use https for an archive (or http: the checksum is verified in any case)")
    if not _hostname(text):
        return Wrong("this URL has no host")
    return None


def checksum(text: str) -> Wrong | None:
    if re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        return None
    better = f"sha256:{text.strip().lower().removeprefix('sha256:').strip()}"
    reason = "it must be sha256: and 64 hex digits, as `sha256sum FILE` prints them"
    return Wrong(reason, better if better != text and not checksum(better) else "")


def package(text: str) -> Wrong | None:
    name = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    if re.fullmatch(rf"{name}(?:\[{name}(?:,{name})*\])?==[0-9][A-Za-z0-9.!+_-]*", text):
        return None
    found = re.fullmatch(rf"({name}(?:\[[^]]*\])?)\s*===?\s*([0-9][A-Za-z0-9.!+_-]*)", text.strip())
    better = re.sub(r"\s", "", f"{found[1]}=={found[2]}") if found else ""
    return Wrong(
        "it must be a package of the index with its exact version, as in kinto==25.1.0, so that every host and "
        "every day gets the same",
        better if better != text and better and not package(better) else "",
    )


def python(text: str) -> Wrong | None:
    if re.fullmatch(r"3\.(9|[1-9][0-9])", text):
        return None
    found = re.match(r"(?:python)?(3\.(?:9|[1-9][0-9]))(?:\.[0-9]+)?$", text.strip())
    return Wrong("it must be a minor version, as in 3.12", found[1] if found and found[1] != text else "")


def controller_path(text: str) -> Wrong | None:
    if not text:
        return Wrong("it is empty")
    if found := unprintable(text):
        return Wrong(f"the character {found} is not allowed in a path")
    if text.startswith("~"):
        return Wrong("~ is not expanded: start with a slash, or with a directory of this repository")
    return None


def key_path(text: str) -> Wrong | None:
    if "\n" in text or "PRIVATE KEY" in text:
        return Wrong(
            "this is the key itself: put it into a file, encrypt the file with ansible-vault, and name the file here"
        )
    return controller_path(text)


def dns_provider(text: str) -> Wrong | None:
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", text):
        return None
    return Wrong("it must be a name that `lego dnshelp` lists: small letters, digits and hyphens", "")


def known_hosts(text: str) -> Wrong | None:
    if not text.strip():
        return Wrong("it is empty")
    if found := unprintable(text.replace("\n", "").replace("\t", "")):
        return Wrong(f"the character {found} is not allowed in known_hosts")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#") and len(line.split()) < 3:
            return Wrong("a line has to be 'git.example.com ssh-ed25519 AAAA…', as ssh-keyscan prints it")
    return None


def size(text: str) -> Wrong | None:
    if not re.fullmatch(r"[0-9]+[kmg]?", text):
        found = re.fullmatch(r"([0-9]+)\s*([KkMmGg])(?:i?[Bb])?", text.strip())
        better = f"{found[1]}{found[2].lower()}" if found else ""
        return Wrong("it must be a number with k, m or g, as in 20m", better)
    number = int(text.rstrip("kmg"))
    if number == 0:
        return Wrong("0 means no limit in nginx: write the size of the largest upload")
    if number * {"k": 1024, "m": 1024**2, "g": 1024**3}.get(text[-1], 1) > 1024**4:
        return Wrong("it is more than 1024g")
    return None


def memory(text: str) -> Wrong | None:
    """As systemd writes sizes, whole and at least 16M: less does not hold an interpreter."""
    found = re.fullmatch(r"([0-9]{1,7})([MG])", text)
    if not found:
        near = re.fullmatch(r"([0-9]{1,7})\s*([MmGg])(?:i?[Bb])?", text.strip())
        better = f"{near[1]}{near[2].upper()}" if near else ""
        return Wrong("it must be a number with M or G, as in 512M", better)
    if int(found[1]) * (1024 if found[2] == "G" else 1) < 16:
        return Wrong("an app needs at least 16M")
    return None


def health_path(text: str) -> Wrong | None:
    if not text.startswith("/"):
        better = f"/{text}"
        return Wrong("a URL path starts with a slash", "" if health_path(better) else better)
    if found := _odd_character(text, "A-Za-z0-9/._~@&+,=:?%-"):
        return Wrong(f"the character {found} is not allowed in a URL: write it as %XX")
    return None


def nginx_directives(text: str) -> Wrong | None:
    """Whole directives, as far as the form goes; the host's nginx says what it thinks of their names."""
    if not text.strip():
        return Wrong("it is empty")
    if found := unprintable(text.replace("\n", "").replace("\t", "")):
        return Wrong(f"the character {found} is not allowed in a configuration")
    if broken := nginx_syntax.problem(text):
        return Wrong(f"line {broken.line}: {broken.reason}")
    return None
