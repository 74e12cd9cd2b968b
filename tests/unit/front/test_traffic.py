"""What an app may ask of the web server, what of it contradicts itself, and what is derived from it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.front import quoting, traffic
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields import visitors as visitors_fields
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.fields.app import APP
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import Controller, HostApps
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import problems
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import visitors
from hypothesis import given
from hypothesis import strategies as st

CONTROLLER = Controller("/root-of-bundle", lambda _: True, lambda _: True)
BLOG: dict[str, Any] = {
    "name": "blog",
    "domains": ["example.com", "www.example.com"],
    "source": {"path": "code"},
    "wsgi": "b:app",
}
SHOP = {**BLOG, "name": "shop", "path": "/shop/"}
HASH = f"$6$salt${'a' * 86}"


def found(*declared: dict[str, Any], **secrets: Any) -> list[tuple[str, str, str]]:
    listed = problems({"web1": HostApps(list(declared), secrets)}, CONTROLLER)
    return [(one.where, one.reason, one.fix) for one in listed]


# values


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (visitors.mount_path, ["/", "/shop/", "/a/b.c/"]),
        (visitors.redirect_source, ["/", "/old", "/old/"]),
        (visitors.redirect_target, ["/new", "/new?a=b#c 302", "https://example.com/%20 308", "/"]),
        (visitors.network, ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::1", "0.0.0.0/0"]),
        (visitors.rate, ["1/s", "300/m"]),
        (visitors.user_name, ["alice", "a.b@example.com"]),
        (visitors.password_hash, [HASH, f"$5$rounds=5000$x${'b' * 43}"]),
        (visitors.header_name, ["X-Frame-Options", "Content-Security-Policy"]),
        (visitors.header_value, ["DENY", 'camera=(), geolocation=("https://a.example")', "a; b {c}"]),
        (visitors.page_file, ["web/404.html"]),
    ],
)
def test_good_values(check: Any, good: list[str]) -> None:
    assert [check(text) for text in good] == [None] * len(good)


@pytest.mark.parametrize(
    ("check", "text", "better"),
    [
        (visitors.mount_path, "/shop", "/shop/"),
        (visitors.mount_path, "shop/", "/shop/"),
        (visitors.mount_path, "/a/../b/", "/b/"),
        (visitors.mount_path, "/a$b/", ""),
        (visitors.mount_path, "/.well-known/acme-challenge/", ""),
        (visitors.mount_path, "/emperor-stack-x/", ""),
        (visitors.files_url, "/protected", "/protected/"),
        (visitors.redirect_target, "new", "/new"),
        (visitors.redirect_target, "//evil.example", "/evil.example"),
        (visitors.redirect_target, "/new 200", "/new 302"),
        (visitors.redirect_target, "/new;return 200", ""),
        (visitors.redirect_target, "/new$uri", ""),
        (visitors.redirect_target, "/a%0d%0aSet-Cookie:x", ""),
        (visitors.redirect_target, "javascript:alert(1)", ""),
        (visitors.redirect_target, "", "/"),
        (visitors.network, "10.0.0.1/8", "10.0.0.0/8"),
        (visitors.network, "example.com", ""),
        (visitors.network, "fe80::1%eth0", "fe80::1"),
        (visitors.rate, "10r/s", "10/s"),
        (visitors.rate, "10 / sec", "10/s"),
        (visitors.rate, "0/s", ""),
        (visitors.user_name, "a:b", ""),
        (visitors.password_hash, "secret", ""),
        (visitors.password_hash, "$1$salt$aaaa", ""),
        (visitors.password_hash, f"{HASH}\nroot:x", ""),
        (visitors.header_name, "X Frame", "X-Frame"),
        (visitors.header_name, "Set-Cookie", ""),
        (visitors.header_name, "strict-transport-security", ""),
        (visitors.header_value, "a\r\nSet-Cookie: b", ""),
        (visitors.header_value, "$host", ""),
        (visitors.header_value, " a", "a"),
        (visitors.header_value, "", ""),
        (visitors.page_file, "web/404.py", ""),
        (visitors.page_file, "../404.html", ""),
        (visitors.page_status, "200", ""),
    ],
)
def test_bad_values_and_what_was_meant(check: Any, text: str, better: str) -> None:
    wrong = check(text)
    assert wrong is not None
    assert wrong.better == better
    assert not better or check(better) is None


@given(
    st.text(max_size=40) | st.from_regex(r"[/a-z$;{}\"'\\ \r\n%0-9#?&=]{0,30}"),
    st.sampled_from(["mount_path", "redirect_source", "redirect_target", "files_url", "user_name", "rate"]),
)
def test_nothing_that_passes_unquoted_can_end_a_directive(text: str, check: str) -> None:
    if getattr(visitors, check)(text) is None:
        bare = text.rpartition(" ")[0] or text if check == "redirect_target" else text
        assert not set(bare) & set("$;{}\"'\\ \t\r\n"), text
        assert bare.isascii() and bare.isprintable()


@given(st.text(max_size=60))
def test_every_header_that_passes_can_be_quoted(text: str) -> None:
    if visitors.header_value(text) is None:
        quoted = quoting.nginx_value(text)
        assert "\r" not in quoted and "\n" not in quoted and "$" not in quoted


# contradictions


@pytest.mark.parametrize(
    ("settings", "place", "reason"),
    [
        ({"allow": ["10.0.0.0/8"], "deny": ["10.0.0.0/8"]}, ".deny[0]", "10.0.0.0/8 is in `allow`, too"),
        (
            {"rate_limit": {"burst": 5}},
            ".rate_limit.burst",
            "`burst` has no effect without `requests`",
        ),
        ({"cache": {"size": "1m"}}, ".cache", "nothing is cached without `seconds`"),
        (
            {"intercept_errors": True},
            ".intercept_errors",
            "there are no `error_pages` to replace the app's answers with",
        ),
        (
            {"static": {"/a": "web/a"}, "redirects": {"/a": "/b"}},
            '.redirects["/a"]',
            'static["/a"] has the same URL',
        ),
        (
            {"static": {"/a/": "web"}, "private": {"/a/b/": "data"}},
            '.private["/a/b/"]',
            'it overlaps with static["/a/"], so one URL would have two meanings',
        ),
        (
            {"redirects": {"/": "/en/"}},
            '.redirects["/"]',
            'this is the health path "/", so the app would never be asked',
        ),
        (
            {"private": {"/p/": "data"}, "health": {"path": "/p/x"}},
            '.private["/p/"]',
            'the health path "/p/x" is below it, so the app would never be asked',
        ),
        (
            {"headers": {"X-A": "b", "x-a": "c"}},
            '.headers["x-a"]',
            "X-A is the same header: case makes no difference",
        ),
        (
            {"persistent": ["media"], "error_pages": {"404": "media/404.html"}},
            '.error_pages["404"]',
            "it lies in persistent[0], but an error page must be part of the release",
        ),
    ],
)
def test_contradictions(settings: dict[str, Any], place: str, reason: str) -> None:
    ((where, said, fix),) = found({**BLOG, **settings})
    assert (where, said) == (f"python_apps[0] (blog){place}", reason)
    assert fix


def test_null_drops_a_header_and_nothing_else() -> None:
    assert found({**BLOG, "headers": {"X-Frame-Options": None}}) == []
    ((where, *_),) = found({**BLOG, "redirects": {"/a": None}})
    assert where == 'python_apps[0] (blog).redirects["/a"]'


def test_passwords_are_hashes_in_the_vault() -> None:
    app = {**BLOG, "users": {"alice": "ALICE"}}
    place = "vault_python_apps_secrets.blog"
    assert found(app, blog={"ALICE": HASH}) == []
    assert [one[:2] for one in found(app)] == [
        ("python_apps[0] (blog).users", f"ALICE has no value in {place}")
    ]
    ((where, reason, fix),) = found(app, blog={"ALICE": "open sesame"})
    assert where == f"{place}.ALICE"
    assert "never the password itself" in reason
    assert "sesame" not in reason + fix
    ((where, *_),) = found({**app, "secrets": ["ALICE"]}, blog={"ALICE": HASH})
    assert where == "python_apps[0] (blog).secrets[0]"
    ((where, *_),) = found({**app, "cache": {"seconds": 1}}, blog={"ALICE": HASH})
    assert where == "python_apps[0] (blog).cache"


# apps that share a domain


def test_apps_at_different_paths_share_their_domains() -> None:
    assert found(BLOG, SHOP) == []
    assert found(SHOP, {**BLOG, "path": "/blog/"}) == []


def test_two_apps_at_one_place_clash() -> None:
    reasons = [reason for _, reason, _ in found(SHOP, {**SHOP, "name": "kiosk"})]
    assert reasons == [
        '"example.com" already leads to python_apps[0] (shop) at /shop/',
        '"www.example.com" already leads to python_apps[0] (shop) at /shop/',
    ]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"domains": ["www.example.com", "example.com"]}, ".domains"),
        ({"domains": ["example.com"]}, ".domains"),
        ({"tls": {"provider": "acme"}}, ".tls"),
    ],
)
def test_what_apps_of_one_site_have_in_common(settings: dict[str, Any], place: str) -> None:
    assert [where for where, *_ in found(BLOG, {**SHOP, **settings})] == [f"python_apps[1] (shop){place}"]


@pytest.mark.parametrize(
    "settings",
    [
        {"static": {"/shop/": "web"}},
        {"static": {"/shop/x": "web/x"}},
        {"static": {"/shop": "web/shop"}},
        {"redirects": {"/shop/sale": "/x"}},
        {"private": {"/shop/p/": "p"}},
    ],
)
def test_what_lies_below_another_apps_path_is_not_this_apps(settings: dict[str, Any]) -> None:
    (key,) = settings
    ((where, reason, _),) = found({**BLOG, **settings}, SHOP)
    assert where.startswith(f"python_apps[0] (blog).{key}")
    assert reason == 'the app "shop" answers at /shop/ of the same domain'


def test_each_two_apps_of_a_site_are_compared() -> None:
    deeper = {**SHOP, "name": "deeper", "path": "/shop/x/"}
    assert found(BLOG, SHOP, deeper) == []
    ((where, *_),) = found(BLOG, {**SHOP, "static": {"/x/": "web"}}, deeper)
    assert where == 'python_apps[1] (shop).static["/x/"]'


def test_apps_of_one_site_are_on_the_same_hosts() -> None:
    fleet = {"web1": HostApps([BLOG, SHOP]), "web2": HostApps([BLOG])}
    (problem,) = problems(fleet, CONTROLLER)
    assert problem.where == "python_apps[1] (shop)"
    assert problem.reason.startswith(
        "it shares its domains with python_apps[0] (blog), which is on other hosts"
    )
    fleet["web2"] = HostApps([BLOG, SHOP])
    assert problems(fleet, CONTROLLER) == []


# what is derived


def test_the_shortest_path_names_the_site_and_has_the_certificate() -> None:
    acme = {"tls": {"provider": "acme"}}
    (site,) = apps.sites([{**SHOP, **acme}, {**BLOG, **acme}])
    assert (site["name"], [one["name"] for one in site["mounts"]]) == ("blog", ["shop"])
    assert [one["name"] for one in apps.tls_apps([{**SHOP, **acme}, {**BLOG, **acme}])] == ["blog"]


def test_every_url_of_an_app_stands_below_its_path() -> None:
    app = apps.complete(
        {**SHOP, "redirects": {"/a": "/b", "/c": "https://x.example/ 302"}, "health": {"path": "/up"}}
    )
    found = traffic.of_app(app)
    assert found["health"] == "/shop/up"
    assert [(one["source"], one["target"], one["status"]) for one in found["redirects"]] == [
        ("/shop/a", "/shop/b", "301"),
        ("/shop/c", "https://x.example/", "302"),
    ]
    assert {page["url"] for page in found["pages"]} == {
        f"/shop/emperor-stack-{status}.html" for status in (502, 503, 504)
    }


def test_private_files_and_pages_are_published_and_are_no_static_files() -> None:
    app = {**BLOG, "private": {"/p/": "data"}, "persistent": ["data"], "error_pages": {"404": "web/404.html"}}
    completed = apps.complete(app)
    assert [(one["url"], one["persistent"]) for one in completed["static_files"]] == [
        ("/p/", True),
        ("/emperor-stack-pages/404.html", False),
    ]
    assert completed["persistent_directories"] == [{"path": "data", "served": True, "private": True}]
    assert apps.sites([app])[0]["static"] == []


def test_variables_of_two_apps_are_never_the_same() -> None:
    names = [
        traffic.of_app(apps.complete({**BLOG, "name": name}))["variable"] for name in ("a-b", "ab", "a-b-c")
    ]
    assert len(set(names)) == 3


def test_files_of_users() -> None:
    app = {**BLOG, "users": {"bob": "B", "alice": "A"}}
    secrets = {"blog": {"A": HASH, "B": "$5$x"}}
    assert apps.site_users([app, SHOP], secrets) == [
        {"name": "blog", "site": "blog", "lines": [f"alice:{HASH}", "bob:$5$x"]}
    ]
    (users,) = apps.site_users([{**SHOP, "users": {"bob": "B"}}, BLOG], {"shop": {"B": "$5$x"}})
    assert (users["name"], users["site"]) == ("shop", "blog")


def test_what_apache_does_not_do_is_named() -> None:
    app = {**BLOG, "users": {"a": "A"}, "cache": {"seconds": 1}, "rate_limit": {"connections": 1}}
    assert apps.without_apache([BLOG, app]) == ["blog: users", "blog: rate_limit", "blog: cache"]
    app = {**BLOG, "domains": ["b.example", "*.b.example"]}
    assert apps.without_apache([app]) == ["blog: domains (*.b.example)"]


def test_every_field_of_the_front_is_one_of_the_schema() -> None:
    assert set(visitors_fields.FRONT_ONLY) <= set(APP.names)
