"""What HAProxy and keepalived are told, rendered by Ansible's own templar."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.balancer import backends

from tests.templates.test_argument_specs import refused
from tools.project import ROOT

Render = Callable[..., str]


def app(name: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": ["example.com", "www.example.com"],
        "wsgi": "app:application",
        "source": {"path": "../app"},
        **settings,
    }


def made(*apps: dict[str, Any]) -> list[dict[str, Any]]:
    fleet = {
        "a1.example.com": {"host_address": "10.0.0.11", "python_apps": list(apps)},
        "a2": {"host_address": "fd00::12", "python_apps": list(apps)},
    }
    return backends.backends(list(fleet), fleet)


SECURED = app("blog", tls={"provider": "acme", "hsts": {"max_age": 60}})
MOUNTED = app("shop", path="/shop")


def test_headers_that_nginx_takes_fit(render: Render) -> None:
    """What does not fit is a 400 or a 502, which the app would not have with a single host."""
    nginx = (ROOT / "roles/nginx/templates/emperor-stack/http.conf.j2").read_text()
    answer = re.search(r"^uwsgi_buffer_size (\d+)k;", nginx, re.MULTILINE)
    size = re.search(r"^ *tune.bufsize (\d+)$", render("haproxy", "global.cfg.j2"), re.MULTILINE)
    # HAProxy keeps 1024 bytes free for what it adds.
    assert answer and size and int(size[1]) >= int(answer[1]) * 1024 + 1024


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_backends_are_what_the_role_takes() -> None:
    assert refused("haproxy", haproxy_backends=made(SECURED, MOUNTED)) == []


def test_each_host_of_an_app_is_checked_through_nginx_and_can_be_held_out(render: Render) -> None:
    text = lines(render("haproxy", "sites.cfg.j2", haproxy_backends=made(SECURED, MOUNTED)))
    hold = "HOLD_blog_40_a1_2e_example_2e_com"
    assert f'server a1.example.com 10.0.0.11:80 check inter 1s fall 2 rise 2 tcp-ut 3s "${{{hold}}}"' in text
    assert 'server a2 [fd00::12]:80 check inter 1s fall 2 rise 2 tcp-ut 3s "${HOLD_blog_40_a2}"' in text
    assert (
        "http-check send meth GET uri /lb-ready ver HTTP/1.1 hdr Host example.com hdr Connection close"
        in text
    )
    assert (
        "http-check send meth GET uri /shop/lb-ready ver HTTP/1.1 hdr Host example.com hdr Connection close"
        in text
    )
    assert f"setenv {hold} enabled" in lines(
        render("haproxy", "global.cfg.j2", haproxy_backends=made(SECURED))
    )


def test_a_default_server_line_would_lose_the_time_limit_of_a_dead_host(render: Render) -> None:
    assert "default-server " not in render("haproxy", "sites.cfg.j2", haproxy_backends=made(SECURED)).replace(
        "a default-server line", ""
    )


def test_apps_below_one_domain_are_told_apart_by_whole_names(render: Render) -> None:
    root, shop = app("blog", default_site=True), MOUNTED
    text = lines(render("haproxy", "apps.map.j2", haproxy_backends=made(root, shop)))
    assert "example.com/ app_blog" in text and "www.example.com/shop/ app_shop" in text
    # For names that no app has.
    assert "/ app_blog" in text


def test_certificates_come_from_role_tls_for_the_names_of_the_site(render: Render) -> None:
    given = {"haproxy_backends": made(SECURED, MOUNTED), "haproxy_peers": ["10.0.0.22", "fd00::23"]}
    text = lines(render("haproxy", "certificates.list.j2", **given))
    assert text[1:] == [
        "/var/lib/emperor-stack/tls/apps/blog/live/certificate.pem example.com www.example.com"
    ]
    sites = lines(render("haproxy", "sites.cfg.j2", **given))
    assert "http-request redirect scheme https code 301 unless { ssl_fc }" in sites
    assert {"server peer1 10.0.0.22:8402", "server peer2 [fd00::23]:8402"} <= set(sites)
    assert lines(render("haproxy", "acme.list.j2", **given))[1:] == ["example.com", "www.example.com"]


@pytest.mark.parametrize(
    ("ipv6", "places"), [(True, ["0.0.0.0:80", "[::]:80 v6only"]), (False, ["0.0.0.0:80"])]
)
def test_ipv4_addresses_of_visitors_stay_what_they_are(render: Render, ipv6: bool, places: list[str]) -> None:
    text = lines(render("haproxy", "sites.cfg.j2", haproxy_backends=made(app("blog")), haproxy_ipv6=ipv6))
    assert [line.removeprefix("bind ") for line in text if line.startswith("bind ") and ":80" in line] == [
        *places
    ]


def test_without_tls_there_is_no_https_and_no_authority(render: Render) -> None:
    text = render("haproxy", "sites.cfg.j2", haproxy_backends=made(app("blog")))
    assert "ssl crt-list" not in text and "acme" not in text and "redirect scheme" not in text


def test_there_is_no_status_page_without_a_user(render: Render) -> None:
    assert "stats enable" not in render("haproxy", "sites.cfg.j2", haproxy_backends=made(SECURED))
    users = {"alice": "$6$a$b"}
    text = lines(
        render("haproxy", "sites.cfg.j2", haproxy_backends=made(SECURED), haproxy_status_users=users)
    )
    assert text.index("http-request auth realm balancer unless { http_auth(status) }") < text.index(
        "http-request use-service prometheus-exporter if { path /metrics }"
    )
    assert "user alice password $6$a$b" in text


@pytest.mark.parametrize("status", ["502", "503", "504"])
def test_the_page_is_an_answer_of_http(render: Render, status: str) -> None:
    text = render("haproxy", "unavailable.http.j2", status={"code": status, "reason": "x"})
    head, _, body = text.partition("\n\n")
    assert head.startswith(f"HTTP/1.1 {status} x\nContent-Type: text/html") and "<!doctype html>" in body


def test_keepalived_takes_the_address_from_nobody_who_serves(render: Render) -> None:
    text = lines(
        render(
            "keepalived",
            "keepalived.conf.j2",
            keepalived_address="192.0.2.10/24",
            keepalived_interface="eth0",
            keepalived_source="10.0.0.21",
            keepalived_peers=["10.0.0.22"],
        )
    )
    assert {"state BACKUP", "nopreempt", "vrrp_version 3", "192.0.2.10/24", "interface eth0"} <= set(text)
    assert text[text.index("unicast_peer {") + 1] == "10.0.0.22"
