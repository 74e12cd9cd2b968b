#!/usr/bin/python
"""Bring many files of a host into their wanted state in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Render, compare, check and swap in many files in one round trip
description:
  - The action plugin renders all items on the controller; the module gets the whole list once, compares, and
    writes only what differs.
  - Writes each file to a temporary name, syncs it and renames it, so that readers see the old or the new content.
  - With O(validate), first checks the files under O(tree) in a copy of the tree. If the command rejects them, nothing on
    the host changes.
  - The set remembers in C(/var/lib/emperor-stack/file_set/<name>.json) which paths it wrote, with their sha256.
    O(prune) removes exactly those that are no longer wanted; foreign files are reported and left alone.
  - Reloads systemd when a unit below V(/etc/systemd/system) changed.
  - With O(service), starts or reloads the service, and verifies in every run that the service has loaded the wanted
    files. Files that the service does not accept are reverted.
  - If items have a O(files[].part), an invalid part does not block the rest. It stays as it last worked, and every run
    reports it.
options:
  name:
    description: Name of the set, and of its manifest.
    type: str
    required: true
  files:
    description:
      - The wanted paths. Each has exactly one of O(files[].template), O(files[].content), O(files[].link),
        O(files[].directory), O(files[].touch) or O(files[].source).
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
          - The file must exist with this owner and mode; its content does not matter. Never pruned.
        type: bool
        default: false
      source:
        description:
          - A directory on the controller. Its files, at every depth, come below O(files[].path), with the directories that
            hold them. Hidden files stay out.
        type: str
      pattern:
        description: Shell pattern for the names of the files of O(files[].source) to copy.
        type: str
        default: "*"
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
        description: User name or number. Unchanged if omitted. For a link, the owner of the link itself.
        type: str
      group:
        description: Group name or number. Unchanged if omitted.
        type: str
      mode:
        description:
          - Octal, as a string. When not given V(0644) for files, V(0755) for directories, V(0640) for touched files.
        type: str
      part:
        description:
          - Name of the part that the item belongs to, such as the name of a site. All items of a part are accepted or held
            back together. With O(files[].each) it may contain C({site.name}). Items without a part are common to all.
          - A part that never ran and is held back may be to replace one that is no longer wanted; so that one stays. A
            line C(# @FILE_SET_KEPT@ include {part}.conf;) of a common item becomes one such line for each that stays,
            without the mark.
        type: str
      sensitive:
        description: Keep the content out of diffs, logs and the printed invocation.
        type: bool
        default: false
  prune:
    description: Where to look for files that this set wrote earlier and that are no longer wanted.
    type: list
    elements: dict
    default: []
    suboptions:
      directory:
        description: Absolute path; only its direct entries are looked at, unless O(prune[].below) says otherwise.
        type: str
        required: true
      pattern:
        description: Shell pattern of names. V(*) leaves hidden names alone.
        type: str
        default: "*"
      below:
        description:
          - Instead of looking at entries, take all that the set wrote below the directory, at every depth, whatever its
            name. What others put there is neither looked at nor reported.
        type: bool
        default: false
      warning:
        description: Warning to show, once per run, about foreign files in the directory. None by default.
        type: str
      known:
        description: Shell patterns of names without a warning.
        type: list
        elements: str
        default: []
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
  aside:
    description:
      - Absolute paths, such as those of logs, that a check must not make or open. In the copy they stand for
        paths beside it.
    type: list
    elements: str
    default: []
  verify:
    description: A command, run without a shell, after the swap. When it fails, all files are put back.
    type: str
  running:
    description:
      - A command, run without a shell on every run, that prints the RV(digest) of the set which the service has
        loaded. Any other answer, or none, makes RV(pending) and the task's C(changed) true, so that a lost handler
        fires again.
    type: str
  apply:
    description:
      - A command, run without a shell, that lets the files take effect. It is run after the swap when a path changed,
        when the answer to O(running) is not RV(digest), when a path of O(present) is missing, or one of O(units) is idle.
      - It needs one of O(running), O(present) and O(units).
      - When it fails, the task does. The files stay, and what says so by O(running), O(present) or O(units) lets the next
        run try again.
    type: str
  present:
    description:
      - Absolute paths that O(apply), or somebody else, makes. RV(missing) names those that are not there.
    type: list
    elements: str
    default: []
  units:
    description:
      - Names of systemd units that O(apply), or somebody else, lets run, now and after a boot. RV(idle) names those that
        do not.
    type: list
    elements: str
    default: []
  service:
    description:
      - The service that loads the set. It is started or reloaded when it does not run what is wanted, by the answer
        to O(running), which may have the id of the process that gave it as a second word; then no file in O(tree),
        whoever it belongs to, may be younger than the workers.
      - When it does not come to run the new files, those that last ran are put back.
    type: dict
    suboptions:
      unit:
        description: Its systemd unit.
        type: str
        required: true
      replaces:
        description: Units that must not run beside it. They are stopped and disabled right before it starts.
        type: list
        elements: str
        default: []
      log:
        description: Its log, whose end is shown where it does not do what it should.
        type: str
        default: ""
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
    description: >-
      One unified diff per path, without the content of sensitive ones. A new file, and a changed program of the bundle, is
      one line unless the run has C(-vv).
    support: full
  idempotence:
    description: A second run with the same input changes nothing.
    support: full
author: ["Emperor Stack maintainers (!UNKNOWN)"]
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

- name: Write kernel parameters and let them take effect
  emperor.stack.file_set:
    name: parameters
    files:
      - {path: /etc/sysctl.d/60-parameters.conf, template: sysctl.conf.j2, owner: root, group: root}
    apply: sysctl --load=/etc/sysctl.d/60-parameters.conf
    # A script that prints @FILE_SET_DIGEST@ of its own when the kernel has these values.
    running: /usr/local/lib/parameters-taken

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
  description: The result for each path.
  type: dict
  returned: always
  sample: {/etc/nginx/nginx.conf: updated, /etc/nginx/front/blog.conf: unchanged}
created:
  description: Paths that did not exist before.
  type: list
  elements: str
  returned: always
updated:
  description: Paths whose content, target, owner, group or mode changed.
  type: list
  elements: str
  returned: always
removed:
  description: Paths that this set wrote earlier and that are no longer wanted.
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
  description: Paths of O(present) that do not exist.
  type: list
  elements: str
  returned: always
idle:
  description: Units of O(units) that are not both running and enabled.
  type: list
  elements: str
  returned: always
applied:
  description: Output of O(apply). Empty if O(apply) did not run.
  type: str
  returned: always
held:
  description: Parts that were held back, each with the reason.
  type: list
  elements: str
  returned: always
notes:
  description: Notes about O(service).
  type: list
  elements: str
  returned: always
validated:
  description: Whether the staging copy was checked in this run.
  type: bool
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.file_set.apply import FileSet  # noqa: E402
from ..module_utils.file_set.arguments import argument_spec  # noqa: E402
from ..module_utils.file_set.items import FileSetError  # noqa: E402
from ..module_utils.host.output import clean, printable  # noqa: E402


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = FileSet(module).main()
    except FileSetError as error:
        module.fail_json(msg=clean(str(error)))
    except OSError as error:
        module.fail_json(msg=clean(f"set {module.params['name']}: {error}"))
    # A log of the service may have what its clients sent. Of files, a difference is shown as it is.
    module.exit_json(**{key: value if key == "diff" else printable(value) for key, value in result.items()})


if __name__ == "__main__":
    main()
