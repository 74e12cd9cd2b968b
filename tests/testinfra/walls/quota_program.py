"""Runs in a kernel with project quotas: gives two apps a limit of the disk, lets both write, and prints what came of it."""

import ctypes
import errno
import importlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HOSTILE, NEIGHBOUR = 4001, 4002
MIB = 1024 * 1024


def load_modules() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("fs/quota/quota_tree", "fs/quota/quota_v2"):
        with Path(f"{os.environ['MODULES']}/{name}.ko").open("rb") as file:
            if libc.syscall(313, file.fileno(), b"", 0) != 0 and ctypes.get_errno() != errno.EEXIST:
                raise OSError(ctypes.get_errno(), name)


def product() -> types.ModuleType:
    """Module disk_quota, without Ansible."""
    package = types.ModuleType("product")
    package.__path__ = [str(ROOT / "plugins/module_utils")]
    sys.modules["product"] = package
    return importlib.import_module("product.host.disk_quota")


def as_user(uid: int, program: str) -> str:
    """The name of the error that *program* ended with as *uid*; `none` without one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "none"
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            exec(program, {"os": os})  # noqa: S102  (of this file)
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read()


def main() -> None:
    load_modules()
    place = Path("/tmp/quota-test")
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    apps = place / "apps"
    apps.mkdir()
    found = {}
    quotas = product()
    quotas.layout.APPS = str(apps)
    try:
        quotas.ensure("hostile", HOSTILE, quotas.Limit.of("16M"))
    except quotas.Unsupported as error:
        found["without"] = str(error)
    subprocess.run(["mount", "-o", os.environ["OPTIONS"], os.environ["DEVICE"], apps], check=True)
    apps.chmod(0o755)
    for name, uid in (("hostile", HOSTILE), ("neighbour", NEIGHBOUR)):
        for directory in (apps / name, apps / name / "shared", apps / name / "cache"):
            directory.mkdir()
        os.chown(apps / name / "shared", uid, uid)
    outside = apps / "outside"
    outside.mkdir()
    (outside / "file").write_text("root's")
    # What was there before the limit counts, and links are not followed.
    os.symlink(outside, apps / "hostile/shared/link")
    as_user(HOSTILE, f"open('{apps}/hostile/shared/old', 'wb').write(bytes(4 * {MIB}))")
    check = quotas.ensure("hostile", HOSTILE, quotas.Limit.of("16M"), check_mode=True)
    found["check"] = [len(check), quotas.usage(HOSTILE).limit]
    found["changes"] = len(quotas.ensure("hostile", HOSTILE, quotas.Limit.of("16M")))
    found["again"] = quotas.ensure("hostile", HOSTILE, quotas.Limit.of("16M"))
    found["counted"] = quotas.usage(HOSTILE).size // MIB
    write = (
        "f = open('{0}/{1}/shared/new', 'wb')\n[f.write(bytes({2})) for _ in range({3})]\n"
        "f.flush(); os.fsync(f.fileno())"
    )
    found["within"] = as_user(HOSTILE, write.format(apps, "hostile", MIB, 8))
    found["beyond"] = as_user(HOSTILE, write.format(apps, "hostile", MIB, 40))
    quotas.pwd.getpwnam = lambda name: types.SimpleNamespace(pw_uid={"hostile": HOSTILE}[name])
    found["hint"] = quotas.hint("hostile")
    found["neighbour"] = as_user(NEIGHBOUR, write.format(apps, "neighbour", MIB, 24))
    found["root"] = as_user(0, f"open('{apps}/hostile/history', 'wb').write(bytes(20 * {MIB}))")
    found["moved away"] = as_user(
        HOSTILE, f"os.rename('{apps}/hostile/shared/old', '{apps}/hostile/shared/elsewhere')"
    )
    found["outside"] = quotas._attributes(os.open(outside / "file", os.O_RDONLY))[3]
    found["files"] = as_user(
        HOSTILE, f"[open('{apps}/hostile/shared/%d' % n, 'wb').close() for n in range(30000)]"
    )
    found["raised"] = quotas.ensure("hostile", HOSTILE, quotas.Limit.of("64M"))[0].rpartition(": ")[2]
    found["lifted"] = len(quotas.ensure("hostile", HOSTILE, None))
    found["after"] = as_user(HOSTILE, write.format(apps, "hostile", MIB, 30))
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
