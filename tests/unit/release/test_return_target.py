"""The one release that the hosts of an app return to."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.release.return_target import NoTarget, target


def choices(*names: str, later: tuple[str, ...] = (), crosses: tuple[str, ...] = ()) -> list[Any]:
    """Releases such as `v5`, or `v5=web1` where the host has a name of its own for it."""
    found = []
    for name in (*names, *later):
        version, _, own = name.partition("=")
        found.append({
            "release": own or version,
            "revision": version * 4,
            "version": version,
            "earlier": name in names,
            "crosses": version in crosses,
        })  # fmt: skip
    return found


def chosen(*hosts: list[Any], unfinished: tuple[str, ...] = (), across: bool = False, **wanted: str) -> Any:
    named = {f"web{number}": one for number, one in enumerate(hosts, 1)}
    try:
        found = target(named, unfinished, wanted.get("release", ""), wanted.get("version", ""), across)
    except NoTarget as error:
        return str(error).splitlines()[0]
    return [found[host] for host in named]


@pytest.mark.parametrize(
    ("hosts", "releases"),
    [
        ([choices("v6", "v5", "v4"), choices("v6", "v5", "v4")], ["v5", "v5"]),
        # The bad release never went live on the second one.
        ([choices("v6", "v5", "v4"), choices("v5", "v4")], ["v5", None]),
        ([choices("v6", "v5", "v4"), choices("v6", "v5"), choices("v5", "v4")], ["v5", "v5", None]),
        # The second one missed a deploy.
        ([choices("v6", "v5", "v4"), choices("v6", "v4")], ["v4", "v4"]),
        # Names of an earlier version of the bundle.
        ([choices("v6=a6", "v5=a5"), choices("v6=b6", "v5=b5")], ["a5", "b5"]),
        ([choices("v6=a6", "v5=a5"), choices("v5=b5", "v4=b4")], ["a5", None]),
        ([choices("v6"), choices("v6", "v5")], "no earlier good release is on all hosts. They have:"),
        ([choices("v6", "v5"), choices("v6", "v4")], "no earlier good release is on all hosts. They have:"),
    ],
)
def test_the_last_release_that_all_had_live_is_chosen(hosts: Any, releases: Any) -> None:
    assert chosen(*hosts) == releases


@pytest.mark.parametrize(
    ("wanted", "releases"),
    [
        ({"release": "v4"}, ["v4", "v4"]),
        ({"version": "v5"}, ["v5", None]),
        ({"version": "v5v5v5"}, "no release v5v5v5 is on all hosts. They have:"),
        ({"version": "v5v5v5v"}, ["v5", None]),
        # It was rolled back: whoever names it means it.
        ({"release": "v3"}, ["v3", "v3"]),
        ({"release": "v9"}, "no release v9 is on all hosts. They have:"),
        ({"release": "v6"}, "no release v6 is on all hosts. They have:"),
    ],
)
def test_a_release_a_version_or_a_commit_can_be_named(wanted: dict[str, str], releases: Any) -> None:
    hosts = [choices("v6", "v5", "v4", later=("v3",)), choices("v5", "v4", later=("v3",))]
    assert chosen(*hosts, **wanted) == releases


def test_a_release_that_is_named_as_one_host_calls_it_is_found_on_the_others() -> None:
    assert chosen(choices("v6=a6", "v5=a5"), choices("v6=b6", "v5=b5"), release="b5") == ["a5", "b5"]


def test_what_is_live_everywhere_is_no_target() -> None:
    assert chosen(choices("v6", "v5"), choices("v6", "v5"), version="v6") == "v6 is live already on all hosts"


def test_a_rollback_that_was_killed_goes_no_further_back() -> None:
    assert chosen(choices("v5", "v4"), choices("v5", "v4"), unfinished=("web1",)) == ["v5", None]
    assert chosen(choices("v5", "v4"), choices("v6", "v5"), unfinished=("web1",)) == ["v5", "v5"]


def test_other_migrations_on_one_host_refuse_it_on_all() -> None:
    hosts = [choices("v6", "v5"), choices("v6", "v5", crosses=("v5",))]
    assert chosen(*hosts).startswith("the migrations changed between v5 and the live release of web2")
    assert chosen(*hosts, across=True) == ["v5", "v5"]
