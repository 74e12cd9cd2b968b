#!/usr/bin/python
"""Bring many files of a host into their wanted state in one round trip."""

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
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import file_set as logic
from ..module_utils.file_set import Change, Current, FileSetError, Item, Manifest

DOCUMENTATION = r"""
module: file_set
short_description: Render, compare, check and swap in many files in one round trip
description:
  - The action plugin renders all items on the controller; the module gets the whole list once, compares, and
    writes only what differs.
  - A file is written beside its place, synced and renamed, so a reader finds the old or the new content.
  - With O(validate), the files under O(tree) are tried out in a copy of the tree first. When the command
    refuses them, nothing on the host has changed.
  - The set remembers in C(/var/lib/emperor-stack/file_set/<name>.json) which paths it wrote, with their sha256.
    O(prune) removes exactly those that are no longer wanted; files of others are reported and left alone.
options:
  name:
    description: Name of the set, and of its manifest.
    type: str
    required: true
  files:
    description:
      - The wanted paths. Each has exactly one of O(files[].template), O(files[].content), O(files[].link),
        O(files[].directory) or O(files[].touch).
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the host. With O(files[].each) it may hold C({site.name}).
        type: str
        required: true
      template:
        description:
          - A Jinja2 template, found as M(ansible.builtin.template) finds it. Blocks leave no blank line and
            no indentation behind (C(trim_blocks) and C(lstrip_blocks)).
        type: str
      content:
        description: The content itself. C(@FILE_SET_DIGEST@) in it (or in a template) becomes RV(digest).
        type: str
      link:
        description: Target of a symbolic link at O(files[].path).
        type: str
      directory:
        description: The path is a directory. A missing parent has to be an item of its own.
        type: bool
        default: false
      touch:
        description:
          - The file has to exist with this owner and mode; what is in it is not looked at. Never pruned.
        type: bool
        default: false
      vars:
        description: Variables for this item's template, over those of the task.
        type: dict
      each:
        description: One file for each element; the element is the variable named by O(files[].as).
        type: list
        elements: raw
      as:
        description: Name of the variable that holds the element, in the template and in O(files[].path).
        type: str
        default: item
      owner:
        description: User name or number. Left alone when not given. Of a link, this is the link's own owner.
        type: str
      group:
        description: Group name or number. Left alone when not given.
        type: str
      mode:
        description:
          - Octal, as a string. When not given V(0644) for files, V(0755) for directories, V(0640) for touched files.
        type: str
      sensitive:
        description: Keep the content out of diffs, logs and the printed invocation.
        type: bool
        default: false
  prune:
    description: Where to look for files which this set wrote earlier and that are no longer wanted.
    type: list
    elements: dict
    default: []
    suboptions:
      directory:
        description: Absolute path; only its direct entries are looked at.
        type: str
        required: true
      pattern:
        description: Shell pattern of names. V(*) leaves hidden names alone.
        type: str
        default: "*"
  tree:
    description:
      - Root of the tree that O(validate) is about, for example V(/etc/nginx). Its files must refer to each other
        relatively.
    type: str
  validate:
    description:
      - A command, run without a shell, that must succeed on a copy of O(tree) with the changes in it. C({stage})
        is that copy. Only run when something under the tree changes, in check mode too.
      - In check mode it is skipped when its program is not there yet.
    type: str
  verify:
    description: A command, run without a shell, after the swap. When it fails, all files are put back.
    type: str
  running:
    description:
      - A command, run without a shell on every run, that prints the RV(digest) of the set which the service has
        loaded. Any other answer, or none, makes RV(pending) and the task's C(changed) true, so that a lost handler
        fires again.
    type: str
  present:
    description:
      - Absolute paths that others make. Nothing is done about them; RV(missing) names those that are not there, so that a
        task which makes them needs no exchange of its own to learn that it has nothing to do.
    type: list
    elements: str
    default: []
  units:
    description:
      - Names of systemd units that are to run, now and after a boot. Nothing is done about them; RV(idle) names those that
        do not.
    type: list
    elements: str
    default: []
  manifests:
    description: Directory of the manifests.
    type: str
    default: /var/lib/emperor-stack/file_set
attributes:
  check_mode:
    description:
      - Compares, stages and validates; changes nothing. Users, groups and directories that are missing are taken as
        made by then.
    support: full
  diff_mode:
    description: One unified diff per path, without the content of sensitive ones.
    support: full
  idempotence:
    description: A second run with the same input changes nothing.
    support: full
author:
  - Emperor Stack maintainers
"""

