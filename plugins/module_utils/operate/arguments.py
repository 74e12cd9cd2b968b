"""What can be typed after `emperor`: the parser, and with it the help, the manual page and the completion."""

from __future__ import annotations

import argparse
from typing import Any

EPILOG = """\
examples:
  emperor status                     what is live, and whether it answers
  emperor history blog               what was deployed when, and by whom
  emperor rollback blog              back to the release before, at once while that is still warm
  emperor deploy blog v1.5           another version of the code, by the settings of the last site.yml
  emperor logs blog --follow         what the app prints
  emperor run blog -- python manage.py check

A deploy or a rollback that fails leaves the old release serving. When its cause is gone, type the same command again.
A version that is deployed here lasts until the next run of site.yml or playbooks/deploy.yml without -e version:
that one deploys the inventory's version. A rolled-back release stays away.

exit status: 0 when all is well, 2 when something failed or was refused, as for ansible-playbook.
"""


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="emperor",
        description="See and change the apps of this host, as the playbooks do from the controller.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = whole.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    _looking(verbs)
    _deploying(verbs)
    _running(verbs)
    return whole


def _verb(verbs: Any, name: str, does: str, more: str = "") -> argparse.ArgumentParser:
    """Verb *name*, of an app but for `status`."""
    sentence = f"{does[0].upper()}{does[1:]}."
    one: argparse.ArgumentParser = verbs.add_parser(
        name, help=does, description=f"{sentence} {more}".strip(), allow_abbrev=False
    )
    if name == "status":
        one.add_argument(
            "app", metavar="APP", nargs="?", default="", help="name of an app; all apps without it"
        )
    else:
        one.add_argument("app", metavar="APP", help="name of the app")
    return one


def _looking(verbs: Any) -> None:
    one = _verb(verbs, "status", "show what is live, and whether it answers")
    _json(one)
    one = _verb(verbs, "history", "show what became of the last deploys and rollbacks of an app")
    one.add_argument("-n", "--lines", type=int, default=20, metavar="N", help="so many (20; 500 are kept)")
    _json(one)
    one = _verb(verbs, "logs", "show what an app, its workers and its scheduled commands print")
    one.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    one.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="so many lines (100)")


def _deploying(verbs: Any) -> None:
    one = _verb(
        verbs,
        "deploy",
        "deploy a version of an app",
        "Everything else stays as the last site.yml or deploy.yml had it. The app's code must come from git.",
    )
    one.add_argument("version", metavar="VERSION", help="tag, branch or commit of the app's repository")
    one.add_argument("--force", action="store_true", help="also when it is live, or was rolled back")
    _changing(one)
    one = _verb(
        verbs, "rollback", "go back to an earlier release of an app", "Databases are not migrated back."
    )
    one.add_argument(
        "to", metavar="TO", nargs="?", default="", help="a release; the one before without it (see history)"
    )
    one.add_argument(
        "--across-migration", action="store_true", help="although the releases have other migrations"
    )
    _changing(one)


def _running(verbs: Any) -> None:
    one = _verb(
        verbs,
        "run",
        "run a command in an app's live release",
        "As the app's user, in its environment; you cannot type into it.",
    )
    one.add_argument(
        "--timeout", type=int, default=3600, metavar="SECONDS", help="end it after so long (3600)"
    )
    one.add_argument("command", metavar="-- COMMAND", nargs="+", help="the command and its words")
    _verb(verbs, "restart", "replace an app's processes with fresh ones, without dropping a request")
    one = _verb(verbs, "maintenance", "show visitors of an app the maintenance page, or let them in again")
    one.add_argument("state", choices=("on", "off"), help="on shows the page")


def _json(one: argparse.ArgumentParser) -> None:
    one.add_argument("--json", action="store_true", help="print JSON")


def _changing(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--break-lock", action="store_true", help="take over the lock of a run that is under way"
    )
    one.add_argument("--only-here", action="store_true", help="although other hosts have the app too")
    _json(one)
