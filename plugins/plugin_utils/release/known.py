"""What a host is told of each app for its command `emperor`; see `module_utils/release/known_app.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.release import known_app
from ...module_utils.release.known_app import KnownApp, Settings
from ...module_utils.release.spec import ReleaseSpec
from ..schema.apps import complete_all
from .specs import Specs

#: A version that nobody has: what is rendered otherwise with it depends on the version.
ANOTHER_VERSION = "another-version-of-emperor-stack"

App = dict[str, Any]


class Known:
    """Makes it for the apps of one host, by *specs*; *hosts* are those of each app that is on several."""

    def __init__(
        self, specs: Specs, settings: Settings, front: str, hosts: Mapping[str, Sequence[str]]
    ) -> None:
        self._specs, self._settings, self._front, self._hosts = specs, settings, front, hosts

    def texts(
        self, declared: Sequence[Mapping[str, Any]], secrets: Mapping[str, Mapping[str, str]]
    ) -> list[dict[str, str]]:
        """Of each of the *declared* apps `name` and `text`. Raises AnsibleActionFail where a file cannot be rendered."""
        apps = complete_all(declared)
        from_git = [app for app in apps if app["source"].get("git")]
        made = {spec["name"]: spec for spec in self._specs.make(from_git, secrets, whole=True)}
        fixed = self._with_version_in_files(from_git, made, secrets)
        return [{"name": app["name"], "text": known_app.text(self._known(app, made, fixed))} for app in apps]

    def _with_version_in_files(
        self, apps: Sequence[App], made: Mapping[str, ReleaseSpec], secrets: Mapping[str, Any]
    ) -> set[str]:
        """Names of the apps whose `files` are others with another version."""
        others = [
            {**app, "source": {**app["source"], "version": ANOTHER_VERSION}} for app in apps if app["files"]
        ]
        return {
            spec["name"]
            for spec in self._specs.make(others, secrets, whole=False)
            if spec.get("fingerprint") != made[spec["name"]].get("fingerprint")
        }

    def _known(self, app: App, made: Mapping[str, ReleaseSpec], fixed: set[str]) -> KnownApp:
        name = app["name"]
        spec = made.get(name)
        reason = ""
        if spec is None:
            kind = next(kind for kind in ("path", "archive", "package") if app["source"].get(kind))
            reason = (
                f"its code comes from source.{kind}, which only the controller has: use playbooks/deploy.yml"
            )
        elif "refused" in spec:
            reason = spec["refused"]
        elif name in fixed:
            reason = "its `files` depend on the version, and only the controller renders them: use playbooks/deploy.yml"
        return {
            "format": known_app.FORMAT,
            "name": name,
            "spec": None if spec is None or reason else known_app.lasting(spec),
            "reason": reason,
            "settings": self._settings,
            "front": self._front,
            "hosts": list(self._hosts.get(name, ())),
        }
