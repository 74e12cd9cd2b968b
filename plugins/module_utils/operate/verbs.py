"""What `emperor` does: each verb of it for apps that this host knows, by the code that the playbooks run here."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..app import command as app_command
from ..console import release_report, status_report
from ..emperor import handover
from ..files.atomic import write_atomically
from ..host import layout, output
from ..host.processes import process_token
from ..host.release_error import ReleaseError
from ..release import failure, hiding, known_app
from ..release.known_app import KnownApp
from ..release.lock import Owner
from ..release.options import Options, Outcome
from ..release.phase import DEPLOY, ROLLBACK
from ..release.phases import in_turn, phases_of, run_phase
from ..release.spec import ReleaseSpec
from ..release.state import RELEASE_ID, AppState
from ..uwsgi import emperor_check
from ..values.versions import git_version
from . import shown
from .shown import BAD, GOOD

#: What the playbooks call an option of ours.
OPTIONS = (
    (re.compile(r"-e app=\S+ -e force=true"), "--force"),
    (re.compile(r"-e break_lock=true"), "--break-lock"),
    (re.compile(r"-e across_migration=true"), "--across-migration"),
)


class Refused(Exception):
    """It is not done, for the reason that the message gives."""


def in_our_words(text: str) -> str:
    """A message that names options of a playbook, with those of `emperor` in their place."""
    for theirs, ours in OPTIONS:
        text = theirs.sub(ours, text)
    return text


def owner() -> Owner:
    """Who runs this: what a playbook says of its controller."""
    here = socket.gethostname()
    user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    # Of a login, the comment of its key.
    user += f"/{key}" if (key := os.environ.get("EMPEROR_KEY")) else ""
    name = re.sub(r"[^A-Za-z0-9@._+:/-]", "?", user)[:80]
    return {"token": process_token(os.getpid()), "who": f"{name}@{here}", "controller": here}


def options(known: KnownApp, **chosen: Any) -> Options:
    settings = known["settings"]
    return Options(
        owner=owner(),
        keep_releases=settings["keep_releases"],
        keep_warm=settings["keep_warm"],
        uv_environment=settings["uv_environment"],
        interpreters=settings["interpreters"],
        http_port=settings["http_port"],
        steps=shown.ShownSteps(),
        **chosen,
    )


def alone(known: KnownApp, only_here: bool, playbook: str) -> None:
    """Raise Refused where other hosts have the app too: hosts that go alone race in its database, and differ."""
    if known["hosts"] and not only_here:
        raise Refused(
            f"{known['name']} is on several hosts ({', '.join(known['hosts'])}), and this command sees only this one: "
            f"they would have different releases, and no run would keep their migrations apart. Use the controller: "
            f"ansible-playbook playbooks/{playbook} -e app={known['name']}"
        )


def deploy(known: KnownApp, version: str, words: Mapping[str, Any]) -> int:
    """Deploy *version*; *words* are the options of the command."""
    app = known["name"]
    if wrong := git_version(version[:300]):
        raise Refused(f"{version[:60]!a} is not a version: {wrong.reason}")
    alone(known, words.get("only_here", False), f"deploy.yml -e version={version}")
    try:
        spec = known_app.deployable(known, version)
    except ReleaseError as error:
        raise Refused(f"{app} cannot be deployed here: {error}") from error
    hiding.hide_all([spec], known["settings"]["uv_environment"])
    chosen = options(known, force=words.get("force", False), break_lock=words.get("break_lock", False))
    outcome = in_turn(phases_of(DEPLOY, alone=True), [spec], chosen)
    kept = spec_version(known)
    if version != kept and not outcome[app].get("error") and not words.get("json"):
        said = finish(outcome, phases_of(DEPLOY, alone=True), words)
        shown.say(
            f"{app}: {version} lasts until the next run of site.yml or playbooks/deploy.yml without -e version, which "
            f"deploys {kept} again. To keep it, set source.version of {app} to {version} in the inventory"
        )
        return said
    return finish(outcome, phases_of(DEPLOY, alone=True), words)


def spec_version(known: KnownApp) -> str:
    """The version of the inventory."""
    return str(known["spec"]["source"].get("version")) if known["spec"] else ""


def rollback(known: KnownApp, to: str, words: Mapping[str, Any]) -> int:
    """Go back to release *to*, or to the one before where that is empty."""
    app = known["name"]
    if to and not RELEASE_ID.fullmatch(to):
        raise Refused(f"{to[:60]!a} is not the name of a release, such as 20261122T193000-ab12cd3")
    alone(known, words.get("only_here", False), "rollback.yml")
    chosen = options(
        known,
        to_release=to or None,
        across_migration=words.get("across_migration", False),
        break_lock=words.get("break_lock", False),
    )
    outcome = in_turn(phases_of(ROLLBACK, alone=True), [cast(ReleaseSpec, {"name": app})], chosen)
    return finish(outcome, phases_of(ROLLBACK, alone=True), words)


def finish(outcome: dict[str, Outcome], phases: Sequence[str], words: Mapping[str, Any]) -> int:
    """Say what became of a deploy or of a rollback; the exit status."""
    result: dict[str, Any] = {"apps": output.printable(outcome), "phases": phases}
    for one in result["apps"].values():
        for key in ("error", "why"):
            if key in one and not words.get("login"):
                one[key] = in_our_words(one[key])
    report = release_report.of_phases(result)
    if words.get("json"):
        shown.show_json(result)
        return BAD if any(one.get("error") for one in outcome.values()) else GOOD
    said = shown.show(report)
    # A job of CI must not be green where nothing was deployed.
    held = any(one.get("action") == "held" for one in outcome.values())
    return BAD if held and words.get("login") else said


def status(apps: Sequence[KnownApp], as_json: bool) -> int:
    if not apps:
        raise Refused("this host knows no apps: site.yml tells it")
    specs = [cast(ReleaseSpec, {"name": one["name"]}) for one in apps]
    found = output.printable(run_phase("status", specs, Options(http_port=apps[0]["settings"]["http_port"])))
    if as_json:
        shown.show_json(found)
    else:
        shown.show(status_report.of_apps(found))
    # An app that does not answer is in the table, as with the playbook.
    return BAD if any(one.get("error") for one in found.values()) else GOOD


def history(known: KnownApp, lines: int, as_json: bool) -> int:
    entries = output.printable(AppState(known["name"]).history(max(lines, 1)))
    if as_json:
        shown.show_json(entries)
    else:
        shown.say("\n".join(shown.history(entries)))
    return GOOD


def run(known: KnownApp, words: Sequence[str], timeout: int) -> int:
    """Run a command in the live release: one word as a line of the shell, several as they are."""
    app = known["name"]
    release = AppState(app).live_release()
    if not release:
        raise Refused(f"{app} has no live release on this host: deploy it first")
    if timeout < 1:
        raise Refused("--timeout takes a number of seconds, 1 or more")
    line = words[0] if len(words) == 1 else shlex.join(words)
    try:
        app_command.hide_secrets(app, release)
        done = app_command.run_command(app, release, line, timeout)
    except app_command.CannotRun as error:
        raise Refused(str(error)) from error
    except Exception as error:
        raise Refused(f"{app}: {failure.described(app, error)}") from error
    if done.output:
        shown.say(done.output.rstrip("\n"))
    return shown.complain(f"{app}: the command failed: {done.failure}") if done.failure else GOOD


def restart(known: KnownApp) -> int:
    app = known["name"]
    try:
        moved = handover.restart_app(app, emperor_check.running_emperor(), known["settings"]["http_port"])
    except Exception as error:
        raise Refused(f"{app}: {in_our_words(failure.described(app, error))}") from error
    shown.say(f"{app}: {moved} has fresh processes, and took over")
    return GOOD


def maintenance(known: KnownApp, state: str) -> int:
    app = known["name"]
    if known["front"] != "nginx":
        raise Refused("only nginx supports maintenance mode, and this host has Apache")
    path = layout.maintenance(app)
    # Its time says since when. One that is not empty is of a restore, which would end it.
    if state == "on" and (not os.path.exists(path) or os.path.getsize(path)):
        write_atomically(path, "", mode=0o644)
    elif state == "off" and os.path.exists(path):
        os.unlink(path)
    shown.say(f"{app}: maintenance mode is {state}")
    return GOOD


def logs(known: KnownApp, lines: int, follow: bool) -> list[str]:
    """The command that shows what the app prints."""
    app = known["name"]
    processes = {"web"}
    for manifest in AppState(app).manifests():
        processes |= {*manifest.workers, *manifest.schedule}
    names = [app, *(f"{app}-{process}" for process in sorted(processes))]
    command = ["journalctl", f"--namespace={layout.LOG_NAMESPACE}", f"--lines={max(lines, 1)}", "--no-pager"]
    return [*command, *(["--follow"] if follow else []), *(f"--identifier={name}" for name in names)]
