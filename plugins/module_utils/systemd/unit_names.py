"""Which systemd units of an app are on the host, by their names alone: systemd is not asked.

Units of an activation (`app_blog_jobs@7.service`) run beside those of another one; the units of a scheduled command
(`app_blog_nightly.timer`) exist once and follow the live release. No name of an app or a process has an underscore, so
that a unit belongs to one app exactly.
"""

from __future__ import annotations

import os
import re

from ..host import layout

#: The process of an activation's web server, where that is a unit of its own; all others are workers.
WEB = "web"

#: What stands in the place of a process in the name of a transient unit: a command of a deploy, and one that somebody gave.
COMMAND = "command"
RUN = "run"

#: Seconds that a worker may take to stop, at most: below the time that a deploy's lock lives without a sign, as the stop is
#: a part of the deploy.
LONGEST_STOP = 1500


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _of_activation(app: str) -> re.Pattern[str]:
    return re.compile(rf"app_{re.escape(app)}_([a-z][a-z0-9-]*)@([0-9]+)(?:-[0-9]+)?\.(?:service|socket)")


def _of_release(app: str) -> re.Pattern[str]:
    return re.compile(rf"app_{re.escape(app)}_([a-z][a-z0-9-]*)\.(?:service|timer)")


def activation_units(app: str) -> list[tuple[str, str, str]]:
    """(unit, process, activation) of every unit of an activation of exactly this app."""
    matches = ((name, _of_activation(app).fullmatch(name)) for name in _names(layout.UNITS))
    return [(name, match[1], f"{app}@{match[2]}") for name, match in matches if match]


def release_units(app: str) -> list[str]:
    """The timers of exactly this app, and the services that they start."""
    return [name for name in _names(layout.UNITS) if _of_release(app).fullmatch(name)]


def command_units(app: str) -> list[str]:
    """Commands of deploys of exactly this app that run now, and those that failed and nobody has asked. Workers are none of
    them, whatever their names: those have files."""
    pattern = re.compile(rf"app_{re.escape(app)}_{COMMAND}@[0-9]+-[0-9]+\.service")
    return [name for name in _names(layout.TRANSIENT_UNITS) if pattern.fullmatch(name)]


def all_units(app: str) -> list[str]:
    """Every unit of exactly this app on the host: those above, commands that run now, and arranged ends of activations."""
    retire = re.compile(rf"emperor-stack-retire-{re.escape(app)}-[0-9]+\.(?:service|timer)")
    wanted = (_of_activation(app), _of_release(app), retire)
    names = {*_names(layout.UNITS), *_names(layout.TRANSIENT_UNITS)}
    return sorted(name for name in names if any(one.fullmatch(name) for one in wanted))


def unguarded_scopes() -> list[tuple[str, str]]:
    """(scope, activation) of every scope of a vassal that no guard ends, as earlier versions have left them."""
    scopes, guards = [], set()
    for name in _names(layout.TRANSIENT_UNITS):
        if match := re.fullmatch(r"app_([a-z][a-z0-9-]*)_web\.([0-9]+)\.([0-9]+)\.scope", name):
            scopes.append((name, *match.groups()))
        elif match := re.fullmatch(r"emperor-stack-guard-(.+-[0-9]+-[0-9]+)\.service", name):
            guards.add(match[1])
    return [
        (name, f"{app}@{serial}")
        for name, app, serial, pid in scopes
        if f"{app}-{serial}-{pid}" not in guards
    ]


def has_web(activation: str | None) -> bool:
    """Whether the web server of *activation* is a unit."""
    app = (activation or "").rpartition("@")[0]
    return bool(app and activation) and os.path.lexists(
        layout.unit_file(layout.activation_unit(app, WEB, str(activation)))
    )


def web_activations(app: str) -> list[str]:
    """Activations of *app* whose web server is a unit."""
    return [
        activation
        for unit, process, activation in activation_units(app)
        if process == WEB and unit.endswith(".service")
    ]


def apps_with_web() -> list[str]:
    """Every app of the host whose web server is a unit, live or not."""
    matches = (
        re.fullmatch(rf"app_([a-z][a-z0-9-]*)_{WEB}@[0-9]+\.service", name) for name in _names(layout.UNITS)
    )
    return sorted({match[1] for match in matches if match})
