import secrets
import sqlite3
from typing import Any

from pyramid.csrf import get_csrf_token
from pyramid.exceptions import BadCSRFToken
from pyramid.httpexceptions import HTTPConflict, HTTPNotFound, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import exception_view_config, notfound_view_config, view_config

from . import database, seen

LONGEST = 200


def problems(question: str, labels: list[str]) -> list[str]:
    """Why this cannot be asked; empty when it can."""
    found = []
    if not question:
        found.append("Write a question.")
    if not 2 <= len(labels) <= 10:
        found.append("Give two to ten different answers, one per line.")
    if any(len(text) > LONGEST for text in (question, *labels)):
        found.append(f"Question and answers may have {LONGEST} characters each.")
    return found


def parse_labels(text: str) -> list[str]:
    """One answer per line, each once."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def voter(request: Request) -> str:
    """A name for this browser that says nothing about who sits before it."""
    if "voter" not in request.session:
        request.session["voter"] = secrets.token_urlsafe(12)
    name: str = request.session["voter"]
    return name


def page(request: Request, **values: Any) -> dict[str, Any]:
    return {"messages": request.session.pop_flash(), "token": get_csrf_token(request), **values}


def named_poll(request: Request) -> sqlite3.Row:
    found = database.poll(request.database, int(request.matchdict["id"]))
    if found is None:
        raise HTTPNotFound("There is no such poll.")
    return found


@view_config(route_name="index", request_method="GET", renderer="templates/index.html")
def index(request: Request) -> dict[str, Any]:
    return page(request, polls=database.polls(request.database))


@view_config(route_name="ask", request_method="GET", renderer="templates/ask.html")
def ask_form(request: Request) -> dict[str, Any]:
    return page(request, form={}, problems=[])


@view_config(route_name="ask", request_method="POST", renderer="templates/ask.html")
def ask(request: Request) -> dict[str, Any] | Response:
    form = {name: request.POST.get(name, "").strip() for name in ("question", "answers")}
    labels = parse_labels(form["answers"])
    found = problems(form["question"], labels)
    if found:
        request.response.status_code = 422
        return page(request, form=form, problems=found)
    number = database.ask(request.database, form["question"], labels)
    request.session.flash("Your poll is open. Pass its address on.")
    return HTTPSeeOther(request.route_url("poll", id=number))


@view_config(route_name="poll", request_method="GET", renderer="templates/poll.html")
def poll(request: Request) -> dict[str, Any]:
    found = named_poll(request)
    choices = database.results(request.database, found["id"], voter(request))
    total = sum(choice["votes"] for choice in choices)
    return page(request, poll=found, choices=choices, total=total, seen=seen.count(request, found["id"]))


@view_config(route_name="vote", request_method="POST")
def vote(request: Request) -> Response:
    found = named_poll(request)
    choice = request.POST.get("choice", "")
    number = int(choice) if choice.isascii() and choice.isdigit() and len(choice) < 10 else -1
    if not database.vote(request.database, found["id"], voter(request), number):
        raise HTTPConflict("This poll is closed, or has no such answer.")
    request.session.flash("Your vote is counted.")
    return HTTPSeeOther(request.route_url("poll", id=found["id"]))


@view_config(route_name="close", request_method="POST")
def close(request: Request) -> Response:
    found = named_poll(request)
    database.close(request.database, found["id"])
    request.session.flash("The poll is closed.")
    return HTTPSeeOther(request.route_url("poll", id=found["id"]))


@view_config(route_name="healthz", request_method="GET")
def healthz(request: Request) -> Response:
    """Well when the tables can be read: a database that was never migrated is not."""
    answer = Response("ok", content_type="text/plain", cache_control="no-store")
    try:
        database.polls(request.database)
    except sqlite3.Error as error:
        answer.status_code, answer.text = 503, f"database: {error}"
    return answer


@notfound_view_config(renderer="templates/error.html")
@exception_view_config(HTTPConflict, renderer="templates/error.html")
@exception_view_config(BadCSRFToken, renderer="templates/error.html")
def error_page(error: Exception, request: Request) -> dict[str, Any]:
    request.response.status_code = getattr(error, "code", 400)
    if isinstance(error, BadCSRFToken):
        text = "The form was too old. Go back, reload the page and send it again."
    else:
        text = getattr(error, "detail", None) or "There is nothing at this address."
    return {"messages": [], "text": text}
