"""Bring a set of files of this host into its wanted state: what module `file_set` does, and what module `drift` asks."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..files.atomic import forget, new_file, sync_directory, write_atomically
from ..host.module import Module
from . import items as logic
from . import parts
from .items import Change, Current, FileSetError, Item, Manifest
from .service import Service

#: Where a change wants systemd to read its units again.
UNITS = "/etc/systemd/system/"


def inspect(path: str) -> Current:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Current("absent")
    owned: dict[str, Any] = {"uid": found.st_uid, "gid": found.st_gid, "mode": stat.S_IMODE(found.st_mode)}
    if stat.S_ISLNK(found.st_mode):
        return Current("link", target=os.readlink(path), **owned)
    if stat.S_ISDIR(found.st_mode):
        return Current("directory", **owned)
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as file:
            return Current("file", content=file.read(), **owned)
    return Current("other", **owned)


def user_id(name: str | None) -> int | None:
    if name is None:
        return None
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_id(name: str | None) -> int | None:
    if name is None:
        return None
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def ids(item: Item, check_mode: bool) -> tuple[int | None, int | None]:
    """-2, which no path has, stands for one who does not exist yet in check mode."""
    found: list[int | None] = []
    for kind, name, look_up in (("user", item.owner, user_id), ("group", item.group, group_id)):
        try:
            found.append(look_up(name))
        except KeyError:
            if not check_mode:
                raise FileSetError(
                    f"{item.path}: there is no {kind} {name!r} on this host. Create it first"
                ) from None
            found.append(-2)
    return found[0], found[1]


def temporary(path: str, role: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, logic.TEMPORARY.format(name=name, role=role))


def write_new(path: str, item: Item, current: Current, uid: int | None, gid: int | None) -> None:
    """Put the item's new inode at *path*, with its final owner and mode before it gets any content."""
    forget(path)
    # What the set does not care about stays as it was.
    keep_uid = uid if uid is not None else (current.uid if current.state != "absent" else -1)
    keep_gid = gid if gid is not None else (current.gid if current.state != "absent" else -1)
    if item.kind == "link":
        os.symlink(item.target, path)
        os.chown(path, keep_uid, keep_gid, follow_symlinks=False)
        return
    with new_file(path, item.mode if item.mode is not None else 0o600, keep_uid, keep_gid) as file:
        file.write(item.content)


def set_attributes(path: str, uid: int | None, gid: int | None, mode: int | None) -> None:
    os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid, follow_symlinks=False)
    # After chown, which clears setuid and setgid.
    if mode is not None:
        os.chmod(path, mode)


class Swap:
    """All changes of a run, or none: what was there is kept until `commit`, and `roll_back` puts it back."""

    def __init__(self) -> None:
        self.undo: list[tuple[str, Any]] = []
        self.backups: list[str] = []
        self.temporaries: list[str] = []
        self.directories: set[str] = set()
        self.emptied: list[str] = []

    def prepare(self, change: Change, uid: int | None, gid: int | None) -> None:
        """All that can fail for lack of space or rights, before the first visible change."""
        item = change.item
        if item.kind == "directory" or not change.replaces:
            return
        new = temporary(item.path, "new")
        self.temporaries.append(new)
        write_new(new, item, change.current, uid, gid)

    def make_directory(self, item: Item, uid: int | None, gid: int | None) -> None:
        os.mkdir(item.path, 0o700)
        self.undo.append(("rmdir", item.path))
        self.directories.add(os.path.dirname(item.path))
        set_attributes(item.path, uid, gid, item.mode)

    def apply(self, change: Change, uid: int | None, gid: int | None) -> None:
        item, current = change.item, change.current
        if not change.replaces:
            self.undo.append(("attributes", (item.path, current)))
            set_attributes(item.path, uid, gid, item.mode)
            return
        self._set_aside(item.path)
        os.rename(temporary(item.path, "new"), item.path)
        self.directories.add(os.path.dirname(item.path))

    def remove(self, path: str) -> None:
        if inspect(path).state == "directory":
            self.emptied.append(path)
            return
        self._set_aside(path)
        os.unlink(path)
        self.directories.add(os.path.dirname(path))

    def _set_aside(self, path: str) -> None:
        backup = temporary(path, "old")
        forget(backup)
        if os.path.lexists(path):
            os.link(path, backup, follow_symlinks=False)
            self.backups.append(backup)
            self.undo.append(("rename", (backup, path)))
        else:
            self.undo.append(("unlink", path))

    def commit(self) -> None:
        for directory in sorted(self.directories):
            sync_directory(directory)
        for path in self.backups:
            forget(path)
        # Not before: they hold the backups of what was in them. Somebody may have put something there meanwhile.
        for path in self.emptied:
            with contextlib.suppress(OSError):
                os.rmdir(path)
                sync_directory(os.path.dirname(path))

    def roll_back(self) -> None:
        for what, value in reversed(self.undo):
            if what == "rename":
                # A rename between two names of one inode does nothing and leaves both.
                os.rename(*value)
                forget(value[0])
            elif what == "unlink":
                forget(value)
            elif what == "rmdir":
                os.rmdir(value)
            else:
                path, current = value
                set_attributes(
                    path, current.uid, current.gid, current.mode if current.state != "link" else None
                )
        for path in self.temporaries:
            forget(path)


