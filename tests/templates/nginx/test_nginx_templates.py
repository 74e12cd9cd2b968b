"""What nginx is told, rendered by Ansible's own templar."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

#: What the traffic features of an app are that asks for none of them.
TRAFFIC = apps.sites(
    [{"name": "blog", "domains": ["blog.example.com"], "source": {"path": "."}, "wsgi": "b:a"}]
)[0]["traffic"]
SITE: dict[str, Any] = {
    "name": "blog",
    "path": "/",
    "mounts": [],
    "traffic": TRAFFIC,
    "domains": ["blog.example.com", "www.blog.example.com", "old.example.com"],
    "wildcards": [],
    "socket": "/srv/apps/blog/active/app.sock",
    "public": "/srv/apps/blog/active/release/public",
    "static": [
        {"url": "/static/", "directory": True, "persistent": False, "kept": ""},
        {"url": "/media/", "directory": True, "persistent": True, "kept": "media"},
        {"url": "/favicon.ico", "directory": False, "persistent": False, "kept": ""},
    ],
    "body": "20m",
    "protocol": "uwsgi",
    "read_timeout": 65,
    "snippets": [],
    "own": [],
    "own_server": [],
    "default": False,
}
PARTS = [
    *[
        "cache",
        "challenge",
        "default",
        "headers",
        "hidden",
        "http",
        "listen",
        "listen_tls",
        "log",
        "persistent",
        "proxy",
        "proxy_cache",
        "site",
    ],
    *["static", "tls", "types", "uwsgi"],
]
TLS: dict[str, Any] = {
    "certificate": "/var/lib/emperor-stack/tls/apps/blog/live/certificate.pem",
    "key": "/var/lib/emperor-stack/tls/apps/blog/live/key.pem",
    "challenges": "/var/lib/emperor-stack/challenges",
    "redirect": True,
    "hsts": "max-age=63072000",
}
SECURED = {**SITE, "tls": TLS}
DEBIAN_13 = {"distribution": "Debian", "distribution_major_version": "13"}

Render = Callable[..., str]


def squeezed(text: str) -> str:
    """One space between words and no comments, so that a test does not depend on the layout."""
    return " ".join(re.sub(r"(?m)^\s*#.*$", "", text).split())


def location(text: str, head: str) -> str:
    """The block of a location, with its inner blocks."""
    start = squeezed(text).index(f"location {head} {{")
    depth, body = 0, ""
    for letter in squeezed(text)[start:]:
        body += letter
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "}" and depth == 0:
            return body
    raise AssertionError(f"the block of {head} does not end")


@pytest.fixture
def everything(render: Render) -> dict[str, str]:
    return {
        "nginx.conf": render("nginx", "nginx.conf.j2"),
        "vhost": render("nginx", "vhost.conf.j2", site=SITE),
        **{part: render("nginx", "part.j2", part=part) for part in PARTS},
    }


def test_every_file_is_balanced_and_says_who_wrote_it(everything: dict[str, str]) -> None:
    for name, text in everything.items():
        words = re.sub(r'"[^"]*"', "", squeezed(text))
        assert words.count("{") == words.count("}"), name
        assert text.startswith("# Written by Emperor Stack (role nginx)"), name
        assert text.endswith("\n"), name
        assert "{{" not in text and "{%" not in text, name


def test_includes_are_relative_so_that_the_tree_can_be_checked_as_a_copy(everything: dict[str, str]) -> None:
    for name, text in everything.items():
        assert "/etc/nginx" not in squeezed(text), name
        for path in re.findall(r"include ([^;]+);", squeezed(text)):
            assert not path.startswith("/"), (name, path)


def test_every_included_part_is_one_that_the_role_writes(
    everything: dict[str, str], role_value: Callable[..., Any]
) -> None:
    files = role_value("nginx", "__nginx_files", nginx_sites=[SITE])
    written = next(item["each"] for item in files if item["path"].endswith("{part}.conf"))
    assert sorted(written) == PARTS
    for text in everything.values():
        for name in re.findall(r"include emperor-stack/([a-z_]+)\.conf;", text):
            assert name in written


def test_all_sites_share_one_cache_of_open_files(everything: dict[str, str]) -> None:
    """One of each location would keep a thousand descriptors of its own, and a worker has a limit for all."""
    caches = [name for name, text in everything.items() if "open_file_cache max=" in squeezed(text)]
    assert caches == ["http"]
    assert "open_file_cache_valid 0;" in squeezed(everything["http"])
    assert "open_file_cache off;" in squeezed(everything["persistent"])


def test_the_first_domain_serves_and_the_others_redirect(render: Render) -> None:
    _, serving, redirecting = squeezed(render("nginx", "vhost.conf.j2", site=SITE)).split("} server {")
    assert "server_name blog.example.com;" in serving
    assert "server_name www.blog.example.com old.example.com;" in redirecting
    assert "return 301 $front_scheme://blog.example.com$front_port$request_uri;" in redirecting
    assert "uwsgi_pass" not in redirecting


def test_one_domain_makes_one_server(render: Render) -> None:
    text = render("nginx", "vhost.conf.j2", site={**SITE, "domains": ["blog.example.com"]})
    assert squeezed(text).count("server {") == 1


def test_requests_go_to_the_link_with_the_sites_own_limits(render: Render) -> None:
    text = render("nginx", "vhost.conf.j2", site={**SITE, "read_timeout": 305, "body": "1g"})
    assert "uwsgi_pass unix:/srv/apps/blog/active/app.sock; uwsgi_read_timeout 305s;" in location(text, "/")
    assert "client_max_body_size 1g;" in squeezed(text)


def test_static_files_have_a_root_and_never_an_alias(render: Render) -> None:
    text = render("nginx", "vhost.conf.j2", site=SITE)
    assert "root /srv/apps/blog/active/release/public;" in squeezed(text)
    assert "alias" not in text
    assert location(text, "^~ /static/") == (
        "location ^~ /static/ { if ($app_blog_maintenance) { return 503; } include emperor-stack/headers.conf; "
        "add_header Cache-Control $front_cache_control; include emperor-stack/static.conf; "
        "include emperor-stack/hidden.conf; }"
    )
    assert location(text, "= /favicon.ico") == (
        "location = /favicon.ico { if ($app_blog_maintenance) { return 503; } include emperor-stack/headers.conf; "
        "add_header Cache-Control $front_cache_control; include emperor-stack/static.conf; }"
    )


def test_links_in_uploads_lead_to_the_apps_own_files_only(render: Render) -> None:
    media = location(render("nginx", "vhost.conf.j2", site=SITE), "^~ /media/")
    assert "disable_symlinks if_not_owner from=$document_root/media;" in media
    assert "include emperor-stack/persistent.conf;" in media
    assert "static.conf" not in media


def test_a_site_without_static_files(render: Render) -> None:
    text = squeezed(render("nginx", "vhost.conf.j2", site={**SITE, "static": []}))
    assert text.count("location ") == 5  # the app's, three pages' and the redirects'


def test_whoever_adds_a_header_includes_the_common_ones(render: Render) -> None:
    assert "include emperor-stack/headers.conf;" in render("nginx", "part.j2", part="site")
    text = squeezed(render("nginx", "vhost.conf.j2", site=SITE))
    blocks = re.split(r"location [^{]*{", text)[1:]
    blocks = [block for block in blocks if "add_header" in block or "persistent.conf" in block]
    assert len(blocks) == 6
    for block in blocks:
        assert "include emperor-stack/headers.conf;" in block


@pytest.mark.parametrize(
    "header",
    ["PROXY", "TRANSFER_ENCODING", "FORWARDED", "X_FORWARDED_PREFIX", "X_SCRIPT_NAME", "X_ORIGINAL_URL"],
)
def test_headers_that_a_client_may_not_send_are_dropped(render: Render, header: str) -> None:
    text = squeezed(render("nginx", "part.j2", part="uwsgi"))
    assert f'uwsgi_param HTTP_{header} "" if_not_empty;' in text


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("HOST", "$host$front_port"),
        ("X_REQUEST_ID", "$request_id"),
        ("X_FORWARDED_FOR", "$remote_addr"),
        ("X_FORWARDED_PROTO", "$front_scheme"),
    ],
)
def test_headers_that_a_client_may_not_choose_are_overwritten(
    render: Render, header: str, value: str
) -> None:
    assert f"uwsgi_param HTTP_{header} {value};" in squeezed(render("nginx", "part.j2", part="uwsgi"))


def test_a_request_is_never_sent_twice(render: Render) -> None:
    text = squeezed(render("nginx", "part.j2", part="http"))
    assert "uwsgi_next_upstream off;" in text
    assert "uwsgi_request_buffering on;" in text


def test_unknown_hosts_get_no_answer(render: Render) -> None:
    first = squeezed(render("nginx", "part.j2", part="default")).split("server_name emperor-stack.invalid")[0]
    assert "listen 80 default_server backlog=4096; listen [::]:80 default_server backlog=4096;" in first
    assert "error_page 400 /; location / { return 444; }" in first


def test_the_port_and_ipv6_are_the_inventorys(render: Render) -> None:
    for part in ("default", "listen"):
        text = squeezed(render("nginx", "part.j2", part=part, nginx_http_port=8000, nginx_ipv6=False))
        assert "listen 8000" in text and "listen 80 " not in text and "[::]" not in text


def test_proxies_are_believed_only_when_named(render: Render) -> None:
    alone = squeezed(render("nginx", "part.j2", part="http"))
    assert "real_ip" not in alone.replace("$realip_remote_addr", "")
    behind = squeezed(
        render("nginx", "part.j2", part="http", nginx_trusted_proxies=["10.0.0.0/8", "192.0.2.1"])
    )
    assert (
        "set_real_ip_from 10.0.0.0/8; set_real_ip_from 192.0.2.1; real_ip_header X-Forwarded-For;" in behind
    )
    assert "real_ip_recursive on;" in behind
    assert "geo $realip_remote_addr $front_trusted { default 0; 10.0.0.0/8 1; 192.0.2.1 1; }" in behind
    assert "$front_scheme { default $front_forwarded_scheme; https $front_scheme_of_probe; }" in behind
    assert "$front_scheme_of_probe { default $front_forwarded_scheme; 1 https; }" in behind
    assert "x_forwarded_proto" not in alone


#: What the files of a site, as the version before wrote them, ask of the files that all sites share. A site that nginx
#: refuses keeps those files, and must go on with the shared files of today.
ASKED_BY_EARLIER_SITES = [
    "front_cache_control",
    "front_content_type_options",
    "front_frame_options",
    "front_hsts",
    "front_inside",
    "front_long_period",
    "front_period",
    "front_port",
    "front_referrer_policy",
    "front_release",
    "front_retry_after",
    "front_scheme",
    "front_to_https",
    "front_upload_policy",
]


def test_sites_that_keep_their_files_of_an_earlier_version_find_their_variables(render: Render) -> None:
    http = render("nginx", "part.j2", part="http", nginx_sites=[SECURED])
    defined = set(re.findall(r"(?m)^(?:map|geo) .*\$(\w+) \{$", http))
    assert set(ASKED_BY_EARLIER_SITES) <= defined
    assert "map $front_is_probe $front_inside { default 0; 1 1; }" in squeezed(http)


def test_further_includes(render: Render) -> None:
    text = squeezed(render("nginx", "nginx.conf.j2", nginx_http_includes=["conf.d/*.conf"]))
    assert "include conf.d/*.conf; include emperor-stack/default.conf;" in text


def test_a_site_with_a_certificate_answers_on_both_ports_and_redirects(render: Render) -> None:
    _, serving, redirecting = squeezed(render("nginx", "vhost.conf.j2", site=SECURED)).split("} server {")
    for server in (serving, redirecting):
        assert "include emperor-stack/listen.conf; include emperor-stack/listen_tls.conf;" in server
        assert f"ssl_certificate {TLS['certificate']}; ssl_certificate_key {TLS['key']};" in server
        assert "if ($front_to_https) { return 301 https://$host$request_uri; }" in server
        assert "location ^~ /.well-known/acme-challenge/ { root /var/lib/emperor-stack/challenges;" in server
    text = render(
        "nginx", "vhost.conf.j2", site={**SITE, "tls": {**TLS, "redirect": False, "challenges": ""}}
    )
    assert "front_to_https" not in text and "acme-challenge" not in text
    assert "ssl" not in render("nginx", "vhost.conf.j2", site=SITE)


def test_the_redirect_names_the_port_that_clients_use(render: Render) -> None:
    text = squeezed(render("nginx", "vhost.conf.j2", site=SECURED, nginx_https_public_port=8443))
    assert "return 301 https://$host:8443$request_uri;" in text


def test_neither_authorities_nor_probes_are_redirected(render: Render) -> None:
    text = squeezed(render("nginx", "part.j2", part="http"))
    assert (
        'map "$front_scheme:$uri" $front_to_https { default 0; "~^http:/\\.well-known/acme-challenge/" 0; '
        '"~^http:" 1; }'
    ) in text
    asked = "map $http_x_emperor_stack_probe $front_scheme { default $scheme; https $front_scheme_of_probe; }"
    assert asked in text
    assert "map $front_loopback $front_scheme_of_probe { default $scheme; 1 https; }" in text


def test_nothing_listens_for_tls_where_no_site_has_a_certificate(render: Render) -> None:
    assert "443" not in render("nginx", "part.j2", part="default", nginx_sites=[SITE])
    text = squeezed(render("nginx", "part.j2", part="default", nginx_sites=[SECURED]))
    assert "listen 443 ssl http2 default_server backlog=4096;" in text
    assert "ssl_reject_handshake on; location / { return 421; }" in text


def test_each_nginx_gets_the_directives_that_it_knows(render: Render) -> None:
    old = squeezed(render("nginx", "part.j2", part="listen_tls", nginx_sites=[SECURED], nginx_http3=True))
    assert old == "listen 443 ssl http2; listen [::]:443 ssl http2;"
    new = squeezed(
        render("nginx", "part.j2", part="listen_tls", nginx_sites=[SECURED], ansible_facts=DEBIAN_13)
    )
    assert new == "listen 443 ssl; listen [::]:443 ssl; http2 on;"
    assert "MLKEM" not in render("nginx", "part.j2", part="tls")
    assert "ssl_ecdh_curve X25519MLKEM768:X25519:" in render(
        "nginx", "part.j2", part="tls", ansible_facts=DEBIAN_13
    )


def test_http3_is_an_option_of_debian_13(render: Render) -> None:
    given: dict[str, Any] = {"nginx_sites": [SECURED], "nginx_http3": True}
    modern = {**given, "ansible_facts": DEBIAN_13}
    assert "listen 443 quic; listen [::]:443 quic;" in squeezed(
        render("nginx", "part.j2", part="listen_tls", **modern)
    )
    assert "listen 443 quic reuseport default_server;" in render("nginx", "part.j2", part="default", **modern)
    assert "add_header Alt-Svc $front_alternative always;" in render(
        "nginx", "part.j2", part="headers", **modern
    )
    assert """https 'h3=":443"; ma=86400';""" in render("nginx", "part.j2", part="http", **modern)
    for part in ("listen_tls", "default", "headers", "http"):
        text = render("nginx", "part.j2", part=part, **given)
        assert "quic" not in text and "Alt-Svc" not in text and "h3=" not in text


def test_hsts_is_said_over_https_for_the_sites_that_want_it(render: Render) -> None:
    silent = {**SITE, "name": "shop", "domains": ["shop.example.com"], "tls": {**TLS, "hsts": ""}}
    text = squeezed(render("nginx", "part.j2", part="http", nginx_sites=[SECURED, silent, SITE]))
    assert (
        'map "$front_scheme:$server_name" $front_site_hsts { default ""; '
        '"https:blog.example.com" "max-age=63072000"; "https:www.blog.example.com" "max-age=63072000"; }'
    ) in text
    assert "Strict-Transport-Security" in render("nginx", "part.j2", part="headers", nginx_sites=[SECURED])
    # Where none wants it, no request asks for it. A site that is held back may: what it names has to be there.
    assert "hsts" not in render("nginx", "part.j2", part="headers", nginx_sites=[silent, SITE])
    assert "$front_hsts {" in render("nginx", "part.j2", part="http", nginx_sites=[silent, SITE])


def test_directives_of_an_app_stand_where_it_says(render: Render) -> None:
    snippets = [
        {"app": "blog", "site": "blog", "place": place, "text": "x;"} for place in ("http", "server", "app")
    ]
    text = render("nginx", "vhost.conf.j2", site={**SITE, "snippets": snippets})
    before, server = squeezed(text).split("server {", 1)
    assert before.startswith("include emperor-stack/snippets/blog.http.conf; ")
    assert server.count("include emperor-stack/snippets/blog.server.conf;") == 1
    assert location(text, "/").endswith("include emperor-stack/snippets/blog.app.conf; }")
    assert "snippets" not in render("nginx", "vhost.conf.j2", site=SITE)


def test_directives_of_an_app_below_a_path_stand_in_its_own_location(render: Render) -> None:
    snippets = [{"app": "below", "site": "blog", "place": place, "text": "x;"} for place in ("server", "app")]
    below = {**SITE, "name": "below", "path": "/below/", "static": [], "snippets": snippets}
    text = render("nginx", "vhost.conf.j2", site={**SITE, "mounts": [below]})
    assert squeezed(text).count("include emperor-stack/snippets/below.server.conf;") == 1
    assert location(text, "/below/").endswith("include emperor-stack/snippets/below.app.conf; }")
    assert "snippets" not in location(text, "/")


def test_lines_of_a_snippet_keep_their_numbers(render: Render) -> None:
    snippet = {"app": "blog", "site": "blog", "place": "server", "text": "one;\n\ntwo;\n\n"}
    text = render("nginx", "snippet.conf.j2", snippet=snippet)
    assert text.splitlines()[:3] == ["one;", "", "two;"]
    assert "of blog; changes are overwritten." in text.splitlines()[-1]


def test_sites_are_loaded_by_name_and_may_be_missing(render: Render) -> None:
    text = squeezed(render("nginx", "nginx.conf.j2", nginx_sites=[SITE]))
    assert "include emperor-stack/sites/blog.con[f]; }" in text
    assert "sites/*" not in text


def test_a_host_without_sites_keeps_no_memory_for_their_connections(render: Render) -> None:
    for sites, wanted, given in (
        ([SITE], 4096, {}),
        ([], 1024, {}),
        ([], 512, {"nginx_worker_connections": 512}),
    ):
        text = squeezed(render("nginx", "nginx.conf.j2", nginx_sites=sites, **given))
        assert f"worker_connections {wanted};" in text


def test_files_of_others_that_the_inventory_loads_are_not_reported(role_value: Callable[..., Any]) -> None:
    prune = role_value("nginx", "__nginx_prune", nginx_http_includes=["conf.d/*.conf", "sites-enabled/own"])
    known = {one["directory"]: one.get("known") for one in prune}
    assert known["/etc/nginx/conf.d"] == ["*.conf"]
    assert known["/etc/nginx/sites-enabled"] == ["default", "own"]
    assert all("a foreign file that nginx does not load" in one["warning"] for one in prune)


def test_what_could_break_out_is_refused(role_value: Callable[..., Any]) -> None:
    assert (
        role_value(
            "nginx", "__nginx_site_problems", nginx_sites=[SITE, SECURED | {"name": "b", "domains": ["b.c"]}]
        )
        == []
    )
    bad = {**SITE, "tls": {**TLS, "key": "/k;}"}}
    assert role_value("nginx", "__nginx_site_problems", nginx_sites=[bad]) == ["key: '/k;}' is invalid"]


BALANCERS = ["10.0.0.21", "fd00::21"]


def test_a_balancer_asks_each_app_whether_the_host_is_ready(render: Render) -> None:
    http = squeezed(render("nginx", "part.j2", part="http", nginx_balancers=BALANCERS))
    assert "geo $front_balancer { default 0; 10.0.0.21 1; fd00::21 1; }" in http
    text = squeezed(render("nginx", "vhost.conf.j2", site=SITE, nginx_balancers=BALANCERS))
    assert (
        "location = /lb-ready { access_log off; default_type text/plain; if ($front_balancer = 0) { return 404; }"
        in text
    )
    assert (
        f"if (-f /etc/emperor-stack/drained) {{ return 404; }} if (!-d {SITE['public']}) {{ return 503; }}"
        in text
    )
    assert "lb-ready" not in render("nginx", "vhost.conf.j2", site=SITE)


def test_the_app_itself_answers_for_the_names_of_a_wildcard(render: Render) -> None:
    text = render("nginx", "vhost.conf.j2", site={**SITE, "wildcards": ["*.blog.example.com", "*.b.example"]})
    assert "server_name blog.example.com *.blog.example.com *.b.example;" in text
    assert "server_name www.blog.example.com old.example.com;" in text
