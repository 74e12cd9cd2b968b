"""One host, and an app from each kind of source, deployed together by one site.yml."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, Repository
from testinfra.host import Host
from vaulted import OLDER, OLDER_PATH, Vaulted, tricky

ECHO = HERE / "apps" / "echo"

_SECOND_PYTHON = """
set -eu
[ ! -e /opt/python3.11 ] || exit 0
mirror=$(sed -n 's/^deb \\([^ ]*\\) trixie .*/\\1/p' /etc/apt/sources.list | head -n 1)
echo "deb $mirror bookworm main" >/etc/apt/sources.list.d/older.list
apt-get update -q
directory=$(mktemp -d)
cd "$directory"
apt-get download -q python3.11-minimal/bookworm libpython3.11-minimal/bookworm libpython3.11-stdlib/bookworm
rm /etc/apt/sources.list.d/older.list
apt-get update -q
mkdir /opt/python3.11.new
for package in *.deb; do dpkg -x "$package" /opt/python3.11.new; done
mv /opt/python3.11.new /opt/python3.11
rm -r "$directory"
"""

#: An ssh server of the test host's own, beside whatever else runs there, for a repository that needs a key.
_SSH_SERVER = """
set -eu
command -v sshd >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -q openssh-server
mkdir -p /run/sshd /root/.ssh
chmod 700 /root/.ssh
systemctl is-active --quiet tests-sshd ||
    systemd-run --quiet --unit=tests-sshd /usr/sbin/sshd -D -p 2222 -o ListenAddress=127.0.0.1 -o PermitRootLogin=yes
