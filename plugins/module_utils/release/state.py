"""What a host remembers of an app's releases: manifests, the history, and which one is live. The lock is in `lock.py`.

Every file is replaced by a rename after an fsync, so that a run which dies at any point leaves either the old or the new
content. A release exists when its manifest does; the manifest is written last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..files import trees
from ..files.atomic import write_atomically
from ..host import layout
from ..host.credentials import masked
from ..systemd import unit_names
from .lock import Lockable, now
from .spec import HealthSpec, KeptWorker

#: Lines of history that are kept.
HISTORY_LINES = 500

RELEASE_ID = re.compile(r"^\d{8}T\d{6}-[0-9a-z.-]{1,16}\Z", re.ASCII)


@dataclass
class Manifest:
    """`release.json`: what a release is and what became of it."""

    app: str
    release: str
    revision: str
    version: str
    fingerprint: str
    python: str
    created: str
    health: HealthSpec
    host: str
    migrate: str | None = None
    hooks: dict[str, list[str]] = field(default_factory=dict)
    request_timeout: int = 60
    on_demand: bool = False
    migrations: str = ""
    venv: str = ""
    status: str = "prepared"
    reason: str = ""
    switched: float = 0.0
    server: str = "uwsgi"
    #: The uWSGI in its venv, where that is not the host's: name and version.
    own_server: str = ""
    #: Name to `count` and `overlap`.
    workers: dict[str, KeptWorker] = field(default_factory=dict)
    schedule: list[str] = field(default_factory=list)
    #: Those of its workers and scheduled commands that run on one host of the app alone.
    on_first: list[str] = field(default_factory=list)
    #: Where below its domains the app answers.
    path: str = "/"
    #: What its web server speaks: `uwsgi`, or `http` where it is an ASGI app.
    protocol: str = "uwsgi"
    #: Seconds that its WebSockets and streams may go on once another release is live.
    websocket_drain: int = 0
    #: Its place among the releases of the app: 1, 2, … in the order in which they were made. 0 in those that an earlier
    #: version of the bundle made, which are older than all others.
    serial: int = 0
    #: The number of the activation by which it went live last; 0 where it never did, or by an earlier version.
    live_as: int = 0

    @property
    def made(self) -> tuple[int, str]:
        """Orders releases by when they were made. No clock has a say but where nothing else is known."""
        return self.serial, self.release

    @property
    def went_live(self) -> tuple[int, float]:
        """Orders releases by when they went live last."""
        return self.live_as, self.switched


class AppState(Lockable):
    """The memory of one app on this host."""

    def __init__(self, app: str) -> None:
        self.app = app

    # Releases

    def manifest_path(self, release: str) -> str:
        return f"{layout.release(self.app, release)}/release.json"

    def save(self, manifest: Manifest) -> None:
        write_atomically(self.manifest_path(manifest.release), json.dumps(asdict(manifest), indent=1) + "\n")

    def manifest(self, release: str) -> Manifest | None:
        """The manifest of *release*; None where the directory is no whole release.

        What a later version of the bundle added is passed over: a controller with an older checkout must not take
        its releases for rubbish.
        """
        known = {one.name for one in fields(Manifest)}
        try:
            with open(self.manifest_path(release), encoding="utf-8") as file:
                content = dict(json.load(file))
            if isinstance(content.get("reason"), str):
                content["reason"] = masked(content["reason"])
            return Manifest(**{name: value for name, value in content.items() if name in known})
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def mark(self, release: str, **changes: Any) -> None:
        manifest = self.manifest(release)
        if manifest is not None:
            self.save(replace(manifest, **changes))

    def manifests(self) -> list[Manifest]:
        """All whole releases, the one that was made first at the front: by serial, never by a clock."""
        try:
            names = sorted(os.listdir(layout.releases(self.app)))
        except FileNotFoundError:
            return []
        found = (self.manifest(name) for name in names)
        return sorted((manifest for manifest in found if manifest is not None), key=lambda m: m.made)

    def add(self, manifest: Manifest) -> Manifest:
        """Write the manifest of a release that is new, with the next serial of the app; return it as written."""
        known = [one.serial for one in self.manifests()]
        known += [_serial_in(entry) for entry in self.history(HISTORY_LINES)]
        made = replace(manifest, serial=self._next_number("release_serial", known))
        self.save(made)
        return made

    # Activations

    def live_activation(self) -> str | None:
        try:
            return os.path.basename(os.readlink(layout.active(self.app)))
        except (FileNotFoundError, OSError):
            return None

    def release_of(self, activation: str | None) -> str | None:
        if activation is None:
            return None
        try:
            link = os.readlink(f"{layout.activations(self.app)}/{activation}/release")
        except OSError:
            return None
        return os.path.basename(link)

    def seconds_to_end(self, activation: str) -> int:
        """How long requests of *activation* may go on once it gets no new ones: its limit, and five seconds more."""
        manifest = self.manifest(str(self.release_of(activation)))
        if manifest is None:
            return 65
        # asgi.py gives an app five seconds to end what it has open, and one connection after the other is looked at.
        more = manifest.websocket_drain + 10 if manifest.protocol == "http" else 0
        return max(manifest.request_timeout, more) + 5

    def live_release(self) -> str | None:
        return self.release_of(self.live_activation())

    def next_activation(self) -> str:
        """A name that no activation of this app has had or will have. It is spent even if the run dies now."""
        known = [self.activation_serial(name) for name in self._activation_names()]
        # Most activations are gone without a trace but in the history: it counts where the serial is lost or old.
        known += [
            self.activation_serial(str(entry.get("activation"))) for entry in self.history(HISTORY_LINES)
        ]
        return f"{self.app}@{self._next_number('serial', known)}"

    def _next_number(self, file_name: str, known: list[int]) -> int:
        """A number above all *known* and all that were given before, which file *file_name* of the state remembers."""
        path = f"{layout.state(self.app)}/{file_name}"
        with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="utf-8") as file:
            known = [*known, int(file.read())]
        number = max(known, default=0) + 1
        write_atomically(path, f"{number}\n")
        return number

    def activation_serial(self, name: str) -> int:
        """The number of activation *name* of this app; 0 for any other name."""
        app, _, number = name.rpartition("@")
        return int(number) if app == self.app and number.isdecimal() else 0

    def _activation_names(self) -> set[str]:
        """Every activation that left a directory or a vassal."""
        names: list[str] = []
        for directory in (layout.activations(self.app), layout.vassals("a"), layout.vassals("b")):
            with contextlib.suppress(FileNotFoundError):
                names += os.listdir(directory)
        names += [activation for _, _, activation in unit_names.activation_units(self.app)]
        return {name for entry in names if self.activation_serial(name := entry.removesuffix(".ini"))}

    def activation_names(self) -> list[str]:
        """Every activation of the app that left a directory or a vassal, oldest first."""
        return sorted(self._activation_names(), key=self.activation_serial)

    # What runs on one host of the app alone

    @property
    def leader_path(self) -> str:
        return f"{layout.state(self.app)}/leader"

    def leads(self) -> bool:
        """Whether this is the host that runs what runs on one host alone."""
        return os.path.exists(self.leader_path)

    def lead(self, leads: bool) -> None:
        if leads:
            write_atomically(self.leader_path, "")
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.leader_path)

    # History

    @property
    def history_path(self) -> str:
        return f"{layout.state(self.app)}/history.jsonl"

    def history(self, lines: int = 10) -> list[dict[str, Any]]:
        try:
            with open(self.history_path, encoding="utf-8") as file:
                kept = file.readlines()[-lines:]
        except FileNotFoundError:
            return []
        entries = []
        for line in kept:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                # An earlier version wrote URLs down with their passwords. The next entry writes all of them anew.
                if isinstance(entry.get("reason"), str):
                    entry["reason"] = masked(entry["reason"])
                entries.append(entry)
        return entries

    def remember(self, entry: dict[str, Any]) -> None:
        """Add a line to the history, with the serial of the release that it is about."""
        manifest = self.manifest(str(entry["release"])) if entry.get("release") else None
        known = {"serial": manifest.serial} if manifest else {}
        entries = [*self.history(HISTORY_LINES - 1), {"time": now(), **entry, **known}]
        write_atomically(self.history_path, "".join(json.dumps(e) + "\n" for e in entries))

    # Pruning

    def remove_release(self, release: str) -> None:
        """Remove a release: its manifest first, so that a half-removed one is no release any more. Raises ReleaseError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.manifest_path(release))
        trees.remove(layout.release(self.app, release))

    def partial_releases(self) -> list[str]:
        """Directories that are no whole release. What serves now is never among them, whatever its manifest says."""
        live = self.live_release()
        try:
            names = os.listdir(layout.releases(self.app))
        except FileNotFoundError:
            return []
        return [
            name for name in names if RELEASE_ID.match(name) and name != live and self.manifest(name) is None
        ]

    def previous_good(self) -> Manifest | None:
        """The release that a rollback goes to; see `previous`."""
        return previous(self.manifests(), self.live_release())