def copy_tree(tree: str, stage: str) -> None:
    """A copy to try things in: links into the tree lead into the copy, all others to where they led."""
    if not os.path.isdir(tree):
        os.makedirs(stage, exist_ok=True)
        return
    for directory, names, files in os.walk(tree):
        into = stage + directory[len(tree) :]
        os.makedirs(into, exist_ok=True)
        for name in [*names, *files]:
            source, copy = os.path.join(directory, name), os.path.join(into, name)
            if os.path.islink(source):
                os.symlink(logic.staged_target(source, os.readlink(source), tree, stage), copy)
            elif os.path.isfile(source):
                shutil.copy2(source, copy)


def set_aside(stage: str, paths: list[str]) -> dict[bytes, bytes]:
    """What stands for *paths* beside the copy, made so that a program can create its files there."""
    found = {}
    for path in sorted(paths, key=len, reverse=True):
        other = os.path.join(os.path.dirname(stage), "aside") + path
        os.makedirs(other if os.path.isdir(path) else os.path.dirname(other), exist_ok=True)
        found[path.encode()] = other.encode()
    return found


def stage_items(
    tree: str, stage: str, items: list[Item], removed: list[str], aside: dict[bytes, bytes]
) -> None:
    """Carry what is wanted into the copy. Who owns it there does not matter: root reads it."""
    for path in removed:
        if logic.within(path, tree):
            copy = stage + path[len(tree) :]
            if os.path.isdir(copy) and not os.path.islink(copy):
                os.rmdir(copy)
            else:
                forget(copy)
    for item in items:
        if not logic.within(item.path, tree):
            continue
        copy = stage + item.path[len(tree) :]
        os.makedirs(copy if item.kind == "directory" else os.path.dirname(copy), exist_ok=True)
        if item.kind == "link":
            forget(copy)
            os.symlink(logic.staged_target(item.path, item.target, tree, stage), copy)
        elif item.kind == "file" or (item.kind == "touch" and not os.path.lexists(copy)):
            content = item.content
            for there, beside in aside.items():
                content = content.replace(there, beside)
            forget(copy)
            with open(copy, "wb") as file:
                file.write(content)


@dataclass(frozen=True)
class Plan:
    """What makes a set of items of what is there."""

    items: list[Item]
    digest: str
    changes: list[Change]
    left: logic.Leftovers
    present: dict[str, Current]

    @property
    def removed(self) -> list[str]:
        return list(self.left.remove)

    @property
    def paths(self) -> list[str]:
        return [change.item.path for change in self.changes] + self.removed


