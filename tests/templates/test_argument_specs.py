"""What the playbook derives from python_apps and hands to a web server's role is what the role says that it takes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.emperor.stack.plugins.module_utils import apps

from tools.project import ROOT

PLAIN: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com", "www.blog.example.com"],
    "source": {"path": "examples/flask"},
    "wsgi": "wsgi:application",
    "static": {"/static/": "static", "/media/": "media", "/favicon.ico": "favicon.ico"},
    "persistent": ["media"],
}
BUSY: dict[str, Any] = {
    **PLAIN,
    "name": "busy",
    "path": "/busy/",
    "users": {"alice": "ALICE_HASH"},
    "cache": {"seconds": 10},
    "tls": {"provider": "self_signed"},
    "nginx": {"http": "# x", "server": "# x", "app": "# x"},
}


def refused(role: str, **given: Any) -> list[str]:
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    spec = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    wanted = {name: spec[name] for name in given}
    return list(ArgumentSpecValidator(wanted).validate(given).error_messages)


@pytest.mark.parametrize("role", ["nginx", "apache"])
@pytest.mark.parametrize(
    "declared",
    [[PLAIN], [{**PLAIN, "nginx": {"server": "# x"}}], [{**BUSY, "path": "/"}], [PLAIN, BUSY]],
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
    (site,) = apps.sites([PLAIN])
    assert refused(role, **{f"{role}_sites": [{**site, "unheard_of": 1}]}) != []
