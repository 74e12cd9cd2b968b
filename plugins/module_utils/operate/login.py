"""What somebody who logs in as `deploy_<app>` asks for: one of a few lines, read by no shell.

The user of the session says which app it is. The text comes from the client and may be anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..host import layout
from ..values.versions import git_version

#: Characters of the longest request.
LONGEST = 300

HELP = """\
This login deploys {app}, and does nothing else:

  ssh {user}@HOST deploy VERSION      a tag, a branch or a commit
  ssh {user}@HOST rollback [RELEASE]
  ssh {user}@HOST status
  ssh {user}@HOST history
  git push {user}@HOST:{app} VERSION   where the app is deployed from pushes
"""


class NotAllowed(Exception):
    """The login may not do that."""


@dataclass(frozen=True)
class Request:
    verb: str
    #: A version or a release; may be empty.
    word: str = ""


def app_of(user: str) -> str:
    """The app that *user* deploys. Raises NotAllowed where that is no such user."""
    app = user.removeprefix(layout.login_user(""))
    if app == user or not app:
        raise NotAllowed("this program is for logins that deploy an app")
    return app


def request(text: str) -> Request:
    """What *text*, the command of the client, asks for. Raises NotAllowed for all that is not exactly one of the lines."""
    if not text:
        return Request("help")
    if len(text) > LONGEST or not re.fullmatch(r"[!-~]+( [!-~]+)?", text):
        raise NotAllowed("that is no request")
    verb, _, word = text.partition(" ")
    if verb in ("help", "status", "history") and not word:
        return Request(verb)
    if verb == "deploy" and word and git_version(word) is None:
        return Request(verb, word)
    if verb == "rollback" and re.fullmatch(r"([0-9]{8}T[0-9]{6}-[0-9a-z.-]{1,16})?", word):
        return Request(verb, word)
    raise NotAllowed("that is no request")


def pushes(app: str, text: str) -> bool:
    """Whether *text* is what git asks for by `git push deploy_<app>@host:<app>`."""
    return text in {
        f"git-receive-pack '{path}'" for name in (app, f"{app}.git") for path in (name, f"/{name}")
    }
