"""The fields of an app's traffic features."""

from __future__ import annotations

from ..kinds import Field, Flag, ListOf, MapOf, Number, Path, Section, Text
from ..rules import visitors
from ..rules.environment import env_name
from ..rules.paths import relative_path
from ..rules.sizes import size

NETWORK = Text(visitors.network, "address or network", "10.0.0.0/8")

#: They matter to the web server alone: none of them makes a new release.
FRONT_ONLY = (
    "default_site",
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
        Text(visitors.mount_path, "URL path that ends in a slash", "/shop/"),
        "Path of the app below its domains. Several apps may share their domains, each with its own path; the "
        "longest matching path gets the request. Write all other URLs of the app without the path; the app sees"
        " it as SCRIPT_NAME.",
        "path: /shop/",
        default="/",
    ),
    Field(
        "default_site",
        Flag(),
        "Whether the app also gets the requests for host names that no app of the host has. Without such an app, the "
        "web server closes these connections. One app per host.",
        "default_site: true",
        default=False,
    ),
    Field(
        "redirects",
        MapOf(
            Text(visitors.redirect_source, "URL path", "/old"),
            Text(visitors.redirect_target, "path or URL, optionally with a status", "/new 302"),
        ),
        "Single URLs that redirect, with 301 unless another status follows. The query is kept if the target has"
        " none.",
        'redirects: {/old: /new, /sale: "https://shop.example.com/ 302"}',
        default={},
    ),
    Field(
        "allow",
        ListOf(NETWORK, unique=True),
        "Networks whose visitors are allowed; all other visitors get 403. The most specific network of `allow` "
        "and `deny` wins.",
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
            Text(visitors.user_name, "name of a user", "alice"),
            Text(env_name, "name of a secret", "ALICE_PASSWORD_HASH", show=False),
        ),
        "Users for HTTP basic auth. Each names a secret with a hash from `openssl passwd -6` in "
        "`vault_python_apps_secrets.<app>`; the hash does not reach the app's environment.",
        "users: {alice: ALICE_PASSWORD_HASH}",
        default={},
    ),
    Field(
        "rate_limit",
        Section(
            (
                Field(
                    "requests",
                    Text(visitors.rate, "requests per second or minute", "10/s"),
                    "Requests per client address that reach the app; further requests get 429.",
                    "requests: 10/s",
                ),
                Field(
                    "burst",
                    Number(0, 100000),
                    "Number of requests that may come early.",
                    "burst: 20",
                    default=20,
                ),
                Field(
                    "connections",
                    Number(1, 65535),
                    "Concurrent requests per client address; further requests get 429.",
                    "connections: 50",
                ),
            )
        ),
        "Rate limits per client address. Files that nginx serves itself do not count.",
        "rate_limit: {requests: 10/s, burst: 20, connections: 50}",
    ),
    Field(
        "cache",
        Section(
            (
                Field(
                    "seconds",
                    Number(1, 3600, "seconds"),
                    "How long an answer (200 or 301) is cached unless it says so itself.",
                    "seconds: 10",
                ),
                Field(
                    "size",
                    Text(size, "number with k, m or g", "64m"),
                    "Disk space for the cached answers of the app.",
                    "size: 64m",
                    default="64m",
                ),
            )
        ),
        "Short-lived cache, so that many visitors cost the app one request. Off unless `seconds` is given. "
        "Never used for requests with a cookie or a password, nor for answers that set a cookie or are marked "
        "private or no-store.",
        "cache: {seconds: 10}",
    ),
    Field(
        "headers",
        MapOf(
            Text(visitors.header_name, "name of a header", "X-Frame-Options"),
            Text(visitors.header_value, "text", "DENY"),
            nullable=True,
        ),
        "Headers that nginx adds to every answer, unless the app sets them itself. `null` drops a default "
        "header: X-Content-Type-Options, X-Frame-Options, Referrer-Policy.",
        "headers: {X-Frame-Options: null, Permissions-Policy: camera=()}",
        default={},
    ),
    Field(
        "static_max_age",
        Number(0, 31536000, "seconds"),
        "How long browsers may cache static files. Files with a hash in their names, such as "
        "app.55e7cbb9ba48.css, are cached for ever.",
        "static_max_age: 3600",
        default=300,
    ),
    Field(
        "private",
        MapOf(
            Text(visitors.files_url, "URL path that ends in a slash", "/protected/"),
            Path(relative_path, "path inside the code", "invoices"),
        ),
        "Directories whose files nginx sends when the app answers with the header X-Accel-Redirect; visitors "
        "cannot reach them directly. With `path`, prefix the URL in the header with it.",
        "private: {/protected/: invoices}",
        default={},
    ),
    Field(
        "error_pages",
        MapOf(
            Text(visitors.page_status, "status in quotes", "502"),
            Path(visitors.page_file, "HTML file inside the code", "web/502.html"),
        ),
        "Error pages of the release that replace the web server's own. Maintenance mode shows the page for 503.",
        'error_pages: {"502": web/502.html, "503": web/maintenance.html}',
        default={},
    ),
    Field(
        "intercept_errors",
        Flag(),
        "Whether `error_pages` also replace answers of the app itself with these statuses.",
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
                    "Value of the Retry-After header.",
                    "retry_after: 300",
                    default=300,
                ),
            )
        ),
        "Settings of maintenance mode, which `playbooks/maintenance.yml` switches.",
        "maintenance: {allow: [10.0.0.0/8], retry_after: 600}",
    ),
)
