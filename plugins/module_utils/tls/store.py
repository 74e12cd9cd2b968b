"""Certificates on a host: kept, made, ordered, and taken by nginx without a dropped connection.

Each app has versions of certificate and key, and a symlink to the live one, so that a run which dies leaves a pair that
fits. Used by the module `certificates`, and by the timer through a copy of these files.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import glob
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..files.atomic import link_atomically, sync_directory, write_atomically
from ..host import layout
from ..host.command import ANSWER, CommandFailed, run
from . import certificates
from .certificates import Certificate, OrderRefused

#: Versions of an app's certificate that stay, the live one included.
KEEP = 2

#: Days that a self-signed certificate lasts; browsers take no longer ones even when they are told to trust them.
SELF_SIGNED_DAYS = 365

#: Seconds for one order. A slow authority gets its time, and the other apps get theirs.
ORDER = 180

App = Mapping[str, Any]


class Unusable(Exception):
    """A certificate that cannot be used, and why."""


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One at a time: a run of the timer and a playbook wait for each other."""
    # Hardened hosts have a narrower one, with which nginx could not read what lego writes for the authority.
    os.umask(0o022)
    for directory, mode in (
        (os.path.dirname(layout.TLS), 0o755),
        (layout.TLS, 0o700),
        (layout.TLS_ACCOUNTS, 0o700),
        (f"{layout.TLS}/apps", 0o700),
        (layout.CHALLENGES, 0o755),
    ):
        if not os.path.isdir(directory):
            os.mkdir(directory)
            os.chmod(directory, mode)
    descriptor = os.open(layout.TLS_LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_wanted() -> dict[str, Any]:
    """What the last run of the playbook wanted; no apps before the first."""
    try:
        with open(layout.TLS_WANTED, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return {"apps": []}


def forget(app: str) -> None:
    """Let the timer ask for no certificate of *app* any more. What it has is deleted with the app's other files."""
    if not os.path.exists(layout.TLS_WANTED):
        return
    with locked():
        known = read_wanted()
        kept = [one for one in known["apps"] if one["name"] != app]
        if len(kept) < len(known["apps"]):
            text = json.dumps({**known, "apps": kept}, indent=1, sort_keys=True) + "\n"
            write_atomically(layout.TLS_WANTED, text)


def _state(app: str) -> str:
    return f"{layout.certificates(app)}/state.json"


def problems(app: str) -> dict[str, dict[str, Any]]:
    """What authorities refused lately, by domain."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(_state(app), encoding="utf-8") as file:
        return dict(json.load(file)["problems"])
    return {}


def _remember(app: str, found: Mapping[str, Any], errors: Mapping[str, str]) -> None:
    text = json.dumps({"problems": found, "errors": errors}, indent=1, sort_keys=True) + "\n"
    with contextlib.suppress(FileNotFoundError), open(_state(app), encoding="utf-8") as file:
        if file.read() == text:
            return
    write_atomically(_state(app), text)


def last_errors(app: str) -> dict[str, str]:
    with contextlib.suppress(FileNotFoundError, ValueError), open(_state(app), encoding="utf-8") as file:
        return dict(json.load(file)["errors"])
    return {}


def live(app: str) -> Certificate | None:
    """The live certificate; None when there is none that can be read."""
    return _at(layout.live_certificate(app))


def _at(directory: str) -> Certificate | None:
    try:
        with open(f"{directory}/meta.json", encoding="utf-8") as file:
            meta = json.load(file)
        return _read(f"{directory}/certificate.pem", meta)
    except (OSError, ValueError, Unusable):
        return None


def _read(path: str, meta: Mapping[str, Any]) -> Certificate:
    """Raises Unusable."""
    try:
        with open(path, encoding="ascii") as file:
            pem = file.read()
        command = ["openssl", "x509", "-in", path, "-noout", "-dates", "-ext", "subjectAltName"]
        return certificates.parsed(
            pem, run(command, what="reading the certificate", timeout=30, whole=ANSWER), meta
        )
    except (CommandFailed, KeyError, ValueError) as error:
        raise Unusable(f"it holds no certificate that OpenSSL can read ({error})") from error


def install(app: str, certificate: str, key: str, meta: Mapping[str, Any]) -> Certificate:
    """Make *certificate* (a chain) and *key* the live pair of *app*. Raises Unusable; then nothing has changed."""
    versions = f"{layout.certificates(app)}/versions"
    for directory in (layout.certificates(app), versions):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    new = f"{versions}/{name}"
    os.mkdir(new, 0o700)
    try:
        write_atomically(f"{new}/key.pem", key)
        write_atomically(f"{new}/certificate.pem", certificate)
        write_atomically(f"{new}/meta.json", json.dumps(meta, sort_keys=True) + "\n")
        found = _read(f"{new}/certificate.pem", meta)
        _require_pair(new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for directory in (versions, os.path.dirname(layout.certificates(app))):
        sync_directory(directory)
    link_atomically(f"versions/{name}", layout.live_certificate(app))
    # Not by their order alone: two of one second are in any.
    others = sorted(version for version in os.listdir(versions) if version != name)
    for old in others[: max(len(others) - KEEP + 1, 0)]:
        shutil.rmtree(f"{versions}/{old}", ignore_errors=True)
    return found


def _require_pair(directory: str) -> None:
    public = ["openssl", "x509", "-in", f"{directory}/certificate.pem", "-noout", "-pubkey"]
    private = ["openssl", "pkey", "-in", f"{directory}/key.pem", "-pubout", "-passin", "pass:"]
    try:
        same = run(public, what="reading the certificate", whole=ANSWER) == run(
            private, what="reading the key", whole=ANSWER
        )
    except CommandFailed as error:
        raise Unusable(f"its key cannot be read, or has a passphrase ({error.output})") from error
    if not same:
        raise Unusable("certificate and key do not belong together")


_REQUEST = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
O = Self-signed until an authority answers
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""


def issue_self_signed(app: App) -> Certificate:
    """Make a certificate that nobody but its owner vouches for, and let it be live."""
    with tempfile.TemporaryDirectory(dir=layout.TLS) as directory:
        with open(f"{directory}/request.ini", "w", encoding="ascii") as file:
            file.write(_REQUEST.format(names=",".join(f"DNS:{domain}" for domain in app["domains"])))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", str(SELF_SIGNED_DAYS), "-config", f"{directory}/request.ini"]
        command += ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/certificate.pem"]
        run(command, what="making a self-signed certificate", timeout=60)
        with open(f"{directory}/certificate.pem", encoding="ascii") as file:
            certificate = file.read()
        with open(f"{directory}/key.pem", encoding="ascii") as file:
            key = file.read()
    return install(app["name"], certificate, key, {"source": "self_signed"})


def prepare(apps: Sequence[App], settings: Mapping[str, Any], check_mode: bool) -> dict[str, dict[str, Any]]:
    """See to it that each app has some certificate, so that nginx can start with it. No authority is asked.

    *apps* are all of the host: what is not among them is renewed no longer.
    """
    now = time.time()
    outcome = {}
    for app in apps:
        error, changed = "", False
        found = live(app["name"])
        if app["provider"] == "files":
            digest = hashlib.sha256(f"{app['certificate']}\0{app['key']}".encode()).hexdigest()
            if found is None or found.source != "files" or _digest(app["name"]) != digest:
                changed = True
                if not check_mode:
                    meta = {"source": "files", "digest": digest}
                    try:
                        found = install(app["name"], app["certificate"], app["key"], meta)
                    except Unusable as reason:
                        error = f"its certificate files cannot be used: {reason}"
                        found, changed = live(app["name"]), False
        if found is None and (other := _same_of_another(app, now)):
            changed = True
            if not check_mode:
                found = _adopt(app, other)
        alone = app["provider"] == "self_signed" and certificates.wanted(app, found, settings, now)
        if found is None or alone:
            changed = True
            if not check_mode:
                found = issue_self_signed(app)
        errors = {"": error} if error else {}
        outcome[app["name"]] = {"changed": changed, **certificates.summary(app, found, errors, now)}
        if app["provider"] == "files" and not check_mode:
            _remember(app["name"], {}, errors)
    text = _wanted_text(apps, settings)
    if not check_mode and json.loads(text) != read_wanted():
        write_atomically(layout.TLS_WANTED, text)
    return outcome


def _wanted_text(apps: Sequence[App], settings: Mapping[str, Any]) -> str:
    kept = [{k: v for k, v in app.items() if k not in ("certificate", "key", "files")} for app in apps]
    return json.dumps({**settings, "apps": kept}, indent=1, sort_keys=True) + "\n"


def drift(apps: Sequence[App], settings: Mapping[str, Any]) -> list[str]:
    """What `prepare`, `issue` and `settle` would do or say, a line each. No authority is asked and nothing changes."""
    found = []
    now = time.time()
    for name, one in prepare(apps, settings, True).items():
        lines = [*one["warnings"], *one["errors"].values(), *last_errors(name).values()]
        found += [f"{name}: {line}" for line in lines]
        if one["changed"]:
            found.append(f"{name}: there is no certificate of this kind yet")
    wanted, known = json.loads(_wanted_text(apps, settings)), read_wanted()
    if wanted != known and (apps or known["apps"]):
        found.append(f"{layout.TLS_WANTED} differs")
    for app in apps:
        reason = app["provider"] != "files" and certificates.wanted(app, live(app["name"]), settings, now)
        if reason:
            found.append(f"{app['name']}: {reason}")
    return found + [f"nginx does not serve the certificate of {domain}" for domain in stale(wanted)]


def _same_of_another(app: App, now: float) -> str | None:
    """Another app that has a certificate of this kind for exactly these domains, such as the one that named the site."""
    found = []
    for path in glob.glob(f"{glob.escape(layout.TLS)}/apps/*"):
        other = os.path.basename(path)
        one = live(other) if other != app["name"] else None
        if (
            one
            and one.source == app["provider"]
            and set(one.names) == set(app["domains"])
            and one.left(now) > 0
        ):
            found.append((one.not_after, other))
    return max(found)[1] if found else None


def _adopt(app: App, other: str) -> Certificate | None:
    """Give *app* a copy of what is live for *other*, which may be removed afterwards; None where that is not whole."""
    directory = layout.live_certificate(other)
    try:
        with open(f"{directory}/meta.json", encoding="utf-8") as file:
            meta = json.load(file)
        with open(f"{directory}/certificate.pem", encoding="ascii") as file:
            certificate = file.read()
        with open(f"{directory}/key.pem", encoding="ascii") as file:
            key = file.read()
        return install(app["name"], certificate, key, meta)
    except (OSError, ValueError, Unusable):
        return None


def _digest(app: str) -> str:
    path = f"{layout.live_certificate(app)}/meta.json"
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        return str(json.load(file).get("digest", ""))
    return ""


def issue(force: bool = False, patience: float = 3600) -> dict[str, dict[str, Any]]:
    """Renew and order what is wanted, each app for itself. *again*: also what is pausing after a refusal.

    After *patience* seconds no further order is begun; the rest has its turn in the next run.
    """
    wanted = read_wanted()
    deadline = time.monotonic() + patience
    outcome = {}
    directory_problem: str | None = None
    asked = False
    for app in wanted["apps"]:
        now = time.time()
        found = live(app["name"])
        errors: dict[str, str] = {}
        changed = False
        try:
            if app["provider"] == "files":
                errors = last_errors(app["name"])
            elif certificates.wanted(app, found, wanted, now):
                if app["provider"] == "acme" and not asked:
                    directory_problem, asked = directory_error(wanted), True
                if app["provider"] == "self_signed" or found is None:
                    found, changed = issue_self_signed(app), True
                if app["provider"] == "acme" and directory_problem:
                    errors = {"": directory_problem}
                elif app["provider"] == "acme":
                    ordered, errors = _order(app, found, wanted, force, deadline)
                    found, changed = ordered or found, changed or ordered is not None
            elif app["provider"] == "acme":
                _remember(app["name"], {}, {})
        except (CommandFailed, OSError, Unusable) as error:
            errors = {"": str(error)}
        if app["provider"] == "acme":
            # A full disk must not keep the next app from being looked at.
            with contextlib.suppress(OSError):
                _remember(app["name"], problems(app["name"]), errors)
        outcome[app["name"]] = {"changed": changed, **certificates.summary(app, found, errors, time.time())}
    return outcome


def directory_error(settings: Mapping[str, Any]) -> str | None:
    """What is wrong with the authority's directory; None when it answers."""
    trust = ssl.create_default_context()
    if os.path.exists(layout.TLS_AUTHORITY):
        trust.load_verify_locations(layout.TLS_AUTHORITY)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(settings["directory"], timeout=15) as answer:
            if "newOrder" in json.loads(answer.read(65536)):
                return None
        reason = "its answer is not an ACME directory"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
    return f"the authority {settings['directory']} does not answer: {reason}"


def _order(
    app: App, found: Certificate, settings: Mapping[str, Any], force: bool, deadline: float
) -> tuple[Certificate | None, dict[str, str]]:
    """A new certificate, or None, and what stands in the way of which domain."""
    now = time.time()
    name, domains = app["name"], list(app["domains"])
    known = problems(name)
    blocked = {} if force else certificates.pausing(known, domains, now)
    if app["challenge"] == "http-01" and settings["preflight"]:
        for domain in domains:
            if domain not in blocked and (reason := unreachable(domain)):
                blocked[domain] = reason
    # Twice at most: the second time without the domains that the authority has named.
    for _ in range(2):
        chosen = certificates.to_order(app, found, settings, blocked, now)
        left = deadline - time.monotonic()
        if chosen and left < 1:
            return None, {"": "there was no time left to order it in this run; the timer will"}
        if not chosen:
            break
        try:
            new = _ask(app, chosen, settings, min(ORDER, left))
        except OrderRefused as refused:
            named = {domain: refused.domains[domain] for domain in chosen if domain in refused.domains}
            for domain, reason in (named or {"": refused.said}).items():
                known[domain] = certificates.failed(known.get(domain), reason, time.time(), domains)
            blocked.update(named or dict.fromkeys(chosen, refused.said))
            _remember(name, known, blocked)
            continue
        kept = {domain: problem for domain, problem in known.items() if domain in blocked}
        _remember(name, kept, blocked)
        return new, blocked
    _remember(name, known, blocked)
    return None, blocked


def _ask(app: App, domains: Sequence[str], settings: Mapping[str, Any], seconds: float) -> Certificate:
    """One order. Raises OrderRefused."""
    _forget_half_written_accounts()
    try:
        return _ask_once(app, domains, settings, seconds)
    except OrderRefused as refused:
        # An authority that was set up anew, or that closed the account, would refuse for ever.
        if "accountDoesNotExist" not in refused.said or not _discard_account(settings):
            raise
    return _ask_once(app, domains, settings, seconds)


def _forget_half_written_accounts() -> None:
    """lego does not write them atomically, and ends at once when it finds such a one."""
    for path in glob.glob(f"{glob.escape(layout.TLS_ACCOUNTS)}/*/*/account.json"):
        try:
            with open(path, encoding="utf-8") as file:
                json.load(file)
        except ValueError:
            os.unlink(path)


def _discard_account(settings: Mapping[str, Any]) -> bool:
    host = urllib.parse.urlsplit(settings["directory"]).netloc.replace(":", "_")
    account = f"{layout.TLS_ACCOUNTS}/{host}/{settings['email']}"
    if not os.path.isdir(account):
        return False
    shutil.rmtree(f"{account}.unknown", ignore_errors=True)
    os.rename(account, f"{account}.unknown")
    return True


def _ask_once(app: App, domains: Sequence[str], settings: Mapping[str, Any], seconds: float) -> Certificate:
    with tempfile.TemporaryDirectory(dir=layout.TLS) as directory:
        os.symlink(layout.TLS_ACCOUNTS, f"{directory}/accounts")
        command = certificates.lego_command(app, domains, settings, directory, layout.CHALLENGES)
        environment = {str(k): str(v) for k, v in (app.get("environment") or {}).items()}
        if os.path.exists(layout.TLS_AUTHORITY):
            environment["LEGO_CA_CERTIFICATES"] = layout.TLS_AUTHORITY
            environment["LEGO_CA_SYSTEM_CERT_POOL"] = "true"
        shown = f"lego for {', '.join(domains)}"
        try:
            run(command, what="the order", env=environment, cwd=directory, timeout=seconds, shown_as=shown)
            written = f"{directory}/certificates/{domains[0]}"
            with open(f"{written}.crt", encoding="ascii") as file:
                certificate = file.read()
            with open(f"{written}.key", encoding="ascii") as file:
                key = file.read()
        except CommandFailed as error:
            raise certificates.refusal(error.output or str(error), domains) from error
        except FileNotFoundError as error:
            raise OrderRefused(f"lego succeeded, but left no certificate ({error})", {}) from error
    meta = {"source": "acme", "authority": settings["directory"], "key_type": settings["key_type"]}
    return install(app["name"], certificate, key, meta)


def unreachable(domain: str) -> str | None:
    """Why an authority would not find our answer at *domain*; None when it would.

    Asked as it asks: by name, on port 80, following redirects and trusting any certificate on the way.
    """
    token = f"emperor-stack-{secrets.token_urlsafe(12)}"
    directory = f"{layout.CHALLENGES}/.well-known/acme-challenge"
    os.makedirs(directory, mode=0o755, exist_ok=True)
    url = f"http://{domain}/.well-known/acme-challenge/{token}"
    anything = ssl.create_default_context()
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anything)
    )
    path = f"{directory}/{token}"
    write_atomically(path, token, mode=0o644)
    try:
        with opener.open(url, timeout=10) as answer:
            if answer.read(1024) == token.encode():
                return None
        reason = "another server answers there"
    except urllib.error.HTTPError as error:
        reason = f"another server answers there, with {error.code}"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return f"http://{domain}/ does not lead to this host ({reason}), so no certificate was requested for it"


