"""Who would be cut off by a firewall, by which way somebody came in, and what sshd is told then."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from emperor_hardening import commands, connection, firewall, listeners, parameters, ssh, upgrades
from emperor_hardening.listeners import Listener

SOCKETS = """\
udp UNCONN 0 0 0.0.0.0:68 0.0.0.0:* users:(("dhclient",pid=4,fd=3))
udp UNCONN 0 0 127.0.0.1:323 0.0.0.0:* users:(("chronyd",pid=5,fd=5))
udp UNCONN 0 0 0.0.0.0:41022 0.0.0.0:* users:(("avahi",pid=6,fd=5))
udp UNCONN 0 0 [fe80::1%eth0]:546 [::]:* users:(("networkd",pid=6,fd=5))
tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=6))
tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=1,fd=7))
tcp LISTEN 0 128 127.0.0.1:6379 0.0.0.0:* users:(("redis",pid=2,fd=7))
tcp LISTEN 0 128 [::1]:6379 [::]:* users:(("redis",pid=2,fd=8))
tcp LISTEN 0 128 [::ffff:127.0.0.1]:8005 *:* users:(("java",pid=9,fd=8))
tcp LISTEN 0 244 0.0.0.0:5432 0.0.0.0:* users:(("postgres",pid=3,fd=5))
tcp LISTEN 0 511 *:80 *:* users:(("nginx",pid=7,fd=5),("nginx",pid=8,fd=5))
udp UNCONN 0 0 192.0.2.1%eth0:5353 0.0.0.0:*
"""
FRONT = [{"protocol": "tcp", "first": 80, "last": 80}]


def lost(accepted: list[dict[str, object]], ssh: list[int]) -> list[str]:
    return [str(one) for one in listeners.cut_off(listeners.listeners(SOCKETS), accepted, ssh, 32768)]


def test_those_are_cut_off_whom_no_rule_lets_be_reached() -> None:
    assert lost(FRONT, [22]) == [
        "postgres (tcp 5432 at 0.0.0.0)",
        "a process (udp 5353 at 192.0.2.1)",
    ]


def test_a_rule_counts_for_its_protocol_and_all_of_its_ports() -> None:
    rules = [*FRONT, {"protocol": "tcp", "first": 5000, "last": 6000}]
    assert lost(rules, [22]) == ["a process (udp 5353 at 192.0.2.1)"]


def test_sshd_at_a_port_that_is_not_asked_for_is_cut_off_too() -> None:
    assert "sshd (tcp 22 at 0.0.0.0)" in lost(FRONT, [2222])


def test_the_message_has_the_rules_to_paste() -> None:
    said = listeners.cut_off_message(
        [Listener("tcp", "192.0.2.1", 5432, "postgres"), Listener("udp", "::", 53, "named (1)")]
    )
    assert "postgres (tcp 5432 at 192.0.2.1)" in said
    assert "hardening_firewall_allow: [{port: 53, protocol: udp}, {port: 5432}]" in said


def test_a_ruleset_without_any_ssh_has_no_empty_rule_for_it() -> None:
    text = "one\n  tcp dport { @SSH_PORTS@ } accept\ntwo\n"
    assert firewall.fill(text, {2222, 22}) == "one\n  tcp dport { 22, 2222 } accept\ntwo\n"
    assert firewall.fill(text, set()) == "one\ntwo\n"


LOG = """\
Accepted publickey for ann from 192.0.2.7 port 50000 ssh2: ED25519 SHA256:x
Accepted password for bob from 192.0.2.7 port 50001 ssh2
Accepted password for root from 192.0.2.70 port 5000 ssh2
"""


@pytest.mark.parametrize(
    ("address", "port", "way"),
    [
        ("192.0.2.7", "50000", ("publickey", "ann")),
        ("192.0.2.7", "50001", ("password", "bob")),
        ("192.0.2.7", "5000", None),
        ("192.0.2.70", "5000", ("password", "root")),
        ("192a0.2.7", "50000", None),
    ],
)
def test_the_log_says_how_this_very_connection_was_let_in(
    address: str, port: str, way: tuple[str, str] | None
) -> None:
    assert connection.accepted_login(LOG, address, port) == way


@pytest.mark.parametrize(
    ("before", "way", "off", "added"),
    [
        ("yes", "other", True, ["PermitRootLogin prohibit-password", "PasswordAuthentication no"]),
        ("yes", "other", False, ["PermitRootLogin prohibit-password"]),
        # He would not come in again.
        ("yes", "root", False, []),
        # Stricter than ours.
        ("no", "other", False, []),
        ("without-password", "other", False, []),
    ],
)
def test_sshd_is_told_what_shuts_out_nobody_who_is_in(
    before: str, way: str, off: bool, added: list[str]
) -> None:
    text = ssh.drop_in("X11Forwarding no\n", {"permitrootlogin": [before]}, way, off)
    lines = text.splitlines()
    assert lines[0] == "X11Forwarding no"
    assert [line for line in lines[1:] if not line.startswith("Kbd")] == added


def test_kernel_parameters_are_those_of_role_bases_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kernel-parameters"
    monkeypatch.setattr(parameters, "PARAMETERS", str(program))
    assert parameters.parameters("set", {}) == {}
    with pytest.raises(commands.HardeningRefused, match="role base brings it"):
        parameters.parameters("set", {"a.b": 1})
    program.write_text(f"#!/bin/sh\necho $* >{tmp_path}/asked\nprintf '/proc/sys/a/b\\t1 2\\t0\\n'\n")
    program.chmod(0o755)
    assert parameters.parameters("set", {"a.b": "1 2", "c.d": 0}) == {"/proc/sys/a/b": "1 2"}
    assert (tmp_path / "asked").read_text() == "set a.b=1 2 c.d=0\n"


@pytest.mark.parametrize(
    ("state", "process", "drop_in", "upgrading", "restarted"),
    [
        ("active", 7, True, False, True),
        ("active", 0, True, False, False),
        ("active", 7, False, False, False),
        ("active", 0, False, False, True),
        # To restart it would end the upgrade.
        ("active", 7, True, True, False),
        ("inactive", 0, False, False, False),
    ],
)
def test_what_waits_for_a_shutdown_waits_as_its_files_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    process: int,
    drop_in: bool,
    upgrading: bool,
    restarted: bool,
) -> None:
    calls = []

    def run(*words: str) -> str:
        calls.append(words[1])
        return f"MainPID={process}\nActiveState={state}\n" if words[1] == "show" else ""

    monkeypatch.setattr(upgrades, "run", run)
    monkeypatch.setattr(upgrades, "DROP_IN", tmp_path / "drop-in")
    monkeypatch.setattr(upgrades, "upgrade_runs", lambda: upgrading)
    if drop_in:
        (tmp_path / "drop-in").touch()
    upgrades.apply_upgrades()
    assert calls == ["show", *(["restart"] if restarted else [])]


def test_a_running_upgrade_is_seen_by_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    monkeypatch.setattr(upgrades, "LOCK", lock)
    assert not upgrades.upgrade_runs()
    lock.touch()
    assert not upgrades.upgrade_runs()
    holder = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert upgrades.upgrade_runs()
        process.communicate()
    assert not upgrades.upgrade_runs()


# Who lets people in

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 0
   1: 0100007F:0929 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0
   2: 00000000:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 200 1 0 100 0 0 10 0
   3: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 300 1 0 100 0 0 10 0
   4: 0A00000A:0016 0A000001:C350 01 00000000:00000000 02:00000000 00000000     0        0 102 1 0 100 0 0 10 0
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:08AE 00000000000000000000000000000000:0000 0A 0:0 00:0 0     0        0 103 1
   1: 00000000000000000000000001000000:08AF 00000000000000000000000000000000:0000 0A 0:0 00:0 0     0        0 104 1
"""


