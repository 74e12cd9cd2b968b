"""What a deploy is about to do on all hosts, before it does: which app gets which version in the place of which, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.console.table import Column, render

COLUMNS = (
    Column("app", 8),
    Column("live", 10),
    Column("wanted", 10),
    Column("why", 20),
    Column("hosts", 10),
)
#: So many hosts are named where an app has the same plan on several.
NAMED_HOSTS = 3


def lines(plans: Mapping[str, Mapping[str, Any]], check: bool = False) -> list[str]:
    """The table of *plans*, the results of phase `plan` by host; nothing where nothing is to be done.

    Without *check*, a result of further phases is left out: that is carried out already.
    """
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for host, result in plans.items():
        if not check and result.get("phases", ["plan"]) != ["plan"]:
            continue
        for app, outcome in (result.get("apps") or {}).items():
            if outcome.get("action") in ("deploy", "finish") and not outcome.get("error"):
                row = (
                    app,
                    _version(outcome, "live"),
                    _version(outcome, "wanted"),
                    str(outcome.get("why", "")),
                )
                rows.setdefault(row, []).append(host)
    if not rows:
        return []
    apps = len({row[0] for row in rows})
    gets = ("would get" if check else "gets") if apps == 1 else ("would get" if check else "get")
    several = len(plans) > 1
    table = [(*row, _hosts(hosts) if several else "") for row, hosts in sorted(rows.items())]
    return [
        f"{apps} {'app' if apps == 1 else 'apps'} {gets} a new release:",
        *render(COLUMNS, table, indent=2),
    ]


def _version(outcome: Mapping[str, Any], which: str) -> str:
    """What people call the version that is live or wanted, and its revision."""
    version, revision = (
        str(outcome.get(f"{which}_version") or ""),
        str(outcome.get(f"{which}_revision") or ""),
    )
    return (
        " ".join(
            dict.fromkeys(word for word in (version if version != revision else "", revision[:7]) if word)
        )
        or "-"
    )


def _hosts(hosts: Sequence[str]) -> str:
    more = len(hosts) - NAMED_HOSTS
    return ", ".join(hosts[:NAMED_HOSTS]) + (f" and {more} more" if more > 0 else "")