EXAMPLES = r"""
- name: Write the front's configuration
  emperor.stack.file_set:
    name: nginx
    tree: /etc/nginx
    validate: nginx -t -q -c {stage}/nginx.conf
    files:
      - {path: /etc/nginx/front, directory: true, owner: root, group: root}
      - {path: /etc/nginx/nginx.conf, template: nginx.conf.j2, owner: root, group: root}
      - path: /etc/nginx/front/{site.name}.conf
        template: site.conf.j2
        each: "{{ nginx_sites }}"
        as: site
    prune:
      - {directory: /etc/nginx/front, pattern: "*.conf"}
  register: front
  notify: Reload nginx

- name: Write an app's secrets and its vassal, a link that belongs to the app's user
  emperor.stack.file_set:
    name: app-blog
    files:
      - path: /srv/apps/blog/env.json
        content: "{{ env | to_json }}"
        group: blog
        mode: "0440"
        sensitive: true
      - path: /etc/emperor-stack/vassals/a/blog@7.ini
        link: /srv/apps/blog/vassal.ini
        owner: blog
"""

RETURN = r"""
changed_paths:
  description: Paths that were created, updated or removed (or would be, in check mode).
  type: list
  elements: str
  returned: always
paths:
  description: What became of each path.
  type: dict
  returned: always
  sample: {/etc/nginx/nginx.conf: updated, /etc/nginx/front/blog.conf: unchanged}
created:
  description: Paths that were not there before.
  type: list
  elements: str
  returned: always
updated:
  description: Paths whose content, target, owner, group or mode changed.
  type: list
  elements: str
  returned: always
removed:
  description: Paths which this set had written and that are no longer wanted.
  type: list
  elements: str
  returned: always
foreign:
  description: Paths in prune directories that this set never wrote. Left alone.
  type: list
  elements: str
  returned: always
edited:
  description: Paths of this set that are no longer wanted, but that somebody changed since. Left alone.
  type: list
  elements: str
  returned: always
digest:
  description: One value for all wanted items.
  type: str
  returned: always
pending:
  description: Whether the running service has not loaded this set.
  type: bool
  returned: always
missing:
  description: Those of O(present) that are not there.
  type: list
  elements: str
  returned: always
idle:
  description: Those of O(units) that are not both running and enabled.
  type: list
  elements: str
  returned: always
validated:
  description: Whether the staging copy was checked in this run.
  type: bool
  returned: always
"""


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
                    f"{item.path}: there is no {kind} {name!r} on this host. Make it first"
                ) from None
            found.append(-2)
    return found[0], found[1]


def temporary(path: str, role: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, logic.TEMPORARY.format(name=name, role=role))


def forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(file.fileno(), keep_uid, keep_gid)
        os.fchmod(file.fileno(), item.mode if item.mode is not None else 0o600)
        file.write(item.content)
        file.flush()
        os.fsync(file.fileno())


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
        current = inspect(path)
        if current.state == "directory":
            os.rmdir(path)
            self.undo.append(("mkdir", (path, current)))
        else:
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
            elif what == "mkdir":
                os.mkdir(value[0], 0o700)
                set_attributes(value[0], value[1].uid, value[1].gid, value[1].mode)
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


