"""What the playbook derives from python_apps and hands to a web server's role is what the role says that it takes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

from tests.templates.declared import APP, BUSY, SECURED
from tools.project import ROOT


def refused(role: str, **given: Any) -> list[str]:
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    spec = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    wanted = {name: spec[name] for name in given}
    return list(ArgumentSpecValidator(wanted).validate(given).error_messages)


@pytest.mark.parametrize("role", ["nginx", "apache"])
@pytest.mark.parametrize(
    "declared",
    [[APP], [{**APP, "nginx": {"server": "# x"}}], [SECURED], [APP, BUSY]],
    ids=["plain", "snippet", "secured", "two below one domain"],
)
def test_sites_are_what_the_role_takes(role: str, declared: list[dict[str, Any]]) -> None:
    if role == "apache":
        # The playbook refuses it there before any role begins.
        declared = [{**app, "tls": {"provider": "none"}} for app in declared]
    assert refused(role, **{f"{role}_sites": apps.sites(declared)}) == []


def test_users_are_what_the_role_takes() -> None:
    users = apps.site_users([BUSY], {"busy": {"ALICE_HASH": "$6$x"}})
    assert len(users) == 1
    assert refused("nginx", nginx_users=users) == []


@pytest.mark.parametrize("role", ["nginx", "apache"])
def test_a_key_that_the_role_does_not_know_is_refused(role: str) -> None:
    (site,) = apps.sites([APP])
    assert refused(role, **{f"{role}_sites": [{**site, "unheard_of": 1}]}) != []
