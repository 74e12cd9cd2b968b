"""sshd's settings, without locking out whoever runs the playbook."""

from __future__ import annotations

import contextlib
import glob
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .commands import quietly, run, write
from .connection import accepted_login, effective, has_sshd, ssh_connection

SSH_CONFIG = Path("/etc/ssh/sshd_config")

#: Before what cloud images bring (50-), for the first value counts; what somebody puts before it counts more.
SSH_DROP_IN = Path("/etc/ssh/sshd_config.d/40-emperor-stack.conf")


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
