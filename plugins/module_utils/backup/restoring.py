"""Put the data of one app back as a backup has it, beside what is there.

In two steps. The first takes long and may fail, and changes nothing: it fetches all of the data while the app serves. Then
the app goes into maintenance, and what was fetched takes the place of what is there, by renaming.
"""

from __future__ import annotations

import contextlib
import datetime
import grp
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..database import archive, catalog, identities
from ..database.server import Server
from ..files import trees
from ..files.atomic import exchange
from ..host import layout, output
from ..host.command import CommandFailed, run
from ..host.release_error import ReleaseError
from .restic import Restic, settings
from .saving import DUMPS, STATE, staged

PROGRAM = "/usr/local/lib/emperor-stack/backup"
#: What restic says of data that is not what it once wrote.
DAMAGED = ("ciphertext verification failed", "invalid data returned", "does not match", "streampack")


class CannotRestore(Exception):
    """Nothing was changed. The message says what to do."""


def chosen(snapshots: list[dict[str, Any]], path: str, at: str) -> dict[str, Any]:
    """The newest of *snapshots* at or before *at* that has *path*; an empty *at* is now. Raises CannotRestore."""
    limit = moment(at) if at else None
    fitting = [
        one
        for one in snapshots
        if path in one["paths"] and (limit is None or moment(str(one["time"])) <= limit)
    ]
    if not fitting:
        older = f" at or before {at}" if at else ""
        times = ", ".join(str(one["time"])[:19] for one in snapshots[-5:]) or "none at all"
        raise CannotRestore(
            f"no backup{older} has {path}. The newest backups of that host: {times}. playbooks/backup.yml "
            "-e action=list shows all; -e from=HOST takes those of another host"
        )
    return fitting[-1]


def moment(text: str) -> datetime.datetime:
    """A time as restic says it, or a person: 2026-11-22T03:00, in UTC unless it says otherwise. Raises CannotRestore."""
    try:
        # Python 3.11 reads nine digits of a second; a `Z` as well.
        parsed = datetime.datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise CannotRestore(f"{text!r} is no time: write 2026-11-22T03:00") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)


@contextlib.contextmanager
def reading(restic: Restic) -> Iterator[None]:
    """Raises CannotRestore where *restic* fails in the block: the place, the reason, and what to do."""
    try:
        yield
    except CommandFailed as error:
        said = error.output.lower()
        if "wrong password" in said:
            fix = "set backup_password to the password that the repository was made with, and run site.yml"
        elif "no space left" in said:
            fix = "free some space on the host: the restored data and the present data must fit beside each other"
        elif any(text in said for text in DAMAGED):
            fix = (
                f"take an older backup with -e at=TIME; {PROGRAM} check on the host says how much is damaged"
            )
        else:
            fix = f"let the host reach the repository, try {PROGRAM} list on it, then run playbooks/restore.yml again"
        raise CannotRestore(
            f"host {restic.host}: backup_repository {output.shown(restic.repository)}\n  reason: {error}\n  fix:    {fix}"
        ) from error


def fetched(restic: Restic, snapshot: Mapping[str, Any], path: str, place: str) -> str:
    """*path* of *snapshot* in the new directory *place* of root's. Raises CannotRestore and OSError."""
    trees.remove(place)
    os.mkdir(place, 0o700)
    with reading(restic):
        restic.restore(str(snapshot["id"]), path, place)
    return place + path


def fetched_files(app: str) -> str:
    """Where the files of *app* wait to be put back, in a directory that only root enters."""
    return f"{layout.state(app)}/restore{staged(app)}"


def fetch_files(app: str, source: str, at: str) -> dict[str, Any]:
    """Get the files of *app* as they were on host *source*. What the app has stays as it is.

    Raises CannotRestore, CommandFailed, OSError.
    """
    account = pwd.getpwnam(app)
    restic = Restic(settings(source))
    with reading(restic):
        snapshots = restic.snapshots(source or restic.host)
    snapshot = chosen(snapshots, staged(app), at)
    place = f"{layout.state(app)}/restore"
    try:
        restored = fetched(restic, snapshot, staged(app), place)
        if not os.path.isdir(restored):
            raise CannotRestore(f"the backup of {snapshot['time']} has no files of {app}")
        count = own(restored, layout.shared(app), account.pw_uid, account.pw_gid)
    except Exception:
        trees.remove(place)
        raise
    return {"snapshot": snapshot["time"], "files": count}


