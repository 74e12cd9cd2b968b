"""What a host is told of an app of which it is to make a release: the completed entry, and what the controller adds.

`plugin_utils/release/specs.py` makes it; module `release` gets one for each app. Types alone: nothing is checked here,
since the entry passed the check before. docs/reference/python_apps.md says what each key of an entry means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from ..source.spec import Located, Named, Sent


class KeptWorker(TypedDict):
    """What phases after `prepare` have to know of a worker."""

    count: int
    overlap: bool


class Worker(KeptWorker, total=False):
    #: `first` or `each`.
    run_on: str
    command: str
    stop_signal: str
    #: Seconds.
    stop_timeout: int


class Job(TypedDict):
    """A scheduled command, either `at` times or `every` so often."""

    command: str
    at: str | None
    every: str | None
    missed: str | None
    #: Seconds.
    timeout: int
    #: `first` or `each`.
    run_on: str


class HealthSpec(TypedDict):
    path: str
    status: list[int]
    answers: int
    #: Seconds.
    timeout: int


class StaticFile(TypedDict):
    """What a release copies or links for the web server; `kind` is `static`, `private` or `page`."""

    url: str
    path: str
    directory: bool
    kind: str
    persistent: bool


class PersistentDirectory(TypedDict):
    path: str
    #: Whether the web server shows what is in it.
    served: bool
    #: Whether it shows some of it only when the app says so, by X-Accel-Redirect.
    private: NotRequired[bool]


class Going(Named, total=False):
    """What an app brings along from the phases before, where there is something."""

    #: Phases that it went through already, out of turn.
    done: list[str]


class PlanSpec(Going, Located, total=False):
    """What a plan is told."""

    #: Minor version that the app asks for; None: that of the host's own.
    python: str | None
    #: See `fingerprint` in plugin_utils/release/specs.py.
    fingerprint: str
    #: The same in format 1, once a host has asked for it; empty where no release of that time can be the same.
    former: str
    #: The revision, where the controller knows it: 40 hex digits. Of git the host knows it.
    digest: str
    #: Whether this is the host for what runs on one host alone; unsaid where the app has nothing of that kind.
    leads: bool
    #: `gain` or `lose`, where this host is to begin or to end with that.
    lead: str
    #: Why the controller cannot read the source, in place of all but the name.
    refused: str


class Decided(Named, total=False):
    """What was decided for all hosts of an app; a host that is alone decides itself."""

    #: The name of the new release.
    release: str
    #: The commit that the wanted version is.
    commit: str
    #: The host that migrates the database for this one, which does it itself where nothing is said.
    migrated_on: str
    #: Of a rollback: the release that this host returns to.
    to_release: str
    #: Why a deploy that went well here ends on all hosts.
    called_off: str


class ReleaseSpec(PlanSpec, Decided, Sent, total=False):
    """All that a release is made of."""

    # Of what the plan found.
    action: str
    revision: str

    # The completed entry, as far as a release is made of it.
    domains: list[str]
    wsgi: str | None
    paste: str | None
    asgi: str | None
    requirements: str | None
    extras: Sequence[str]
    groups: Sequence[str]
    build: list[str]
    migrate: str | None
    workers: Mapping[str, Worker]
    schedule: Mapping[str, Job]
    #: Name of the hook to its commands.
    hooks: Mapping[str, Sequence[str]]
    health: HealthSpec
    server: str
    #: `preload` and the numbers of processes.
    web: Mapping[str, Any]
    on_demand: bool
    #: `request_timeout` and the others.
    limits: Mapping[str, Any]
    path: str

    # Derived from it.
    pythonpath: Sequence[str]
    persistent_files: Sequence[str]
    static_files: list[StaticFile]
    persistent_directories: list[PersistentDirectory]

    # Texts that the controller made: name of the file to its content. Each may be secret.
    files: Mapping[str, str]
    server_files: Mapping[str, str]
    units: Mapping[str, str]
    entry: str
    launch: str
    import_check: str
    #: `env` and the secrets, all of them variables of the environment.
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
