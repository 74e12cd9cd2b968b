"""A second command to a host while a module runs there, over the same connection."""

from __future__ import annotations

import copy
from collections.abc import Callable

from ansible import constants
from ansible.plugins.action import ActionBase

#: Connections for which two commands at a time are a matter of course: each is a process of its own.
EACH_A_PROCESS = ("docker", "local", "podman", "ssh")


def reader(action: ActionBase, command: str, verbosity: int) -> Callable[[], str] | None:
    """What runs *command* on the host of *action* and returns its output. Made before the module is started.

    None where the connection is none for it, or where connections tell of what they do: from a thread they may not.
    """
    connection = action._connection
    transport = str(connection.transport).rpartition(".")[2]
    if transport not in EACH_A_PROCESS or verbosity >= 2 or constants.DEFAULT_DEBUG:
        return None
    # What a connection and its become remember of a command is that of one.
    twin = copy.copy(action)
    twin._connection = copy.copy(connection)
    # A look that fails is none: it is tried again soon enough.
    if "reconnection_retries" in getattr(connection, "_options", {}):
        twin._connection._options = {**connection._options, "reconnection_retries": 0}
    if connection.become is not None:
        twin._connection.set_become_plugin(copy.copy(connection.become))

    def read() -> str:
        # Without a connection that stays, each look would log in anew.
        if transport == "ssh" and not getattr(connection, "_persistent", False):
            raise ConnectionError("no ControlPersist")
        return str(twin._low_level_execute_command(command)["stdout"])

    return read
