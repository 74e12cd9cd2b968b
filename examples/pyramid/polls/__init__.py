"""Polls: ask a question, vote once per browser, see the results."""

import os
from typing import Any

from pyramid.config import Configurator
from pyramid.router import Router
from pyramid.session import SignedCookieSessionFactory

from . import database, seen


def main(global_config: dict[str, str], **settings: Any) -> Router:
    """What PasteDeploy calls for `use = egg:polls`. Secrets are not in the ini but in the environment."""
    secret = settings.pop("polls.secret", None) or os.environ.get("SECRET_KEY")
    if not secret:
        raise RuntimeError("SECRET_KEY is not set: put a long random string in the environment")
    diagnostics = settings.setdefault("polls.diagnostics", os.environ.get("EXAMPLE_DIAGNOSTICS") == "1")
    settings.setdefault("polls.redis", seen.connected())
    a_year = 365 * 24 * 3600
    with Configurator(settings=settings) as config:
        config.include("pyramid_jinja2")
        config.add_jinja2_renderer(".html")
        config.set_session_factory(
            # The session knows who voted: it has to outlast the browser being closed.
            SignedCookieSessionFactory(
                secret, max_age=a_year, timeout=a_year, reissue_time=3600, httponly=True, samesite="Lax"
            )
        )
        config.set_default_csrf_options(require_csrf=True)
        config.add_request_method(database.of_request, "database", reify=True)
        config.add_static_view("static", "polls:static")
        config.add_route("index", "/")
        config.add_route("ask", "/ask")
        config.add_route("poll", r"/polls/{id:\d{1,9}}")
        config.add_route("vote", r"/polls/{id:\d{1,9}}/vote")
        config.add_route("close", r"/polls/{id:\d{1,9}}/close")
        config.add_route("healthz", "/healthz")
        config.scan(".views")
        if diagnostics:
            config.include(".diagnostics", route_prefix="/diagnostics")
    return config.make_wsgi_app()
