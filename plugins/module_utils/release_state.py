"""What a host remembers of an app's releases: manifests, the deploy lock, the history, and which one is live.

Every file is replaced by a rename after an fsync, so that a run which dies at any point leaves either the old or the new
content. A release exists when its manifest does; the manifest is written last.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from . import layout, unit_names

#: Seconds after which a lock whose owner has not been heard of may be taken over.
LOCK_SECONDS = 1800

#: Lines of history that are kept.
HISTORY_LINES = 500

RELEASE_ID = re.compile(r"^\d{8}T\d{6}-[0-9a-z.-]{1,16}$")


class Locked(Exception):
    """Another deploy of the app is under way. Carries its lock as `holder`."""

    def __init__(self, app: str, holder: dict[str, Any]) -> None:
        self.holder = holder
        super().__init__(
            f"a deploy is under way since {holder.get('since', 'unknown')}, held by "
            f"{holder.get('who', 'unknown')} on {holder.get('controller', 'unknown')} "
            f"(phase {holder.get('phase', 'unknown')}, expires {holder.get('expires', 'unknown')}). "
            "Wait for it, or break the lock on purpose with -e break_lock=true."
        )


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
    health: dict[str, Any]
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
    migrated: bool = False
    server: str = "uwsgi"
    #: The uWSGI in its venv, where that is not the host's: name and version.
    own_server: str = ""
    #: Name to `count` and `overlap`.
    workers: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedule: list[str] = field(default_factory=list)
    #: Where below its domains the app answers.
    path: str = "/"


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write_atomically(path: str, content: str, mode: int = 0o600, gid: int = -1) -> None:
    """Replace *path* by a file with *content*; other processes see the old or the new one, never a part."""
    temporary = f"{path}.new-{os.getpid()}"
    with _removed_on_failure(temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), 0 if os.geteuid() == 0 else -1, gid)
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


@contextlib.contextmanager
def _removed_on_failure(temporary: str) -> Iterator[None]:
    """A full disk must not fill up further with what could not be written."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_atomically(target: str, path: str, uid: int = -1, gid: int = -1) -> None:
    """Make *path* a symlink to *target*, replacing what it was in one rename."""
    temporary = f"{path}.new-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    with _removed_on_failure(temporary):
        os.symlink(target, temporary)
        os.chown(temporary, uid, gid, follow_symlinks=False)
        os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


