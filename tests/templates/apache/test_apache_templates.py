"""What Apache is told, rendered by Ansible's own templar."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

SITE: dict[str, Any] = {
    "name": "blog",
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
}
PARTS = ["default", "http", "log", "modules", "persistent", "site", "static"]

Render = Callable[..., str]


def squeezed(text: str) -> str:
    """One space between words and no comments, so that a test does not depend on the layout."""
    return " ".join(re.sub(r"(?m)^\s*#.*$", "", text).split())


@pytest.fixture
def everything(render: Render) -> dict[str, str]:
    return {
        "apache2.conf": render("apache", "apache2.conf.j2"),
        "vhost": render("apache", "vhost.conf.j2", site=SITE),
        **{part: render("apache", "part.j2", part=part) for part in PARTS},
    }


def test_every_section_ends_and_every_file_says_who_wrote_it(everything: dict[str, str]) -> None:
    for name, text in everything.items():
        opened = re.findall(r"(?m)^\s*<([A-Z]\w+)", text)
        assert sorted(opened) == sorted(re.findall(r"</(\w+)>", text)), name
        assert text.startswith("# Written by Emperor Stack (role apache)"), name
        assert text.endswith("\n"), name
        assert "{{" not in text and "{% " not in text, name


def test_includes_are_relative_so_that_the_tree_can_be_checked_as_a_copy(everything: dict[str, str]) -> None:
    for name, text in everything.items():
        assert "/etc/apache2" not in squeezed(text), name
        for path in re.findall(r"Include(?:Optional)? (\S+)", squeezed(text)):
            assert not path.startswith("/"), (name, path)


def test_every_included_part_is_one_that_the_role_writes(
    everything: dict[str, str], role_value: Callable[..., Any]
) -> None:
    files = role_value("apache", "__apache_files", apache_sites=[SITE], role_path="/roles/apache")
    written = next(item["each"] for item in files if item["path"].endswith("{part}.conf"))
    assert sorted(written) == PARTS
    for text in everything.values():
        for name in re.findall(r"Include emperor-stack/([a-z_]+)\.conf", text):
            assert name in written


def test_the_first_domain_serves_and_the_others_redirect(render: Render) -> None:
    serving, redirecting = squeezed(render("apache", "vhost.conf.j2", site=SITE)).split("</VirtualHost> <V")
    assert "ServerName blog.example.com" in serving
    assert "ServerName www.blog.example.com ServerAlias old.example.com" in redirecting
    assert "://blog.example.com%1%2 [R=301" in redirecting
    assert "ProxyPass" not in redirecting


@pytest.mark.parametrize(("domains", "hosts", "aliases"), [(1, 1, 0), (2, 2, 0), (3, 2, 1)])
def test_vhosts_by_domains(render: Render, domains: int, hosts: int, aliases: int) -> None:
    text = render("apache", "vhost.conf.j2", site={**SITE, "domains": SITE["domains"][:domains]})
    assert (text.count("<VirtualHost "), text.count("ServerAlias")) == (hosts, aliases)


def test_requests_go_to_the_link_on_a_connection_of_their_own(render: Render) -> None:
    text = squeezed(render("apache", "vhost.conf.j2", site={**SITE, "read_timeout": 305}))
    assert (
        "ProxyPass / unix:/srv/apps/blog/active/app.sock|uwsgi://blog/ "
        "disablereuse=On retry=0 connectiontimeout=5 timeout=305" in text
    )


@pytest.mark.parametrize(("body", "octets"), [("20m", 20971520), ("1g", 1073741824), ("5", 5), ("7K", 7168)])
def test_a_body_limit_is_in_bytes(render: Render, body: str, octets: int) -> None:
    text = squeezed(render("apache", "vhost.conf.j2", site={**SITE, "body": body}))
    assert f"LimitRequestBody {octets} " in text
    assert f'-gt {octets}" RewriteRule ^ - [R=413]' in text


def test_no_limit(render: Render) -> None:
    text = squeezed(render("apache", "vhost.conf.j2", site={**SITE, "body": "0"}))
    assert "LimitRequestBody 0 " in text and "413" not in text


def test_static_files_are_taken_from_the_proxy_exactly(render: Render) -> None:
    text = squeezed(render("apache", "vhost.conf.j2", site=SITE))
    for pattern in ("^/static/", "^/media/", r"^/favicon\.ico$"):
        assert f"ProxyPassMatch {pattern} !" in text
        assert text.index(f"ProxyPassMatch {pattern} !") < text.index("ProxyPass / ")
    assert "<Directory /srv/apps/blog/active/release/public/media/> Options SymLinksIfOwnerMatch" in text
    assert text.count("SymLinksIfOwnerMatch") == 1


def test_the_port_and_ipv6_are_the_inventorys(render: Render) -> None:
    assert "Listen 80 " in squeezed(render("apache", "part.j2", part="http"))
    text = squeezed(render("apache", "part.j2", part="http", apache_http_port=8000, apache_ipv6=False))
    assert "Listen 0.0.0.0:8000 " in text and "Listen 80" not in text
    for template, part in (("part.j2", "default"), ("vhost.conf.j2", "")):
        text = render("apache", template, part=part, site=SITE, apache_http_port=8000)
        assert text.count("<VirtualHost *:8000>") == text.count("<VirtualHost ") == 2


def test_proxies_are_believed_only_when_named(render: Render) -> None:
    alone = squeezed(render("apache", "part.j2", part="http"))
    assert "RemoteIP" not in alone and "HTTPS=on" not in alone
    behind = squeezed(
        render("apache", "part.j2", part="http", apache_trusted_proxies=["10.0.0.0/8", "192.0.2.1"])
    )
    assert "RemoteIPHeader X-Forwarded-For RemoteIPInternalProxy 10.0.0.0/8 192.0.2.1 " in behind
    assert behind.count("UWSGI_SCHEME=https HTTPS=on") == 2
    # uWSGI takes the last one, so Apache's own has to have the place before.
    assert "REQUEST_SCHEME=http UWSGI_SCHEME=http" in behind


@pytest.mark.parametrize(("most", "processes", "workers"), [(400, 34, 400), (5, 4, 25), (110, 10, 100)])
def test_processes_are_left_for_a_reload(render: Render, most: int, processes: int, workers: int) -> None:
    text = squeezed(render("apache", "part.j2", part="http", apache_max_requests=most))
    assert f"ThreadsPerChild 25 ServerLimit {processes} MaxRequestWorkers {workers} " in text
