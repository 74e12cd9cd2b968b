#!/usr/bin/python3
"""What root runs on a test host for the scenario: `onhost.py FUNCTION FACTS`, with facts and answer as JSON.

The modules beside it are those of the checkout, as a run brings them to the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ansible_collections.emperor.stack.plugins.module_utils.app import accounts as app_accounts  # noqa: E402
from ansible_collections.emperor.stack.plugins.module_utils.host import layout  # noqa: E402
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState  # noqa: E402


def state(apps):
    """Of each app: what is live, what its last deploy said, whether a lock is left."""
    found = {}
    for app in apps:
        one = AppState(app)
        last = (one.history(1) or [{}])[-1]
        found[app] = {
            "live": one.live_release(),
            "activation": one.live_activation(),
            "lock": one.lock() is not None,
            "result": last.get("result"),
            "reason": last.get("reason") or "",
            "cut_off": last.get("cut_off"),
            "user": _uid(app) is not None,
        }
    return found


def _uid(app):
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwnam(app).pw_uid
    return None


def _status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return dict(line.rstrip("\n").partition(":\t")[::2] for line in file)


def processes(apps):
    """All processes of these apps' users that have not ended: [pid, start time, arguments, control group], by app."""
    uids = {_uid(app): app for app in apps}
    found = {app: [] for app in apps}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError, KeyError, ValueError, IndexError):
            status = _status(name)
            app = uids.get(int(status["Uid"].split()[0]))
            if app is None or status["State"][0] in "ZX":
                continue
            started = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[19]
            arguments = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace")
            group = Path(f"/proc/{name}/cgroup").read_text()
            found[app].append([int(name), started, arguments[:200], group])
    return found


def end(pids):
    """Kill what an attempt has left, by its id."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)


# Row 1

_SWAPPER = """
import ctypes, os, sys
home, bait = sys.argv[1:]
os.chdir(home)
if not os.path.isdir("other") or os.path.islink("other"):
    os.path.lexists("other") and os.unlink("other")
    os.symlink(bait, "other")
if not os.path.isdir("tmp"):
    os.mkdir("tmp")
exchange = ctypes.CDLL(None).renameat2
print("ready", flush=True)
while True:
    # A mode that is wrong, so that there is something to correct.
    for name in (b"tmp", b"other"):
        try:
            os.chmod(name, 0o755, follow_symlinks=os.path.realpath(name) == os.path.abspath(name))
        except (OSError, NotImplementedError):
            pass
    for _ in range(20):
        exchange(-100, b"tmp", -100, b"other", 2)
"""


def race(app, rounds, persistent):
    """Make the app's directories so many times while it swaps one of them with a link to a directory of root's.

    Returns how often root has changed that, how often it corrected something, and what it complained of.
    """
    bait = "/srv/bait"
    os.makedirs(bait, exist_ok=True)
    entry = {"name": app, "renamed_from": None, "persistent": persistent}
    command = ["setpriv", f"--reuid={app}", f"--regid={app}", "--clear-groups", "--"]
    swapper = subprocess.Popen(
        [*command, sys.executable, "-c", _SWAPPER, layout.cache(app), bait], stdout=subprocess.PIPE
    )
    followed, corrected, complaints = 0, 0, {}
    try:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        for _ in range(rounds):
            os.chown(bait, 0, 0)
            os.chmod(bait, 0o755)
            try:
                corrected += bool(list(app_accounts.make_directories(entry, False)))
            except Exception as error:
                complaints[type(error).__name__] = complaints.get(type(error).__name__, 0) + 1
            found = os.stat(bait)
            followed += (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (0, 0, 0o755)
    finally:
        swapper.kill()
        swapper.wait()
        _put_back(layout.cache(app))
    return {"followed": followed, "rounds": rounds, "corrected": corrected, "complaints": complaints}


def _put_back(home):
    for name in ("tmp", "other"):
        path = f"{home}/{name}"
        if os.path.islink(path):
            os.unlink(path)
    if not os.path.isdir(f"{home}/tmp") and os.path.isdir(f"{home}/other"):
        os.rename(f"{home}/other", f"{home}/tmp")


# Row 9


def status(apps, seconds):
    """What a status view says of these apps, within *seconds*; or how it fails."""
    from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
    from ansible_collections.emperor.stack.plugins.module_utils.release.phases import run_phase

    def late(*_):
        raise TimeoutError(f"no status within {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    began = time.monotonic()
    try:
        said = run_phase("status", [{"name": app} for app in apps], Options())
        return {"said": said, "seconds": round(time.monotonic() - began, 1)}
    except BaseException as error:
        return {"raised": f"{type(error).__name__}: {error}"[:300]}
    finally:
        signal.alarm(0)


# Row 13


def lines(identifiers, word):
    """Numbers that the journal has of lines `WORD n`, counted per process: [identifier, how many, how many are missing]."""
    found = {}
    command = ["journalctl", "--namespace=*", "--quiet", "--no-pager", "--all", "-o", "json"]
    command += ["--output-fields=MESSAGE,_PID,SYSLOG_IDENTIFIER,_UID"]
    command += [f"SYSLOG_IDENTIFIER={one}" for one in identifiers]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    for line in reader.stdout:
        entry = json.loads(line)
        said = entry.get("MESSAGE")
        if isinstance(said, str) and said.startswith(f"{word} ") and said.split()[1].isdecimal():
            key = (entry.get("SYSLOG_IDENTIFIER"), entry.get("_PID"))
            found.setdefault(key, set()).add(int(said.split()[1]))
    reader.wait()
    # What was said before the first line that is left is lost too: every count begins with 1.
    return [
        [key[0], len(numbers), max(numbers) - len(numbers)] for key, numbers in sorted(found.items(), key=str)
    ]


# Credentials


def roots_alone(status, mode):
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, mode)


def mentions(words, places):
    """Files below *places* that hold one of *words*, but for what root alone can read and has to know: the command `emperor`
    deploys by it."""
    found = []
    known = "/var/lib/emperor-stack/apps"
    for place in places:
        for directory, _, names in os.walk(place):
            for name in names:
                path = f"{directory}/{name}"
                with contextlib.suppress(OSError):
                    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                    with os.fdopen(descriptor, "rb") as file:
                        status = os.fstat(descriptor)
                        if not stat.S_ISREG(status.st_mode):
                            continue
                        if (
                            directory == known
                            and roots_alone(status, 0o600)
                            and roots_alone(os.stat(known), 0o700)
                        ):
                            continue
                        content = file.read(4 * 2**20)
                    found += [[path, word] for word in words if word.encode() in content]
    return found


def run_is_usable(size):
    """Whether the host can still work in /run: free bytes and inodes, and a reload of systemd."""
    space = os.statvfs("/run")
    reload = subprocess.run(["systemctl", "daemon-reload"], capture_output=True, text=True, check=False)
    return {
        "free": space.f_bavail * space.f_frsize,
        "inodes": space.f_favail,
        "reload": reload.stderr[-200:] if reload.returncode else "",
        "usable": not reload.returncode and space.f_bavail * space.f_frsize > size and space.f_favail > 500,
    }


def sizes(paths):
    """Bytes of files by their paths; what is not there is 0."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = os.stat(path).st_size
    return found


if __name__ == "__main__":
    # A library of ctypes' own is what the swapper needs; say early where it is missing.
    assert hasattr(ctypes.CDLL(None), "renameat2")
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2])), default=str))