def _serial_in(entry: Mapping[str, Any]) -> int:
    """The serial of the release that a line of the history is about; 0 where it has none."""
    serial = entry.get("serial")
    return serial if isinstance(serial, int) else 0


def previous(manifests: list[Manifest], live: str | None) -> Manifest | None:
    """The release that a rollback from *live* goes to: of those that were live and are not known to be bad, the last."""
    good = [m for m in manifests if m.status == "good" and m.release != live]
    current = next((m for m in manifests if m.release == live), None)
    if current is not None:
        good = [m for m in good if m.went_live < current.went_live] or good
    return max(good, key=lambda m: m.went_live, default=None)


def prunable(manifests: list[Manifest], live: str | None, keep: int, in_use: set[str]) -> list[str]:
    """The releases that can go.

    Kept are the live one, those *in_use*, the one that a rollback goes to, the *keep* (at least 2) newest good ones, the
    last failed one, and those newer than the live one that were rolled back: they say what must not be deployed again.
    """
    good = sorted((m for m in manifests if m.status == "good"), key=lambda m: m.went_live)
    failed = sorted((m for m in manifests if m.status == "failed"), key=lambda m: m.made)
    back = previous(manifests, live)
    current = next((m for m in manifests if m.release == live), None)
    kept = {m.release for m in good[-max(keep, 2) :]} | {m.release for m in failed[-1:]} | in_use
    if live:
        # Where the live one's place is not known, all of them are.
        kept |= {
            m.release
            for m in manifests
            if m.status == "rolled_back" and (current is None or m.made > current.made)
        }
    kept |= {release for release in (live, back and back.release) if release}
    return [m.release for m in manifests if m.release not in kept]