def forget_files(app: str) -> None:
    """Delete what `fetch_files` got, where it is not put in place: it takes as much of the disk as the app's own."""
    trees.remove(f"{layout.state(app)}/restore")


def put_files(app: str) -> dict[str, Any]:
    """Let the files that `fetch_files` got take the place of those of *app*. Raises as that does."""
    restored, shared = fetched_files(app), layout.shared(app)
    if not os.path.isdir(restored):
        raise CannotRestore(f"no files of {app} were fetched: run playbooks/restore.yml")
    aside = f"{shared}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    # What writes beside the web processes; whoever restarts the app starts them again.
    stopped = _stop_workers(app)
    try:
        # In one step: a run that is killed at any moment leaves the app the one or the other, and loses neither.
        os.rename(restored, aside)
        try:
            exchange(aside, shared)
        except OSError:
            os.rename(aside, restored)
            raise
    except OSError:
        if stopped:
            run(["systemctl", "start", "--", *stopped], what=f"starting workers of {app}", timeout=300)
        raise
    with contextlib.suppress(ReleaseError):
        # Empty directories; the next restore tries again.
        trees.remove(f"{layout.state(app)}/restore")
    return {"aside": aside}


def _stop_workers(app: str) -> list[str]:
    """Stop workers and scheduled commands of *app*, but no web server, whose visitors are kept away. Returns their units."""
    words = ["--plain", "--no-legend", "--state=active,activating", f"app_{app}_*.service"]
    listed = run(["systemctl", "list-units", *words], what="listing units", timeout=60, whole=1024 * 1024)
    units = [line.split()[0] for line in listed.splitlines() if line.strip()]
    if stopped := [unit for unit in units if not unit.startswith(f"app_{app}_web@")]:
        run(["systemctl", "stop", "--", *stopped], what=f"stopping workers of {app}", timeout=3600)
    return stopped


def own(top: str, like: str, uid: int, gid: int) -> int:
    """Give all in *top* to *uid*, never to whom the archive names: numbers of users differ between hosts.

    What Emperor Stack made of directories, and what nginx may read of them, is taken from *like*, the directory that *top*
    replaces. *top* is in a directory that only root enters. Returns the number of files.
    """
    served = grp.getgrnam(layout.FRONT_USER).gr_gid
    count = 0
    groups: dict[str, int] = {}
    with trees.opened(top) as descriptor:
        for entry in trees.walk(descriptor, top):
            group = groups.get(entry.path.rpartition("/")[0], gid)
            if stat.S_ISDIR(entry.status.st_mode):
                there = _there(like, entry.path)
                owner, group, mode = _of_directory(there, entry.status, (uid, gid, served), group)
                groups[entry.path] = group or gid
            else:
                owner, mode = uid, stat.S_IMODE(entry.status.st_mode) & 0o777
                count += stat.S_ISREG(entry.status.st_mode)
            os.chown(entry.name, owner, group, dir_fd=entry.directory, follow_symlinks=False)
            if not stat.S_ISLNK(entry.status.st_mode):
                os.chmod(entry.name, mode, dir_fd=entry.directory)
    status = os.stat(like)
    os.chown(top, status.st_uid, status.st_gid)
    os.chmod(top, stat.S_IMODE(status.st_mode))
    return count


def _there(top: str, path: str) -> os.stat_result | None:
    """The directory at *path* below *top*; None where there is none. The app's links on the way lead nowhere."""
    *above, name = path.split("/")
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        directory = stack.enter_context(trees.opened(top))
        for part in above:
            directory = os.open(part, trees.DIRECTORY, dir_fd=directory)
            stack.callback(os.close, directory)
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return found if stat.S_ISDIR(found.st_mode) else None
    return None


def _of_directory(
    there: os.stat_result | None, restored: os.stat_result, known: tuple[int, int, int], above: int
) -> tuple[int, int, int]:
    """Owner, group and mode of a restored directory: those of the one that is *there*, else of the one above."""
    uid, gid, served = known
    if there:
        owner = there.st_uid if there.st_uid in (0, uid) else uid
        group = there.st_gid if there.st_gid in (0, gid, served) else gid
        return owner, group, stat.S_IMODE(there.st_mode)
    mode = stat.S_IMODE(restored.st_mode) & 0o777
    return uid, above, mode | (stat.S_ISGID if above == served else 0)


