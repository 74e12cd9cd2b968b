"""Links: a list of bookmarks, each with a short address that counts its clicks."""

import os
from pathlib import Path
from typing import Any

from flask import Flask

from . import database, diagnostics, views

ROOT = Path(__file__).resolve().parent.parent


def create_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=os.environ.get("SECRET_KEY", ""),
        DATABASE=ROOT / "data" / "links.sqlite3",
        DIAGNOSTICS=os.environ.get("EXAMPLE_DIAGNOSTICS") == "1",
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_FORM_MEMORY_SIZE=100_000,
    )
    app.config.update(config)
    if not app.config["SECRET_KEY"]:
        raise RuntimeError("SECRET_KEY is not set: put a long random string in the environment")
    app.teardown_appcontext(database.close)
    app.register_blueprint(views.pages)
    if app.config["DIAGNOSTICS"]:
        app.register_blueprint(diagnostics.pages, url_prefix="/diagnostics")
    return app
