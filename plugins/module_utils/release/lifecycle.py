"""Start, probe, switch and drain activations of a release on a host."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..files import trees
from ..files.atomic import link_atomically, sync_directory, write_atomically
from ..host import layout, output, unix_sockets
from ..host.release_error import ReleaseError
from ..systemd import app_units, unit_names
from ..uwsgi import client as uwsgi_client
from ..uwsgi import sockets, vassal_config
from ..uwsgi import stats as uwsgi_stats
from ..uwsgi.client import Answer
from ..uwsgi.emperor_check import EMPERORS
from ..uwsgi.sockets import NoAnswer
from . import log_excerpt
from .state import AppState, Manifest

#: What runs an activation whose web server is a unit of its own.
SYSTEMD = "systemd"


class NotHealthy(Exception):
    """The activation did not start, or did not answer as it must."""


@dataclass(frozen=True)
class Health:
    """What must answer before traffic moves: *answers* times in a row, one of *status* (empty: any 2xx or 3xx)."""

    path: str
    status: tuple[int, ...]
    answers: int
    timeout: float
    host: str
    release: str
    scheme: str = "http"
    #: What stands before the path in the URL.
    prefix: str = ""
    #: What the activation's socket speaks.
    protocol: str = "uwsgi"

    @classmethod
    def of(cls, manifest: Manifest) -> Health:
        health = manifest.health
        return cls(
            path=health["path"],
            status=tuple(health["status"]),
            answers=health["answers"],
            timeout=health["timeout"],
            host=manifest.host,
            release=manifest.release,
            scheme=front_scheme(manifest.host),
            prefix=manifest.path.rstrip("/"),
            protocol=manifest.protocol,
        )

    def complaint(self, answer: Answer) -> str | None:
        """What is wrong with *answer*, None when it is right."""
        if answer.release != self.release:
            whose = (
                f"release {output.shown(answer.release[:80])}" if answer.release else "no release of this app"
            )
            return f"GET {self.path} was answered by {whose}, not by {self.release}"
        fine = answer.status in self.status if self.status else 200 <= answer.status < 400
        if not fine:
            wanted = ", ".join(str(status) for status in self.status) or "2xx or 3xx"
            body = output.shown(answer.body[:2000].decode(errors="replace"))[:200].strip()
            return f"GET {self.path} with Host {self.host} answered {answer.status}, not {wanted}: {body}"
        return None


def front_scheme(domain: str) -> str:
    """What visitors of *domain* use: an app that wants HTTPS must not pass its probe by redirecting there."""
    with contextlib.suppress(OSError, ValueError), open(layout.TLS_WANTED, encoding="utf-8") as file:
        for one in json.load(file)["apps"]:
            if domain in one["domains"] and one["redirect"]:
                return "https"
    return "http"


def url_of(manifest: Manifest, port: int) -> str:
    """Where visitors find the app of *manifest*, as far as this host knows; *port* is the web server's for HTTP."""
    scheme = front_scheme(manifest.host)
    place = "" if scheme == "https" or port == 80 else f":{port}"
    return f"{scheme}://{manifest.host}{place}{manifest.path.rstrip('/')}/"


def vassal_path(emperor: str, activation: str) -> str:
    return f"{layout.vassals(emperor)}/{activation}.ini"


def socket_of(app: str, activation: str) -> str:
    """The socket that *activation* answers on, wherever the version that started it had it bound."""
    try:
        return os.readlink(f"{layout.activations(app)}/{activation}/app.sock")
    except OSError:
        return layout.socket(app, activation)


def is_out_of_reach(app: str, activation: str) -> bool:
    """Whether the socket of *activation* is where no app can put another one in its place."""
    return socket_of(app, activation) == layout.socket(app, activation)


def make_socket_directory(app: str) -> None:
    """Where role python_apps has made none yet, as in the run that takes a host over from an earlier version."""
    front = grp.getgrnam(layout.FRONT_USER).gr_gid
    for path, mode, gid in ((layout.sockets(), 0o711, -1), (layout.socket_directory(app), 0o750, front)):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
            os.chown(path, -1, gid)
            os.chmod(path, mode)


def emperor_of(activation: str | None) -> str | None:
    """Which emperor runs *activation*: the one in whose directory it stands."""
    for emperor in EMPERORS:
        if activation and os.path.lexists(vassal_path(emperor, activation)):
            return emperor
    return None


def runner_of(activation: str | None) -> str | None:
    """What runs *activation*: one of the emperors, or systemd; None when nothing does."""
    return emperor_of(activation) or (SYSTEMD if unit_names.has_web(activation) else None)


