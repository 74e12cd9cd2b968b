"""When a certificate has to be replaced, for which domains, and how an authority is asked. Decisions only, no disk."""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Seconds until a domain that an authority refused may be tried again, doubled each time. Authorities count failures
#: per hour, and forbid further ones for a week when there are too many.
FIRST_PAUSE = 900
LONGEST_PAUSE = 86400

#: A certificate is renewed in the last third of its life, whatever it lasts.
RENEW = 1 / 3

#: In the last sixth, one for the domains that can be had is better than none for all of them.
URGENT = 1 / 6

#: Days before the end from which `status` and the end of a run warn. A renewal should have come long before.
WARN_DAYS = 14


class OrderRefused(Exception):
    """The authority made no certificate. *domains* are those that it complained about, with what it said of each."""

    def __init__(self, said: str, domains: Mapping[str, str]) -> None:
        self.said, self.domains = said, dict(domains)
        super().__init__(said)


@dataclass(frozen=True)
class Certificate:
    """What is live: the certificate itself, and how it came about."""

    names: tuple[str, ...]
    not_before: float
    not_after: float
    #: Of the whole certificate, as a server shows it.
    fingerprint: str
    source: str = "self_signed"
    #: The authority's directory and the kind of key, of those that came by ACME.
    authority: str = ""
    key_type: str = ""

    @property
    def lifetime(self) -> float:
        return self.not_after - self.not_before

    def left(self, now: float) -> float:
        return self.not_after - now

    def due(self, now: float) -> bool:
        return self.left(now) < self.lifetime * RENEW

    def urgent(self, now: float) -> bool:
        return self.left(now) < self.lifetime * URGENT


def parsed(pem: str, described: str, meta: Mapping[str, Any]) -> Certificate:
    """A certificate from its PEM and what `openssl x509 -noout -dates -ext subjectAltName` says of it."""
    dates = dict(re.findall(r"^(notBefore|notAfter)=(.+)$", described, re.MULTILINE))
    return Certificate(
        names=tuple(re.findall(r"DNS:([^,\s]+)", described)),
        not_before=ssl.cert_time_to_seconds(dates["notBefore"]),
        not_after=ssl.cert_time_to_seconds(dates["notAfter"]),
        fingerprint=fingerprint(pem),
        source=str(meta.get("source", "self_signed")),
        authority=str(meta.get("authority", "")),
        key_type=str(meta.get("key_type", "")),
    )


def fingerprint(pem: str) -> str:
    """The digest of the first certificate of a chain."""
    end = "-----END CERTIFICATE-----"
    first = pem[pem.index("-----BEGIN CERTIFICATE-----") : pem.index(end) + len(end)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def wanted(app: Mapping[str, Any], live: Certificate | None, settings: Mapping[str, Any], now: float) -> str:
    """Why *app* needs another certificate than *live*; nothing when it does not. Not for `files`."""
    domains = set(app["domains"])
    if live is None or live.source != app["provider"]:
        return "there is none of this kind yet"
    if app["provider"] == "acme" and live.authority != settings["directory"]:
        return "it is from another authority"
    if app["provider"] == "acme" and live.key_type != settings["key_type"]:
        return "another kind of key is wanted"
    if lacking := domains - set(live.names):
        return f"it lacks {', '.join(sorted(lacking))}"
    if extra := set(live.names) - domains:
        return f"it holds {', '.join(sorted(extra))}, which the app no longer has"
    if live.due(now):
        return f"it ends on {day(live.not_after)}"
    return ""


def to_order(
    app: Mapping[str, Any],
    live: Certificate | None,
    settings: Mapping[str, Any],
    blocked: Iterable[str],
    now: float,
) -> list[str]:
    """The domains to order a certificate for, when those of *blocked* would fail; none when *live* has to stay.

    A domain that is covered is not given up for another one, until the certificate is about to end.
    """
    without = set(blocked)
    domains = list(app["domains"])
    good = [domain for domain in domains if domain not in without]
    usable = (
        live is not None
        and live.source == "acme"
        and live.authority == settings["directory"]
        and live.left(now) > 0
    )
    if live is None or not usable:
        return good
    covered = set(live.names) & set(domains)
    if len(good) == len(domains):
        return good
    if covered <= set(good):
        return good if covered < set(good) or live.due(now) else []
    return good if live.urgent(now) else []


def pause(failures: int) -> int:
    """Seconds to wait after so many failures in a row."""
    return int(min(FIRST_PAUSE * 2 ** min(max(failures - 1, 0), 16), LONGEST_PAUSE))


def failed(
    problem: Mapping[str, Any] | None, reason: str, now: float, asked: Sequence[str]
) -> dict[str, Any]:
    """What to remember of a domain (or of all *asked* ones) that the authority refused once more."""
    count = int((problem or {}).get("failures", 0)) + 1
    return {"failures": count, "until": now + pause(count), "reason": reason, "asked": sorted(asked)}


def pausing(problems: Mapping[str, Mapping[str, Any]], domains: Sequence[str], now: float) -> dict[str, str]:
    """Domains that must not be asked for yet, with the reason. A refusal of a whole order counts for the same order."""
    found = {}
    for domain, problem in problems.items():
        if problem["until"] <= now:
            continue
        text = (
            f"{problem['reason']} (tried {problem['failures']} times, next try after "
            f"{moment(problem['until'])})"
        )
        if domain in domains:
            found[domain] = text
        elif not domain and problem["asked"] == sorted(domains):
            found.update(dict.fromkeys(domains, text))
    return found


def lego_command(
    app: Mapping[str, Any], domains: Sequence[str], settings: Mapping[str, Any], directory: str, webroot: str
) -> list[str]:
    command = ["lego", "--accept-tos", "--path", directory, "--email", settings["email"]]
    command += ["--server", settings["directory"], "--key-type", settings["key_type"]]
    command += ["--http-timeout", "30", "--cert.timeout", "60"]
    if settings.get("eab_key_id"):
        command += ["--eab", "--kid", settings["eab_key_id"], "--hmac", settings["eab_hmac"]]
    for domain in domains:
        command += ["--domains", domain]
    if app["challenge"] == "dns-01":
        command += ["--dns", app["dns_provider"]]
        for resolver in settings.get("dns_resolvers") or ():
            command += ["--dns.resolvers", resolver]
        if not settings.get("dns_wait", True):
            command += ["--dns.disable-cp"]
    elif port := settings.get("challenge_port"):
        command += ["--http", "--http.port", f":{port}"]
    else:
        command += ["--http", "--http.webroot", webroot]
    return [*command, "run"]


_COMPLAINT = re.compile(
    r"^\s*(?:error: one or more domains had a problem:\s*)?\[([a-z0-9.*-]+)\] (.+)$", re.MULTILINE
)
_LOG = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?:\[[A-Z]+\] )?")


