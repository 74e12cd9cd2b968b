"""The fields of `nginx`: directives in its own language."""

from __future__ import annotations

from ..kinds import Field, Section, Text
from ..rules import servers

NGINX = Section(
    tuple(
        Field(
            place,
            Text(servers.nginx_directives, "directives of nginx", example, show=False),
            f"Directives {where}.",
            f"{place}: {example}",
        )
        for place, where, example in (
            (
                "http",
                "before the app's servers, in the `http` block that all apps share, such as zones, maps and "
                "upstreams. Prefix their names with the app's name, because they must be unique",
                "limit_req_zone $binary_remote_addr zone=blog_login:1m rate=5r/m;",
            ),
            (
                "server",
                "in the app's own server, such as further locations",
                "location = /ping { return 204; }",
            ),
            ("app", "in the location that passes requests to the app", "uwsgi_buffering off;"),
        )
    )
)
