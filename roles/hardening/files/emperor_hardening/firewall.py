"""The firewall: on trial until a new connection confirms it; without that, the last confirmed one comes back."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .commands import APPLIED, STATE, HardeningRefused, quietly, read_json, run, stop_for_good, write
from .connection import all_ssh_ports, sshd_ports
from .listeners import cut_off, cut_off_message, listeners

CONFIRMED = STATE / "confirmed.json"
TRIAL = STATE / "trial.json"

#: The digest of our table as it was loaded last, gone after a boot as the table is.
LOADED = Path("/run/emperor-stack-firewall.loaded")
TABLE = "inet emperor_stack"
UNDO = "emperor-stack-firewall-undo"
FIREWALL_UNIT = "emperor-stack-firewall.service"

PLACEHOLDER = "@SSH_PORTS@"


def fill(ruleset: str, ports: Iterable[int]) -> str:
    """The ruleset with the ports of SSH; without any, without the rule for them."""
    text = ", ".join(map(str, sorted(set(ports))))
    if text:
        return ruleset.replace(PLACEHOLDER, text)
    return "".join(line for line in ruleset.splitlines(keepends=True) if PLACEHOLDER not in line)


def listing_digest() -> str:
    said = run("nft", "--stateless", "list", "table", *TABLE.split(), check=False)
    return hashlib.sha256(said.encode()).hexdigest() if said else ""


# Firewall


def load(ruleset: str, ports: Iterable[int]) -> None:
    run("nft", "-f", "-", stdin=fill(ruleset, ports))
    write(LOADED, listing_digest(), 0o644)


def unload() -> None:
    # A host that never had the firewall may have no nft. The table is made first: it is no error where there is none.
    if shutil.which("nft"):
        run("nft", "-f", "-", stdin=f"table {TABLE}\ndelete table {TABLE}\n", check=False)
    LOADED.unlink(missing_ok=True)


def firewall_in_effect(ruleset: str) -> bool:
    confirmed = read_json(CONFIRMED)
    return (
        confirmed.get("ruleset") == ruleset
        and all_ssh_ports() <= set(confirmed.get("ports", []))
        and LOADED.exists()
        and LOADED.read_text() == listing_digest() != ""
    )


def check_firewall(settings: Mapping[str, Any], ruleset: str) -> None:
    ports = all_ssh_ports()
    if shutil.which("nft"):
        done = subprocess.run(
            ["nft", "-c", "-f", "-"], input=fill(ruleset, ports), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise HardeningRefused(
                f"nft refuses the firewall: {done.stderr.strip()}\n"
                "In a container without the capability NET_ADMIN: hardening_firewall: false"
            )
    # On a fresh host in check mode the program is still to come.
    if not read_json(CONFIRMED) and shutil.which("ss"):
        ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        lost = cut_off(listeners(run("ss", "-Hlntup")), settings["firewall"]["accept"], ports, ephemeral)
        if lost:
            raise HardeningRefused(cut_off_message(lost))


def try_firewall(settings: Mapping[str, Any], ruleset: str) -> None:
    """Load it, for a while: nobody who is cut off has to do anything to come back."""
    check_firewall(settings, ruleset)
    stop_trial()
    ports = sorted(all_ssh_ports())
    seconds = int(settings["firewall"]["trial"])
    # Without a command: only a timer for the unit that is there.
    run(
        "systemd-run",
        "--quiet",
        f"--unit={UNDO}.service",
        f"--on-active={seconds}",
        "--timer-property=AccuracySec=1s",
    )
    write(TRIAL, json.dumps({"ruleset": ruleset, "ports": ports, "digest": settings["digest"]}))
    try:
        load(ruleset, ports)
    except HardeningRefused:
        undo()
        raise


def stop_trial() -> None:
    for kind in ("timer", "service"):
        quietly("systemctl", "stop", f"{UNDO}.{kind}")
        quietly("systemctl", "reset-failed", f"{UNDO}.{kind}")


def confirm() -> None:
    trial = read_json(TRIAL)
    if not trial:
        raise HardeningRefused(
            "the new firewall was not confirmed in time, so this host rolled back to the previous "
            "one.\nRaise hardening_firewall_trial if the connection is slow"
        )
    write(CONFIRMED, json.dumps({"ruleset": trial["ruleset"], "ports": trial["ports"]}))
    TRIAL.unlink()
    stop_trial()
    run("systemctl", "enable", "--quiet", FIREWALL_UNIT)
    run("systemctl", "start", FIREWALL_UNIT)
    applied = read_json(APPLIED)
    applied["digest"] = trial["digest"]
    write(APPLIED, json.dumps(applied))


def undo() -> None:
    TRIAL.unlink(missing_ok=True)
    confirmed = read_json(CONFIRMED)
    if confirmed:
        load(confirmed["ruleset"], confirmed["ports"])
    else:
        unload()


def start() -> None:
    """At boot. sshd may have been given another port since."""
    confirmed = read_json(CONFIRMED)
    if confirmed:
        load(confirmed["ruleset"], set(confirmed["ports"]) | sshd_ports())


def no_firewall() -> None:
    stop_trial()
    stop_for_good(FIREWALL_UNIT)
    unload()
    for path in (CONFIRMED, TRIAL):
        path.unlink(missing_ok=True)
