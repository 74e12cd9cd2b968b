"""What a running app does to its neighbours, to root's questions and to its own end, once somebody has taken it over."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.apps import timeouts
from appsite import eventually
from deploying import figure
from walls.conftest import REQUEST_SECONDS, TELLER
from walls.ground import NEIGHBOUR, Ground, play, shown

MARK = "walls-leftover"
ROUNDS = 500

#: Seconds after a deploy until the emperor has killed what does not end: it grants an old vassal so many, and some to look.
LONGEST_END = timeouts(REQUEST_SECONDS)["curse_tolerance"] + 10

#: Lines of a flood, and the bytes of each.
LINES, BYTES = 4000, 40_000

#: Where the hostile app keeps what its statistics say.
SAYS = f"{layout.cache('hostile')}/says.json"

followed: dict[str, dict[str, Any]] = {}
leftovers: dict[str, list[str]] = {}


def socket_of(ground: Ground, app: str) -> str:
    """What visitors of *app* are led to."""
    found: str = ground.host.check_output("readlink %s", layout.active_socket(app))
    return found


def statistics_of(ground: Ground, app: str) -> str:
    activation = ground.host.check_output("readlink %s", layout.active(app)).rpartition("/")[2]
    return layout.stats_socket(app, activation)


# Row 1


def test_root_follows_no_path_of_an_apps(ground: Ground) -> None:
    persistent = [{"path": "media", "served": True}, {"path": "data", "served": False}]
    came = ground.as_root("race", app="hostile", rounds=ROUNDS, persistent=persistent)
    followed[ground.name] = came
    wrong = f"root changed what is behind it {came['followed']} times" if came["followed"] else ""
    # That the race was one: the directory was there to be corrected, and was away.
    assert came["corrected"] or came["complaints"], came
    ground.note(1, f"~/tmp swapped with a link while root corrects it, {ROUNDS} rounds", shown(came), wrong)


def test_how_many_paths_were_followed() -> None:
    figure(
        "root_paths_followed", f"{sum(one['followed'] for one in followed.values())}/{ROUNDS * len(followed)}"
    )
    assert len(followed) == 2
    assert [one["followed"] for one in followed.values()] == [0, 0]


# Row 4


def test_another_apps_socket_in_the_place_of_its_own(ground: Ground) -> None:
    own, target = socket_of(ground, "hostile"), socket_of(ground, NEIGHBOUR)
    came = ground.as_hostile("take_place", own=own, target=target)
    answers = [ground.ask("hostile") for _ in range(3)]
    back = ground.host.run("test ! -e %s.mine || mv -T %s.mine %s", own, own, own)
    assert back.rc == 0, back.stderr
    reached = [body for _, body in answers if body == NEIGHBOUR.encode()]
    wrong = "visitors of the hostile app reach the neighbour" if reached else ""
    ground.note(4, "a link to the neighbour's socket in the place of its own", shown(came), wrong)


def test_another_directory_in_the_place_of_its_own(ground: Ground) -> None:
    came = ground.as_hostile("move_directory", directory=layout.socket_directory("hostile"))
    ground.note(4, "its socket directory moved away", shown(came), "" if "refused" in came else "it is gone")


# Row 5


def test_run_is_not_filled(ground: Ground) -> None:
    """With a /run of 48 MB and 4,000 names, as a small host has it."""
    host = ground.host
    host.check_output("mount -o remount,size=48m,nr_inodes=4000 /run")
    try:
        came = ground.as_hostile("fill", top="/run", bytes=64 * 2**20, names=5000)
        usable = ground.as_root("run_is_usable", size=8 * 2**20)
        ground.note(
            5, "/run filled with bytes and names", shown(came), "" if usable["usable"] else shown(usable)
        )
    finally:
        host.check_output("find /run -name '.filled*' -delete")
        host.check_output("mount -o remount,size=50%,nr_inodes=400k /run")


@pytest.mark.parametrize(
    "top", ["/dev/shm", "/tmp", "/run/lock", "/var", "/etc", "/srv", "/usr", "/opt", "/home", "/root"]
)
def test_it_writes_nowhere_but_into_its_own(ground: Ground, top: str) -> None:
    """What it has in memory of its own, under names like /tmp, is none of the host's."""
    came = ground.as_hostile("fill", top=top, bytes=2**20, names=1)
    found = ground.host.check_output("find %s -xdev -name '.filled*'", top).splitlines()
    ground.as_hostile("empty", top=top)
    ground.host.check_output("find %s -xdev -name '.filled*' -delete", top)
    own = (layout.shared("hostile"), layout.cache("hostile"))
    places = [path for path in found if not path.startswith(own)]
    answered = f"{shown(came['places'], 60)}; of the host: {shown(places or 'nowhere but in its own', 60)}"
    ground.note(5, f"files below {top}", answered, "it wrote there" if places else "")