def stage_changes(tree: str, stage: str, changes: list[Change], removed: list[str]) -> None:
    """Carry the wanted changes into the copy. Who owns them there does not matter: root reads them."""
    for path in removed:
        if logic.within(path, tree):
            copy = stage + path[len(tree) :]
            if os.path.isdir(copy) and not os.path.islink(copy):
                os.rmdir(copy)
            else:
                forget(copy)
    for change in changes:
        item = change.item
        if not logic.within(item.path, tree):
            continue
        copy = stage + item.path[len(tree) :]
        os.makedirs(copy if item.kind == "directory" else os.path.dirname(copy), exist_ok=True)
        if item.kind == "link":
            forget(copy)
            os.symlink(logic.staged_target(item.path, item.target, tree, stage), copy)
        elif item.kind == "file" or (item.kind == "touch" and change.created):
            forget(copy)
            with open(copy, "wb") as file:
                file.write(item.content)


class FileSet:
    def __init__(self, module: AnsibleModule) -> None:
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
                "validate: needs tree: and has to name the copy as {stage}, else it checks the files in use"
            )
        wanted = logic.parse_items(options["files"])
        self.digest = logic.digest(wanted)
        self.items = logic.with_digest(wanted, self.digest)
        self.prune = logic.parse_prune(options["prune"])
        self.validated = False

    # looking

    def load_manifest(self) -> Manifest:
        try:
            with open(self.manifest_path, encoding="utf-8") as file:
                return logic.load_manifest(file.read())
        except FileNotFoundError:
            return Manifest()
        except ValueError as error:
            self.module.warn(
                f"{self.manifest_path}: {error}. It is written anew; nothing is removed in this run, as nobody "
                "knows what is ours"
            )
            return Manifest()

    def compare(self) -> list[Change]:
        changes = []
        made = {item.path for item in self.items if item.kind == "directory"}
        for item in self.items:
            parent = os.path.dirname(item.path)
            if not self.check_mode and parent not in made and not os.path.isdir(parent):
                raise FileSetError(
                    f"{item.path}: its directory {parent} does not exist. "
                    f"Add an item {{path: {parent}, directory: true}}"
                )
            if change := logic.compare(item, inspect(item.path), *ids(item, self.check_mode)):
                changes.append(change)
        return changes

    def look_for_leftovers(self, manifest: Manifest) -> tuple[logic.Leftovers, dict[str, Current]]:
        present: dict[str, Current] = {}
        for one in self.prune:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(one.directory):
                    if logic.matches(name, one.pattern):
                        path = os.path.join(one.directory, name)
                        present[path] = inspect(path)
        found = logic.leftovers(manifest, [item.path for item in self.items], present)
        if found.edited:
            self.module.warn(
                "no longer wanted, but changed by somebody since they were written, so left alone: "
                f"{', '.join(found.edited)}. Remove them by hand"
            )
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

    def run(self, command: str) -> tuple[int, str, str]:
        words = shlex.split(command)
        code, out, err = self.module.run_command(words, handle_exceptions=False)
        return code, out, err

    # checking

    def validate(self, changes: list[Change], removed: list[str]) -> None:
        command, tree = self.module.params["validate"], self.tree
        paths = [change.item.path for change in changes] + removed
        if not command or not tree or not any(logic.within(path, tree) for path in paths):
            return
        program = shlex.split(command)[0]
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            if self.check_mode:
                return
            raise FileSetError(f"validate: {program} is not on this host. Install it before this task")
        # In memory where we may: the tree can hold private keys.
        top = tempfile.mkdtemp(prefix="file_set-", dir="/run" if os.access("/run", os.W_OK) else None)
        stage = os.path.join(top, os.path.basename(tree))
        try:
            copy_tree(tree, stage)
            stage_changes(tree, stage, changes, removed)
            code, out, err = self.run(command.replace("{stage}", stage))
        finally:
            shutil.rmtree(top, ignore_errors=True)
        self.validated = True
        if code != 0:
            said = (err.strip() or out.strip() or "(it said nothing)").replace(stage, tree)
            raise FileSetError(
                f"set {self.module.params['name']}: {program} refuses the new {tree}; nothing was changed. "
                f"It says:\n{said}"
            )

    def pending(self) -> bool:
        command = self.module.params["running"]
        if not command:
            return False
        try:
            code, out, _err = self.run(command)
        except OSError:
            return True
        return code != 0 or out.strip() != self.digest

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
        if known is not None and manifest == known:
            return
        new = f"{self.manifest_path}.new"
        forget(new)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(logic.dump_manifest(manifest))
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, self.manifest_path)
        sync_directory(os.path.dirname(self.manifest_path))

    def change(self, changes: list[Change], removed: list[str]) -> None:
        swap = Swap()
        owners = {change.item.path: ids(change.item, False) for change in changes}
        try:
            for change in changes:
                if change.item.kind == "directory" and change.created:
                    swap.make_directory(change.item, *owners[change.item.path])
            for change in changes:
                swap.prepare(change, *owners[change.item.path])
            for change in changes:
                if not (change.item.kind == "directory" and change.created):
                    swap.apply(change, *owners[change.item.path])
            for path in removed:
                swap.remove(path)
            self.verify()
        except (OSError, FileSetError) as error:
            swap.roll_back()
            raise FileSetError(
                f"set {self.module.params['name']}: {error}. All files were put back"
            ) from error
        swap.commit()

    def verify(self) -> None:
        command = self.module.params["verify"]
        if not command:
            return
        code, out, err = self.run(command)
        if code != 0:
            said = err.strip() or out.strip() or "it said nothing"
            raise FileSetError(f"verify failed ({command}): {said}")

    def clean_up(self) -> None:
        """What a run that died left beside our files."""
        for item in self.items:
            if item.kind != "directory":
                forget(temporary(item.path, "new"))
                forget(temporary(item.path, "old"))

    def main(self) -> dict[str, Any]:
        with self.locked():
            manifest = self.load_manifest()
            changes = self.compare()
            left, present = self.look_for_leftovers(manifest)
            removed = list(left.remove)
            self.validate(changes, removed)
            if not self.check_mode:
                self.clean_up()
                self.save(logic.before_run(manifest, self.items), manifest)
                if changes or removed:
                    self.change(changes, removed)
                self.save(logic.after_run(manifest, self.items, removed))
            pending = self.pending()
        created = [change.item.path for change in changes if change.created]
        updated = [change.item.path for change in changes if not change.created]
        diff = [logic.diff_of_change(change) for change in changes]
        diff += [logic.diff_of_removal(path, present[path], path in manifest.sensitive) for path in removed]
        return {
            "changed": bool(changes or removed or pending),
            "changed_paths": sorted([*created, *updated, *removed]),
            "paths": {
                **{item.path: "unchanged" for item in self.items},
                **dict.fromkeys(created, "created"),
                **dict.fromkeys(updated, "updated"),
                **dict.fromkeys(removed, "removed"),
            },
            "created": created,
            "updated": updated,
            "removed": removed,
            "foreign": list(left.foreign),
            "edited": list(left.edited),
            "digest": self.digest,
            "pending": pending,
            "missing": [path for path in self.module.params["present"] if not os.path.lexists(path)],
            "idle": self.idle(),
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
            },
        },
        "tree": {"type": "str"},
        "validate": {"type": "str"},
        "verify": {"type": "str"},
        "running": {"type": "str"},
        "present": {"type": "list", "elements": "str", "default": []},
        "units": {"type": "list", "elements": "str", "default": []},
        "manifests": {"type": "str", "default": logic.MANIFESTS},
    }


def main() -> None:
    # no_log keeps whole files, and secrets, out of the host's journal; results are not affected by it.
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, no_log=True)
    try:
        result = FileSet(module).main()
    except FileSetError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"set {module.params['name']}: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
