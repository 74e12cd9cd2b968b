"""What a run says at its end: each app in a row, each error once."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.console import (
    release_report,
    report,
    status_report,
)
from ansible_collections.emperor.stack.plugins.module_utils.console.report import Report
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import together

RELEASE = "20261122T193000-ab12cd3"
OLD = "20261121T101500-9f8e7d6"
DRAINED = {
    "release": RELEASE, "live": RELEASE, "activation": "blog@7", "version": "v1.5", "seconds": 14.2, "milliseconds": 2.6,
    "took": {"fetch": 0.04, "venv": 9.8, "build": 2.1}, "changed": True, "url": "https://blog.example.com/",
}  # fmt: skip
PLANNED = {"live": OLD, "action": "deploy", "why": "its settings changed", "version": "v1.4", "changed": True}
FAILED = {
    "error": "start: shop@8 was not healthy\nits log:\n  boom", "phase": "start", "release": RELEASE,
    "live": OLD, "version": "v2.0", "seconds": 8.1,
}  # fmt: skip
LINE = "release is live as"


def one(*outcomes: dict[str, Any], **options: Any) -> Report:
    """Of phases with these *outcomes* one after the other."""
    apps: dict[str, Any] = functools.reduce(together, outcomes, {})
    return report.valid(release_report.of_phases({"apps": apps}, **options))


def said(*reports: Report) -> list[str]:
    return report.text([(f"web{number}", one) for number, one in enumerate(reports, start=1)]).split("\n")


SAME = {"live": OLD, "version": "v1.1", "action": "none"}


def test_a_deploy_of_a_host() -> None:
    assert said(
        one(
            {"blog": PLANNED, "notes": {**SAME, "url": "https://notes.example.com/"}, "shop": PLANNED},
            {"blog": DRAINED, "shop": FAILED},
        )
    ) == [
        "app    live release             version  result         seconds  what to do next",
        "blog   20261122T193000-ab12cd3  v1.5     deployed          14.2",
        "notes  20261121T101500-9f8e7d6  v1.1     unchanged",
        "shop   20261121T101500-9f8e7d6  v2.0     failed: start      8.1  fix, run again [1]",
        "",
        "blog: 20261122T193000-ab12cd3 is live as blog@7 at https://blog.example.com/, switched in 2.6 ms, after 14.2 s in "
        "all (venv 9.8, build 2.1)",
        "notes: 20261121T101500-9f8e7d6 is live at https://notes.example.com/, as before",
        "",
        "[1] shop: start: shop@8 was not healthy",
        "    its log:",
        "      boom",
    ]


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ({**FAILED, "url": "http://shop/"}, f"shop: {OLD} is live at http://shop/, as before"),
        ({"live": OLD, "error": "x", "locked": {"who": "ann"}, "url": "http://shop/"},
         f"shop: {OLD} is live at http://shop/, as before"),
        ({"live": OLD, "action": "held", "why": "w", "url": "http://shop/"},
         f"shop: {OLD} is live at http://shop/, as before"),
        # A hook after the switch failed.
        ({**FAILED, "phase": "drain", "live": RELEASE, "url": "http://shop/"},
         f"shop: {RELEASE} is live at http://shop/"),
    ],
)  # fmt: skip
def test_an_app_that_was_not_deployed_has_its_url_too(outcome: dict[str, Any], line: str) -> None:
    assert line in said(one({"shop": outcome}))


def test_several_hosts_are_one_table_and_the_same_error_is_there_once() -> None:
    failing = one({"shop": PLANNED}, {"shop": FAILED})
    good = one({"blog": PLANNED}, {"blog": DRAINED})
    text = said(good, failing, failing)
    assert text[:7] == [
        "app     live release             version  result         seconds  what to do next",
        "web1",
        "  blog  20261122T193000-ab12cd3  v1.5     deployed          14.2",
        "web2",
        "  shop  20261121T101500-9f8e7d6  v2.0     failed: start      8.1  fix, run again [1]",
        "web3",
        "  shop  20261121T101500-9f8e7d6  v2.0     failed: start      8.1  fix, run again [1]",
    ]
    assert text[8].startswith("web1 blog: 2026")
    assert text[10:] == [
        "[1] shop on web2, web3: start: shop@8 was not healthy",
        "    its log:",
        "      boom",
    ]


@pytest.mark.parametrize(
    ("results", "options", "row"),
    [
        ([{"blog": {"action": "held", "why": "w", "live": OLD}}], {}, "held see [1]"),
        ([{"blog": PLANNED}], {"check": True}, "v1.4 would deploy run without --check"),
        ([{"blog": PLANNED}], {}, "v1.4 not finished run again [1]"),
        ([{"blog": {**DRAINED, "action": "finish"}}], {}, "v1.5 finished 14.2"),
        ([{"blog": {**DRAINED, "from": OLD}}], {}, "v1.5 rolled back 14.2"),
        ([{"blog": {"release": "r", "from": OLD}}], {"check": True}, "would go back run without --check"),
        ([{"blog": {"error": "x", "locked": {"who": "ann"}}}], {}, "locked wait, run again [1]"),
        ([{"blog": {"error": "x", "phase": "rollback"}}], {}, "failed fix, run again [1]"),
        ([{"blog": {**DRAINED, "warnings": ["w"]}}], {}, "v1.5 deployed 14.2 read [1]"),
        ([{"blog": {"action": "none", "warnings": ["w"]}}], {}, "unchanged read [1]"),
        ([], {"left_out": {"apps": {"blog": {"error": "a link"}}}}, "left out fix, then site.yml [1]"),
        ([], {"left_out": {"apps": {"blog": {}}}}, None),
        ([], {}, None),
    ],
)  # fmt: skip
def test_what_a_row_says(results: list[dict[str, Any]], options: dict[str, Any], row: str | None) -> None:
    text = said(one(*results, **options))
    if row is None:
        assert text == [""]
    else:
        assert text[1].startswith("blog ") and " ".join(text[1].split()).endswith(row), text


def test_many_apps_that_nothing_happened_to_are_one_row() -> None:
    idle = {f"app-{number}": {"action": "none", "live": OLD} for number in range(100)}
    text = said(one({"blog": PLANNED, **idle}, {"blog": DRAINED}))
    assert len(text) == 5
    assert text[2].split() == ["(100", "more)", "unchanged"]
    assert len(said(one(dict(list(idle.items())[:20])))) == 21


def test_a_phase_that_came_to_no_end() -> None:
    result = {"apps": {"blog": PLANNED, "shop": {"action": "none"}}, "stopped": "Traceback\n  boom"}
    assert said(report.valid(release_report.of_phases(result)))[1:] == [
        "blog  20261121T101500-9f8e7d6  v1.4     not finished  run again [1]",
        "shop  -                        -        unchanged",
        "",
        "[1] Traceback",
        "      boom",
    ]


def test_warnings_of_several_phases_are_there_once() -> None:
    made = one({"blog": {**PLANNED, "warnings": ["a"]}}, {"blog": {**DRAINED, "warnings": ["a", "b"]}})
    assert [note["text"] for note in made["notes"] if note["state"] == report.WARNING] == ["a", "b"]


def test_problems_of_a_host_and_a_host_without_a_report() -> None:
    made = release_report.of_problems(["nginx refuses it\n  line 3"])
    assert said(made) == [
        "[1] nginx refuses it",
        "      line 3",
    ]
    table = said(one({"blog": PLANNED}, {"blog": DRAINED}), report.of_host("unreachable", "see above"))
    assert table[3:5] == [
        "web2",
        "  (all)  -                        -        unreachable           see above",
    ]


def test_what_two_tasks_say_of_an_app_that_was_left_out_is_there_once() -> None:
    accounts = {"apps": {"blog": {"error": "a link\nin its place"}, "shop": {}}}
    first = report.valid(release_report.of_phases({"apps": {}}, left_out=accounts))
    later = report.valid(release_report.of_problems([], left_out=accounts))
    assert report.text([("web1", first), ("web1", later)]).split("\n")[1:] == [
        "blog  -             -        left out  fix, then site.yml [1]",
        "",
        "[1] blog: a link",
        "    in its place",
        "    It was left out of this run; its live release keeps serving.",
    ]
    assert report.worst(later) == report.FAILED


@pytest.mark.parametrize(
    ("made", "state", "failure"),
    [
        (one({"blog": PLANNED}, {"blog": DRAINED}), report.CHANGED, "some problems remain"),
        (one({"blog": FAILED, "shop": FAILED}), report.FAILED, "blog, shop failed"),
        (release_report.of_problems(["x"]), report.FAILED, "some problems remain"),
        (release_report.of_problems([]), report.GOOD, "some problems remain"),
    ],
)
def test_how_serious_a_report_is(made: Report, state: str, failure: str) -> None:
    assert report.worst(made) == state
    assert report.failure(made) == failure


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"table": "x", "rows": [], "notes": []},
        {"table": "releases", "rows": [{"cells": ["a"], "state": "good"}], "notes": []},
        {"table": "releases", "rows": [], "notes": [{"about": "", "text": "", "state": "pink"}]},
        {"table": "releases", "rows": [], "notes": [{"about": "", "state": "good"}]},
        {"table": "releases"},
    ],
)
def test_what_is_no_report_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        report.valid(value)


def test_what_an_app_writes_moves_no_terminal_and_no_line() -> None:
    error = "start: \x1b[2Jgone\nPLAY RECAP\r\x1b]0;t\x07"
    made = one({"blog": {**FAILED, "error": error}, "shop": {**DRAINED, "version": "v1\n[1] blog: ok\x1b[A"}})
    text = said(made)
    assert "\x1b" not in "".join(text) and "\r" not in "".join(text)
    assert [line for line in text if line.startswith("[1]")] == ["[1] blog: start: gone"]
    # Whatever the text of an app is, its further lines stand further in.
    assert "    PLAY RECAP" in text


STATUS = {
    "blog": {
        "live": {"release": RELEASE, "version": "v1.5"},
        "activations": [
            {"activation": "blog@1", "release": OLD, "live": False, "running": True},
            {
                "activation": "blog@2", "live": True, "running": True, "busy": 1, "workers": 2,
                "memory_mib": 41.5, "requests": 7,
            },
        ],
        "workers": [{"worker": "jobs", "activation": "blog@2", "state": "running", "restarts": 3}],
        "timers": [{"timer": "nightly", "next": "T3", "last": None, "result": "success"}],
        "health": "ok",
        "disk": {"size": 2**20, "limit": 2**21, "inodes": 5, "inode_limit": 9},
        "maintenance": "T1",
        "processor_divided": False,
        "lock": {"who": "ann@laptop", "phase": "drain", "since": "T0"},
        "history": [{"kind": "deploy", "result": "good", "time": "2026-11-22T19:30:00Z"}],
    },
    "shop": {"live": None, "activations": [], "health": "nothing is live", "history": [], "lock": None},
    "slow": {
        "live": {"release": OLD, "version": "v1"},
        "activations": [{"activation": "slow@2", "live": True, "running": False}],
        "health": "through nginx: 502",
        "history": [
            {"kind": "deploy", "result": "failed", "phase": "start", "time": "2026-11-22T19:30:00Z",
             "reason": "boom\nits log"}
        ],
    },
    "bad": {"error": "no\nhost"},
    "worse": {"error": ""},
}  # fmt: skip


def test_the_status_of_a_host() -> None:
    assert said(report.valid(status_report.of_apps(STATUS))) == [
        "app    live release             as  version  health     busy   MiB  requests  last run",
        "blog   20261122T193000-ab12cd3  @2  v1.5     ok          1/2  41.5         7  deploy 11-22 19:30",
        "shop   -                        -   -        not live   down     -         -  -",
        "slow   20261121T101500-9f8e7d6  @2  v1       fails [1]  down     -         -  FAILED [2]",
        "bad    -                        -   -        error [3]  down     -         -  -",
        "worse  -                        -   -        not live   down     -         -  -",
        "",
        f"blog: blog@1 ({OLD}) is kept warm",
        "blog: worker jobs of blog@2 is running, restarted 3 times",
        "blog: nightly runs next at T3, ran last at - (success)",
        "blog: 1 of 2 MiB of the disk, 5 of 9 files",
        "blog: this host has no CPU controller: an app with more busy processes gets more of the processor than one with "
        "fewer, and limits.cpu has no effect",
        "blog: in maintenance since T1",
        "blog: a deploy by ann@laptop is in phase drain since T0",
        "",
        "[1] slow: through nginx: 502",
        "",
        "[2] slow: the deploy of 2026-11-22T19:30:00Z failed in start: boom",
        "",
        "[3] bad: no",
        "    host",
    ]


def test_the_certificates_of_a_host() -> None:
    good = {
        "provider": "acme", "source": "acme", "names": ["blog.example", "www.blog.example"],
        "not_after": "2027-02-20T23:35:08Z", "days": 89, "warnings": [], "errors": {},
    }  # fmt: skip
    bad = {
        **good, "source": "none", "names": [], "not_after": "", "days": 0,
        "warnings": ["there is no certificate"], "errors": {"": "the authority is silent", "shop.example": "refused"},
    }  # fmt: skip
    assert said(report.valid(status_report.of_certificates({"blog": good, "shop": bad}))) == [
        "app   tls   certificate  valid until  days  names",
        "blog  acme  acme         2027-02-20     89  blog.example www.blog.example",
        "shop  acme  none [1]     -               0",
        "",
        "[1] shop: there is no certificate",
        "",
        "[2] shop: the authority is silent",
        "",
        "[3] shop: shop.example: refused",
    ]
