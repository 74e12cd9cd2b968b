"""What became of the apps that `playbooks/restore.yml` restored: how far each came on its host, and as a report."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.console.report import FAILED, GOOD, WARNING, Cell, Note, Report, Row

#: The result of a task, as registered; empty where the task did not run.
Result = Mapping[str, Any]
#: How far an app came: see `of_restore`.
Steps = Mapping[str, Any]

#: What the switch of maintenance mode names this playbook.
PLAYBOOK = "playbooks/restore.yml\n"

#: `done` of an app, in this order.
FETCHED, PUT, ANSWERED = "fetched", "put", "answered"

ABOVE = "The message above says why."
UNCHANGED = "Nothing was changed."


def problem(results: Sequence[Result]) -> str:
    """Why the first of these commands failed, in its own words; empty where all of them went well or did not run."""
    for result in results:
        if result and not result.get("skipped") and result.get("rc") != 0:
            texts = (str(result.get(key) or "").strip() for key in ("stderr", "stdout", "msg"))
            return next(filter(None, texts), "it does not say why")
    return ""


def behind(hosts: Sequence[str], hostvars: Mapping[str, Any], app: str) -> list[str]:
    """Those of *hosts* on which the data of *app* was not fetched, so that no host of it goes on."""
    return [
        host
        for host in hosts
        if (hostvars[host].get("__restore_steps") or {}).get(app, {}).get("done") != FETCHED
    ]


def unput(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Those of *hosts* whose restored files were not put in place."""
    return [host for host in hosts if problem([hostvars[host].get("__backup_files_put") or {"msg": ABOVE}])]


def of_restore(apps: Mapping[str, Steps], maintenance: bool = True, check: bool = False) -> Report:
    """The report of a host, by how far each app came.

    `done` is its last step, `fetch` and `put` the results of commands, `behind` other hosts that it waited for, `broken`
    whether another task failed, and `flags` who had switched its maintenance on. *maintenance*: the front has that.
    """
    rows: list[Row] = []
    notes: list[Note] = []
    for app, steps in apps.items():
        outcome, text = _outcome(app, steps, maintenance, check)
        todo: str | Cell = ""
        if text:
            notes.append({"about": app, "state": FAILED, "text": text})
            todo = {"text": "read", "note": len(notes) - 1}
        elif _kept(steps):
            about = f"-e app={app} -e state=off lets visitors in"
            kept = f"maintenance mode was on before, and stays on: playbooks/maintenance.yml {about}"
            notes.append({"about": app, "state": WARNING, "text": kept})
            todo = {"text": "end maintenance", "note": len(notes) - 1}
        rows.append({"cells": [app, _backup(steps), outcome, todo], "state": FAILED if text else GOOD})
    return {"table": "restores", "rows": rows, "notes": notes}


def _outcome(app: str, steps: Steps, maintenance: bool, check: bool) -> tuple[str, str]:
    """The result of *app* in a word or two, and what there is to say of a failure."""
    done, fetch, put = steps.get("done"), steps.get("fetch") or [], steps.get("put") or [{}, {}]
    if check and not steps.get("broken"):
        return "would restore", ""
    if done == ANSWERED:
        return "restored", ""
    again = f"Restore it again: -e app={app}"
    stays = "so it stays in maintenance" if maintenance else "and visitors reach it"
    if done == PUT:
        return "does not answer", f"Its data is restored, it does not answer, {stays}. {ABOVE}"
    if put[0].get("rc") == 0:
        others = steps.get("unput") or []
        reason = problem(put) or (
            f"The files could not be put in place on {', '.join(others)}." if others else ABOVE
        )
        return (
            "half restored",
            f"{reason}\nIts files are restored and its database is not, {stays}. {again}",
        )
    if others := steps.get("behind") or []:
        reason = problem(fetch) or f"Its data could not be fetched on {', '.join(others)}."
    else:
        reason = problem([*fetch, *put])
    return "not restored", f"{reason or ABOVE}\n{UNCHANGED}"


def _backup(steps: Steps) -> str:
    """The time of the backup that the files are of."""
    for result in steps.get("fetch") or []:
        if found := re.search(r" as of (\S{19})", str(result.get("stdout") or "")):
            return f"{found[1]}Z"
    return "-"


def _kept(steps: Steps) -> bool:
    """Whether somebody else had switched maintenance mode on."""
    contents = [flag["content"] for flag in steps.get("flags") or [] if "content" in flag]
    return any(base64.b64decode(content).decode(errors="replace") != PLAYBOOK for content in contents)
