"""What is left of Emperor Stack on a host."""

from __future__ import annotations

from testinfra.host import Host


def left_behind(host: Host) -> list[str]:
    """Files that somebody would take for ours, archives aside, and units that run or failed."""
    found = host.check_output(
        "find /etc /usr/local /srv /run /var/lib -xdev '(' -name '*emperor*' -o -name 'app_*' -o -name 'apps*.slice' "
        "-o -path '/srv/apps*' ')' -not -path '/run/systemd/*' -not -path '/var/lib/apt/*' 2>/dev/null || :"
    ).splitlines()
    units = host.check_output(
        "systemctl list-units --plain --no-legend --all 'emperor*' 'app_*' 'apps*' nginx.service"
    )
    return found + [line for line in units.splitlines() if " running " in line or " failed " in line]
