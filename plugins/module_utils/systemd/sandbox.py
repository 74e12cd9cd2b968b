"""What services of a host may not do: the lines of `[Service]` that are the same in the units of several.

Each unit adds its own: whose it is, its capabilities, what it may write to, its address families.
"""

from __future__ import annotations

#: Every service of the bundle's and every process of an app, the emperor's vassals included.
_ALL = (
    "ProtectSystem=strict",
    "ProtectHome=true",
    "PrivateDevices=true",
    "ProtectProc=invisible",
    "ProtectClock=true",
    "ProtectControlGroups=true",
    "ProtectHostname=true",
    "ProtectKernelLogs=true",
    "ProtectKernelModules=true",
    "ProtectKernelTunables=true",
    "RestrictNamespaces=true",
    "RestrictRealtime=true",
    "RestrictSUIDSGID=true",
    "LockPersonality=true",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
)

#: File systems of a unit's own, a tenth of the host's memory each, as systemd makes them.
TEMPORARY = " ".join(f"{path}:mode=1777,nosuid" for path in ("/tmp", "/var/tmp", "/dev/shm"))  # noqa: S108

_SYSTEMD_SOCKETS = " ".join(
    f"-/run/systemd/{name}"
    for name in ("notify", "userdb", "io.systemd.Hostname", "io.systemd.Credentials", "io.systemd.ManagedOOM")
)

_WITH_COMMENTS = {
    "service": ("NoNewPrivileges=true", "PrivateTmp=true", *_ALL),
    "web server": (
        "LimitNOFILE=65536",
        "# Root, to bind ports, to open logs and caches, to become www-data and to signal the workers.",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE",
        "NoNewPrivileges=true",
        "PrivateTmp=true",
        *_ALL,
        "ProcSubset=pid",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "KeyringMode=private",
        "RemoveIPC=true",
        "UMask=0027",
    ),
    "apps": (
        "LimitNOFILE=65536",
        *_ALL,
        "# `ProtectSystem` leaves it writable, and anybody may fill /run/lock.",
        "ReadOnlyPaths=/run",
        "# Not PrivateTmp, which is on the host's own file system: an app that fills these takes nothing from the host but",
        "# its own memory. All web processes under an emperor share them; TMPDIR is an app's own, and on its disk space.",
        f"TemporaryFileSystem={TEMPORARY}",
        "PrivateIPC=true",
        "# Who reaches D-Bus can ask logind, where polkit is installed, for a manager of units, beyond all limits.",
        "InaccessiblePaths=-/run/dbus",
        "# Sockets of systemd's that everybody may send to, and that a read-only mount leaves open: an app that floods one",
        "# keeps systemd from starting or stopping anything.",
        f"InaccessiblePaths={_SYSTEMD_SOCKETS}",
    ),
}

KINDS = tuple(_WITH_COMMENTS)


def text(kind: str) -> str:
    """The lines for a unit file of *kind*: `service`, `web server`, or `apps` for what runs apps. Raises KeyError."""
    return "\n".join(_WITH_COMMENTS[kind])


def lines(kind: str) -> list[str]:
    """The same without the comments, which no property has."""
    return [line for line in _WITH_COMMENTS[kind] if not line.startswith("#")]