def _server(wanted: Mapping[str, Any]) -> Server:
    if not wanted.get("postgresql"):
        raise CannotRestore(f"host {wanted['host']} has no databases of apps")
    return Server(wanted["postgresql"])


def fetched_database(name: str) -> str:
    """Beside *name*, in which no dot can be: never the database of another app."""
    return f"{name}.restored"


def fetch_database(name: str, source: str, at: str) -> dict[str, Any]:
    """Load database *name* as it was on host *source* into `fetched_database`. The one that is there stays as it is.

    Where *source* had no databases, its apps had theirs here. Raises as `fetch_files`, and ServerError.
    """
    wanted = settings(source)
    if at and wanted.get("point_in_time") and source in ("", wanted["host"]):
        return _fetch_moment(_server(wanted), name, moment(at))
    server, restic = _server(wanted), Restic(wanted)
    with reading(restic):
        snapshots = restic.snapshots(source or restic.host)
    if source and not any(DUMPS in one["paths"] for one in snapshots):
        restic = Restic(settings())
        with reading(restic):
            snapshots = restic.snapshots(restic.host)
    snapshot = chosen(snapshots, DUMPS, at)
    place = f"{STATE}/restore"
    try:
        dump = fetched(restic, snapshot, f"{DUMPS}/{name}.dump", place)
        if not os.path.isfile(dump):
            raise CannotRestore(f"the backup of {snapshot['time']} has no database {name}")
        load(server, name, dump, fetched_database(name))
    finally:
        trees.remove(place)
    return {"snapshot": snapshot["time"]}


def _fetch_moment(server: Server, name: str, when: datetime.datetime) -> dict[str, Any]:
    """The same, as it was exactly *when*: from the archive of all changes."""
    place = f"{STATE}/restore"
    trees.remove(place)
    os.mkdir(place, 0o700)
    try:
        with archive.at(server, name, when) as past:
            past.dump(name, f"{place}/{name}.dump", compressed=False)
        load(server, name, f"{place}/{name}.dump", fetched_database(name))
    finally:
        trees.remove(place)
    return {"snapshot": when.isoformat()}


def users(server: Server, name: str) -> list[str]:
    """The roles of the apps that use database *name*, by the last run of site.yml. Raises ServerError and OSError."""
    ours = identities.roles(server.identities)
    members = server.state()["members"]
    return sorted(member for group, member in members if group == name + catalog.OWNER and member in ours)


def load(server: Server, name: str, path: str, fresh: str) -> None:
    """Load the dump at *path* into the new database *fresh*, as an app that uses *name*."""
    owner, roles = name + catalog.OWNER, users(server, name)
    if not roles:
        raise CannotRestore(
            f"no app uses database {name} any more: run site.yml with an app that does, then restore"
        )
    quoted = catalog.name(fresh)
    server.drop(fresh)
    server.sql(
        f"create database {quoted} owner {catalog.name(owner)} template template0 encoding 'UTF8' locale 'C.UTF-8'"
    )
    server.sql(f"revoke connect, temporary on database {quoted} from public")
    try:
        server.load_dump(path, fresh, roles[0], owner)
    except CommandFailed:
        server.drop(fresh)
        raise
    for role in roles:
        # It belongs to the database itself, so it stays when the name changes.
        server.sql(f"alter role {catalog.name(role)} in database {quoted} set role to {catalog.text(owner)}")


def forget_database(name: str) -> None:
    """Drop what `fetch_database` loaded. Raises CommandFailed and ServerError."""
    _server(settings()).drop(fetched_database(name))


def put_database(name: str) -> dict[str, Any]:
    """Let the database that `fetch_database` loaded take the place of *name*, which is kept. Raises as that does."""
    return {"aside": swap(_server(settings()), name)}


def swap(server: Server, name: str) -> str:
    """The new name of the database that *name* was, empty where there was none."""
    fresh, aside = fetched_database(name), f"{name}_before_{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}"
    there = server.state()["databases"]
    if fresh not in there:
        raise CannotRestore(f"database {name} was not fetched: run playbooks/restore.yml")
    if name in there:
        server.sql(f"alter database {catalog.name(name)} with allow_connections false")
        server.end_sessions(name)
        server.sql(f"alter database {catalog.name(name)} rename to {catalog.name(aside)}")
    server.sql(f"alter database {catalog.name(fresh)} rename to {catalog.name(name)}")
    return aside if name in there else ""
