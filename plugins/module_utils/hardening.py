"""Let the settings of role hardening take effect on a host, and take them back, without locking anybody out.

The host keeps this file whole as a program: systemd calls it at boot and when nobody confirmed a firewall. So it imports
nothing but Python's own modules.

    state     print the digest of the settings when all of them are in effect, else nothing
    check     refuse what could not work or would cut somebody off; changes nothing
    apply     let the settings take effect; a new firewall is on trial until `confirm`
    confirm   keep the firewall: whoever says so has just made a new connection through it
    undo      back to the firewall that was confirmed last, or to none
    start, stop   for systemd: the confirmed firewall at boot; none at all
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/emperor-stack/hardening")
APPLIED = STATE / "applied.json"
CONFIRMED = STATE / "confirmed.json"
TRIAL = STATE / "trial.json"
#: The digest of our table as it was loaded last, gone after a boot as the table is.
LOADED = Path("/run/emperor-stack-firewall.loaded")
TABLE = "inet emperor_stack"
UNDO = "emperor-stack-firewall-undo"
FIREWALL_UNIT = "emperor-stack-firewall.service"
FAIL2BAN_UNITS = ("fail2ban.service", "emperor-stack-fail2ban.path")
#: Of role base.
PARAMETERS = "/usr/local/lib/emperor-stack/kernel-parameters"
SSH_CONFIG = Path("/etc/ssh/sshd_config")
#: Before what cloud images bring (50-), for the first value counts; what somebody puts before it counts more.
SSH_DROP_IN = Path("/etc/ssh/sshd_config.d/40-emperor-stack.conf")

PLACEHOLDER = "@SSH_PORTS@"
LOOPBACK = re.compile(r"127\.|\[?::1\]?$|\[::ffff:127\.")


class HardeningRefused(Exception):
    """The host stays as it is; the text is for whoever runs the playbook."""


# What is asked


@dataclass(frozen=True)
class Listener:
    protocol: str
    address: str
    port: int
    process: str

    def __str__(self) -> str:
        return f"{self.process} ({self.protocol} {self.port} at {self.address})"


def listeners(listing: str) -> list[Listener]:
    """Who can be reached from outside, from `ss -Hlntup`."""
    found = []
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) < 6 or fields[0] not in ("tcp", "udp"):
            continue
        address, _, port = fields[4].rpartition(":")
        # A socket of one interface has its name behind the address.
        address = address.partition("%")[0]
        if LOOPBACK.match(address) or not port.isdigit():
            continue
        process = re.search(r'"([^"]+)"', line)
        name = "".join(letter if letter.isprintable() else "?" for letter in process[1]) if process else ""
        found.append(Listener(fields[0], address, int(port), name or "a process"))
    return found


#: Programs by which somebody comes in by SSH.
SSH_SERVERS = ("sshd", "dropbear")


def ports_of(programs: Iterable[str], proc: Path = Path("/proc")) -> set[int]:
    """TCP ports, beside those of the loopback, at which root runs one of *programs*, by what only the kernel says.

    Each process may call itself `sshd`, which is what `ss` prints. An app that did so would have its port opened.
    """
    sockets = set()
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # An upgrade has replaced it: "/usr/sbin/sshd (deleted)".
            program = os.path.basename(os.readlink(process / "exe")).removesuffix(" (deleted)")
            if program in programs:
                sockets |= {os.readlink(one) for one in (process / "fd").iterdir()}
    found = set()
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in (proc / table).read_text().splitlines()[1:]:
                # Local address, remote address, state, …, the socket's owner, …, its inode: proc(5).
                _, local, _, state, _, _, _, owner, _, inode, *_ = line.split()
                address, _, port = local.partition(":")
                own = (address[6:8] == "7F" and len(address) == 8) or address == f"{'0' * 24}01000000"
                if state == "0A" and owner == "0" and not own and f"socket:[{inode}]" in sockets:
                    found.add(int(port, 16))
    return found


def cut_off(
    found: Iterable[Listener], accepted: Iterable[Mapping[str, Any]], ssh: Iterable[int], ephemeral: int
) -> list[Listener]:
    """Those of *found* that a firewall with the rules *accepted* would keep from everybody.

    Datagram sockets from port *ephemeral* on are those of clients, whose answers come through.
    """
    rules = [
        ("udp", 68, 68),
        ("udp", 546, 546),
        *(("tcp", port, port) for port in ssh),
        *((rule["protocol"], int(rule["first"]), int(rule["last"])) for rule in accepted),
    ]
    return [
        one
        for one in dict.fromkeys(found)
        if not (one.protocol == "udp" and one.port >= ephemeral)
        and not any(one.protocol == kind and first <= one.port <= last for kind, first, last in rules)
    ]


def cut_off_message(lost: Iterable[Listener]) -> str:
    found = list(dict.fromkeys(lost))
    rules = ", ".join(
        f"{{port: {port}{', protocol: udp' if protocol == 'udp' else ''}}}"
        for port, protocol in sorted({(one.port, one.protocol) for one in found})
    )
    return (
        f"the firewall is new on this host, and would cut off {', '.join(map(str, found))}.\nOpen their "
        f"ports: hardening_firewall_allow: [{rules}] (add from: [10.0.0.0/8] to limit who may "
        "connect);\nor stop them, or let them listen on 127.0.0.1; or disable the firewall: "
        "hardening_firewall: false"
    )


def fill(ruleset: str, ports: Iterable[int]) -> str:
    """The ruleset with the ports of SSH; without any, without the rule for them."""
    text = ", ".join(map(str, sorted(set(ports))))
    if text:
        return ruleset.replace(PLACEHOLDER, text)
    return "".join(line for line in ruleset.splitlines(keepends=True) if PLACEHOLDER not in line)


def accepted_login(log: str, address: str, port: str) -> tuple[str, str] | None:
    """How, and as whom, the connection from *address* and *port* was let in, as sshd's log has it."""
    found = re.findall(rf"Accepted (\S+) for (\S+) from {re.escape(address)} port {re.escape(port)}\b", log)
    return (found[-1][0], found[-1][1]) if found else None


