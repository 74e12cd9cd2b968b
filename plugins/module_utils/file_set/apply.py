"""Bring a set of files of this host into its wanted state: what module `file_set` does, and what module `drift` asks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..files.atomic import forget, write_atomically
from ..host.module import Module
from . import diffs, parts, pruning
from . import items as logic
from . import manifest as manifests
from .items import Current, FileSetError, Item
from .manifest import Manifest
from .plan import Plan, make_plan
from .service import Service
from .stage import copy_tree, set_aside, stage_items
from .swap import Swap, ids, inspect, temporary

#: Where a change wants systemd to read its units again.
UNITS = "/etc/systemd/system/"


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
        self.prune = pruning.parse_prune(options["prune"])
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
                return manifests.load_manifest(file.read())
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
        return make_plan(wanted, self.prune, manifest, self.check_mode)

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

    def _diff(self, plan: Plan, manifest: Manifest) -> list[dict[str, str]]:
        if not self.module._diff:
            return []
        return diffs.diff_of_plan(plan, manifest, whole=self.module._verbosity >= 2)

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
            write_atomically(self.manifest_path, manifests.dump_manifest(manifest))

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
        self.save(manifests.before_run(manifest, plan.items), manifest)
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
        self.save(manifests.after_run(manifest, plan.items, plan.removed))
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
        self.save(manifests.after_run(manifest, plan.items, plan.removed))
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
        if manifest != manifests.after_run(manifest, plan.items, plan.removed):
            found.append(f"{self.manifest_path} is from an incomplete run")
        if self.service and self.load_good(manifest) != self._last_good(plan):
            found.append(f"{self.good_path} is from an incomplete run")
        return found + plan.remarks(self.prune)

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
        for text in plan.remarks(self.prune) + said:
            self.module.warn(text)
        created = [change.item.path for change in plan.changes if change.created]
        updated = [change.item.path for change in plan.changes if not change.created]
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
            "diff": self._diff(plan, manifest),
        }