def refusal(output: str, domains: Sequence[str]) -> OrderRefused:
    """What lego's output says of a failed order: its last words, and which domains the authority named."""
    named: dict[str, str] = {}
    # What it logs on its way names domains as well; the complaints come after that, without a time.
    for line in output.splitlines():
        found = _COMPLAINT.match(line)
        if found and found[1] in domains:
            named.setdefault(found[1], " ".join(found[2].split()))
    words = [_LOG.sub("", line).strip() for line in output.splitlines() if line.strip()]
    last = next((line for line in reversed(words) if line.strip("\t ")), "lego printed nothing")
    if not named:
        start = next(
            (index for index, line in enumerate(words) if line.startswith("Could not")), len(words) - 1
        )
        last = " ".join(words[max(start, 0) :]) or last
    return OrderRefused("; ".join(f"{domain}: {text}" for domain, text in named.items()) or last, named)


def summary(
    app: Mapping[str, Any], live: Certificate | None, errors: Mapping[str, str], now: float
) -> dict[str, Any]:
    """What `status` and a run tell of an app. *errors*: domain, or nothing for the whole app, and the reason."""
    return {
        "provider": app["provider"],
        "source": live.source if live else "none",
        "names": list(live.names) if live else [],
        "not_after": moment(live.not_after) if live else "",
        "days": int(live.left(now) // 86400) if live else 0,
        "warnings": warnings(app, live, now),
        "errors": dict(errors),
    }


def warnings(app: Mapping[str, Any], live: Certificate | None, now: float) -> list[str]:
    if live is None:
        return ["there is no certificate"]
    found = []
    if live.source == "self_signed" and app["provider"] != "self_signed":
        found.append("the site is up with a self-signed certificate, which browsers reject")
    elif lacking := [domain for domain in app["domains"] if not covers(live.names, domain)]:
        found.append(f"the certificate lacks {', '.join(lacking)}")
    if live.left(now) <= 0:
        found.append(f"the certificate ended on {day(live.not_after)}")
    elif live.left(now) < WARN_DAYS * 86400 and live.due(now):
        found.append(f"the certificate ends on {day(live.not_after)}, in {int(live.left(now) // 86400)} days")
    return found


def covers(names: Iterable[str], domain: str) -> bool:
    above = domain.partition(".")[2]
    return any(name in (domain, f"*.{above}") for name in names)


def sentence(errors: Mapping[str, str]) -> str:
    """The errors of an app in one text; domains that share a reason stand together."""
    reasons: dict[str, list[str]] = {}
    for domain, reason in errors.items():
        reasons.setdefault(reason, []).append(domain)
    return "; ".join(
        f"{', '.join(filter(None, domains))}: {reason}" if any(domains) else reason
        for reason, domains in reasons.items()
    )


def day(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(when))


def moment(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