def served(domain: str, port: int) -> str:
    """The fingerprint of what nginx on this host shows for *domain*; empty when it shows nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname=domain) as secured,
        ):
            return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def stale(wanted: Mapping[str, Any]) -> list[str]:
    """Domains for which nginx shows another certificate than the live one."""
    found = []
    for app in wanted["apps"]:
        certificate = live(app["name"])
        if certificate and served(app["domains"][0], wanted["https_port"]) != certificate.fingerprint:
            found.append(app["domains"][0])
    return found


def settle(check_mode: bool = False) -> tuple[bool, list[str]]:
    """Let nginx take up certificates that it does not show yet. Returns whether it had to, and what is left over."""
    wanted = read_wanted()
    waiting = stale(wanted)
    if not waiting or check_mode:
        return bool(waiting), []
    try:
        run(["systemctl", "reload", "nginx.service"], what="reloading nginx", timeout=60)
    except CommandFailed:
        return True, waiting
    deadline = time.monotonic() + 15
    while (waiting := stale(wanted)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return True, waiting


def status() -> dict[str, dict[str, Any]]:
    """All certificates of the host, with what stood in the way the last time."""
    now = time.time()
    return {
        app["name"]: certificates.summary(app, live(app["name"]), last_errors(app["name"]), now)
        for app in read_wanted()["apps"]
    }


#: What an archive may hold: accounts, and versions of certificates with the link to the live one.
_MEMBER = re.compile(
    r"accounts(/[A-Za-z0-9@._+:-]+){0,4}"
    r"|apps(/[a-z][a-z0-9-]{0,30}(/versions(/[0-9]{8}T[0-9]{6}-[0-9a-f]{6}(/(certificate|key)\.pem|/meta\.json)?)?"
    r"|/live)?)?"
)


def backup() -> str:
    """Accounts and live certificates with their keys, as a compressed archive in base64."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:

        def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
            return member if _MEMBER.fullmatch(member.name) else None

        for name in ("accounts", "apps"):
            if os.path.isdir(f"{layout.TLS}/{name}"):
                archive.add(f"{layout.TLS}/{name}", arcname=name, filter=chosen)
    return base64.b64encode(data.getvalue()).decode()


