"""What repositories and builds bring stays their own affair: each fails or serves by itself, and the others go live.

All are in one run of each host, beside an app that is new in it; those that ended everybody's run once get one of their own
too. WALLS_ALONE=1 gives that to each: it is how each was seen to do harm.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deploying import Outcome, figure
from walls.conftest import SERVERS
from walls.contents import CONTENTS, GIT, INDEX, OUTSIDE, SERVER, TOKEN, Content, entry
from walls.ground import Ground, play, results, shown

PLANTED = {"python_apps_index": f"http://user:{INDEX}@{SERVER}/simple"}
SECRETS = (GIT, INDEX, TOKEN)

#: More than this of what a build prints is on nobody's terminal.
MOST_OUTPUT = 400_000

#: What a terminal obeys: all control characters but line breaks and tabs.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def on(host: str) -> list[Content]:
    """What is tried on *host*: all where Debian or the server matters, and of the others every second."""
    rest = [content for content in CONTENTS if not content.both]
    mine = rest[list(SERVERS).index(host) :: 2]
    return [content for content in CONTENTS if content.both or content in mine]


CASES = [(host, content) for content in CONTENTS for host in SERVERS if content in on(host)]


@dataclass
class Run:
    """A run with bad contents, and what there was after it."""

    output: str
    state: dict[str, Any]
    #: Processes by app.
    left: dict[str, Any]
    #: Whether the app that is new in it went live.
    healthy: bool
    #: What an app's own user could read of passwords, and where they are written down.
    saw: dict[str, str] = field(default_factory=dict)


def names(contents: list[Content]) -> list[str]:
    return [content.name for content in contents]


def judged(ground: Ground, outcome: Outcome, contents: list[Content], before: str | None) -> Run:
    state = ground.as_root("state", apps=[*names(contents), "fresh", "hostile"])
    left = ground.as_root("processes", apps=names(contents))
    saw = {
        name: ground.host.run("cat /srv/apps/%s/cache/%s", name, "saw").stdout
        for name in ("watches", "backend")
    }
    healthy = state["fresh"]["live"] not in (None, before)
    return Run(outcome.output, state, left, healthy, saw)


@pytest.fixture(scope="session")
def together(grounds: list[Ground], material: Path) -> dict[tuple[str, str], Run]:
    """The run that each content was in, by host and content."""
    archives = material / "archives"
    usual = {ground.name: list(ground.stack.apps) for ground in grounds}
    chosen = {ground.name: on(str(ground.host.backend.host)) for ground in grounds}
    found: dict[tuple[str, str], Run] = {}

    def run(contents: dict[str, list[Content]], playbook: str, **extra: object) -> None:
        asked = [ground for ground in grounds if contents[ground.name]]
        befores = {one.name: one.as_root("state", apps=["fresh"])["fresh"]["live"] for one in asked}
        for ground in asked:
            ground.renew("fresh")
        outcomes = play(asked, playbook, patience=900, **PLANTED, **extra)
        for ground in asked:
            (ground.stack.directory / f"run-{ground.turn}.log").write_text(outcomes[ground.name].output)
            one = judged(ground, outcomes[ground.name], contents[ground.name], befores[ground.name])
            found.update({(ground.name, content.name): one for content in contents[ground.name]})

    for ground in grounds:
        ground.stack.apps = [*(entry(one, archives) for one in chosen[ground.name]), *usual[ground.name]]
        ground.host.check_output("groupadd --force grouped && mkdir -p /srv/bait")
    if os.environ.get("WALLS_ALONE"):
        play(grounds, "site.yml", "--skip-tags", "deploy", **PLANTED)
    for ground in grounds:
        ground.as_hostile("watch", seconds=120, words=SECRETS)
        ground.as_hostile("link_tmp", target="/srv/bait")
    try:
        if os.environ.get("WALLS_ALONE"):
            for name in dict.fromkeys(content.name for mine in chosen.values() for content in mine):
                one = {host: [each for each in mine if each.name == name] for host, mine in chosen.items()}
                run(one, "playbooks/deploy.yml", app=f"{name},fresh")
        else:
            run(chosen, "site.yml")
    finally:
        for ground in grounds:
            ground.as_hostile("put_tmp_back")
    return found


def complaint_of(output: str, name: str) -> str:
    """What a run says at its end of app *name*: from its number and its name on to an empty line."""
    found = re.search(rf"(?ms)^\[\d+\] {re.escape(name)}: (.*?)(?=\n\n|\Z)", output)
    return found[1].strip() if found else ""


def problem(ground: Ground, content: Content, run: Run) -> str:
    """Why this content got further than itself, or nothing."""
    state = run.state[content.name]
    if not run.healthy:
        return "the healthy app beside it did not go live"
    if state["lock"]:
        return "a lock is left"
    if content.ends == "fails" and state["live"]:
        return "it went live"
    if content.ends == "serves" and not state["live"]:
        return "it did not go live"
    complaint = complaint_of(run.output, content.name)
    if not state["live"] and not complaint:
        return "the run does not say that it failed"
    if not state["live"] and not re.search(content.says, f"{complaint}\n{state['reason']}", re.I | re.S):
        return f"its failure does not name {content.says}"
    if CONTROL.search(state["reason"]):
        return "control characters are kept in the history"
    return ""


@pytest.mark.parametrize(
    ("where", "content"),
    CASES,
    ids=[f"{host.removeprefix('walls-')}-{content.name}" for host, content in CASES],
)
def test_it_stays_its_own_affair(
    grounds: list[Ground], together: dict[tuple[str, str], Run], where: str, content: Content
) -> None:
    ground = next(one for one in grounds if one.host.backend.host == where)
    run = together[ground.name, content.name]
    state = run.state[content.name]
    answered = (
        "live" if state["live"] else state["reason"] or complaint_of(run.output, content.name) or "nothing"
    )
    ground.note(content.row, content.what, shown(answered), problem(ground, content, run))


def test_each_that_ended_everybodys_run_alone(
    grounds: list[Ground], together: dict[tuple[str, str], Run], ground: Ground
) -> None:
    """One by one, each beside the app that is new in the same run."""
    if ground is not grounds[0]:
        pytest.skip("both hosts were asked side by side")
    alone = [content for content in CONTENTS if content.alone]
    failed = []
    for content in alone:
        befores = {one.name: one.as_root("state", apps=["fresh"])["fresh"]["live"] for one in grounds}
        play(grounds, "playbooks/deploy.yml", app=f"{content.name},fresh", force=True)
        for one in grounds:
            after = one.as_root("state", apps=["fresh", content.name])
            answered = shown(after[content.name]["reason"] or "live")
            wrong = "" if after["fresh"]["live"] != befores[one.name] else "the healthy app did not go live"
            wrong = wrong or ("a lock is left" if after[content.name]["lock"] else "")
            try:
                one.note(content.row, f"{content.what}, in a run of its own", answered, wrong)
            except AssertionError as error:
                failed.append(str(error))
    assert not failed, "\n".join(failed)


def test_an_app_with_a_link_in_its_home_fails_alone(
    ground: Ground, together: dict[tuple[str, str], Run]
) -> None:
    """It has a link in the place of ~/tmp during the run with all the others."""
    run = together[ground.name, "watches"]
    said = complaint_of(run.output, "hostile")
    wrong = "" if run.healthy else "the healthy app did not go live"
    wrong = wrong or ("" if said else "the run does not name the app")
    changed = ground.host.check_output("stat -c '%U:%G %a' /srv/bait")
    wrong = wrong or ("" if changed == "root:root 755" else f"what it leads to is {changed} now")
    ground.note(2, "a link in the place of ~/tmp", shown(said), wrong)


def test_no_file_is_written_outside(ground: Ground, together: dict[tuple[str, str], Run]) -> None:
    """Neither by submodules behind `..` nor by builds."""
    there = ground.host.run(
        f"ls -d {OUTSIDE} /srv/planted/planted.txt /srv/place /srv/planted.txt 2>/dev/null"
    ).stdout
    ground.note(
        3, "files of a submodule outside of the code", shown(there or "none"), "there are" if there else ""
    )
    # What a sandbox has in memory of its own, under names like /tmp, was gone with it.
    tops = "/run /dev/shm /tmp /var /etc /usr/local /srv /opt /root /home"
    wrote = ground.host.check_output(f"find {tops} -name planted-by-build -not -path '/proc/*'").splitlines()
    outside = [path for path in wrote if not path.startswith("/srv/apps/writes/")]
    ground.note(
        14, "files of a build outside of its app", shown(outside or "none"), "there are" if outside else ""
    )
    assert wrote, "it wrote nowhere, and would prove nothing"
    for path in outside:
        ground.host.check_output("rm %s", path)


def test_no_password_is_seen_or_kept(ground: Ground, together: dict[tuple[str, str], Run]) -> None:
    run = together[ground.name, "watches"]
    failed = []

    def note(name: str, found: object) -> None:
        try:
            ground.note(11, name, shown(found or "none"), "there are" if found else "")
        except AssertionError as error:
            failed.append(str(error))

    note("passwords that a build saw of other processes", run.saw["watches"])
    note("passwords that a build backend found", run.saw["backend"])
    note("passwords that a running app saw", ground.as_hostile("watched"))
    outputs = {id(one): one.output for (name, _), one in together.items() if name == ground.name}
    note(
        "passwords in what a run prints",
        [word for word in SECRETS for said in outputs.values() if word in said],
    )
    places = ["/srv/apps", "/var/log", "/run/emperor-stack", "/var/lib/emperor-stack"]
    note("passwords in files", ground.as_root("mentions", words=SECRETS, places=places))
    assert not failed, "\n".join(failed)


def test_what_a_run_prints_is_bounded_and_plain(ground: Ground, together: dict[tuple[str, str], Run]) -> None:
    outputs = {id(one): one.output for (name, _), one in together.items() if name == ground.name}
    longest = max(map(len, outputs.values()))
    found = [shown(match[0]) for said in outputs.values() for match in CONTROL.finditer(said)]
    ground.note(
        16, "control characters in a run's output", shown(found or "none"), "there are" if found else ""
    )
    wrong = "" if longest < MOST_OUTPUT else "a terminal is flooded"
    ground.note(10, "characters of a run's output", f"{longest}", wrong)


def test_what_a_build_opened_is_closed(grounds: list[Ground], together: dict[tuple[str, str], Run]) -> None:
    """By the seal: nothing of the code is writable for the app, and no bit of it lends a user."""
    (ground,) = (one for one in grounds if "modes" in names(on(str(one.host.backend.host))))
    found = ground.host.check_output("find /srv/apps/modes/releases -perm /6022 -not -type l").splitlines()
    ground.note(
        7, "what a build has left open in its code", shown(found or "nothing"), "there is" if found else ""
    )


def test_nothing_that_a_build_left_runs(ground: Ground, together: dict[tuple[str, str], Run]) -> None:
    """Not beside the app that is live, and not where none is."""
    runs = {id(one): one for (name, _), one in together.items() if name == ground.name}
    left = []
    for run in runs.values():
        for app, processes in run.left.items():
            marked = [one for one in processes if re.match(r"sleep\x0030[1-4]\x00", one[2])]
            # What the app itself starts at import is its own while it is live.
            own = app == "import" and run.state[app]["live"]
            left += [f"{app}: {one[2]}" for one in marked if not own]
            left += [f"{app}: {one[2]}" for one in processes if not run.state[app]["live"]]
    wrong = "there are" if left else ""
    ground.note(
        15, "processes of builds and hooks that run on", shown([shown(one) for one in left] or "none"), wrong
    )


def test_how_many_went_live_beside_bad_content(together: dict[tuple[str, str], Run]) -> None:
    healthy = sum(run.healthy for run in together.values())
    alone = [one for (_, name), one in results.items() if name.endswith("in a run of its own")]
    good = sum(not one.problem for one in alone)
    kinds = {content for _, content in together}
    figure("others_deployed_beside_bad_content", f"{healthy + good}/{len(together) + len(alone)}")
    assert len(kinds) >= 15
    assert (healthy, good) == (len(together), len(alone))
