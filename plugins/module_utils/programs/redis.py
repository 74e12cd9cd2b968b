"""redis: let Redis or Valkey run with the settings and users that the inventory wants. Role redis calls it.

`state` prints the digest of the wanted files where the server has loaded them, `apply` lets it load them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..database.resp import Connection, RedisError
from ..host.command import CommandFailed, run
from ..systemd.settings_of import settings_of

ADMIN = "/etc/emperor-stack/redis/admin.json"
#: Seconds until it has read its data.
START = 300


def _wanted() -> dict[str, Any]:
    with open(ADMIN, encoding="utf-8") as file:
        return dict(json.load(file))


def _connect(wanted: Mapping[str, Any]) -> Connection:
    connection = Connection(wanted["socket"])
    connection.say("AUTH", "emperor-stack", wanted["password"])
    return connection


def _loaded(wanted: Mapping[str, Any]) -> bool:
    with _connect(wanted) as connection:
        return f"loaded-{wanted['digest']}" in connection.say("ACL", "USERS")


def state() -> int:
    wanted = _wanted()
    try:
        ready = settings_of(wanted["unit"]) == wanted["settings"] and _loaded(wanted)
    except (OSError, RedisError) as error:
        print(f"differs: {error}")
        return 0
    print(wanted["digest"] if ready else "differs")
    return 0


def apply() -> int:
    wanted = _wanted()
    unit = wanted["unit"]
    run(["systemctl", "enable", "--quiet", unit], what=f"enabling {unit}", timeout=60)
    if settings_of(unit) != wanted["settings"]:
        run(["systemctl", "restart", unit], what=f"restarting {unit}", timeout=START)
        _wait(wanted)
    elif not _loaded_users(wanted):
        raise RedisError(f"{unit} refuses its users: journalctl -u {unit} says why")
    return 0


def _loaded_users(wanted: Mapping[str, Any]) -> bool:
    with _admin(wanted) as connection:
        connection.say("ACL", "LOAD")
    return _loaded(wanted)


def _admin(wanted: Mapping[str, Any]) -> Connection:
    """The connection by which users are loaded; with another password than before, after a restart."""
    try:
        return _connect(wanted)
    except RedisError:
        run(["systemctl", "restart", wanted["unit"]], what="restarting Redis", timeout=START)
        return _wait(wanted)


def _wait(wanted: Mapping[str, Any]) -> Connection:
    end = time.monotonic() + START
    while True:
        try:
            return _connect(wanted)
        except (OSError, RedisError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


COMMANDS: Mapping[str, Callable[[], int]] = {"state": state, "apply": apply}


def main() -> int:
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if command is None:
        print(f"usage: redis {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return command()
    except (CommandFailed, RedisError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