def restore(data: str) -> list[str]:
    """Put back what `backup` gave. A certificate that lasts longer than that of the archive stays.

    Returns what was put back. Raises Unusable when the archive is none of ours; then nothing has changed.
    """
    with tempfile.TemporaryDirectory(dir=layout.TLS) as directory:
        try:
            raw = io.BytesIO(base64.b64decode(data, validate=True))
            with tarfile.open(fileobj=raw, mode="r:gz") as archive:
                members = archive.getmembers()
                for member in members:
                    link = member.issym() and re.fullmatch(r"versions/[0-9TZa-f-]+", member.linkname)
                    if not _MEMBER.fullmatch(member.name) or ".." in member.name.split("/"):
                        raise Unusable(f"it contains {member.name!r}, which no backup contains")
                    if not (member.isdir() or member.isreg() or link):
                        raise Unusable(f"{member.name!r} in it is neither a file nor a directory")
                for member in members:
                    member.uid = member.gid = 0
                    member.uname = member.gname = ""
                    member.mode = 0o700 if member.isdir() else 0o600
                    archive.extract(member, directory)
        except (OSError, ValueError, tarfile.TarError, EOFError) as error:
            raise Unusable(f"it is not a backup of certificates ({error})") from error
        return [*_restored_accounts(directory), *_restored_certificates(directory)]