# Rows 6 and 9: one run meets forged lines and statistics that hold it up


ANSWERS: dict[str, dict[str, Any]] = {
    "no JSON": {"text": "\x1b[2J no JSON"},
    "a list": {"text": "[1, 2, 3]"},
    "workers that are a number": {"text": json.dumps({"workers": 7, "pid": 1})},
    "workers that are texts": {"text": json.dumps({"workers": ["a", None, 3], "pid": "x"})},
    "workers without anything": {
        "text": json.dumps({"workers": [{}, {"cores": 3}, {"status": 5}], "pid": None})
    },
    "a pid that leads elsewhere": {"text": json.dumps({"workers": [], "pid": "../../etc/passwd\0"})},
    "the pid of the host's first process": {
        "text": json.dumps({"workers": [{"pid": 1, "status": "idle"}], "pid": 1})
    },
    "counts that are texts": {
        "text": json.dumps(
            {"workers": [{"pid": 2, "status": "idle", "requests": "zz", "exceptions": []}], "pid": 2}
        )
    },
    "numbers without an end": {"text": '{"workers": [], "pid": 1e999}'},
    "a number of 5,000 digits": {"text": '{"workers": [], "pid": ' + "9" * 5000 + "}"},
    "JSON that is 200,000 deep": {"text": "[" * 200_000},
    "half of an answer": {"text": '{"workers": [{"pid": 1'},
    "an answer without an end": {"repeat": '{"workers": "xxxxxxxx", '},
    "a byte twice a second": {"drip": True},
    "nothing, and never a close": {"hold": True},
}


@pytest.fixture(scope="module")
def nonsense(grounds: list[Ground]) -> dict[str, Any]:
    """On each host the hostile app answers in the place of its own statistics, if it can."""
    found = {}
    for ground in grounds:
        ground.as_hostile("answers", says=SAYS, answer={"text": "{}"})
        there = ground.as_root("processes", apps=["hostile"])["hostile"]
        master = min(pid for pid, *_ in there)
        found[ground.name] = ground.as_hostile(
            "take_statistics", stats=statistics_of(ground, "hostile"), says=SAYS, seconds=600, master=master
        )
    return found


@pytest.mark.parametrize("name", ANSWERS)
def test_a_status_view_bears_it(grounds: list[Ground], nonsense: dict[str, Any], name: str) -> None:
    """Of uWSGI, which has statistics."""
    (ground,) = (one for one in grounds if one.server == "uwsgi")
    assert nonsense[ground.name].get("refused") is None, "it would prove nothing"
    ground.as_hostile("answers", says=SAYS, answer=ANSWERS[name])
    came = ground.as_root("status", apps=["hostile", NEIGHBOUR], seconds=25)
    said = came.get("said", {})
    wrong = came.get("raised", "")
    if not wrong and said[NEIGHBOUR].get("error"):
        wrong = "the neighbour has no status"
    if not wrong and said[NEIGHBOUR]["health"] != "ok":
        wrong = f"the neighbour's health is {said[NEIGHBOUR]['health']}"
    hostile = said.get("hostile", {})
    answered = hostile.get("error") or hostile.get("activations")
    ground.note(9, f"statistics: {name}", shown(answered), wrong)


def test_deploys_go_on_beside_forged_lines_and_held_statistics(
    grounds: list[Ground], nonsense: dict[str, Any]
) -> None:
    """A drain asks how many connections an activation has, and its statistics."""
    failed, befores, forged = [], {}, {}
    for ground in grounds:
        ground.as_hostile("answers", says=SAYS, answer={"hold": True})
        forged[ground.name] = ground.as_hostile(
            "forge_lines",
            target=socket_of(ground, NEIGHBOUR),
            directory=layout.socket_directory("hostile"),
            seconds=300,
        )
        befores[ground.name] = ground.as_root("state", apps=["fresh", NEIGHBOUR])
        ground.renew("fresh", NEIGHBOUR)
    outcomes = play(grounds, "playbooks/deploy.yml", app=f"{NEIGHBOUR},fresh")
    for ground in grounds:
        output = outcomes[ground.name].output
        after = ground.as_root("state", apps=["fresh", NEIGHBOUR])
        wrong = "" if outcomes[ground.name].code == 0 else output[-1500:]
        for app in ("fresh", NEIGHBOUR):
            if after[app]["live"] == befores[ground.name][app]["live"]:
                wrong = wrong or f"{app} did not go live"
            if after[app]["cut_off"]:
                wrong = wrong or f"the drain of {app} was fooled until its time was over"
        try:
            ground.note(6, "sockets whose names look like lines of ss", shown(forged[ground.name]), wrong)
        except AssertionError as error:
            failed.append(str(error))
    assert not failed, "\n".join(failed)


