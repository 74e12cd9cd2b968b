"""Choose the one release that all hosts of an app return to, of what each of them can choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...module_utils.release.choose import is_of
from ...module_utils.release.options import Choice

#: Of each host what it can return to: the live release first, then earlier ones, the last first, then all others.
Choices = Mapping[str, Sequence[Choice]]
#: By host the place in its choices.
_Places = dict[str, int]


class NoTarget(ValueError):
    """There is no release that all hosts can return to."""


def target(
    hosts: Choices, unfinished: Sequence[str], release: str, version: str, across_migration: bool
) -> dict[str, str | None]:
    """The release that each of *hosts* returns to, None where it stays on the one that is live.

    It is *release*, one made of *version*, the one that the hosts *unfinished* have switched to already, or the last one
    that all hosts had live. Raises NoTarget.
    """
    if unfinished and not (release or version):
        release = hosts[unfinished[0]][0]["release"]
    wanted = release or version
    places = _common(hosts, lambda one: _fits(one, release, version), moving=not wanted)
    if places is None and release:
        # Earlier versions of the bundle gave a release another name on each host.
        revisions = {
            one["revision"] for found in hosts.values() for one in found if one["release"] == release
        }
        places = _common(hosts, lambda one: one["revision"] in revisions, moving=False)
    if places is None:
        raise NoTarget(_none(hosts, wanted))
    chosen = {host: hosts[host][place] for host, place in places.items()}
    if not any(places.values()) and not unfinished:
        raise NoTarget(f"{next(iter(chosen.values()))['release']} is live already on all hosts")
    crossing = [host for host, one in chosen.items() if one["crosses"]]
    if crossing and not across_migration:
        raise NoTarget(
            f"the migrations changed between {chosen[crossing[0]]['release']} and the live release of {crossing[0]}, and a "
            "rollback does not undo them. If the older code works with the newer database, add -e across_migration=true"
        )
    return {
        host: None if places[host] == 0 and host not in unfinished else one["release"]
        for host, one in chosen.items()
    }


def _fits(one: Choice, release: str, version: str) -> bool:
    if release:
        return one["release"] == release
    return is_of(version, one) if version else one["earlier"]


def _common(hosts: Choices, fits: Callable[[Choice], bool], moving: bool) -> _Places | None:
    """Where each host has the same release, which *fits*: the one for which no host goes back further than it must.

    The same are releases of one name, else of one commit. With *moving*, one host at least has to leave its live release.
    """
    for key in (_name, _commit):
        tables = {host: _places(found, fits, key) for host, found in hosts.items()}
        everywhere = set.intersection(*(set(table) for table in tables.values()))
        best = [
            {host: table[one] for host, table in tables.items()}
            for one in everywhere
            if not moving or any(table[one] for table in tables.values())
        ]
        if best:
            return min(best, key=lambda places: (max(places.values()), sum(places.values())))
    return None


def _places(found: Sequence[Choice], fits: Callable[[Choice], bool], key: Callable[[Choice], str]) -> _Places:
    places: _Places = {}
    for place, one in enumerate(found):
        if fits(one):
            places.setdefault(key(one), place)
    return places


def _name(one: Choice) -> str:
    return one["release"]


def _commit(one: Choice) -> str:
    return one["revision"]


def _none(hosts: Choices, wanted: str) -> str:
    """What each host could return to."""
    lines = []
    for host, found in hosts.items():
        names = [f"{one['release']} ({one['version']})" for one in found]
        lines.append(f"  {host}: {', '.join(names) or 'nothing'}")
    what = f"no release {wanted} is" if wanted else "no earlier good release is"
    return "\n".join([f"{what} on all hosts. They have:", *lines])