def _restored_accounts(directory: str) -> Iterator[str]:
    """Accounts that this host does not have; its own stay."""
    source = f"{directory}/accounts"
    for server in sorted(os.listdir(source)) if os.path.isdir(source) else ():
        for address in sorted(os.listdir(f"{source}/{server}")):
            target = f"{layout.TLS_ACCOUNTS}/{server}/{address}"
            if not os.path.exists(target):
                os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
                shutil.copytree(f"{source}/{server}/{address}", target)
                yield f"account {address} at {server}"


def _restored_certificates(directory: str) -> Iterator[str]:
    source = f"{directory}/apps"
    for app in sorted(os.listdir(source)) if os.path.isdir(source) else ():
        saved, found = _at(f"{source}/{app}/live"), live(app)
        if saved is None or saved.source == "self_signed":
            continue
        if found and found.source != "self_signed" and found.not_after >= saved.not_after:
            continue
        texts = []
        for name in ("certificate.pem", "key.pem", "meta.json"):
            with open(f"{source}/{app}/live/{name}", encoding="ascii") as file:
                texts.append(file.read())
        install(app, texts[0], texts[1], json.loads(texts[2]))
        yield f"certificate of {app}, until {certificates.day(saved.not_after)}"


def renew() -> int:
    """What the timer runs. Returns the exit status: not 0 when a domain is without what it should have."""
    with locked():
        outcome = issue()
        _, left = settle()
    bad = 0
    for name, one in outcome.items():
        if one["changed"]:
            print(f"{name}: a new certificate of {one['source']} for {', '.join(one['names'])}")
        for warning in one["warnings"]:
            print(f"<4>{name}: {warning}")
        if one["errors"]:
            bad = 1
            print(f"<3>{name}: {certificates.sentence(one['errors'])}")
    if left:
        bad = 1
        print(f"<3>nginx does not serve the new certificate of {', '.join(left)}")
    return bad
