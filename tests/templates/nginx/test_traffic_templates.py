"""What nginx is told of an app's visitors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible_collections.emperor.stack.plugins.plugin_utils.schema import apps

Render = Callable[..., str]

BLOG: dict[str, Any] = {
    "name": "blog",
    "domains": ["blog.example.com"],
    "source": {"path": "."},
    "wsgi": "b:app",
}
SHOP = {**BLOG, "name": "my-shop", "path": "/shop/"}


def squeezed(text: str) -> str:
    """One space between words and no comments, so that a test does not depend on the layout."""
    return " ".join(re.sub(r"(?m)^\s*#.*$", "", text).split())


def location(text: str, head: str) -> str:
    """The block of a location, up to the next one."""
    block = text[text.index(f"location {head} {{") :]
    end = re.search(r" location [^{]+{| } server {", block[1:])
    return block[: end.start() + 1] if end else block


def vhost(render: Render, *declared: dict[str, Any]) -> str:
    (site,) = apps.sites(declared)
    return squeezed(render("nginx", "vhost.conf.j2", site=site, nginx_sites=[site]))


def test_an_app_without_traffic_features_gets_none(render: Render) -> None:
    text = vhost(render, BLOG)
    for word in ("limit_", "auth_", "geo ", "uwsgi_cache", "rewrite", "internal_", "SCRIPT_NAME"):
        assert word not in text, word


def test_an_app_below_a_path_gets_the_rest_of_it(render: Render) -> None:
    app = location(vhost(render, BLOG, SHOP), "/shop/")
    assert 'rewrite "(?s)^/shop(/.*)$" $1 break;' in app
    assert "uwsgi_param SCRIPT_NAME /shop; uwsgi_param HTTP_X_FORWARDED_PREFIX /shop;" in app
    assert "uwsgi_pass unix:/srv/apps/my-shop/active/app.sock;" in app
    assert "access_log /var/log/nginx/my-shop.access.log front " in app
    dotted = location(vhost(render, {**SHOP, "path": "/a.b+c/"}, BLOG), "/a.b+c/")
    assert r'rewrite "(?s)^/a\.b\+c(/.*)$" $1 break;' in dotted


CHAT = {**BLOG, "wsgi": None, "asgi": "chat:app"}


def test_an_asgi_app_is_asked_in_http(render: Render) -> None:
    text = vhost(
        render,
        {**CHAT, "cache": {"seconds": 5}, "error_pages": {"404": "a.html"}, "intercept_errors": True},
        {
            **SHOP,
            "wsgi": None,
            "asgi": "shop:app",
            "users": {"ada": "ADA"},
            "limits": {"connection_idle": 50},
        },
    )
    app, shop = location(text, "/"), location(text, "/shop/")
    assert "proxy_pass http://unix:/srv/apps/blog/active/app.sock; proxy_read_timeout 3630s;" in app
    assert "include emperor-stack/proxy.conf;" in app and "include emperor-stack/proxy_cache.conf;" in app
    assert "proxy_cache cache_app_blog;" in app and "proxy_cache_path " in text
    assert "proxy_intercept_errors on;" in app
    # A client must not say any of these itself.
    assert 'proxy_set_header X-Forwarded-Prefix "";' in app
    assert 'proxy_set_header X-Remote-User "";' in app
    assert "proxy_read_timeout 90s;" in shop
    assert 'proxy_set_header X-Forwarded-Prefix "/shop";' in shop
    assert "proxy_set_header X-Remote-User $app_my_shop_user;" in shop
    assert 'proxy_set_header Authorization "";' in shop
    assert "uwsgi_" not in app + shop


def test_a_wsgi_release_of_an_asgi_app_is_asked_as_before(render: Render) -> None:
    """Until the first ASGI release is live, and after a rollback: by the same guards, and with the same pages."""
    text = vhost(render, {**CHAT, "users": {"ada": "ADA"}, "cache": {"seconds": 5}})
    app, before = location(text, "/"), location(text, "@app_blog_wsgi")
    # A cache would open the file, which nginx may not read.
    assert "open_file_cache off; if (!-f /srv/apps/blog/active/release/asgi.py) { return 599; }" in app
    assert "error_page 599 = @app_blog_wsgi; recursive_error_pages on;" in app
    # Its own error_page would else be the only one.
    assert app.count("error_page 50") == 3
    assert "uwsgi_pass unix:/srv/apps/blog/active/app.sock;" in before
    assert "auth_basic $app_blog_realm;" in before and "proxy_" not in before
    # A zone belongs to one of the two.
    assert "cache" not in before
    assert "_wsgi" not in vhost(render, BLOG)


def test_an_asgi_release_of_a_wsgi_app_is_asked_in_http(render: Render) -> None:
    """Until the first WSGI release is live, and after a rollback: by the site that the app had."""
    patterns = apps.asgi_releases([BLOG, CHAT, {**SHOP, "state": "absent"}])
    assert patterns == {"blog": "/srv/apps/blog/releases/*/asgi.py"}
    (now,) = apps.sites([BLOG], present=["/var/lib", *patterns.values()])
    (before,) = apps.sites([CHAT])
    assert now["protocol"] == before["protocol"] == "http"
    text = squeezed(render("nginx", "vhost.conf.j2", site=now, nginx_sites=[now]))
    assert text == vhost(render, CHAT)
    assert "@app_blog_wsgi" in text and "proxy_pass http://unix:/srv/apps/blog/active/app.sock;" in text
    # Another app's releases say nothing of this one.
    assert (
        apps.sites([BLOG, SHOP], present=["/srv/apps/my-shop/releases/*/asgi.py"])[0]["protocol"] == "uwsgi"
    )


def test_what_a_client_says_of_its_way_reaches_no_asgi_app(render: Render) -> None:
    """All that it could say to an app under uWSGI is replaced here too."""
    params = render("nginx", "part.j2", part="uwsgi")
    headers = {name.replace("_", "-").lower() for name in re.findall(r"uwsgi_param HTTP_(\S+)", params)}
    proxy = render("nginx", "part.j2", part="proxy")
    replaced = {name.lower() for name in re.findall(r"proxy_set_header (\S+)", proxy)}
    # nginx itself sends the length, and the location the prefix.
    assert headers - replaced == {"transfer-encoding", "x-forwarded-prefix"}
    hidden = re.findall(r"uwsgi_hide_header (\S+);", params)
    assert set(hidden) - set(re.findall(r"proxy_hide_header (\S+);", proxy)) == {"Server"}


def test_a_site_without_an_app_at_its_root_answers_404_there(render: Render) -> None:
    text = vhost(render, SHOP, {**BLOG, "path": "/blog/"})
    assert location(text, "/").startswith("location / { return 404; }")


def test_free_text_is_quoted(render: Render) -> None:
    text = vhost(render, {**BLOG, "headers": {"Permissions-Policy": 'a=("b"); } server {'}})
    assert (
        'map $upstream_http_permissions_policy $app_blog_header_permissions_policy { "" "a=(\\"b\\"); } server {"; '
        'default ""; }'
    ) in text


def test_all_of_an_apps_locations_are_behind_its_guards(render: Render) -> None:
    guarded = {
        **BLOG,
        "deny": ["10.0.0.0/8"],
        "users": {"alice": "A"},
        "static": {"/static/": "web"},
        "redirects": {"/a": "/b"},
    }
    text = vhost(render, guarded)
    for head in ("/", "^~ /static/", "= /a"):
        assert (
            "if ($app_blog_refused) { return 403; } if ($app_blog_maintenance) { return 503; }"
            in location(text, head)
        )
        assert "auth_basic $app_blog_realm; auth_basic_user_file emperor-stack/users/blog;" in location(
            text, head
        )
    assert 'uwsgi_param HTTP_AUTHORIZATION "" if_not_empty;' in location(text, "/")


UPLOADS = {"static": {"/media/": "media"}, "persistent": ["media"]}


def test_directories_of_uploads_are_no_files_and_shown_to_nobody_who_is_kept_out(render: Render) -> None:
    """By the phase of `return`, everybody could ask which there are. Below a path, the name that is looked up is the
    stripped one, and a redirect to it would lead to another app."""
    away = 'if (-d $request_filename) {{ rewrite "(?s)^(.*)$" {}$1/no-directory last; }}'
    files = location(vhost(render, {**BLOG, **UPLOADS, "users": {"alice": "A"}}), "^~ /media/")
    assert away.format("") in files and "return 404" not in files and " break;" not in files
    files = location(vhost(render, {**SHOP, **UPLOADS}, BLOG), "^~ /shop/media/")
    assert 'rewrite "(?s)^/shop(/.*)$" $1; include' in files
    assert files.index(away.format("/shop")) < files.index(" break;")
    assert files.count(" break;") == 1


def test_who_is_refused_has_no_file_made_readable(render: Render) -> None:
    text = vhost(render, {**BLOG, **UPLOADS, "deny": ["10.0.0.0/8"], "users": {"alice": "A"}})
    asking = location(text, "@app_blog_unread_1")
    assert "scgi_pass unix:/run/emperor-stack/let-read.sock;" in asking
    assert "if ($app_blog_refused) { return 403; }" in asking
    assert "auth_basic $app_blog_realm;" in asking


def test_private_files_are_internal_and_for_one_app(render: Render) -> None:
    text = vhost(render, {**BLOG, "private": {"/p/": "data"}, "persistent": ["data"]})
    assert location(text, "^~ /p/") == (
        "location ^~ /p/ { internal; if ($upstream_addr != unix:/srv/apps/blog/active/app.sock) { return 404; } "
        "include emperor-stack/headers.conf; "
        "add_header X-Content-Type-Options $upstream_http_x_content_type_options always; "
        "add_header X-Frame-Options $upstream_http_x_frame_options always; "
        "add_header Referrer-Policy $upstream_http_referrer_policy always; "
        "add_header Strict-Transport-Security $upstream_http_strict_transport_security always; "
        "add_header Content-Security-Policy $front_upload_policy always; "
        "open_file_cache off; disable_symlinks if_not_owner from=$document_root/p; "
        "try_files $uri =404; }"
    )


def test_brotli_is_an_option_and_never_asked_of_an_nginx_that_has_it_not(render: Render) -> None:
    assert "brotli" not in render("nginx", "part.j2", part="http", __nginx_to_come=False)
    text = render("nginx", "part.j2", part="http", nginx_brotli=True, __nginx_to_come=False)
    assert "brotli on;" in text and "brotli_static on;" in text
    assert "brotli" not in render("nginx", "part.j2", part="http", nginx_brotli=True, __nginx_to_come=True)


def test_the_packages_of_brotli(role_value: Any) -> None:
    assert role_value("nginx", "nginx_packages") == ["nginx", "curl"]
    assert "libnginx-mod-http-brotli-static" in role_value("nginx", "nginx_packages", nginx_brotli=True)


def test_hashes_are_never_shown(role_value: Any) -> None:
    files = role_value("nginx", "__nginx_files", nginx_sites=[])
    (users,) = [item for item in files if item.get("template") == "users.j2"]
    assert (users["group"], users["mode"], users["sensitive"]) == ("www-data", "0640", True)


def test_what_is_kept_is_whole_and_not_for_ever(render: Render) -> None:
    short, long = (vhost(render, {**BLOG, "cache": {"seconds": seconds}}) for seconds in (300, 301))
    assert 'uwsgi_cache_key "$front_period $request_method $front_scheme://' in short
    assert 'uwsgi_cache_key "$front_long_period $request_method $front_scheme://' in long
    assert "uwsgi_no_cache $http_cookie $http_authorization $front_without_length;" in squeezed(
        render("nginx", "emperor-stack/cache.conf.j2")
    )
