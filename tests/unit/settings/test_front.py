"""The web server of a host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import Unresolved
from ansible_collections.emperor.stack.plugins.plugin_utils.settings import front

PLAIN: dict[str, Any] = {"name": "blog", "domains": ["a.example.com"], "wsgi": "a:a"}
TLS = {**PLAIN, "tls": {"provider": "self_signed"}}
ASGI = {**PLAIN, "wsgi": None, "asgi": "a:a"}
LIMITED = {**PLAIN, "rate_limit": {"requests": "10/s"}}


@pytest.mark.parametrize(
    ("server", "app", "reason"),
    [
        ("lighttpd", PLAIN, '"lighttpd" is not a supported web server'),
        (["nginx"], PLAIN, '["nginx"] is not a supported web server'),
        (None, PLAIN, "null is not a supported web server"),
        ("apache", TLS, "Apache serves plain HTTP only, and these apps have tls: blog"),
        ("apache", LIMITED, "only nginx supports these keys of apps: blog: rate_limit"),
        ("apache", ASGI, "only nginx supports these keys of apps: blog: asgi"),
        (Unresolved("'x' is undefined"), PLAIN, "the template cannot be resolved: 'x' is undefined"),
    ],
)
def test_a_server_that_cannot_do_it_is_named(server: Any, app: dict[str, Any], reason: str) -> None:
    (fault,) = front.faults({"front_server": server}, [app])
    assert (fault.where, fault.reason) == ("front_server", reason) and fault.fix


@pytest.mark.parametrize("values", [{}, {"front_server": "nginx"}])
def test_nginx_does_all_of_it_and_is_the_default(values: dict[str, Any]) -> None:
    assert list(front.faults(values, [TLS, {**LIMITED, "name": "shop", "domains": ["b.example.com"]}])) == []
    assert list(front.faults({"front_server": "apache"}, [PLAIN])) == []
