"""deploy-login: do what somebody asks who logged in as `deploy_<app>`. sudo starts this as root for these users alone."""

from __future__ import annotations

import os
import pwd
import sys

from ..operate import login, push, shown, surroundings, verbs
from ..release import known_app
from ..release.known_app import Unknown

#: Lines of history that are shown.
HISTORY = 20


def main() -> int:
    # sudo sets it, whatever the session's own variables say.
    uid = os.environ.get("SUDO_UID", "")
    text = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    try:
        user = pwd.getpwuid(int(uid)).pw_name if uid.isdecimal() else ""
        app = login.app_of(user)
        asked = login.Request("push") if login.pushes(app, text) else login.request(text)
    except (login.NotAllowed, KeyError) as error:
        shown.complain(str(error))
        return shown.complain("this login can do: deploy VERSION, rollback [RELEASE], status, history, help")
    os.environ["SUDO_USER"] = user
    surroundings.as_a_module_runs()
    if asked.verb != "push":
        # Nothing reads what the client sends.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        return do(app, user, asked)
    except Unknown:
        # Its message, which is for administrators, names the other apps of the host.
        return shown.complain(
            f"this host does not know how to deploy {app}: an administrator's site.yml tells it"
        )
    except (verbs.Refused, push.NotPushed) as error:
        return shown.complain(str(error))
    except BrokenPipeError:
        # The client is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return shown.BAD


def do(app: str, user: str, asked: login.Request) -> int:
    if asked.verb == "help":
        shown.say(login.HELP.format(app=app, user=user).rstrip())
        return shown.GOOD
    known = known_app.read(app)
    if asked.verb == "push":
        verbs.alone(known, False, "deploy.yml")
        return push.receive(known)
    if asked.verb == "deploy":
        return verbs.deploy(known, asked.word, {"login": True})
    if asked.verb == "rollback":
        return verbs.rollback(known, asked.word, {"login": True})
    if asked.verb == "status":
        return verbs.status([known], as_json=False)
    return verbs.history(known, HISTORY, as_json=False)