def app_log(app: str, since: float) -> str:
    """What the app's processes wrote to the journal since *since* (seconds since the epoch)."""
    with contextlib.suppress(KeyError):
        return app_units.journal([f"_UID={pwd.getpwnam(app).pw_uid}"], since, log_excerpt.shown)
    return ""


def start(state: AppState, manifest: Manifest, emperor: str) -> str:
    """Begin a new activation of *manifest* under *emperor* and return its name. It serves nobody yet."""
    app = state.app
    activation = state.next_activation()
    directory = f"{layout.activations(app)}/{activation}"
    os.mkdir(directory)
    # nginx passes through here, whatever the umask.
    os.chmod(directory, 0o711)
    socket = layout.socket(app, activation)
    make_socket_directory(app)
    os.symlink(socket, f"{directory}/app.sock")
    os.symlink(f"../../releases/{manifest.release}", f"{directory}/release")
    write_atomically(layout.activation_mark(app, activation), "", mode=0o644)
    sync_directory(layout.activations(app))
    if manifest.server != "uwsgi":
        resume(manifest, activation)
        return activation
    account = pwd.getpwnam(app)
    with open(f"{layout.release(app, manifest.release)}/vassal.ini", encoding="utf-8") as file:
        config = vassal_config.of_activation(file.read())
    write_atomically(layout.activation_vassal(app, activation), config, 0o440, account.pw_gid)
    # First, since the emperor looks for it when it finds the vassal. It binds the socket as root, and starts the vassal
    # when the first connection comes: here that of the probe.
    write_atomically(f"{vassal_path(emperor, activation)}.socket", f"{socket}\n", mode=0o644)
    # The emperor takes the user from the link's owner; the file behind it stays root's.
    link_atomically(
        layout.activation_vassal(app, activation),
        vassal_path(emperor, activation),
        account.pw_uid,
        account.pw_gid,
    )
    wake(emperor)
    return activation


def wake(emperor: str) -> None:
    """Let *emperor* look at its vassals now, and not up to a second later: it looks after each answer that it gives."""
    with contextlib.suppress(NoAnswer):
        sockets.stats(layout.emperor_stats(emperor))


def resume(manifest: Manifest, activation: str) -> None:
    """Start a web server that is a unit, unless it runs. Emperors care for their vassals themselves."""
    if manifest.server != "uwsgi":
        app_units.start(
            activation, app_units.texts(manifest.app, manifest.release, activation, unit_names.WEB)
        )


def wait_until_healthy(app: str, activation: str, health: Health) -> int:
    """Probe the activation's own socket until it answered rightly often enough; return how many requests that took.

    Raises NotHealthy with the last complaint and the app's log.
    """
    socket = socket_of(app, activation)
    question = _question(health)
    began = time.time()
    deadline = time.monotonic() + health.timeout
    row = requests = status = 0
    complaint = "it did not start to listen"
    while time.monotonic() < deadline:
        if not os.path.exists(socket):
            time.sleep(0.05)
            continue
        requests += 1
        left = max(deadline - time.monotonic(), 0.1)
        try:
            answer = uwsgi_client.ask(socket, question, left)
            wrong, status = health.complaint(answer), answer.status
        except NoAnswer as error:
            wrong = str(error)
        if wrong is None:
            row += 1
            if row >= health.answers:
                return requests
            continue
        row, complaint = 0, wrong
        time.sleep(0.2)
    log = app_log(app, began - 1)
    silent = status >= 500 and not log_excerpt.has_traceback(log.splitlines())
    raise NotHealthy(
        f"{activation} was not healthy within {health.timeout:g} s: {complaint}"
        + (f"\nThe last lines of its log:\n{log}" if log else "\nIt logged nothing to the journal.")
        + ("\nIt logged no traceback: docs/deploy.md says how an app logs its exceptions." if silent else "")
    )


def _question(health: Health) -> Mapping[str, str] | bytes:
    """The probe as nginx would send it to the activation's socket."""
    said = (health.path, health.host, health.scheme, health.prefix)
    if health.protocol == "http":
        return uwsgi_client.http_request(*said)
    return uwsgi_client.get_variables(*said)


def switch(state: AppState, activation: str) -> float:
    """Send all new requests to *activation*: one rename. Returns the milliseconds that it took."""
    began = time.perf_counter()
    link_atomically(f"activations/{activation}", layout.active(state.app))
    return (time.perf_counter() - began) * 1000


def probe_through_front(health: Health, answers: int, timeout: float, port: int) -> None:
    """The same question through nginx, *answers* times. Raises NotHealthy at the first wrong answer."""
    for _ in range(answers):
        try:
            wrong = health.complaint(
                uwsgi_client.ask_http(
                    health.host, f"{health.prefix}{health.path}", timeout, port, health.scheme
                )
            )
        except NoAnswer as error:
            wrong = str(error)
        if wrong is not None:
            raise NotHealthy(f"through nginx: {wrong}")


