"""What apt would do in an upgrade of Debian, asked with the new sources in a place of their own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from ..host import layout
from ..host.command import ANSWER, CommandFailed, run
from . import suites

#: What an upgrade keeps by itself: its place, and the sources and the packages of before.
HOME = f"{layout.HOST_STATE}/os_upgrade"

#: What apt and dpkg are told, so that they ask nobody.
UNATTENDED = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    # A restart of what serves is ours to do, without a dropped request.
    "NEEDRESTART_MODE": "l",
    "LC_ALL": "C.UTF-8",
}

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Forecast:
    """What an upgrade would do."""

    #: Bytes to fetch, and bytes more that are in use afterwards.
    fetched: int
    grown: int
    removed: list[str]


def forecast(sources: Mapping[str, str]) -> Forecast:
    """What a full upgrade does once apt's files have the text of *sources*. Raises CommandFailed with apt's words."""
    stage = f"{HOME}/stage"
    shutil.rmtree(stage, ignore_errors=True)
    for directory in (f"{stage}/sources.list.d", f"{stage}/lists/partial"):
        os.makedirs(directory, mode=0o755)
    try:
        for path in suites.files():
            name = os.path.relpath(path, "/etc/apt")
            if path in sources:
                with open(f"{stage}/{name}", "w", encoding="utf-8") as file:
                    file.write(sources[path])
            else:
                shutil.copyfile(path, f"{stage}/{name}")
        options = [
            f"-oDir::Etc::SourceList={stage}/sources.list",
            f"-oDir::Etc::SourceParts={stage}/sources.list.d",
            f"-oDir::State::Lists={stage}/lists",
            "-oDir::Cache::pkgcache=",
            "-oDir::Cache::srcpkgcache=",
            "-oAcquire::Languages=none",
        ]
        # A source that cannot be had is a mere warning otherwise.
        update = ["apt-get", *options, "--error-on=any", "-q", "update"]
        run(update, what="fetching the lists of the new sources", env=UNATTENDED, timeout=900)
        return parsed(_asked(options))
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _asked(options: list[str]) -> str:
    """What apt says before it would ask whether to go on. Raises CommandFailed where it sees no way."""
    command = ["apt-get", *options, "-q", "full-upgrade", "--assume-no"]
    try:
        run(command, what="the forecast of apt", env=UNATTENDED, timeout=900)
    except CommandFailed as error:
        # It ends so because it was told no.
        if re.search(r"(?m)^Abort\.$", error.output) is None:
            raise
    # All of its words, which an error does not carry.
    shell = ["sh", "-c", '"$@" || :', "sh", *command]
    return run(shell, what="the forecast of apt", env=UNATTENDED, timeout=900, whole=ANSWER)


def parsed(said: str) -> Forecast:
    """What the words of `apt-get full-upgrade --assume-no` mean."""
    removed = re.search(r"(?m)^The following packages will be REMOVED:\n((?:[ \t].*\n)+)", said)
    fetched = re.search(r"(?m)^Need to get ([\d.,]+) ([kMG]?B)(?:/([\d.,]+) ([kMG]?B))? of archives", said)
    grown = re.search(
        r"(?m)^After this operation, ([\d.,]+) ([kMG]?B) of additional disk space will be used", said
    )
    return Forecast(
        fetched=_bytes(fetched[1], fetched[2]) if fetched else 0,
        grown=_bytes(grown[1], grown[2]) if grown else 0,
        removed=re.findall(r"[^\s*]+", removed[1]) if removed else [],
    )


def _bytes(number: str, unit: str) -> int:
    return int(float(number.replace(",", "")) * _UNITS[unit])