def effective(listing: str) -> dict[str, list[str]]:
    """What `sshd -T` says, by keyword; some have several values."""
    values: dict[str, list[str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name.lower(), []).append(value)
    return values


def drop_in(wanted: str, before: Mapping[str, list[str]], way: str, passwords_off: bool) -> str:
    """sshd's settings: *wanted*, and what keeps passwords out as far as nobody who is in now came in by one.

    *before* is what sshd does without us: nothing becomes laxer. *way* is `root` when root came in by a password, or
    perhaps so.
    """
    lines = [wanted.rstrip("\n")]
    if way != "root" and before.get("permitrootlogin") == ["yes"]:
        lines.append("PermitRootLogin prohibit-password")
    if passwords_off:
        lines += ["PasswordAuthentication no", "KbdInteractiveAuthentication no"]
    return "\n".join(lines) + "\n"


# Asking


def run(*words: str, stdin: str | None = None, check: bool = True) -> str:
    # What processes are called may be any bytes.
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-8:]
        raise HardeningRefused(f"{' '.join(words)} failed: {chr(10).join(said)}")
    return done.stdout if done.returncode == 0 else ""


def quietly(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """As `write_atomically` of files/atomic.py, which a program of Python's own modules cannot use."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def ssh_connection() -> tuple[str, str, int] | None:
    """Client's address, client's port and our port of the SSH connection that this was started by.

    sudo takes the variable away, so the processes above are looked through.
    """
    pid = os.getpid()
    while pid > 1:
        with contextlib.suppress(OSError, ValueError, IndexError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            for entry in environment:
                if entry.startswith(b"SSH_CONNECTION="):
                    address, port, _, own = entry.decode().partition("=")[2].split()
                    return address, port, int(own)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
    return None


def has_sshd() -> bool:
    return shutil.which("sshd") is not None


def sshd_ports() -> set[int]:
    """What sshd listens on by its configuration. sshd wants this directory, which only its unit makes."""
    if not has_sshd():
        return set()
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    said = effective(run("sshd", "-T", check=False))
    return {int(port) for port in said.get("port", []) if port.isdigit()}


def all_ssh_ports() -> set[int]:
    """Every port by which somebody comes in by SSH: this connection's, sshd's, and those where it really listens."""
    # A socket of systemd's own is that of ssh.socket, or of nobody we know.
    found = sshd_ports() | ports_of(SSH_SERVERS)
    if quietly("systemctl", "is-active", "--quiet", "ssh.socket"):
        said = run("systemctl", "show", "--property=Listen", "--value", "ssh.socket", check=False)
        found |= {int(port) for port in re.findall(r":(\d+) \(Stream\)", said)}
        found |= {int(port) for port in re.findall(r"^(\d+) \(Stream\)", said, re.MULTILINE)}
    connection = ssh_connection()
    return found | ({connection[2]} if connection else set())


def listing_digest() -> str:
    said = run("nft", "--stateless", "list", "table", *TABLE.split(), check=False)
    return hashlib.sha256(said.encode()).hexdigest() if said else ""


# Firewall


def load(ruleset: str, ports: Iterable[int]) -> None:
    run("nft", "-f", "-", stdin=fill(ruleset, ports))
    write(LOADED, listing_digest(), 0o644)


def unload() -> None:
    # Made first, so that it is no error where there is none.
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


def stop_for_good(*units: str) -> None:
    """Now and at boot. The files of units of ours are gone by now, and systemctl may leave their links."""
    for unit in units:
        quietly("systemctl", "disable", "--now", "--quiet", unit)
        quietly("systemctl", "stop", unit)
        for link in glob.glob(f"/etc/systemd/system/*.wants/{unit}"):
            os.unlink(link)


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


# SSH


@contextlib.contextmanager
def config_with(text: str) -> Iterator[str]:
    """sshd's configuration with *text* before it and without our drop-in, as a file."""
    lines = [text]
    for line in SSH_CONFIG.read_text().splitlines():
        words = line.split()
        if words and words[0].lower() == "include":
            for pattern in words[1:]:
                absolute = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
                lines += [
                    f"Include {path}" for path in sorted(glob.glob(absolute)) if path != str(SSH_DROP_IN)
                ]
        else:
            lines.append(line)
    with tempfile.NamedTemporaryFile("w", prefix="sshd_config-", dir="/run") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield file.name


def ssh_text(settings: Mapping[str, Any], wanted: str) -> tuple[str, str]:
    """What our drop-in shall hold, and why passwords stay, or nothing."""
    with config_with("") as path:
        before = effective(run("sshd", "-T", "-f", path))
    way, off, why = "other", settings["ssh_passwords"] == "never", ""
    if settings["ssh_passwords"] == "auto":
        current = SSH_DROP_IN.read_text() if SSH_DROP_IN.exists() else ""
        off = "\nPasswordAuthentication no\n" in current
        if not off:
            way, why = proven_way()
            off = why == ""
    return drop_in(wanted, before, way, off), why


def proven_way() -> tuple[str, str]:
    """Who needs passwords: ``root`` when it may be root himself; and why passwords stay, or nothing."""
    connection = ssh_connection()
    if not connection:
        if any(map(has_keys, homes())):
            return "other", ""
        return "root", "no account has an authorized key"
    address, port, _ = connection
    log = run(
        *(
            "journalctl",
            "--quiet",
            "--no-pager",
            "-o",
            "cat",
            "--identifier=sshd",
            "--identifier=sshd-session",
        ),
        f"--grep=Accepted .* port {port}",
        check=False,
    )
    login = accepted_login(log, address, port)
    if not login:
        return "root", "the journal does not say how this session authenticated"
    if login[0] in ("publickey", "hostbased", "gssapi-with-mic", "gssapi-keyex"):
        return "other", ""
    return (
        "root" if login[1] == "root" else "other"
    ), f"this session ({login[1]}) authenticated by {login[0]}"


def homes() -> list[str]:
    import pwd

    return [one.pw_dir for one in pwd.getpwall() if not one.pw_shell.endswith(("nologin", "false"))]


def has_keys(home: str) -> bool:
    with contextlib.suppress(OSError):
        lines = Path(home, ".ssh", "authorized_keys").read_text(errors="replace").splitlines()
        return any(line.strip() and not line.lstrip().startswith("#") for line in lines)
    return False


def check_ssh(settings: Mapping[str, Any], wanted: str) -> None:
    """Raises where sshd would not start."""
    text, _ = ssh_text(settings, wanted)
    with config_with(text) as path:
        run("sshd", "-t", "-f", path)


def apply_ssh(settings: Mapping[str, Any], wanted: str) -> str:
    text, why = ssh_text(settings, wanted)
    check_ssh(settings, wanted)
    old = SSH_DROP_IN.read_text() if SSH_DROP_IN.exists() else None
    if text != old:
        SSH_DROP_IN.parent.mkdir(mode=0o755, exist_ok=True)
        write(SSH_DROP_IN, text, 0o644)
        if not quietly("sshd", "-t"):
            put_back(old)
            run("sshd", "-t")
        reload_ssh()
    return f"ssh: password login left enabled: {why}" if why and settings["ssh_passwords"] == "auto" else ""


def put_back(old: str | None) -> None:
    if old is None:
        SSH_DROP_IN.unlink(missing_ok=True)
    else:
        write(SSH_DROP_IN, old, 0o644)


def reload_ssh() -> None:
    """Connections stay. Where systemd listens for it, each connection reads the configuration anew anyway."""
    if quietly("systemctl", "is-active", "--quiet", "ssh.service"):
        run("systemctl", "reload", "ssh.service")


def no_ssh() -> None:
    if SSH_DROP_IN.exists():
        SSH_DROP_IN.unlink()
        # What is left may be broken, and a reload would then be refused; that is none of ours.
        quietly("systemctl", "reload", "ssh.service")


def ssh_in_effect(settings: Mapping[str, Any], wanted: str) -> bool:
    if not has_sshd():
        return True
    return SSH_DROP_IN.exists() and SSH_DROP_IN.read_text() == ssh_text(settings, wanted)[0]


# Kernel parameters


def parameters(action: str, wanted: Mapping[str, Any]) -> dict[str, str]:
    """Files of those that are not as *wanted*, with what they should hold; with action `set`, which the kernel keeps so."""
    if wanted and not os.path.exists(PARAMETERS):
        raise HardeningRefused(
            f"{PARAMETERS} is not there: role base brings it. Run site.yml without tags first"
        )
    words = [f"{name}={value}" for name, value in wanted.items()]
    lines = run(PARAMETERS, action, *words).splitlines() if words else []
    return {path: value for path, value, _ in (line.split("\t") for line in lines)}


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


def main(words: list[str]) -> int:
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["LC_ALL"] = "C.UTF-8"
    directory = Path(__file__).resolve().parent
    try:
        match words:
            case ["state"]:
                print(Host(directory).state())
            case ["check"]:
                Host(directory).check()
            case ["apply"]:
                with locked():
                    print(json.dumps(Host(directory).apply()))
            case ["confirm"]:
                with locked():
                    confirm()
            case ["undo"]:
                with locked():
                    undo()
            # Without the lock: systemd runs these for one who holds it.
            case ["start"]:
                start()
            case ["stop"]:
                unload()
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except HardeningRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
