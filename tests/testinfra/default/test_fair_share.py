"""Apps that want the processor at the same time get equal parts of it, however many processes each of them has."""

from __future__ import annotations

import json

from testinfra.host import Host

testinfra_hosts = ["ansible://default-*"]

#: Run on the host: eight busy processes in the slice of one app, and one in that of another, all on one processor, where the
#: kernel has to choose at each moment. Whatever else this machine does takes its part from both alike. Prints the seconds of
#: processor that each slice got between two moments at which all of them were busy.
CONTEST = """
import json, os, subprocess, sys, time

BUSY = "import time; end = time.monotonic() + 120\\nwhile time.monotonic() < end: pass"
many, one = sys.argv[1:3]
where = str(min(os.sched_getaffinity(0)))
units = [(f"contest-{many}-{n}", many) for n in range(8)] + [(f"contest-{one}", one)]

def spent(pids):
    found = {many: 0, one: 0}
    for pid, app in pids:
        with open(f"/proc/{pid}/schedstat") as file:
            found[app] += int(file.read().split()[0]) / 1e9
    return found

try:
    pids = []
    for unit, app in units:
        subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--slice=apps-{app}.slice",
                        f"--uid={app}", "taskset", "-c", where, "/usr/bin/python3", "-c", BUSY], check=True)
        said = subprocess.check_output(["systemctl", "show", "--property=MainPID", "--value", unit], text=True)
        pids.append((said.strip(), app))
    # Until each of them is past its start.
    time.sleep(2)
    before = spent(pids)
    got, end = {}, time.monotonic() + 40
    while sum(got.values()) < 3 and time.monotonic() < end:
        time.sleep(1)
        got = {app: seconds - before[app] for app, seconds in spent(pids).items()}
    print(json.dumps(got))
finally:
    subprocess.run(["systemctl", "stop", *(unit for unit, _ in units)], capture_output=True)
"""


def test_eight_busy_processes_of_an_app_take_no_more_than_its_share(host: Host) -> None:
    spent = json.loads(host.check_output("python3 -c %s notes links", CONTEST))
    assert sum(spent.values()) > 0.5, f"this machine gave them too little that could be shared: {spent}"
    share = spent["links"] / sum(spent.values())
    error = abs(share - 0.5) / 0.5 * 100
    print(f"\nfigure: fair_share_error_{host.backend.get_hostname().rpartition('-')[2]} = {error:.1f}%")
    assert error <= 10, f"one process of links got {share:.0%} beside eight of notes: {spent}"
