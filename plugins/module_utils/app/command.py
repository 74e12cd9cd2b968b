"""One command of an app in its live release, as a process of the app like its workers."""

from __future__ import annotations

from dataclasses import dataclass

from ..host import layout, output
from ..host.masking import hide
from ..release import environment
from ..systemd import unit_names
from ..systemd.app_process import Service


class CannotRun(Exception):
    """The command cannot be run. The message says what to do about it."""


@dataclass(frozen=True)
class Outcome:
    #: The last of what it printed, with a word on what was left out.
    output: str
    #: How it ended; empty where all is well.
    failure: str
    #: None where it did not end by itself.
    status: int | None


def hide_secrets(app: str, release: str) -> None:
    """Let no output show the values of the release's secrets. Raises CannotRun."""
    try:
        entry = environment.entry(app, release)
        hide(entry["environment"].get(name, "") for name in entry["secrets"])
    except FileNotFoundError as error:
        raise CannotRun(f"{release} has no environment.json. {_again(app)}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CannotRun(
            f"{release} was made by an older version of Emperor Stack, which did not support commands. "
            f"{_again(app)}"
        ) from error


def _again(app: str) -> str:
    return f"Deploy {app} again: playbooks/deploy.yml -e app={app} -e force=true"


def run_command(app: str, release: str, command: str, timeout: float) -> Outcome:
    """Run *command*, for *timeout* seconds at most. Raises CommandFailed where systemd cannot begin it."""
    directory = layout.release(app, release)
    service = Service(
        app, "a command by playbooks/run.yml", f"{directory}/code", timeout, kind=unit_names.RUN
    )
    argv = environment.launched(directory, ["/bin/sh", "-ec", command])
    ended = service.run(argv, {}, stdin=None)
    said = ended.said.text()
    if ended.said.left_out:
        said = (
            f"[{ended.said.left_out} earlier bytes omitted; the last {output.KEPT_BYTES} are shown]\n{said}"
        )
    return Outcome(said, ended.outcome, ended.status)