class FileSet:
    def __init__(self, module: Module) -> None:
        self.module = module
        self.check_mode: bool = module.check_mode
        options = module.params
        self.manifest_path = os.path.join(options["manifests"], f"{options['name']}.json")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9@._-]*", options["name"]):
            raise FileSetError(
                f"name {options['name']!r}: use letters, digits and '@._-' only, it names a file"
            )
        self.tree: str | None = options["tree"]
        if self.tree is not None:
            logic.check_path(self.tree, "tree")
        if options["validate"] and (not self.tree or "{stage}" not in options["validate"]):
            raise FileSetError(
                "validate: needs tree: and must name the copy as {stage}; otherwise it checks the files "
                "in use"
            )
        self.wanted = logic.parse_items(options["files"])
        self.prune = logic.parse_prune(options["prune"])
        self.validated = False
        self.good_path = os.path.join(options["manifests"], f"{options['name']}.good.json")
        if options["apply"] and not (options["running"] or options["present"] or options["units"]):
            raise FileSetError(
                "apply: needs running:, present: or units:, which tell whether the files are in effect; "
                "otherwise no run makes up for one that died before it"
            )
        self.service: Service | None = None
        if service := options["service"]:
            if not self.tree or not options["running"]:
                raise FileSetError(
                    "service: needs tree: and running:, which tell whether it runs the wanted files"
                )
            if options["apply"]:
                raise FileSetError("apply: and service: both apply the files; give only one of them")
            ask = shlex.split(options["running"])
            self.service = Service(self.run_words, service["unit"], ask, service["replaces"], service["log"])

    # looking

    def load_manifest(self) -> Manifest:
        try:
            with open(self.manifest_path, encoding="utf-8") as file:
                return logic.load_manifest(file.read())
        except FileNotFoundError:
            return Manifest()
        except ValueError as error:
            self.module.warn(
                f"{self.manifest_path}: {error}. It is rewritten; this run removes nothing, because it "
                "cannot know which files it wrote"
            )
            return Manifest()

    def load_good(self, manifest: Manifest) -> parts.LastGood:
        """The last working files of the service."""
        if not self.service:
            return parts.LastGood()
        try:
            with open(self.good_path, encoding="utf-8") as file:
                return parts.load(file.read())
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            self.module.warn(
                f"{self.good_path}: {error}. It is rewritten when the service runs the wanted files"
            )
        # Written by a set that did not remember yet.
        found = []
        for item in self.wanted:
            current = inspect(item.path) if item.kind == "file" and item.part else Current("absent")
            if manifest.wrote(item.path, current.fingerprint):
                found.append(replace(item, content=current.content))
        return parts.LastGood("", parts.by_part(found))

    def plan(self, wanted: list[Item], manifest: Manifest) -> Plan:
        digest = logic.digest(wanted)
        items = logic.with_digest(wanted, digest)
        left, present = self.look_for_leftovers(manifest, items)
        return Plan(items, digest, self.compare(items), left, present)

    def compare(self, items: list[Item]) -> list[Change]:
        changes = []
        made = {item.path for item in items if item.kind == "directory"}
        for item in items:
            parent = os.path.dirname(item.path)
            if not self.check_mode and parent not in made and not os.path.isdir(parent):
                raise FileSetError(
                    f"{item.path}: its directory {parent} does not exist. "
                    f"Add an item {{path: {parent}, directory: true}}"
                )
            if change := logic.compare(item, inspect(item.path), *ids(item, self.check_mode)):
                changes.append(change)
        return changes

    def look_for_leftovers(
        self, manifest: Manifest, items: list[Item]
    ) -> tuple[logic.Leftovers, dict[str, Current]]:
        present: dict[str, Current] = {}
        for one in self.prune:
            if one.below:
                present |= {
                    path: current
                    for path in manifest.files
                    if logic.within(path, one.directory) and (current := inspect(path)).state != "absent"
                }
                continue
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(one.directory):
                    if logic.matches(name, one.pattern):
                        path = os.path.join(one.directory, name)
                        present[path] = inspect(path)
        found = logic.leftovers(manifest, [item.path for item in items], present)
        # A directory of ours in which others put something stays.
        gone = set(found.remove)
        for path in found.remove:
            if present[path].state == "directory":
                others = [name for name in os.listdir(path) if os.path.join(path, name) not in gone]
                if others:
                    gone.discard(path)
        return (
            logic.Leftovers(
                tuple(path for path in found.remove if path in gone),
                tuple(sorted({*found.foreign, *(set(found.remove) - gone)})),
                found.edited,
            ),
            present,
        )

    def _said(self, plan: Plan) -> list[str]:
        """What every run says of files that are left alone."""
        edited = (
            "no longer wanted, but changed since they were written, so left in place: "
            f"{', '.join(plan.left.edited)}. Remove them by hand"
        )
        return [*([edited] if plan.left.edited else []), *logic.warnings(self.prune, plan.left.foreign)]

    def run(self, command: str) -> tuple[int, str, str]:
        return self.run_words(shlex.split(command))

    def run_words(self, words: Sequence[str]) -> tuple[int, str, str]:
        code, out, err = self.module.run_command(list(words), handle_exceptions=False)
        return code, out, err

    # checking

    def validates(self) -> bool:
        """Whether there is a way to check a copy."""
        command = self.module.params["validate"]
        if not command:
            return False
        program = shlex.split(command)[0]
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            if self.check_mode:
                return False
            raise FileSetError(f"validate: {program} is not on this host. Install it before this task")
        return True

    def validate(self, wanted: list[Item], manifest: Manifest) -> str:
        """What the command says against a copy with *wanted* in it."""
        tree = self.tree or ""
        plan = self.plan(wanted, manifest)
        # In memory where we may: the tree can hold private keys.
        top = tempfile.mkdtemp(prefix="file_set-", dir="/run" if os.access("/run", os.W_OK) else None)
        stage = os.path.join(top, os.path.basename(tree))
        try:
            copy_tree(tree, stage)
            aside = set_aside(stage, self.module.params["aside"])
            stage_items(tree, stage, plan.items, plan.removed, aside)
            code, out, err = self.run(self.module.params["validate"].replace("{stage}", stage))
        finally:
            shutil.rmtree(top, ignore_errors=True)
        self.validated = True
        if code == 0:
            return ""
        said = err.strip() or out.strip() or "(no output)"
        for path, other in aside.items():
            said = said.replace(other.decode(), path.decode())
        return said.replace(stage, tree)

    def choose(self, manifest: Manifest, good: parts.LastGood) -> dict[str, str]:
        """The parts that are held back so that the rest passes the check."""
        if not self.validates():
            return {}
        try:
            return parts.choose(self.wanted, good.parts, lambda items: self.validate(items, manifest))
        except parts.SharedFault as error:
            program = shlex.split(self.module.params["validate"])[0]
            back = self.restore(manifest, good)
            raise FileSetError(
                f"set {self.module.params['name']}: {program} refuses the new {self.tree}; nothing was changed. "
                f"It says:\n{error}{back}"
            ) from error

    def pending(self, digest: str) -> bool:
        if self.service and self.tree:
            return not self.service.runs(digest, self.tree) or not self.service.enabled()
        command = self.module.params["running"]
        if not command:
            return False
        try:
            code, out, _err = self.run(command)
        except OSError:
            return True
        return code != 0 or out.strip() != digest

    def _due(self, plan: Plan, pending: bool) -> bool:
        """Whether there is a command that lets the set take effect, and a reason to run it."""
        return bool(self.module.params["apply"]) and bool(
            plan.paths or pending or self._missing() or self.idle()
        )

    def _missing(self) -> list[str]:
        return [path for path in self.module.params["present"] if not os.path.lexists(path)]

    def idle(self) -> list[str]:
        units = self.module.params["units"]
        if not units:
            return []
        command = ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *units]
        try:
            _code, out, _err = self.module.run_command(command, handle_exceptions=False)
        except OSError:
            return list(units)
        return logic.idle(units, out)

    # changing

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Two runs of one set follow each other, or both would use the same temporary names."""
        if self.check_mode:
            yield
            return
        os.makedirs(os.path.dirname(self.manifest_path), mode=0o700, exist_ok=True)
        with open(f"{self.manifest_path}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def save(self, manifest: Manifest, known: Manifest | None = None) -> None:
        if known is None or manifest != known:
            write_atomically(self.manifest_path, logic.dump_manifest(manifest))

    def change(self, plan: Plan, untold: bool = False) -> None:
        """Swap in what is planned and let the service load it, or put everything back. *untold*: see `put`."""
        swap = Swap()
        owners = {change.item.path: ids(change.item, False) for change in plan.changes}
        try:
            for change in plan.changes:
                if change.item.kind == "directory" and change.created:
                    swap.make_directory(change.item, *owners[change.item.path])
            for change in plan.changes:
                swap.prepare(change, *owners[change.item.path])
            for change in plan.changes:
                if not (change.item.kind == "directory" and change.created):
                    swap.apply(change, *owners[change.item.path])
            for path in plan.removed:
                swap.remove(path)
            self.verify()
            units_changed = untold or any(path.startswith(UNITS) for path in plan.paths)
            if self.service:
                self.service.load(plan.digest, units_changed)
            elif units_changed:
                self.must("systemctl daemon-reload")
        except (OSError, FileSetError) as error:
            swap.roll_back()
            raise FileSetError(
                f"set {self.module.params['name']}: {error}. All files were put back"
            ) from error
        swap.commit()

    def verify(self) -> None:
        if command := self.module.params["verify"]:
            self.must(command, "verify failed")

    def must(self, command: str, what: str = "failed") -> str:
        """What *command* prints. Raises FileSetError when it fails."""
        try:
            code, out, err = self.run(command)
        except OSError as error:
            hint = (
                ". Run site.yml without --tags to install it" if isinstance(error, FileNotFoundError) else ""
            )
            raise FileSetError(f"{what} ({command}): {error}{hint}") from error
        if code != 0:
            raise FileSetError(f"{what} ({command}): {err.strip() or out.strip() or 'it said nothing'}")
        return out

    def clean_up(self) -> None:
        """What a run that died left beside our files."""
        for item in self.wanted:
            if item.kind != "directory":
                forget(temporary(item.path, "new"))
                forget(temporary(item.path, "old"))

    def put(
        self, plan: Plan, pending: bool, manifest: Manifest, good: parts.LastGood, held: dict[str, str]
    ) -> Plan:
        """Bring *plan* onto the host. Where the service does not take it because of one part, that one is held back."""
        self.clean_up()
        # A run may have died between its files and systemd: they do not differ any more.
        untold = any(path.startswith(UNITS) and len(known) > 1 for path, known in manifest.files.items())
        self.save(logic.before_run(manifest, plan.items), manifest)
        if plan.paths or (self.service and pending):
            try:
                self.change(plan, untold)
            except FileSetError as error:
                back = self.restore(manifest, good)
                left = [part for part in parts.changed_parts(self.wanted, good.parts) if part not in held]
                part = parts.blamed(str(error), self.wanted, left)
                if not part:
                    raise FileSetError(f"{error}{back}") from error
                held[part] = str(error)
                if self.validates():
                    held |= parts.kept(
                        self.wanted, good.parts, lambda items: self.validate(items, manifest), held
                    )
                plan = self.plan_without(held, manifest, good)
                return self.put(plan, self.pending(plan.digest), manifest, good, held)
        elif untold:
            self.must("systemctl daemon-reload")
        self.save(logic.after_run(manifest, plan.items, plan.removed))
        if self.service and (last_good := self._last_good(plan)) != good:
            write_atomically(self.good_path, parts.dump(last_good))
        return plan

    def _last_good(self, plan: Plan) -> parts.LastGood:
        """The last working files of the service, once it runs *plan*."""
        return parts.LastGood(
            plan.digest, parts.remembered(plan.items, self.tree or ""), self.module.params["running"]
        )

    def plan_without(self, held: parts.Held, manifest: Manifest, good: parts.LastGood) -> Plan:
        return self.plan(parts.effective(self.wanted, good.parts, held), manifest)

    def restore(self, manifest: Manifest, good: parts.LastGood) -> str:
        """Restore the last working files, whatever is on disk, and load them; returns a text about the outcome."""
        if not self.service or not good.digest or self.check_mode:
            return ""
        kept = [item for item in self.wanted if not parts.loaded(item)]
        plan = self.plan([*kept, *(item for items in good.parts.values() for item in items)], manifest)
        with self.service.asked_by(shlex.split(good.running)):
            if not plan.paths and self.service.ask().digest == good.digest:
                return ". The last working configuration keeps serving"
            try:
                self.change(replace(plan, digest=good.digest))
            except FileSetError as error:
                return f". The last working configuration could not be restored: {error}"
        self.save(logic.after_run(manifest, plan.items, plan.removed))
        return ". The last working configuration is restored and serving"

    def drift(self) -> list[str]:
        """What a run would change, do or say, a line each. Nothing is staged, locked or written, in any mode."""
        manifest = self.load_manifest()
        plan = self.plan(self.wanted, manifest)
        found = [f"{path} differs" for path in plan.paths]
        if self.pending(plan.digest):
            found.append("it does not run the wanted configuration")
        found += [f"{path} is missing" for path in self._missing()]
        found += [f"{unit} is not running, or not enabled" for unit in self.idle()]
        # What a run that died leaves behind, it leaves here.
        if manifest != logic.after_run(manifest, plan.items, plan.removed):
            found.append(f"{self.manifest_path} is from an incomplete run")
        if self.service and self.load_good(manifest) != self._last_good(plan):
            found.append(f"{self.good_path} is from an incomplete run")
        return found + self._said(plan)

    def main(self) -> dict[str, Any]:
        with self.locked():
            manifest = self.load_manifest()
            good = self.load_good(manifest)
            held: dict[str, str] = {}
            plan = self.plan(self.wanted, manifest)
            pending = self.pending(plan.digest)
            due = self._due(plan, pending)
            applied = ""
            in_tree = any(logic.within(path, self.tree) for path in plan.paths) if self.tree else False
            if in_tree or (self.service and pending):
                held = self.choose(manifest, good)
                if held:
                    plan = self.plan_without(held, manifest, good)
                    pending = self.pending(plan.digest)
            if not self.check_mode:
                plan = self.put(plan, pending, manifest, good, held)
                if due:
                    applied = self.must(
                        self.module.params["apply"], "The files are in place, but did not take effect"
                    )
                if not self.service:
                    pending = self.pending(plan.digest)
        said = parts.describe(held, good.parts)
        for text in self._said(plan) + said:
            self.module.warn(text)
        created = [change.item.path for change in plan.changes if change.created]
        updated = [change.item.path for change in plan.changes if not change.created]
        diff = [logic.diff_of_change(change) for change in plan.changes]
        diff += [
            logic.diff_of_removal(path, plan.present[path], path in manifest.sensitive)
            for path in plan.removed
        ]
        return {
            "changed": bool(plan.paths or pending or due),
            "changed_paths": sorted(plan.paths),
            "paths": {
                **{item.path: "unchanged" for item in plan.items},
                **dict.fromkeys(created, "created"),
                **dict.fromkeys(updated, "updated"),
                **dict.fromkeys(plan.removed, "removed"),
            },
            "created": created,
            "updated": updated,
            "removed": plan.removed,
            "foreign": list(plan.left.foreign),
            "edited": list(plan.left.edited),
            "digest": plan.digest,
            "pending": pending,
            "missing": self._missing(),
            "idle": self.idle(),
            "applied": applied,
            "held": said,
            "notes": self.service.notes if self.service else [],
            "validated": self.validated,
            "diff": diff if self.module._diff else [],
        }


def argument_spec() -> dict[str, Any]:
    item = {
        "path": {"type": "str", "required": True},
        "content": {"type": "str"},
        "link": {"type": "str"},
        "directory": {"type": "bool", "default": False},
        "touch": {"type": "bool", "default": False},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "sensitive": {"type": "bool", "default": False},
        "part": {"type": "str"},
        **logic.OF_THE_CONTROLLER,
    }
    service = {
        "unit": {"type": "str", "required": True},
        "replaces": {"type": "list", "elements": "str", "default": []},
        "log": {"type": "str", "default": ""},
    }
    return {
        "name": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "dict", "required": True, "options": item},
        "prune": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "directory": {"type": "str", "required": True},
                "pattern": {"type": "str", "default": "*"},
                "warning": {"type": "str"},
                "known": {"type": "list", "elements": "str", "default": []},
                "below": {"type": "bool", "default": False},
            },
        },
        "tree": {"type": "str"},
        "validate": {"type": "str"},
        "aside": {"type": "list", "elements": "str", "default": []},
        "verify": {"type": "str"},
        "running": {"type": "str"},
        "apply": {"type": "str"},
        "present": {"type": "list", "elements": "str", "default": []},
        "units": {"type": "list", "elements": "str", "default": []},
        "service": {"type": "dict", "options": service},
        "manifests": {"type": "str", "default": logic.MANIFESTS},
    }
