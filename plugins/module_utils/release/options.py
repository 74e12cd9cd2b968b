"""What a run asks of the phases, and what each says of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .current_steps import CurrentSteps
from .lock import Owner


class _Found(TypedDict, total=False):
    """What a plan, or the choice of a rollback, says of an app."""

    #: `none`, `deploy`, `finish`, `held`, or `compare` where the controller is to ask once more.
    action: str
    why: str
    #: The release; in a status its manifest.
    live: str | dict[str, Any] | None
    #: Of the live release.
    version: str | None
    revision: str
    crosses_migration: bool
    #: Whether the release to go back to still runs, or another run had switched to it.
    warm: bool | str
    #: Whether the switch follows at once, before other apps and hosts.
    switch_now: bool
    #: For people: versions and revisions that are live and wanted.
    live_version: str
    live_revision: str
    wanted_version: str
    wanted_revision: str
    #: Phases that it has gone through in this one.
    done: list[str]


class Choice(TypedDict):
    """A release that a host can return to."""

    release: str
    revision: str
    version: str
    #: Whether it is the live one, or was live before it and is not known to be bad.
    earlier: bool
    #: Whether its migrations differ from those of the live one.
    crosses: bool


class _Shared(TypedDict, total=False):
    """What hosts tell of an app so that the controller can decide for all of them."""

    #: A release that is prepared already, as an earlier run was called off or killed.
    ready: str
    #: Which commit the wanted version is.
    commit: str
    #: Releases of the host whose names are taken.
    taken: list[str]
    #: What a rollback can choose from, and whether an earlier one has switched and did not end.
    choices: list[Choice]
    unfinished: bool
    #: Whether it is the host for what runs on one host alone; `gain` or `lose` where that changes.
    leads: bool
    lead: str


class _Did(TypedDict, total=False):
    """What a phase did to an app."""

    release: str | None
    reused: bool
    activation: str | None
    #: Requests that the probe took.
    probes: int
    #: The last of what the migration printed.
    output: str
    #: Of the rename that is the switch.
    milliseconds: float | None
    #: The activation that was stopped while it had requests.
    cut_off: str
    seconds: float
    took: dict[str, float]


class _Seen(TypedDict, total=False):
    """What a status says of an app beside its `live` release; docs/reference has the whole."""

    activations: list[dict[str, Any]]
    workers: list[dict[str, Any]]
    timers: list[dict[str, Any]]
    health: str
    #: Since when.
    maintenance: str | None
    processor_divided: bool
    disk: dict[str, Any] | None
    lock: dict[str, Any] | None
    releases: list[dict[str, Any]]
    history: list[dict[str, Any]]


#: The release that a rollback leaves.
_Left = TypedDict("_Left", {"from": str | None}, total=False)


class Outcome(_Found, _Shared, _Did, _Seen, _Left, total=False):
    """What a phase found or did with an app, as module `release` returns it."""

    changed: bool
    #: Where visitors find it.
    url: str
    warnings: list[str]
    #: Why it failed; `phase` is where, `locked` is the lock of the run that is in the way.
    error: str
    phase: str
    locked: dict[str, Any]


@dataclass(frozen=True)
class Options:
    owner: Owner = field(default_factory=Owner)
    dead: Sequence[str] = ()
    break_lock: bool = False
    force: bool = False
    to_release: str | None = None
    #: A version, or the beginning of a commit.
    to_version: str | None = None
    across_migration: bool = False
    emperor: str | None = None
    keep_releases: int = 5
    keep_warm: int = 600
    uv_environment: Mapping[str, str] = field(default_factory=dict)
    interpreters: Mapping[str, str] = field(default_factory=dict)
    http_port: int = 80
    #: Seconds after which a switch that nobody has confirmed is taken back; 0 where nobody is to confirm it.
    confirm_within: int = 0
    check_mode: bool = False
    steps: CurrentSteps = field(default_factory=CurrentSteps)
