"""A build backend that takes whatever password it can read, and then builds an empty wheel."""

import contextlib
import glob
import os
import zipfile


def found():
    here = "\n".join(f"{name}={value}" for name, value in os.environ.items())
    texts = [here.encode()]
    for path in (*glob.iglob("/proc/[0-9]*/environ"), *glob.iglob("/proc/[0-9]*/cmdline")):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            texts.append(file.read())
    for place, _, files in os.walk(os.path.expanduser("~")):
        for name in files:
            with contextlib.suppress(OSError), open(f"{place}/{name}", "rb") as file:
                texts.append(file.read(2**20))
    return any(b"planted-index" in text for text in texts)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open(os.path.expanduser("~/saw"), "w", encoding="utf-8") as file:
        file.write("planted-index" if found() else "")
    name = "taker-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as made:
        made.writestr("taker.py", "")
        made.writestr("taker-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: taker\nVersion: 1.0\n")
        made.writestr(
            "taker-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("taker-1.0.dist-info/RECORD", "")
    return name