def test_only_a_server_of_roots_has_its_port_open(tmp_path: Path) -> None:
    """An app may call a process of its own sshd, run a program of that name, or the host's own."""
    programs = {
        "1": ("/usr/lib/systemd/systemd", ["300"]),
        "20": ("/usr/sbin/sshd (deleted)", ["100", "101", "102", "103", "104"]),
        "30": ("/srv/apps/blog/cache/sshd", ["200"]),
        "31": ("/usr/sbin/sshd", ["200"]),
        "40": ("/usr/bin/nginx", ["300"]),
    }
    for pid, (program, inodes) in programs.items():
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "exe").symlink_to(program)
        for number, inode in enumerate(inodes):
            (tmp_path / pid / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
    # One that ends while it is looked at, and what is no process.
    (tmp_path / "50").mkdir()
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(TABLE)
    assert listeners.ports_of(connection.SSH_SERVERS, tmp_path) == {22}
    (tmp_path / "net/tcp6").write_text(TABLE_6)
    assert listeners.ports_of(connection.SSH_SERVERS, tmp_path) == {22, 2222}


def test_the_names_of_listeners_are_shown_and_no_more() -> None:
    said = 'tcp LISTEN 0 128 0.0.0.0:9999 0.0.0.0:* users:(("a\x1b[31mb",pid=7,fd=3))\n'
    assert [str(one) for one in listeners.listeners(said)] == ["a?[31mb (tcp 9999 at 0.0.0.0)"]


def test_what_a_process_is_called_may_be_any_bytes() -> None:
    assert commands.run("printf", "\\377x") == "\N{REPLACEMENT CHARACTER}x"


@pytest.mark.parametrize("dies_at", ["fsync", "rename"])
def test_who_dies_while_it_writes_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    def die(*_: Any) -> None:
        raise OSError("disk full")

    path = tmp_path / "state" / "confirmed.json"
    commands.write(path, "old", 0o644)
    with monkeypatch.context() as dying, pytest.raises(OSError, match="disk full"):
        dying.setattr(commands.os, dies_at, die)
        commands.write(path, "new")
    assert path.read_text() == "old"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert list(path.parent.iterdir()) == [path]
    commands.write(path, "new")
    assert path.read_text() == "new"


def test_what_was_written_is_there_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(commands.os, "fsync", lambda it: synced.append(stat.S_ISDIR(os.fstat(it).st_mode)))
    commands.write(tmp_path / "it", "text")
    assert synced == [False, True]
