"""What the hosts' command `emperor` is told of the apps."""

from __future__ import annotations

DOCUMENTATION = r"""
name: known_apps
author: Emperor Stack maintainers (!UNKNOWN)
version_added: 0.2.0
short_description: Make the texts by which a host knows its apps
description:
  - A host's command C(emperor) deploys another version of an app without a controller. This lookup makes what it needs for
    that, per app one text in JSON, which has the app's secrets in it.
  - The host cannot make releases of an app whose code does not come from git, or whose C(files) depend on the version. The
    text then says so.
options:
  _terms:
    description: Entries of C(python_apps) that passed the check.
    required: true
  secrets:
    description: App name to secret to value.
    type: dict
    default: {}
  root:
    description: Directory of the controller at which relative paths start. By default that of C(ansible.cfg).
    type: str
    default: ""
  listen:
    description: Length of an app's listen queue.
    type: int
    default: 4096
  settings:
    description:
      - The options C(keep_releases), C(keep_warm), C(uv_environment), C(interpreters) and C(http_port) of the module
        C(release).
    type: dict
    required: true
  front:
    description: The web server in front, V(nginx) or V(apache).
    type: str
    default: nginx
  hosts:
    description: By app, the hosts that have it, where there are several.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what a host is told of its apps
  ansible.builtin.debug:
    msg: "{{ lookup('emperor.stack.known_apps', python_apps, settings=settings) }}"
"""

RETURN = r"""
_list:
  description: For each app its C(name) and the C(text) of its file.
  type: list
  elements: dict
"""

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.plugins.lookup import LookupBase  # noqa: E402

from ..plugin_utils.controller.bundle import bundle_root  # noqa: E402
from ..plugin_utils.controller.native import to_native  # noqa: E402
from ..plugin_utils.release.known import Known  # noqa: E402
from ..plugin_utils.release.specs import Specs  # noqa: E402

#: The role that has the templates and the files of releases.
ROLE = Path(__file__).resolve().parents[2] / "roles/python_apps"


class LookupModule(LookupBase):
    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[list[dict[str, str]]]:
        self.set_options(var_options=variables, direct=kwargs)
        options = to_native(self.get_options())
        root = Path(options["root"] or bundle_root((variables or {})["playbook_dir"]))
        specs = Specs(
            self._templar,
            self._loader,
            lambda kind, name: str(ROLE / kind / name),
            variables or {},
            root,
            options["listen"],
        )
        known = Known(specs, options["settings"], options["front"], options["hosts"])
        return [known.texts(to_native(apps), options["secrets"]) for apps in terms]
