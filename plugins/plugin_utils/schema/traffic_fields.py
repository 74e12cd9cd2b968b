"""The fields of an app that say what the web server does with its visitors; a part of `app_schema`."""

from __future__ import annotations

from ...module_utils.values.rules import env_name, relative_path, size
from . import traffic_rules as rule
from .kinds import Field, Flag, ListOf, MapOf, Number, Path, Section, Text

NETWORK = Text(rule.network, "address or network", "10.0.0.0/8")

#: They matter to the web server alone: none of them makes a new release.
FRONT_ONLY = (
    "redirects",
    "allow",
    "deny",
    "users",
    "rate_limit",
    "cache",
    "headers",
    "static_max_age",
    "maintenance",
    "intercept_errors",
)

FIELDS = (
    Field(
        "path",
        Text(rule.mount_path, "URL path that ends in a slash", "/shop/"),
        "Where below its domains the app answers. Several apps may share their domains, each with a path of its own; "
        "the longest that fits gets the request. All other URLs of the app are written without it, and it reaches the "
        "app as SCRIPT_NAME.",
        "path: /shop/",
        default="/",
    ),
    Field(
        "redirects",
        MapOf(
            Text(rule.redirect_source, "URL path", "/old"),
            Text(rule.redirect_target, "path or URL, perhaps with a status", "/new 302"),
        ),
        "Single URLs that lead elsewhere, 301 unless another status follows. The query goes along where the target has "
        "none.",
        'redirects: {/old: /new, /sale: "https://shop.example.com/ 302"}',
        default={},
    ),
    Field(
        "allow",
        ListOf(NETWORK, unique=True),
        "Networks whose visitors are let in; all others get 403. Of `allow` and `deny` the most specific network decides.",
        "allow: [10.0.0.0/8]",
        default=(),
    ),
    Field(
        "deny",
        ListOf(NETWORK, unique=True),
        "Networks whose visitors get 403.",
        "deny: [203.0.113.0/24]",
        default=(),
    ),
    Field(
        "users",
        MapOf(
            Text(rule.user_name, "name of a user", "alice"),
            Text(env_name, "name of a secret", "ALICE_PASSWORD_HASH", show=False),
        ),
        "Who may pass, by HTTP basic auth. Each name stands for a hash that `openssl passwd -6` made, kept in "
        "`vault_python_apps_secrets.<app>`; it does not get into the app's environment.",
        "users: {alice: ALICE_PASSWORD_HASH}",
        default={},
    ),
    Field(
        "rate_limit",
        Section(
            (
                Field(
                    "requests",
                    Text(rule.rate, "requests per second or minute", "10/s"),
                    "Requests that one client address may have answered by the app; what is above gets 429.",
                    "requests: 10/s",
                ),
                Field(
                    "burst",
                    Number(0, 100000),
                    "How many requests may come earlier than that.",
                    "burst: 20",
                    default=20,
                ),
                Field(
                    "connections",
                    Number(1, 65535),
                    "Requests of one client address that may be under way at the same time; what is above gets 429.",
                    "connections: 50",
                ),
            )
        ),
        "Limits for each client address. Files that nginx serves itself do not count.",
        "rate_limit: {requests: 10/s, burst: 20, connections: 50}",
    ),
    Field(
        "cache",
        Section(
            (
                Field(
                    "seconds",
                    Number(1, 3600, "seconds"),
                    "How long an answer (200 or 301) is kept that does not say so itself.",
                    "seconds: 10",
                ),
                Field(
                    "size",
                    Text(size, "number with k, m or g", "64m"),
                    "Disk space for the answers of the app.",
                    "size: 64m",
                    default="64m",
                ),
            )
        ),
        "Keep answers for a moment, so that many visitors cost the app one request. Off unless `seconds` is given. Never "
        "for requests with a cookie or a password, nor for answers that set a cookie or say private or no-store.",
        "cache: {seconds: 10}",
    ),
    Field(
        "headers",
        MapOf(
            Text(rule.header_name, "name of a header", "X-Frame-Options"),
            Text(rule.header_value, "text", "DENY"),
            nullable=True,
        ),
        "Headers of every answer in which the app has not set them itself. `null` drops one that is sent by default: "
        "X-Content-Type-Options, X-Frame-Options, Referrer-Policy.",
        "headers: {X-Frame-Options: null, Permissions-Policy: camera=()}",
        default={},
    ),
    Field(
        "static_max_age",
        Number(0, 31536000, "seconds"),
        "How long browsers may keep static files. Those with a hash in their names, as app.55e7cbb9ba48.css, they keep for "
        "ever.",
        "static_max_age: 3600",
        default=300,
    ),
    Field(
        "private",
        MapOf(
            Text(rule.files_url, "URL path that ends in a slash", "/protected/"),
            Path(relative_path, "path inside the code", "invoices"),
        ),
        "Directories whose files nginx sends when the app says so, by the header X-Accel-Redirect; nobody reaches them "
        "directly. With `path`, that stands before the URL in the header.",
        "private: {/protected/: invoices}",
        default={},
    ),
    Field(
        "error_pages",
        MapOf(
            Text(rule.page_status, "status in quotes", "502"),
            Path(rule.page_file, "HTML file inside the code", "web/502.html"),
        ),
        "Pages of the release in place of the web server's own. That of 503 is shown in maintenance.",
        'error_pages: {"502": web/502.html, "503": web/maintenance.html}',
        default={},
    ),
    Field(
        "intercept_errors",
        Flag(),
        "Whether `error_pages` also take the place of what the app itself answers with such a status.",
        "intercept_errors: true",
        default=False,
    ),
    Field(
        "maintenance",
        Section(
            (
                Field(
                    "allow",
                    ListOf(NETWORK, unique=True),
                    "Networks whose visitors still reach the app.",
                    "allow: [10.0.0.0/8]",
                    default=(),
                ),
                Field(
                    "retry_after",
                    Number(1, 86400, "seconds"),
                    "When to come again, as the answer says.",
                    "retry_after: 300",
                    default=300,
                ),
            )
        ),
        "How the app is while `playbooks/maintenance.yml` has it switched off.",
        "maintenance: {allow: [10.0.0.0/8], retry_after: 600}",
    ),
)
