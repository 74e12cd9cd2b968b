"""What balancers are told of a fleet: each app's hosts and addresses, and what is wrong with groups and addresses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.balancer import naming
from ansible_collections.emperor.stack.plugins.plugin_utils.balancer import backends


def app(name: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.example.com", f"www.{name}.example.com"],
        "wsgi": "app:application",
        "source": {"path": "../app"},
        **settings,
    }


FLEET: dict[str, dict[str, Any]] = {
    "a1": {"host_address": "10.0.0.11", "python_apps": [app("blog"), app("shop", state="absent")]},
    "a2": {"ansible_host": "10.0.0.12", "python_apps": [app("blog"), app("wiki")], "front_http_port": 8080},
    "a3": {"host_address": "10.0.0.13"},
    "lb1": {"host_address": "10.0.0.21"},
}
HOSTS = ["a1", "a2", "a3"]


def test_an_app_has_the_hosts_that_the_inventory_gives_it() -> None:
    blog, wiki = backends.backends(HOSTS, FLEET)
    assert [(one["name"], one["address"], one["port"]) for one in blog["servers"]] == [
        ("a1", "10.0.0.11", 80),
        ("a2", "10.0.0.12", 8080),
    ]
    assert [one["name"] for one in wiki["servers"]] == ["a2"]
    assert blog["domains"] == ["blog.example.com", "www.blog.example.com"]
    assert (blog["ready"], blog["timeout"], blog["tls"], blog["hsts"]) == ("/lb-ready", 70, "", "")


def test_apps_that_other_hosts_have_are_known_by_their_names() -> None:
    """Their templates are not resolved again, unless a name or a state is one."""

    looks = []

    class Variables(dict[str, Any]):
        def raw_get(self, host: str) -> Any:
            return dict.__getitem__(self, host)

        def __getitem__(self, host: str) -> Any:
            looks.append(host)
            return super().__getitem__(host)

    blog, shop, gone = (app(name) for name in ("blog", "shop", "gone"))
    hosts = Variables(
        one={"python_apps": [blog, shop]},
        two={"python_apps": [shop, {**gone, "state": "absent"}]},
        three={"python_apps": [blog, gone]},
        four={"python_apps": [{**blog, "state": "{{ 'present' }}"}]},
        five={},
    )
    found = backends.apps_of(hosts, hosts)
    assert {one["app"]["name"]: one["hosts"] for one in found} == {
        "blog": ["one", "three", "four"],
        "gone": ["three"],
        "shop": ["one", "two"],
    }
    assert looks == ["one", "three", "four", "five"]


def test_apps_of_one_domain_share_its_tls_and_have_their_own_backend_and_path() -> None:
    root = app("root", domains=["example.com"], tls={"provider": "self_signed", "hsts": {"max_age": 60}})
    shop = app("shop", domains=["example.com"], path="/shop", limits={"request_timeout": 100})
    one, other = backends.backends(["a"], {"a": {"host_address": "::1", "python_apps": [shop, root]}})
    assert (one["name"], other["name"]) == ("root", "shop")
    assert (other["path"], other["ready"], other["timeout"]) == ("/shop", "/shop/lb-ready", 110)
    assert other["tls"] == one["tls"] == "root"
    assert other["redirect"] and other["hsts"] == "max-age=60" and not other["acme"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"host_address": "10.0.0.1", "ansible_host": "192.0.2.1"}, "10.0.0.1"),
        ({"ansible_host": "192.0.2.1"}, "192.0.2.1"),
        ({"host_address": "fd00:0::1"}, "fd00::1"),
    ],
)
def test_the_address_of_a_host(variables: dict[str, Any], expected: str) -> None:
    assert backends.address("a", variables) == expected


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "the inventory has no IP address of it,"),
        ({"ansible_host": "web.example.com"}, "ansible_host is 'web.example.com'"),
        ({"host_address": "10.0.0"}, "host_address is '10.0.0', which is no IP address"),
        ({"host_address": "", "ansible_host": "10.0.0.1"}, "host_address is '', which is no IP address"),
    ],
)
def test_a_host_without_an_address_is_refused(variables: dict[str, Any], reason: str) -> None:
    with pytest.raises(backends.NoAddress) as error:
        backends.address("a.example.com", variables)
    assert reason in str(error.value) and "fix:    set it for this host" in str(error.value)


def test_the_name_of_a_host_is_its_address_where_it_is_one() -> None:
    assert backends.address("10.0.0.7", {}) == "10.0.0.7"


def test_a_right_fleet_and_one_without_balancers_have_no_problem() -> None:
    assert backends.problems(HOSTS, ["lb1"], FLEET) == []
    assert backends.problems(["nowhere"], [], {"nowhere": {}}) == []


@pytest.mark.parametrize(
    ("changes", "balancers", "reason"),
    [
        ({}, ["a1"], "it is in app_hosts and in balancers"),
        ({"a3": {}}, ["lb1"], "host a3: host_address\n  reason: the inventory has no IP address of it"),
        ({"lb1": {"host_address": "10.0.0.11"}}, ["lb1"], "10.0.0.11 is the address of a1 as well"),
        (
            {"a1": {}, "a2": {"ansible_host": "10.0.0.12"}, "a3": FLEET["a3"]},
            ["lb1"],
            "no host of app_hosts has an app",
        ),
        (
            {"a3": {"host_address": "10.0.0.13", "front_server": "apache"}},
            ["lb1"],
            "this host has Apache in front",
        ),
        (
            {
                "a3": {
                    **FLEET["a3"],
                    "python_apps": [app("many", domains=["many.example.com", "*.example.com"])],
                }
            },
            ["lb1"],
            "app many: domains\n  reason: *.example.com is a wildcard",
        ),
    ],
)
def test_what_is_wrong_with_a_fleet_is_said(
    changes: dict[str, Any], balancers: list[str], reason: str
) -> None:
    found = backends.problems(HOSTS, balancers, {**FLEET, **changes})
    assert reason in "\n".join(found)


def test_a_host_that_haproxy_could_not_name_is_refused() -> None:
    found = backends.problems(
        ["a b"], ["lb1"], {**FLEET, "a b": {**FLEET["a1"], "host_address": "10.0.0.99"}}
    )
    assert [text for text in found if text.startswith("host a b: its name")]


def test_variables_of_two_hosts_are_never_the_same() -> None:
    names = [("blog", "a.b"), ("blog", "a-b"), ("blog", "a_b"), ("blog-a", "b"), ("blog", "a:b")]
    made = {naming.variable(*one) for one in names}
    assert len(made) == len(names)
    assert all(name.replace("_", "").isalnum() for name in made)
