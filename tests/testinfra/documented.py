"""A reader of the documents: a fresh checkout, an inventory with two hosts and two apps, and a shell in which to type."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from deploying import ROOT, Repository
from testinfra.host import Host

from tools import playbook_server
from tools.docs_commands import CONTROLLER, WEB1, WEB2, Row

BROKEN = "raise LookupError('raised by the import')\n"
#: Of a command that ends by itself.
PATIENCE = 600


def git(*arguments: str, where: Path) -> None:
    identity = ["-c", "user.name=Tests", "-c", "user.email=tests@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=where, check=True, capture_output=True)


class Reader:
    """Types commands at the controller and on the hosts, as root."""

    def __init__(self, hosts: dict[str, Host], directory: Path) -> None:
        self.hosts, self.directory = hosts, directory
        self.origin, self.checkout = directory / "origin", directory / "emperor-stack"
        self.mine = self.checkout / "inventories" / "mine"
        self.state = directory / "shell"
        self.failed_release = self.chosen = ""
        self.servers = playbook_server.Servers()
        self.apps: list[dict[str, object]] = []
        self._clone()
        self.code = self._blog()
        others = ("ANSIBLE_", "MOLECULE_", "PYTEST_", "VIRTUAL_ENV")
        self.environment = {name: v for name, v in os.environ.items() if not name.startswith(others)}
        # What `make app` reads from, in the place of a server.
        self.environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.code.work}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://git.example.com/blog.git",
            "VALUE": "only-for-this-test",
            "ANSIBLE_NOCOLOR": "1",
        }

    def _clone(self) -> None:
        self.origin.mkdir()
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
            "\0"
        )
        for name in filter(None, names):
            if (ROOT / name).is_symlink() or (ROOT / name).is_file():
                (self.origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.origin / name, follow_symlinks=False)
        git("init", "--quiet", "--initial-branch=main", where=self.origin)
        git("add", "--all", where=self.origin)
        git("commit", "--quiet", "--message", "the version before", where=self.origin)
        git("clone", "--quiet", str(self.origin), str(self.checkout), where=self.directory)
        (self.checkout / ".venv").symlink_to(Path(sys.executable).parent.parent)

    def _blog(self) -> Repository:
        code = Repository(self.hosts[WEB1], "blog", ROOT / "examples" / "django", self.directory)
        code.version("v1.4")
        code.version("v1.5")
        code.version("v1.6")
        wsgi = (code.work / "notes" / "wsgi.py").read_text()
        code.version("broken", {"notes/wsgi.py": BROKEN + wsgi})
        git("checkout", "--quiet", "-B", "main", "v1.4", where=code.work)
        for host in self.hosts.values():
            code.host = host
            code.push()
        return code

    # Commands

    def run(self, row: Row) -> tuple[int, str]:
        if row.before:
            self.befores[row.before]()
        command = row.command
        for text, name in row.given:
            assert text in command
            command = command.replace(text, self.values[name]() if name in self.values else name)
        if row.where != CONTROLLER:
            return self.on_host(self.hosts[row.where], command, row)
        if re.match(r"(?:\S*/)?ansible-playbook ", command):
            return self.play(command)
        if row.typed:
            return self.typed(command, row.typed)
        script = f". {self.state} 2>/dev/null; {command}\ncode=$?; export -p >{self.state}; exit $code"
        place = self.code.work if row.in_code else self.checkout
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=place, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def shell(self) -> dict[str, str]:
        """The environment that the commands before have left."""
        script = f". {self.state} 2>/dev/null; env -0"
        done = subprocess.run(["bash", "-c", script], env=self.environment, capture_output=True, check=True)
        pairs = (one.partition("=") for one in done.stdout.decode().split("\0") if "=" in one)
        return {name: value for name, _, value in pairs if name not in ("_", "OLDPWD", "PWD", "SHLVL")}

    def play(self, command: str) -> tuple[int, str]:
        """An ansible-playbook, by a fork of one that has been imported already: there are many."""
        words = shlex.split(command)
        server = self.servers.server(self.shell(), self.checkout)
        if server:
            done = server.run(words[1:], PATIENCE, merged=True)
        else:
            done = subprocess.run(
                words, cwd=self.checkout, env=self.shell(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        return done.returncode, done.stdout

    def good(self, command: str, *codes: int) -> str:
        code, output = self.play(command)
        assert code in (codes or (0,)), output[-4000:]
        return output

    def on_host(self, host: Host, command: str, row: Row) -> tuple[int, str]:
        script = f"export REL={shlex.quote(self.failed_release)}; {command}"
        limit = ["timeout", str(row.seconds)] if row.seconds else []
        done = subprocess.run(
            ["docker", "exec", "-i", str(host.backend.host), *limit, "bash", "-c", script],
            input=row.typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        ended = 0 if row.seconds and done.returncode == 124 else done.returncode
        return ended, done.stdout

    def typed(self, command: str, text: str) -> tuple[int, str]:
        """A command that reads from the terminal, and asks twice."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe("bash", ["bash", "-c", command], self.environment)  # noqa: S606
        said = ""
        for _ in range(2):
            asked = len(said)
            while "assword" not in said[asked:]:
                said += os.read(terminal, 1024).decode()
            time.sleep(0.2)
            os.write(terminal, f"{text}\n".encode())
        try:
            while part := os.read(terminal, 1024):
                said += part.decode()
        except OSError:
            # The other end is closed.
            pass
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), said

    # What is there before a command

    @property
    def befores(self) -> dict[str, Callable[[], None]]:
        return {
            "a newer version": self.newer,
            "a password of the vault": self.password,
            "an inventory without apps": lambda: self.write_apps([]),
            "two hosts and two apps": self.inventory,
            "inventories/local is these hosts": self.local,
            "a broken version": self.broken,
            "a repository of backups": self.saved,
            "v1.5 is live": lambda: self.deployed("version=v1.5"),
            "a warm activation": lambda: self.deployed("force=true"),
            "a new web2": self.lost,
            "the archive on web2": self.carried,
            "an inventory without blog": lambda: self.write_apps([self.apps[1]]),
            "web1 alone, and a login": self.alone,
            "tags that were pushed": self.tags,
        }

    @property
    def values(self) -> dict[str, Callable[[], str]]:
        return {
            "another release of blog": self.another_release,
            "this moment": lambda: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
            "a directory of jobs": lambda: str(self.directory / "jobs"),
            "the warm activation": self.warm,
            "the warm activation's timer": lambda: self.chosen.replace("@", "-"),
        }

    def newer(self) -> None:
        git("commit", "--quiet", "--allow-empty", "--message", "a newer version", where=self.origin)

    def password(self) -> None:
        for name in (".vault_password", ".vault_password_blog"):
            (self.checkout / name).write_text("only-for-this-test\n")

    def write_hosts(self, *chosen: str) -> None:
        reached = {"ansible_connection": "community.docker.docker", "ansible_user": "root"}
        hosts = {
            f"{web}.example.com": {**reached, "ansible_host": str(self.hosts[web].backend.host)}
            for web in chosen
        }
        (self.mine / "hosts.yml").write_text(yaml.safe_dump({"app_hosts": {"hosts": hosts}}))

    def inventory(self) -> None:
        """What a reader writes into the copy of an inventory."""
        self.write_hosts(WEB1, WEB2)
        # What this machine's network needs: authorities of its own.
        shutil.copy2(
            ROOT / "inventories/local/group_vars/all/controller.yml", self.mine / "group_vars" / "all"
        )
        blog = {
            "name": "blog",
            "domains": ["blog.example.com"],
            "source": {"git": self.code.url, "version": "v1.4"},
            "wsgi": "notes.wsgi:application",
            "build": ["python manage.py collectstatic --noinput"],
            "migrate": "python manage.py migrate --noinput",
            # SQLite.
            "migrate_on": "each",
            "static": {"/static/": "staticfiles", "/media/": "media"},
            "persistent": ["data", "media"],
            "env": {"DJANGO_ALLOWED_HOSTS": "blog.example.com"},
            "secrets": ["SECRET_KEY"],
            "health": {"path": "/healthz"},
            "workers": {"jobs": {"command": "sh -c 'while :; do echo works; sleep 1; done'"}},
            "schedule": {"nightly": {"command": "true", "at": "03:00"}},
        }
        shop = {
            "name": "shop",
            "domains": ["shop.example.com"],
            "source": {"path": str(ROOT / "tests" / "testinfra" / "apps" / "bare")},
            "wsgi": "app:application",
            "tls": {"provider": "self_signed"},
        }
        self.apps = [blog, shop]
        self.write_apps(self.apps)

    def encrypted(self, value: str) -> str:
        command = f"printf %s {value} | ansible-vault encrypt_string --stdin-name SECRET_KEY 2>/dev/null"
        code, text = self.run(Row(command))
        assert code == 0 and "!vault" in text, text
        return text.replace("\n", "\n    ")

    def write_apps(self, apps: list[dict[str, object]]) -> None:
        """The inventory with *apps*, and their secrets."""
        variables = {"python_apps": apps, "hardening_fail2ban": True}
        place = self.mine / "group_vars" / "app_hosts"
        (place / "apps.yml").write_text(yaml.safe_dump(variables))
        (place / "vault.yml").unlink(missing_ok=True)
        if any(app["name"] == "blog" for app in apps):
            text = self.encrypted("only-for-this-test-key")
            (place / "vault.yml").write_text(f"vault_python_apps_secrets:\n  blog:\n    {text}")

    def local(self) -> None:
        local = self.checkout / "inventories" / "local"
        shutil.rmtree(local)
        shutil.copytree(self.mine, local)

    def deployed(self, extra: str, *codes: int) -> None:
        self.good(f"ansible-playbook -i inventories/mine playbooks/deploy.yml -e app=blog -e {extra}", *codes)

    def broken(self) -> None:
        self.deployed("version=broken", 2)
        found = self.hosts[WEB1].check_output("grep -l '\"failed\"' /srv/apps/blog/releases/*/release.json")
        self.failed_release = str(Path(found.split()[-1]).parent)

    def another_release(self) -> str:
        """One of web1 that was good and is not live."""
        host = self.hosts[WEB1]
        live = Path(host.check_output("readlink -f /srv/apps/blog/active/release")).name
        kept = host.check_output("ls /srv/apps/blog/releases").split()
        lines = map(json.loads, host.check_output("cat /srv/apps/blog/state/history.jsonl").splitlines())
        good = [str(one["release"]) for one in lines if one["result"] == "good"]
        return [release for release in good if release in kept and release != live][-1]

    def warm(self) -> str:
        host = self.hosts[WEB1]
        active = Path(host.check_output("readlink /srv/apps/blog/active")).name
        running = host.check_output("ls /etc/emperor-stack/vassals/a /etc/emperor-stack/vassals/b").split()
        serials = [
            int(name.partition("@")[2].partition(".")[0]) for name in running if name.startswith("blog@")
        ]
        others = [serial for serial in serials if f"blog@{serial}" != active]
        self.chosen = f"blog@{max(others or serials)}"
        return self.chosen

    def saved(self) -> None:
        """A reader's own backups, on a disk of each host."""
        variables = {"backup_repository": "/mnt/backups", "backup_password": "only-for-this-test"}
        (self.mine / "group_vars" / "app_hosts" / "backups.yml").write_text(yaml.safe_dump(variables))
        self.good("ansible-playbook -i inventories/mine site.yml")

    def lost(self) -> None:
        self.hosts[WEB2].check_output("rm -rf /srv/apps/blog/shared/data/*")

    def carried(self) -> None:
        for source, target in (
            (f"{self.hosts[WEB1].backend.host}:/root/shared.tgz", str(self.directory / "shared.tgz")),
            (str(self.directory / "shared.tgz"), f"{self.hosts[WEB2].backend.host}:/root/shared.tgz"),
        ):
            subprocess.run(["docker", "cp", "--quiet", source, target], check=True)

    def alone(self) -> None:
        """Blog is web1's alone, is deployed by pushes, and by whoever has a key."""
        host, key, config = self.hosts[WEB1], self.directory / "key", self.directory / "ssh_config"
        host.check_output(
            "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends openssh-server"
        )
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a reader", "-f", str(key)]
        subprocess.run(made, check=True, capture_output=True)
        config.write_text(
            f"Host web1.example.com\n  HostName {host.check_output('hostname -I').split()[0]}\n  IdentityFile {key}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {self.directory / 'known_hosts'}\n"
            "  StrictHostKeyChecking accept-new\n  BatchMode yes\n  ControlPath none\n"
        )
        # What a reader has in ~/.ssh and by DNS.
        programs = self.directory / "programs"
        programs.mkdir()
        (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
        (programs / "ssh").chmod(0o755)
        with self.state.open("a") as state:
            state.write(f'\nexport PATH="{programs}:$PATH"\n')
        git("checkout", "--quiet", "-B", "main", "v1.6", where=self.code.work)
        blog, *others = self.apps
        source = {"git": "file:///var/lib/emperor-stack/pushed/blog.git", "version": "main"}
        self.write_hosts(WEB1)
        self.write_apps(
            [
                {**blog, "source": source, "deploy_keys": [key.with_suffix(".pub").read_text().strip()]},
                *others,
            ]
        )

    def tags(self) -> None:
        """Of commits that were pushed by their branch: a push of a tag would be a deploy."""
        for tag in ("v1.4", "v1.5"):
            found = ["git", "rev-parse", tag]
            said = subprocess.run(found, cwd=self.code.work, check=True, capture_output=True, text=True)
            command = "git --git-dir=/var/lib/emperor-stack/pushed/blog.git tag %s %s"
            self.hosts[WEB1].check_output(command, tag, said.stdout.strip())
