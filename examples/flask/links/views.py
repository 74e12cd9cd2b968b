import re
import secrets
import sqlite3
import string
from typing import Any
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    jsonify,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from werkzeug.wrappers import Response as AnyResponse

from . import database

pages = Blueprint("pages", __name__)

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LETTERS = string.ascii_lowercase + string.digits


def problems(url: str, slug: str) -> list[str]:
    """Why a link cannot be added; empty when it can."""
    found = []
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or len(url) > 2000 or not url.isprintable():
        found.append("The address must begin with http:// or https:// and name a host.")
    if slug and not SLUG.fullmatch(slug):
        found.append("The short name may have small letters, digits and hyphens, 40 at most.")
    return found


def add(url: str, title: str, slug: str) -> str:
    """Store a link; return its short name. Raises sqlite3.IntegrityError when the name is taken."""
    chosen = slug or "".join(secrets.choice(LETTERS) for _ in range(6))
    database.current().execute(
        "INSERT INTO link (slug, url, title) VALUES (?, ?, ?)", (chosen, url, title or urlsplit(url).hostname)
    )
    return chosen


def token() -> str:
    """This browser's proof that a form came from our own page."""
    value: str = session.setdefault("token", secrets.token_urlsafe(16))
    return value


@pages.app_context_processor
def form_helpers() -> dict[str, Any]:
    return {"token": token}


def require_token() -> None:
    own, sent = session.get("token", ""), request.form.get("token", "")
    if not own or not secrets.compare_digest(own.encode(), sent.encode()):
        abort(400, "The form was too old. Go back, reload the page and send it again.")


@pages.get("/")
def index() -> str:
    words = request.args.get("q", "").strip()
    rows = database.current().execute(
        "SELECT * FROM link WHERE instr(lower(title || ' ' || url || ' ' || slug), lower(?))"
        " ORDER BY created DESC, rowid DESC LIMIT 200",
        (words,),
    )
    return render_template("index.html", links=rows.fetchall(), words=words, form={}, problems=[])


@pages.post("/")
def create() -> AnyResponse | tuple[str, int]:
    require_token()
    form = {name: request.form.get(name, "").strip() for name in ("url", "title", "slug")}
    found = problems(form["url"], form["slug"])
    if not found:
        try:
            slug = add(**form)
        except sqlite3.IntegrityError:
            found = [f"The short name “{form['slug']}” is taken."]
        else:
            flash(f"Added {url_for('pages.go', slug=slug, _external=True)}")
            return redirect(url_for("pages.index"), 303)
    return render_template("index.html", links=[], words="", form=form, problems=found), 422


@pages.post("/delete/<slug>")
def delete(slug: str) -> AnyResponse:
    require_token()
    if database.current().execute("DELETE FROM link WHERE slug = ?", (slug,)).rowcount:
        flash(f"Deleted “{slug}”.")
    return redirect(url_for("pages.index"), 303)


@pages.get("/go/<slug>")
def go(slug: str) -> AnyResponse:
    row = (
        database.current()
        .execute("UPDATE link SET clicks = clicks + 1 WHERE slug = ? RETURNING url", (slug,))
        .fetchall()
    )
    if not row:
        abort(404)
    # 302 and not to be stored: a remembered redirect would not be counted.
    answer = redirect(row[0]["url"], 302)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@pages.get("/api/links")
def api_list() -> Response:
    rows = database.current().execute("SELECT * FROM link ORDER BY created DESC, rowid DESC").fetchall()
    return jsonify(
        [dict(row) | {"short": url_for("pages.go", slug=row["slug"], _external=True)} for row in rows]
    )


@pages.post("/api/links")
def api_create() -> tuple[Response, int]:
    # JSON only: a page of another site cannot send that type without asking first.
    given = request.get_json()
    fields = {"url", "title", "slug"}
    if (
        not isinstance(given, dict)
        or not set(given) <= fields
        or not all(isinstance(v, str) for v in given.values())
    ):
        return jsonify(
            problems=["Send an object with url and, if you like, title and slug: all strings."]
        ), 422
    form = {name: given.get(name, "").strip() for name in fields}
    found = problems(form["url"], form["slug"])
    if found:
        return jsonify(problems=found), 422
    try:
        slug = add(**form)
    except sqlite3.IntegrityError:
        return jsonify(problems=[f"The short name “{form['slug']}” is taken."]), 409
    return jsonify(slug=slug, short=url_for("pages.go", slug=slug, _external=True)), 201


@pages.get("/healthz")
def healthz() -> tuple[str, int, dict[str, str]]:
    """Well when the table can be read: a database that was never migrated is not."""
    headers = {"Content-Type": "text/plain", "Cache-Control": "no-store"}
    try:
        database.current().execute("SELECT 1 FROM link LIMIT 1").fetchone()
    except sqlite3.Error as error:
        return f"database: {error}", 503, headers
    return "ok", 200, headers


@pages.app_errorhandler(400)
@pages.app_errorhandler(404)
def error_page(error: Any) -> tuple[str, int]:
    return render_template("error.html", error=error), error.code
