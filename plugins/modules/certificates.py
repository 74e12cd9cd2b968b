#!/usr/bin/python
"""Certificates of all apps of a host in one exchange."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: certificates
short_description: Create, obtain, renew, back up and restore the certificates of a host's apps
description:
  - Each app has its own certificate. C(prepare) ensures that one exists, self-signed if necessary, so that nginx can start.
    C(issue) obtains certificates from authorities with the client lego, app by app, and makes nginx load the new ones. A
    failure of one app, or of one of its domains, is reported for that app and does not affect any other.
options:
  phase:
    description: What to do.
    type: str
    choices: [prepare, issue, status, backup, restore]
    required: true
  apps:
    description: All apps of the host with TLS, for C(prepare), as returned by P(emperor.stack.tls_apps#filter).
    type: list
    elements: dict
    default: []
  settings:
    description: Settings of the authorities, and the ports that nginx listens on, for C(prepare).
    type: dict
    default: {}
  dns_environment:
    description: Credentials of DNS providers, by provider.
    type: dict
    default: {}
  root:
    description: Directory on the controller that relative paths of files start from.
    type: str
  force:
    description: Also request certificates that an authority refused recently.
    type: bool
    default: false
  patience:
    description: Time in seconds after which C(issue) begins no further order.
    type: int
    default: 600
  data:
    description: The archive to C(restore), base64-encoded.
    type: str
author: ["Emperor Stack maintainers (!UNKNOWN)"]
attributes:
  check_mode:
    description: Lists the apps that would get a certificate; contacts no authority.
    support: full
  diff_mode:
    description: No file content is shown.
    support: none
  idempotence:
    description: Valid certificates are left alone.
    support: full
"""

EXAMPLES = r"""
- name: Obtain missing certificates
  emperor.stack.certificates:
    phase: issue
"""

RETURN = r"""
apps:
  description: By app, the live certificate and its expiry, with warnings and errors.
  type: dict
  returned: for prepare, issue and status
problems:
  description: One text for each app without a valid certificate of its authority.
  type: list
  elements: str
  returned: for prepare, issue and status
data:
  description: The archive, base64-encoded.
  type: str
  returned: for backup
restored:
  description: What was restored.
  type: list
  elements: str
  returned: for restore
"""

from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ..module_utils.host.output import clean, printable  # noqa: E402
from ..module_utils.tls import (  # noqa: E402
    backup,
    certificates,
    renewal,
    serving,
    store,
)


def told(outcome: dict[str, dict[str, Any]]) -> dict[str, Any]:
    errors = [
        f"{name}: {certificates.sentence(status['errors'])}"
        for name, status in outcome.items()
        if status["errors"]
    ]
    warnings = [f"{name}: {text}" for name, status in outcome.items() for text in status["warnings"]]
    # Texts of authorities and certificates are untrusted.
    return dict(printable({"apps": outcome, "problems": errors, "notes": warnings}))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "phase": {
                "type": "str",
                "required": True,
                "choices": ["prepare", "issue", "status", "backup", "restore"],
            },
            "apps": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            "settings": {"type": "dict", "default": {}, "no_log": True},
            "dns_environment": {"type": "dict", "default": {}, "no_log": True},
            "root": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "patience": {"type": "int", "default": 600},
            "data": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    phase, parameters = module.params["phase"], module.params
    # Whole parts of the input are secret; of the result nothing is, and domains and names must not be masked in it.
    module.no_log_values.clear()
    try:
        if phase == "status":
            module.exit_json(changed=False, **told(renewal.status()))
        if phase == "prepare" and (module.check_mode or not needed(parameters["apps"])):
            outcome = renewal.prepare(parameters["apps"], parameters["settings"], True)
            module.exit_json(
                changed=any(status.pop("changed") for status in outcome.values()), **told(outcome)
            )
        if module.check_mode:
            module.exit_json(changed=False, skipped=True, msg="no authority is asked in check mode")
        with store.locked():
            result = run(phase, parameters)
    except (store.Unusable, store.CommandFailed, OSError) as error:
        module.fail_json(msg=clean(str(error)))
    module.exit_json(**result)


def needed(apps: list[dict[str, Any]]) -> bool:
    """Whether the host has, or gets, anything to do with TLS."""
    return bool(apps or store.read_wanted()["apps"])


def run(phase: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if phase == "backup":
        return {"changed": False, "data": backup.backup()}
    if phase == "restore":
        restored = backup.restore(parameters["data"] or "")
        settled, left = serving.settle()
        return {"changed": bool(restored) or settled, "restored": restored, "left": left}
    if phase == "prepare":
        outcome = renewal.prepare(parameters["apps"], parameters["settings"], False)
        changed = [status.pop("changed") for status in outcome.values()]
        return {"changed": any(changed), **told(outcome)}
    outcome = renewal.issue(parameters["force"], parameters["patience"])
    changed = [status.pop("changed") for status in outcome.values()]
    settled, left = serving.settle()
    result = told(outcome)
    if left:
        result["problems"].append(
            f"{serving.name(store.read_wanted())} does not serve the new certificate of {', '.join(left)}: see its log"
        )
    return {"changed": any(changed) or settled, **result}


if __name__ == "__main__":
    main()