class AppState:
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
            return Manifest(**{name: value for name, value in content.items() if name in known})
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def mark(self, release: str, **changes: Any) -> None:
        manifest = self.manifest(release)
        if manifest is not None:
            self.save(replace(manifest, **changes))

    def manifests(self) -> list[Manifest]:
        """All whole releases, oldest first: by the time in the name, never by mtime."""
        try:
            names = sorted(os.listdir(layout.releases(self.app)))
        except FileNotFoundError:
            return []
        found = (self.manifest(name) for name in names)
        return [manifest for manifest in found if manifest is not None]

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
        return (manifest.request_timeout if manifest else 60) + 5

    def live_release(self) -> str | None:
        return self.release_of(self.live_activation())

    def next_activation(self) -> str:
        """A name that no activation of this app has had or will have. It is spent even if the run dies now."""
        path = f"{layout.state(self.app)}/serial"
        known = [self._serial(name) for name in self._activation_names()]
        # Most activations are gone without a trace but in the history: it counts where the serial is lost or old.
        known += [self._serial(str(entry.get("activation"))) for entry in self.history(HISTORY_LINES)]
        with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="utf-8") as file:
            known.append(int(file.read()))
        last = max(known, default=0)
        write_atomically(path, f"{last + 1}\n")
        return f"{self.app}@{last + 1}"

    def _serial(self, name: str) -> int:
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
        return {name for entry in names if self._serial(name := entry.removesuffix(".ini"))}

    def activation_names(self) -> list[str]:
        """Every activation of the app that left a directory or a vassal, oldest first."""
        return sorted(self._activation_names(), key=self._serial)

    # The deploy lock: its content outlives a module call, the flock does not

    @property
    def lock_path(self) -> str:
        return f"{layout.state(self.app)}/lock.json"

    def lock(self) -> dict[str, Any] | None:
        try:
            with open(self.lock_path, encoding="utf-8") as file:
                return dict(json.load(file))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def take_lock(
        self, owner: dict[str, Any], dead: list[str], break_lock: bool, **content: Any
    ) -> dict[str, Any]:
        """Hold the lock for *owner* (`token`, `who`, `controller`); *dead* are tokens of runs that have ended.

        *content* is written with it, in the same rename. Returns what the last holder left unfinished, else an empty
        dict. Raises Locked.
        """
        held = self.lock()
        if held and held.get("token") != owner["token"]:
            expired = float(held.get("expires_at", 0)) < time.time()
            if not (expired or break_lock or held.get("token") in dead):
                raise Locked(self.app, held)
        self.write_lock({**owner, "since": now(), "started": time.time(), "phase": "prepare", **content})
        return held or {}

    def write_lock(self, content: dict[str, Any]) -> None:
        expires = time.time() + LOCK_SECONDS
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
        write_atomically(
            self.lock_path, json.dumps({**content, "expires": stamp, "expires_at": expires}) + "\n"
        )

    def held_lock(self, token: str) -> dict[str, Any]:
        """The lock, which must be held by *token*. Raises Locked when it is not."""
        held = self.lock()
        if held is None:
            raise Locked(self.app, {"who": "nobody", "phase": "none: this deploy's lock was broken"})
        if held.get("token") != token:
            raise Locked(self.app, held)
        return held

    def unlock(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.lock_path)

    @contextlib.contextmanager
    def working(self, seconds: float = 5) -> Iterator[None]:
        """Keep other module calls for this app out. The kernel lets go when the process ends, however it ends.

        Raises Locked after *seconds*.
        """
        path = f"{layout.state(self.app)}/working"
        with open(path, "a", encoding="utf-8") as file:
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Locked(self.app, self.lock() or {}) from None
                    time.sleep(0.1)
            yield

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
                entries.append(json.loads(line))
        return entries

    def remember(self, entry: dict[str, Any]) -> None:
        entries = [*self.history(HISTORY_LINES - 1), {"time": now(), **entry}]
        write_atomically(self.history_path, "".join(json.dumps(e) + "\n" for e in entries))

    # Pruning

    def remove_release(self, release: str) -> None:
        """Remove a release: its manifest first, so that a half-removed one is no release any more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.manifest_path(release))
        shutil.rmtree(layout.release(self.app, release), ignore_errors=True)

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


def previous(manifests: list[Manifest], live: str | None) -> Manifest | None:
    """The release that a rollback from *live* goes to: of those that were live and are not known to be bad, the last."""
    good = [m for m in manifests if m.status == "good" and m.release != live]
    current = next((m for m in manifests if m.release == live), None)
    if current is not None:
        good = [m for m in good if m.switched < current.switched] or good
    return max(good, key=lambda m: m.switched, default=None)


def prunable(manifests: list[Manifest], live: str | None, keep: int, in_use: set[str]) -> list[str]:
    """The releases that can go.

    Kept are the live one, those *in_use*, the one that a rollback goes to, the *keep* (at least 2) newest good ones, the
    last failed one, and those newer than the live one that were rolled back: they say what must not be deployed again.
    """
    good = sorted((m for m in manifests if m.status == "good"), key=lambda m: m.switched)
    failed = [m.release for m in manifests if m.status == "failed"]
    back = previous(manifests, live)
    kept = {m.release for m in good[-max(keep, 2) :]} | set(failed[-1:]) | in_use
    kept |= {m.release for m in manifests if m.status == "rolled_back" and live and m.release > live}
    kept |= {release for release in (live, back and back.release) if release}
    return [m.release for m in manifests if m.release not in kept]