# Row 13


def counted(ground: Ground) -> list[list[Any]]:
    identifiers = [TELLER, f"{NEIGHBOUR}-counts"]
    found: list[list[Any]] = ground.as_root("lines", identifiers=identifiers, word="counted")
    return found


@pytest.mark.parametrize("way", ["flood", "flood_system"])
def test_a_flood_of_lines_takes_nobody_elses(ground: Ground, way: str) -> None:
    facts = (
        {"lines": LINES, "bytes": BYTES}
        if way == "flood"
        else {"lines": LINES // 2, "bytes": BYTES, "as": TELLER}
    )
    came = ground.as_hostile(way, patience=300, **facts)
    ground.host.check_output("journalctl --sync")
    found = counted(ground)
    lost = sum(missing for _, _, missing in found)
    name = f"{facts['lines']} lines of {BYTES} bytes" + (" past the own log" if way == "flood_system" else "")
    wrong = (
        ""
        if not lost and {one for one, _, _ in found} == {TELLER, f"{NEIGHBOUR}-counts"}
        else f"lost: {found}"
    )
    ground.note(13, name, f"{shown(came)}; {shown(found)}", wrong)


def test_no_line_of_the_system_is_an_apps(ground: Ground) -> None:
    """The name before a line is what its writer says. In the system's journal no app says anything."""
    uid = ground.host.check_output("id -u hostile")
    forged = ground.host.run(
        f"journalctl -q --no-pager -o cat -t {TELLER} _UID={uid} | cut -c 1-20 | head -n 3"
    )
    wrong = "there are" if forged.stdout else ""
    ground.note(
        13, "lines in the system's journal under the name of a service", shown(forged.stdout or "none"), wrong
    )


# Row 12, and who helps to get out of a control group


def test_it_does_not_leave_its_control_group(ground: Ground) -> None:
    came = ground.as_hostile("escape")
    ground.note(
        12,
        "out of its control group by the files of that",
        shown(came),
        "" if "refused" in came else "it got out",
    )


def test_no_service_of_the_host_starts_a_process_for_it(ground: Ground) -> None:
    came = ground.as_hostile("by_others")
    got = [way for way, one in came.items() if "got" in one]
    started = [
        one for one in ground.as_root("processes", apps=["hostile"])["hostile"] if "sleep\0120" in one[2]
    ]
    outside = [one for one in started if "/apps-hostile.slice" not in one[3]]
    wrong = f"by {', '.join(got)}" if got or outside else ""
    ground.note(
        12,
        "a process by systemd, at, cron or D-Bus",
        shown({way: next(iter(one)) for way, one in came.items()}),
        wrong,
    )


def test_nothing_outlives_its_activation(grounds: list[Ground]) -> None:
    failed = []
    before = {}
    for ground in grounds:
        ways = ground.as_hostile("leave_processes", mark=MARK)
        assert set(ways.values()) == {"left"}, ways
        before[ground.name] = {
            (pid, began) for pid, began, *_ in ground.as_root("processes", apps=["hostile"])["hostile"]
        }
        assert len(before[ground.name]) > 5
    outcomes = play(grounds, "playbooks/deploy.yml", app="hostile", force=True)
    for ground in grounds:
        assert outcomes[ground.name].code == 0, outcomes[ground.name].output[-3000:]
        ground_before = before[ground.name]

        def old(ground: Ground = ground, known: set[tuple[int, str]] = ground_before) -> list[str]:
            there = ground.as_root("processes", apps=["hostile"])["hostile"]
            return [arguments for pid, began, arguments, _ in there if (pid, began) in known]

        with contextlib.suppress(AssertionError):
            eventually(
                lambda old=old: not old(), LONGEST_END, "all that the old activation has left has ended"
            )
        left = old()
        leftovers[ground.name] = left
        there = ground.as_root("processes", apps=["hostile"])["hostile"]
        ground.as_root("end", pids=[pid for pid, began, *_ in there if (pid, began) in ground_before])
        try:
            ground.note(
                12, "daemons, a child and a thread that want to outlive their activation",
                shown(left or "all ended"), "they run on" if left else "",
            )  # fmt: skip
        except AssertionError as error:
            failed.append(str(error))
    figure("leftover_processes", sum(map(len, leftovers.values())))
    assert not failed, "\n".join(failed)
