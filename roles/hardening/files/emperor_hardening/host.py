"""All settings of the role together."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .commands import APPLIED, STATE, quietly, read_json, run, stop_for_good, write
from .connection import has_sshd
from .firewall import check_firewall, firewall_in_effect, no_firewall, try_firewall
from .parameters import parameters
from .ssh import apply_ssh, check_ssh, no_ssh, ssh_in_effect
from .upgrades import apply_upgrades

FAIL2BAN_UNITS = ("fail2ban.service", "emperor-stack-fail2ban.path")


# All of it


class Host:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = json.loads((directory / "settings.json").read_text())

    def wants(self, part: str) -> bool:
        return bool(self.settings[part])

    def text(self, name: str) -> str:
        return (self.directory / name).read_text()

    def check(self) -> None:
        if self.wants("firewall") and (not firewall_in_effect(self.text("firewall.nft"))):
            check_firewall(self.settings, self.text("firewall.nft"))
        if self.wants("ssh") and has_sshd():
            check_ssh(self.settings, self.text("ssh.conf"))

    def state(self) -> str:
        applied = read_json(APPLIED)
        if applied.get("digest") != self.settings["digest"]:
            return ""
        if self.wants("firewall") and not firewall_in_effect(self.text("firewall.nft")):
            return ""
        if self.wants("ssh") and not ssh_in_effect(self.settings, self.text("ssh.conf")):
            return ""
        if parameters("differing", self.settings["sysctl"]).items() - applied.get("refused", {}).items():
            return ""
        if self.wants("fail2ban") and not quietly("systemctl", "is-active", "--quiet", *FAIL2BAN_UNITS):
            return ""
        return str(self.settings["digest"])

    def apply(self) -> dict[str, Any]:
        notes = []
        run("systemctl", "daemon-reload")
        refused = parameters("set", self.settings["sysctl"])
        if refused:
            names = ", ".join(path.removeprefix("/proc/sys/").replace("/", ".") for path in refused)
            notes.append(f"sysctl: the kernel refuses to change these, as in a container: {names}")
        if self.wants("time") and Path("/usr/lib/systemd/system/systemd-timesyncd.service").exists():
            run("systemctl", "enable", "--quiet", "systemd-timesyncd.service")
            # A unit that a container may not run is not started, and that is no error.
            run("systemctl", "restart", "systemd-timesyncd.service")
        apply_upgrades()
        if self.wants("ssh") and has_sshd():
            notes += filter(None, [apply_ssh(self.settings, self.text("ssh.conf"))])
        elif not self.wants("ssh"):
            no_ssh()
        notes += self.apply_fail2ban()
        applied = {"refused": refused, "fail2ban": self.wants("fail2ban")}
        on_trial = False
        if not self.wants("firewall"):
            no_firewall()
        elif not firewall_in_effect(self.text("firewall.nft")):
            on_trial = True
        # Last, and its digest only with the confirmation: until then the next run does all of it again.
        digest = {} if on_trial else {"digest": self.settings["digest"]}
        write(APPLIED, json.dumps({**applied, **digest}))
        if on_trial:
            try_firewall(self.settings, self.text("firewall.nft"))
        return {"notes": notes, "confirm": on_trial}

    def apply_fail2ban(self) -> list[str]:
        if self.wants("fail2ban"):
            run("fail2ban-client", "--test")
            if quietly("systemctl", "is-active", "--quiet", "fail2ban.service"):
                run("fail2ban-client", "reload")
            run("systemctl", "enable", "--now", "--quiet", *FAIL2BAN_UNITS)
        elif read_json(APPLIED).get("fail2ban"):
            stop_for_good(*FAIL2BAN_UNITS)
            return ["fail2ban: stopped and disabled; the package stays"]
        return []


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """A confirmation and the timer that undoes do not meet."""
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(STATE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
