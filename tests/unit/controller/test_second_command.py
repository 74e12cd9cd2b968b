"""A second command over a connection leaves the first one alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.controller import second_command


class Become:
    success = "of the first command"


class Connection:
    transport = "community.docker.docker"

    def __init__(self) -> None:
        self._options = {"reconnection_retries": 3, "timeout": 20}
        self.become: Become | None = Become()

    def set_become_plugin(self, become: Become) -> None:
        self.become = become


class Action:
    """Runs a command as ActionBase does: the connection and its become remember of it."""

    def __init__(self) -> None:
        self._connection: Any = Connection()

    def _low_level_execute_command(self, command: str) -> dict[str, Any]:
        self._connection.used = True
        assert self._connection._options == {"reconnection_retries": 0, "timeout": 20}
        if self._connection.become is not None:
            self._connection.become.success = "of the second command"
        return {"rc": 0, "stdout": f"ran {command}"}


def reader(action: Action, verbosity: int = 0) -> Any:
    return second_command.reader(action, "id", verbosity)  # type: ignore[arg-type]


def test_what_the_first_command_needs_of_the_connection_stays() -> None:
    action = Action()
    read = reader(action)
    assert read() == "ran id"
    assert action._connection.become.success == "of the first command"
    assert not hasattr(action._connection, "used")
    assert action._connection._options["reconnection_retries"] == 3


def test_without_become() -> None:
    action = Action()
    action._connection.become = None
    assert reader(action)() == "ran id"


@pytest.mark.parametrize(
    "transport", ["paramiko_ssh", "ansible.netcommon.network_cli", "winrm", "docker_api"]
)
def test_other_connections_are_left_alone(transport: str) -> None:
    action = Action()
    action._connection.transport = transport
    assert reader(action) is None


def test_what_tells_of_commands_is_not_used_from_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words would go through the queue of the worker's results, which may end meanwhile."""
    assert reader(Action(), verbosity=1) is not None
    assert reader(Action(), verbosity=2) is None
    monkeypatch.setattr(second_command, "constants", SimpleNamespace(DEFAULT_DEBUG=True))
    assert reader(Action()) is None


def test_ssh_only_over_a_connection_that_stays() -> None:
    action = Action()
    action._connection.transport = "ssh"
    read = reader(action)
    with pytest.raises(ConnectionError):
        read()
    # Known once the first command has begun.
    action._connection._persistent = True
    assert read() == "ran id"
