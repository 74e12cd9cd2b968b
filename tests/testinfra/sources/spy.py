"""A build backend that looks for a text wherever its user can look, and puts what it found into the wheel it makes."""

import json
import os
import sys
import zipfile
from pathlib import Path

#: The text in halves, so that no search finds the search itself.
WANTED = b"-".join([b"planted", b"5e7c"])
LARGEST = 64 << 20


def read(path):
    with open(path, "rb", buffering=0) as file:
        found = b""
        while len(found) < LARGEST and (part := file.read(1 << 20)):
            found += part
        return found


def memory(pid):
    with open(f"/proc/{pid}/maps", "rb") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in maps:
            fields = line.split()
            if not fields[1].startswith(b"r") or fields[-1:] == [b"[vvar]"]:
                continue
            start, _, end = fields[0].partition(b"-")
            try:
                file.seek(int(start, 16))
                left = min(int(end, 16) - int(start, 16), LARGEST)
                if WANTED in file.read(left):
                    return True
            except (OSError, ValueError, OverflowError):
                continue
    return False


def look():
    found, looked = [], {"processes": 0, "files": 0}
    me = os.getpid()
    if any(WANTED in os.fsencode(value) for value in os.environ.values()):
        found.append("environment")
    for name in sorted(filter(str.isdigit, os.listdir("/proc"))):
        looked["processes"] += 1
        for kind in ("environ", "cmdline"):
            try:
                if WANTED in read(f"/proc/{name}/{kind}"):
                    found.append(f"{kind} of {'this' if int(name) == me else 'another'} process")
            except OSError:
                pass
        if int(name) == me:
            continue
        try:
            for fd in os.listdir(f"/proc/{name}/fd"):
                looked["descriptors"] = looked.get("descriptors", 0) + 1
                try:
                    target = os.readlink(f"/proc/{name}/fd/{fd}")
                    if target.startswith("/dev/"):
                        continue
                    handle = os.open(f"/proc/{name}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
                    try:
                        if WANTED in os.read(handle, 1 << 20):
                            found.append("descriptor of another process")
                    finally:
                        os.close(handle)
                except OSError:
                    pass
            if memory(name):
                found.append("memory of another process")
            looked["memories"] = looked.get("memories", 0) + 1
        except OSError:
            pass
    for fd in range(256):
        try:
            os.set_blocking(fd, False)
            if WANTED in os.read(fd, 1 << 20):
                found.append(f"descriptor {fd}")
        except OSError:
            pass
    tops = [
        os.environ.get("HOME", ""),
        sys.prefix,
        os.getcwd(),
        "/etc",
        "/tmp",
        "/var/tmp",
        "/run",
        "/dev/shm",
        "/srv",
    ]
    tops += [
        os.environ.get(name, "")
        for name in ("VIRTUAL_ENV", "UV_CACHE_DIR", "XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY")
    ]
    seen = set()
    for top in filter(None, tops):
        for directory, _, files in os.walk(top):
            for file in files:
                path = os.path.join(directory, file)
                if path in seen or not os.path.isfile(path):
                    continue
                seen.add(path)
                looked["files"] += 1
                try:
                    if WANTED in read(path):
                        found.append(path)
                except OSError:
                    pass
    return {"found": sorted(set(found)), "looked": looked}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "spy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, name), "w") as made:
        made.writestr("spy_found.json", json.dumps(look()))
        made.writestr("spy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: spy\nVersion: 1.0\n")
        made.writestr(
            "spy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("spy-1.0.dist-info/RECORD", "")
    return name
