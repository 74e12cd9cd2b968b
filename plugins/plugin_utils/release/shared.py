"""What one host is told of the decisions for all hosts of its apps: see `fleet.py`, which makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.release.resolve import is_asked_for
from ...module_utils.release.spec import ReleaseSpec
from .fleet import FIRST, Verdict, is_going, outcome_of


class Shared:
    """The part of *verdict* that *host* needs. Without a verdict, the host decides alone."""

    def __init__(self, host: str, verdict: Verdict) -> None:
        self.host = host
        self._apps = verdict.get("apps") or {}
        self._called_off = verdict.get("called_off") or {}
        self._names = verdict.get("names") or {}
        canaries = verdict.get("canaries") or {}
        self._goes_first = {app for app, one in canaries.items() if host in one["hosts"]}
        self._not_moved = verdict.get("not_moved") or []
        self._commits = verdict.get("commits") or {}
        self._targets = verdict.get("targets") or {}

    def nothing_was_begun(self, before: Mapping[str, Any]) -> bool:
        """Whether the phases *before* only looked at the host, so that there is nothing to undo."""
        return all(name in FIRST for name in before.get("phases", ()))

    def refused(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a call-off where nothing was begun."""
        apps = {}
        for app, reason in self._called_off.items():
            outcome = outcome_of(before, app)
            if is_going(outcome):
                live = outcome.get("live") or outcome.get("from")
                still = f"{live} keeps serving" if live else "nothing was live before, and nothing is now"
                apps[app] = {"error": f"called off: {reason}\n{still}.", "phase": "call_off"}
        return {"changed": bool(before.get("changed")), "apps": apps, "phases": []}

    def with_those_that_stay(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """*before*, where apps that stay on their live release in a rollback have nothing more to do."""
        apps = dict(before.get("apps") or {})
        for app, targets in self._targets.items():
            if app in apps and not apps[app].get("error") and targets.get(self.host, "") is None:
                kept = {key: value for key, value in apps[app].items() if key != "from"}
                apps[app] = {**kept, "action": "none", "why": "the release to return to is live here"}
        return {**before, "apps": apps} if apps else dict(before)

    def _first(self, app: str) -> str:
        """The first host of *app* in this run."""
        return next(iter(self._apps.get(app, ())), self.host)

    def concerned(self, apps: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
        """Those of *apps* that are called off, where that is the phase; otherwise those that are not."""
        if list(names) in (["stand_down"], ["take_over"]):
            return [app for app in apps if app["name"] not in self._not_moved]
        if list(names) == ["canary"]:
            apps = [app for app in apps if app["name"] in self._goes_first]
        if list(names) == ["resolve"]:
            apps = [
                app for app in apps if self._first(app["name"]) == self.host and is_asked_for(app["source"])
            ]
        wanted = list(names) == ["call_off"]
        return [app for app in apps if (app["name"] in self._called_off) is wanted]

    def told(self, specs: list[ReleaseSpec], apps: Sequence[Mapping[str, Any]]) -> list[ReleaseSpec]:
        """*specs* of *apps*, with what was decided."""
        for spec, app in zip(specs, apps, strict=True):
            self._tell(spec, app)
        return specs

    def _tell(self, spec: ReleaseSpec, app: Mapping[str, Any]) -> None:
        """Add to *spec*, made of the completed *app* or of its name alone, what was decided."""
        name = app["name"]
        if name in self._called_off:
            spec["called_off"] = self._called_off[name]
        if name in self._names:
            spec["release"] = self._names[name]
        if name in self._commits and is_asked_for(app.get("source") or {}):
            spec["commit"] = self._commits[name]
        # A phase that needs the name alone has the app as it was declared, without what the schema would add.
        if app.get("migrate_on", "first") == "first" and self._first(name) != self.host:
            spec["migrated_on"] = self._first(name)
        if target := (self._targets.get(name) or {}).get(self.host):
            spec["to_release"] = target