def is_quiet(app: str, activation: str) -> bool | None:
    """Whether *activation* has neither a queue nor a busy worker now; None when nobody listens at its socket any more."""
    try:
        found = unix_sockets.connections(socket_of(app, activation))
    except OSError:
        # Also where other apps have more sockets than can be listed in time.
        return False
    if found is None:
        return None
    if found.waiting:
        return False
    if not unit_names.has_web(activation):
        # A connection that a leftover of a request holds open keeps nobody busy. uWSGI knows, if it can say so.
        with contextlib.suppress(NoAnswer):
            return uwsgi_stats.read(app, activation).busy == 0
    return found.open == 0


#: How often in a row, a tenth of a second apart, an activation is seen to be quiet before it is stopped. One that has just
#: been left may have a connection between its queue and a worker; one that was left before this deploy began has none.
JUST_LEFT, LONG_LEFT = 5, 2


def drain(app: str, activation: str, timeout: float, looks: int = JUST_LEFT) -> bool:
    """Wait until the activation, which gets no new requests, has neither a queue nor a busy worker, *looks* times in a row.

    False when that did not come within *timeout* seconds. A stop before would lose the queue.
    """
    deadline = time.monotonic() + timeout
    quiet = 0
    while time.monotonic() < deadline:
        now_quiet = is_quiet(app, activation)
        if now_quiet is None:
            return True
        quiet = quiet + 1 if now_quiet else 0
        if quiet >= looks:
            return True
        time.sleep(0.1)
    return False


def stop(state: AppState, activation: str) -> None:
    """End an activation: the emperor stops a vassal whose file is gone, gracefully; systemd its units."""
    app_units.remove_activation(state.app, activation)
    for emperor in EMPERORS:
        remove_vassal(emperor, activation)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.socket(state.app, activation))
    uwsgi_stats.forget(state.app, activation)
    if state.live_activation() != activation:
        # What is left of it is found by the next clean-up, which stops it once more.
        with contextlib.suppress(ReleaseError):
            trees.remove(f"{layout.activations(state.app)}/{activation}")


def remove_vassal(emperor: str, activation: str) -> None:
    """Take *activation* from *emperor*, which stops it gracefully where it runs."""
    for path in (vassal_path(emperor, activation), f"{vassal_path(emperor, activation)}.socket"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def vassals_of(app: str) -> Iterator[tuple[str, str]]:
    """(emperor, activation) of every vassal of exactly this app."""
    for emperor in EMPERORS:
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(layout.vassals(emperor))):
                owner, at, number = name.removesuffix(".ini").rpartition("@")
                if at and owner == app and number.isdigit() and name.endswith(".ini"):
                    yield emperor, name.removesuffix(".ini")


def running_activations(app: str) -> Iterator[tuple[str, str]]:
    """(emperor or `systemd`, activation) of every activation of exactly this app that something runs."""
    yield from vassals_of(app)
    for activation in unit_names.web_activations(app):
        yield SYSTEMD, activation


def activation_summary(app: str, activation: str) -> dict[str, Any]:
    """Workers, busy ones and requests of an activation for a status view; `running: false` when it is gone."""
    if unit_names.has_web(activation):
        return _unit_summary(app, activation)
    try:
        found = uwsgi_stats.read(app, activation)
        uid = pwd.getpwnam(app).pw_uid
    except (NoAnswer, KeyError):
        return {"activation": activation, "running": False}
    return {
        "activation": activation,
        "running": True,
        "emperor": emperor_of(activation),
        "workers": len(found.workers),
        "busy": found.busy,
        "requests": sum(worker.requests for worker in found.workers),
        "exceptions": sum(worker.exceptions for worker in found.workers),
        "memory_mib": round(uwsgi_stats.memory(found.pids, uid) / 1024, 1),
    }


def _unit_summary(app: str, activation: str) -> dict[str, Any]:
    """The same of a web server that is a unit, which counts no requests."""
    found = app_units.web_processes(app, activation)
    if found is None:
        return {"activation": activation, "running": False}
    pid, children = found
    with contextlib.suppress(OSError, KeyError):
        open_ones = unix_sockets.connections(socket_of(app, activation))
        return {
            "activation": activation,
            "running": True,
            "emperor": SYSTEMD,
            "workers": len(children),
            "busy": open_ones.open if open_ones else 0,
            "requests": None,
            "exceptions": None,
            "memory_mib": round(uwsgi_stats.memory([pid, *children], pwd.getpwnam(app).pw_uid) / 1024, 1),
        }
    return {"activation": activation, "running": False}
