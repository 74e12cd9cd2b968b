"""backup-server: the backup server of the fleet. Role backup_server calls it.

backup-server status      what is here, as JSON
backup-server show        the same for people
backup-server maintain    delete old backups and check the repositories, as emperor-stack-backup-server.service does
backup-server state       prints the digest of the wanted settings where the server runs with them
backup-server apply       let it run with them
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

from ..backup import keeping
from ..host.command import CommandFailed, run
from ..host.output import clean
from ..systemd.settings_of import settings_of

UNIT = "restic-rest-server.service"
TIMER = "emperor-stack-backup-server.timer"


def status() -> int:
    print(json.dumps(keeping.summary()))
    return 0


def show() -> int:
    said = keeping.summary()
    print(clean(said["text"]))
    for problem in said["problems"]:
        print(f"problem: {clean(problem)}")
    return int(not said["good"])


def maintain() -> int:
    result = keeping.maintain()
    for problem in result["problems"]:
        print(f"problem: {clean(problem)}")
    return int(bool(result["problems"]))


def state() -> int:
    wanted = keeping.settings()["digest"]
    print(wanted if settings_of(UNIT) == wanted else "differs")
    return 0


def apply() -> int:
    run(["systemctl", "enable", "--quiet", "--now", TIMER], what=f"enabling {TIMER}", timeout=60)
    run(["systemctl", "enable", "--quiet", UNIT], what=f"enabling {UNIT}", timeout=60)
    run(["systemctl", "restart", UNIT], what=f"restarting {UNIT}", timeout=60)
    return 0


COMMANDS: Mapping[str, Callable[[], int]] = {
    "status": status,
    "show": show,
    "maintain": maintain,
    "state": state,
    "apply": apply,
}


def main() -> int:
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if command is None:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return command()
    except (CommandFailed, OSError, ValueError, KeyError) as error:
        print(clean(str(error)), file=sys.stderr)
        return 1