"""


#: A package that is built by what it brings itself.
_SPY_PROJECT = """
[build-system]
requires = []
build-backend = "spy"
backend-path = ["."]
[project]
name = "spy"
version = "1.0"
"""

_INDEX = """
set -eu
rm -rf /srv/index
mkdir -p /srv/index/files/simple/privately /srv/index/files/simple/spy
chmod 700 /srv/index
cd /srv/index
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj '/CN=Tests' -days 2 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=index' 2>/dev/null
echo 'subjectAltName = IP:127.0.0.1' >server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -out server.pem -days 2 -extfile server.ext 2>/dev/null
"""


@pytest.fixture(scope="module")
def private_index(machine: Host, directory: Path) -> Iterator[dict[str, str]]:
    """The role's variables for an index that only this user with this authority can use; it has one package."""
    machine.check_output(_INDEX)
    wheel = directory / "privately-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("privately.py", "")
        made.writestr(
            "privately-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: privately\nVersion: 1.0\n"
        )
        made.writestr(
            "privately-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("privately-1.0.dist-info/RECORD", "")
    spy = directory / "spy-1.0.tar.gz"
    with tarfile.open(spy, "w:gz") as made_tar:
        made_tar.add(HERE / "sources" / "spy.py", "spy-1.0/spy.py")
        for name, text in (
            ("PKG-INFO", "Metadata-Version: 2.1\nName: spy\nVersion: 1.0\n"),
            ("pyproject.toml", _SPY_PROJECT),
        ):
            info = tarfile.TarInfo(f"spy-1.0/{name}")
            info.size = len(text)
            made_tar.addfile(info, io.BytesIO(text.encode()))
    user = "planted-5e7c-user:planted-5e7c-password"
    container = machine.backend.host
    for source, target in (
        (str(wheel), f"{container}:/srv/index/files/simple/privately/"),
        (str(spy), f"{container}:/srv/index/files/simple/spy/"),
        (str(HERE / "sources" / "git_server.py"), f"{container}:/srv/index/git_server.py"),
        (str(HERE / "sources" / "index.py"), f"{container}:/srv/index/index.py"),
        (f"{container}:/srv/index/ca.pem", str(directory / "index-ca.pem")),
    ):
        subprocess.run(["docker", "cp", "--quiet", source, target], check=True)
    # Neither the password nor its digest goes over a command line: the test looks for them everywhere.
    (directory / "user").write_text(user)
    subprocess.run(
        ["docker", "cp", "--quiet", str(directory / "user"), f"{container}:/srv/index/user"], check=True
    )
    machine.check_output("systemd-run --quiet --unit=tests-index python3 /srv/index/index.py /srv/index 8799")
    machine.check_output(
        "systemd-run --quiet --unit=tests-git python3 /srv/index/git_server.py /srv/git /srv/index/user 8801"
    )
    yield {
        "python_apps_index": f"https://{user}@127.0.0.1:8799/simple",
        "python_apps_ca_bundle": str(directory / "index-ca.pem"),
    }
    machine.run("systemctl stop tests-index tests-git")
    machine.run("rm -rf /srv/index")


def one_of(name: str, source: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.localhost"],
        "source": source,
        "wsgi": "app:application",
        "web": {"processes": 1, "threads": 1},
        "health": {"timeout": 60},
        **settings,
    }


def sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture(scope="module")
def tarball(directory: Path) -> Path:
    """As release archives are: one directory at the top, and the app deeper down."""
    path = directory / "echo-1.0.tar.xz"
    (directory / "version.txt").write_text("from a tar\n")
    with tarfile.open(path, "w:xz") as tar:
        tar.add(ECHO / "app.py", "echo-1.0/services/echo/app.py")
        tar.add(directory / "version.txt", "echo-1.0/services/echo/version.txt")
        tar.add(directory / "version.txt", "echo-1.0/README.txt")
    return path


@pytest.fixture(scope="module")
def zipped(machine: Host, directory: Path) -> Iterator[tuple[str, str]]:
    """(URL, checksum) of a zip file that a server on the test host itself gives out."""
    path = directory / "echo.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.write(ECHO / "app.py", "app.py")
        made.writestr("version.txt", "from a zip\n")
    machine.check_output("mkdir -p /srv/downloads")
    container = machine.backend.host
    subprocess.run(["docker", "cp", "--quiet", str(path), f"{container}:/srv/downloads/echo.zip"], check=True)
    machine.check_output(
        "systemd-run --quiet --unit=tests-downloads "
        "python3 -m http.server --bind 127.0.0.1 --directory /srv/downloads 8765"
    )
    yield "http://127.0.0.1:8765/echo.zip", sha256(path)
    machine.run("systemctl stop tests-downloads")


@pytest.fixture(scope="module")
def modular(machine: Host, directory: Path) -> Repository:
    """A repository whose app lies in a subdirectory, with a submodule in it that is named by a relative URL."""
    part = Repository(machine, "part", ECHO, directory)
    part.version("v1", {"version.txt": "from a submodule\n", "app.py": None})
    whole = Repository(machine, "whole", ECHO, directory)
    app = (whole.work / "app.py").read_text()
    whole.version("v0", {"services/echo/app.py": app, "app.py": None})
    whole._git(
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "--quiet",
        str(part.work),
        "services/echo/part",
    )
    modules = (whole.work / ".gitmodules").read_text().replace(str(part.work), "../part.git")
    whole.version("v1", {".gitmodules": modules})
    shutil.rmtree(whole.work / ".git" / "modules")
    part.push()
    whole.push()
    return whole


@pytest.fixture(scope="module")
def deploy_key(machine: Host, directory: Path, modular: Repository) -> dict[str, str]:
    """`key` and `known_hosts` of a git server that lets nobody in without that key."""
    key = directory / "deploy_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    machine.check_output(_SSH_SERVER)
    machine.check_output("echo %s >/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text().strip())
    machine.check_output("printf '[safe]\\n\\tdirectory = *\\n' > /root/.gitconfig")
    known = machine.check_output(
        "for i in 1 2 3 4 5; do ssh-keyscan -p 2222 127.0.0.1 2>/dev/null && break; sleep 1; done"
    )
    return {"key": str(key), "known_hosts": known}


@pytest.fixture(scope="module")
def stack(
    machine: Host,
    directory: Path,
    tarball: Path,
    zipped: tuple[str, str],
    modular: Repository,
    deploy_key: dict[str, str],
) -> Vaulted:
    machine.check_output(_SECOND_PYTHON)
    secrets = tricky(4, 300)
    older = directory / "older"
    shutil.copytree(ECHO, older)
    (older / "requirements.txt").write_text("six>=1.15\n")
    git = {"git": "ssh://root@127.0.0.1:2222/srv/git/whole.git", "version": "v1", **deploy_key}
    apps = [
        one_of(
            "tarred", {"archive": str(tarball), "checksum": sha256(tarball), "subdirectory": "services/echo"}
        ),
        one_of("zipped", {"archive": zipped[0], "checksum": zipped[1]}),
        one_of("modular", {**git, "subdirectory": "services/echo", "submodules": True}),
        one_of("echo", {"path": str(ECHO)}, secrets=list(secrets)),
        one_of("older", {"path": str(older)}),
    ]
    made = Vaulted(machine, Path(os.environ["MOLECULE_INVENTORY_FILE"]), directory, apps, {"echo": secrets})
    made.good("site.yml", "-vvv", "--diff", python_apps_interpreters={OLDER: OLDER_PATH})
    return made
