#!/usr/bin/python
"""What role base has to know of a host before it writes anything, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_state
short_description: Get the distribution of a host and its missing packages
description:
  - Sets the facts C(distribution), C(distribution_version) and C(distribution_major_version) as
    M(ansible.builtin.setup) does, and queries dpkg for packages. C(setup) takes several times as long for the same facts,
    and apt takes seconds for what dpkg answers in milliseconds.
options:
  packages:
    description: Names of Debian packages.
    type: list
    elements: str
    default: []
  alternatives:
    description: Packages that satisfy one of O(packages). Maps the installed package to the one that it satisfies.
    type: dict
    default: {}
  paths:
    description: Absolute paths to look for, or patterns with C(*).
    type: list
    elements: str
    default: []
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
  idempotence:
    description: Nothing is changed.
    support: full
"""

EXAMPLES = r"""
- name: Ask the host
  emperor.stack.host_state:
    packages: [nginx, curl]
  register: found
"""

RETURN = r"""
missing:
  description: Packages of O(packages) that are not installed, in the given order.
  type: list
  elements: str
  returned: always
package_lists:
  description: Whether apt has any list of packages. Images are often built without, and their empty directory looks fresh.
  type: bool
  returned: always
memory:
  description: MiB of memory of the host, or of the container that it is.
  type: int
  returned: always
present:
  description: Paths of O(paths) that exist, and patterns that something matches.
  type: list
  elements: str
  returned: always
"""

import glob  # noqa: E402
import os  # noqa: E402
import subprocess  # noqa: E402
from collections.abc import Iterable, Mapping  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.host.sizing import machine_memory  # noqa: E402

OS_RELEASE = "/etc/os-release"
DEBIAN_VERSION = "/etc/debian_version"
APT_LISTS = "/var/lib/apt/lists"


def distribution(os_release: str, debian_version: str) -> dict[str, str]:
    """The facts, out of /etc/os-release; Debian's point release stands in /etc/debian_version."""
    pairs = (line.partition("=") for line in os_release.splitlines())
    said = {name.strip(): value.strip().strip("'\"") for name, equals, value in pairs if equals}
    debian = said.get("ID") == "debian"
    version = said.get("VERSION_ID", "")
    return {
        "distribution": "Debian" if debian else said.get("NAME", said.get("ID", "unknown")),
        "distribution_version": debian_version.strip() if debian and debian_version.strip() else version,
        "distribution_major_version": version.partition(".")[0],
    }


def missing(packages: Iterable[str], alternatives: Mapping[str, str], listing: str) -> list[str]:
    """Those of *packages* that are not whole on the host, by what `dpkg-query` says, and whose work nothing else does."""
    installed = {line[3:].strip() for line in listing.splitlines() if line.startswith("ii ")}
    replaced = {wanted for other, wanted in alternatives.items() if other in installed}
    return [name for name in packages if name not in installed | replaced]


def dpkg_listing(packages: list[str]) -> str:
    if not packages:
        return ""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Package}\\n", *packages]
    # It fails when it knows one of them not at all, and says the others all the same.
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def has_package_lists(directory: str) -> bool:
    try:
        return any("_Packages" in name for name in os.listdir(directory))
    except OSError:
        return False


def is_there(path: str) -> bool:
    """Whether *path* exists; of a pattern with `*`, whether anything matches."""
    return os.path.lexists(path) or ("*" in path and next(glob.iglob(path), None) is not None)


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "alternatives": {"type": "dict", "default": {}},
            "paths": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    facts = distribution(read(OS_RELEASE), read(DEBIAN_VERSION))
    packages, alternatives = module.params["packages"], module.params["alternatives"]
    # On another system there is no dpkg to ask, and the role refuses it by the facts.
    listing = dpkg_listing([*packages, *alternatives]) if facts["distribution"] == "Debian" else ""
    module.exit_json(
        changed=False,
        ansible_facts=facts,
        missing=missing(packages, alternatives, listing),
        memory=machine_memory(),
        package_lists=has_package_lists(APT_LISTS),
        present=[path for path in module.params["paths"] if is_there(path)],
    )


if __name__ == "__main__":
    main()
