"""Logins that deploy one app over SSH: what they can, and that they can do nothing else. After all tests of the role."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, Repository, Stack, figure, load
from outside import Machine

#: What each attack tries to leave behind, or to see.
MARK = "/tmp/emperor-was-here"
KNOWN = "/var/lib/emperor-stack/apps/blog.json"
SECRET = "only-root-knows-this"

Done = subprocess.CompletedProcess[str]


def entry(name: str, repository: Repository, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{name}.example.com"],
        "source": {"git": repository.url, "version": "v1"},
        "wsgi": "app:application",
        "health": {"path": "/healthz", "timeout": 30},
        "web": {"processes": 1, "threads": 2},
        **settings,
    }


@dataclass
class Login:
    """Somebody with the key of app blog."""

    machine: Machine
    key: Path
    #: A checkout of the code.
    work: Path

    def command(self, *options: str, user: str = "deploy_blog", program: str = "ssh") -> list[str]:
        common = [*self.machine.ssh_options().split(), "-o", "BatchMode=yes", "-o", "ControlPath=none"]
        common += ["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5", "-i", str(self.key)]
        who = [f"{user}@{self.machine.address}"] if program == "ssh" else []
        return [program, *common, *options, *who]

    def run(self, command: Sequence[str], stdin: str = "", patience: float = 60) -> Done:
        try:
            return subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, timeout=patience
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 255, "", "timed out")

    def ask(self, text: str, *options: str, stdin: str = "", user: str = "deploy_blog") -> Done:
        return self.run([*self.command(*options, user=user), *([text] if text else [])], stdin)

    def copy(self, *words: str) -> Done:
        return self.run([*self.command(program="scp"), *words], patience=20)

    def git(self, *words: str, user: str = "deploy_pushed", repository: str = "pushed") -> Done:
        """`git WORDS` in the checkout of app blog's code, with the repository of *user* as remote `host`."""
        how = " ".join(self.command()[:-1])
        url = f"ssh://{user}@{self.machine.address}/{repository}"
        command = ["git", "-C", str(self.work), "-c", f"remote.host.url={url}", *words]
        return subprocess.run(
            command,
            env={**os.environ, "GIT_SSH_COMMAND": how, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def remote(self, path: str) -> str:
        return f"deploy_blog@{self.machine.address}:{path}"


@pytest.fixture(scope="module")
def code(machine: Machine, directory: Path) -> Repository:
    repository = Repository(machine.host, "blog", HERE / "apps" / "bare", directory)
    for name in ("v1", "v2", "v3", "v4"):
        repository.version(name)
    repository.version("broken", {"app.py": "raise RuntimeError('broken on purpose')\n"})
    repository.push()
    return repository


@pytest.fixture(scope="module")
def login(machine: Machine, stack: Stack, directory: Path, code: Repository) -> Login:
    """With sshd as role hardening sets it; the rest of the role stays off."""
    keys = {}
    for name in ("ci", "shop"):
        keys[name] = directory / f"key-{name}"
        command = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            f"{name} server",
            "-f",
            str(keys[name]),
        ]
        subprocess.run(command, check=True, capture_output=True)
    public = {name: key.with_suffix(".pub").read_text().strip() for name, key in keys.items()}
    stack.apps += [
        entry("blog", code, deploy_keys=[public["ci"]], secrets=["TOKEN"]),
        entry("shop", code, deploy_keys=[public["shop"]]),
        entry(
            "pushed",
            code,
            deploy_keys=[public["ci"]],
            source={"git": "file:///var/lib/emperor-stack/pushed/pushed.git", "version": "main"},
        ),
    ]
    stack.secrets["blog"] = {"TOKEN": SECRET}
    stack.variables |= {f"hardening_{part}": False for part in ("firewall", "fail2ban", "upgrades", "time")}
    stack.variables |= {"hardening_ssh": True, "hardening_sysctl": {}}
    said = stack.good("site.yml").output
    assert "main was not pushed yet; the first push deploys it" in said, said[-3000:]
    said = stack.good("site.yml").output
    assert "changed=0 " in said, said[-3000:]
    return Login(machine, keys["ci"], code.work)


def live(stack: Stack, name: str = "blog") -> str:
    return str(stack.status(name)["live"]["version"])


def test_it_deploys_and_goes_back_without_a_failed_request(login: Login, stack: Stack) -> None:
    with load(login.machine.host, "blog.example.com", ["/healthz"], rate=100) as result:
        done = login.ask("deploy v2")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^blog +\d{8}T\S+ +v2 +deployed ", done.stdout, re.MULTILINE), done.stdout
        assert "... blog: prepare" in done.stderr
        assert live(stack) == "v2"
        done = login.ask("rollback")
        assert done.returncode == 0 and "rolled back" in done.stdout, done.stdout + done.stderr
    figure("login_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    assert live(stack) == "v1"


def test_the_history_names_the_key(login: Login) -> None:
    done = login.ask("history")
    assert done.returncode == 0, done.stderr
    entries = json.loads(login.machine.host.check_output("emperor history blog --json"))
    name = login.machine.host.check_output("hostname")
    assert [one["who"] for one in entries[-2:]] == [f"deploy_blog/ci-server@{name}"] * 2
    assert "rollback" in done.stdout and "deploy_blog" in done.stdout
    assert "shop" not in login.ask("status").stdout


def test_a_failed_deploy_fails_the_job(login: Login, stack: Stack) -> None:
    before = live(stack)
    done = login.ask("deploy broken")
    assert done.returncode == 2 and "broken on purpose" in done.stdout, done.stdout + done.stderr
    assert live(stack) == before


def test_a_connection_that_is_lost_leaves_nothing_half_done(login: Login, stack: Stack) -> None:
    process = subprocess.Popen(
        [*login.command(), "deploy v3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    login.machine.until(lambda: bool(stack.status("blog")["lock"]))
    process.kill()
    process.wait()
    login.machine.until(
        lambda: not login.machine.host.run("pgrep -f '[l]ib/emperor-stack/deploy-login'").stdout
    )
    assert login.machine.host.run("curl -sf -H 'Host: blog.example.com' http://127.0.0.1/healthz").rc == 0
    # Whatever it left: the lock of a process of this host that has ended keeps nobody out.
    done = login.ask("deploy v4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert live(stack) == "v4" and not stack.status("blog")["lock"]


def test_a_push_is_a_deploy(login: Login, stack: Stack) -> None:
    host = login.machine.host
    done = login.git("push", "host", "v1:refs/heads/main")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^remote: pushed: \d{8}T\S+ is live as pushed@1 at ", done.stderr, re.MULTILINE), (
        done.stderr
    )
    assert host.run("curl -sf -H 'Host: pushed.example.com' http://127.0.0.1/healthz").rc == 0
    # The inventory wins, and names the branch.
    before = stack.status("pushed")["live"]["release"]
    stack.good("site.yml")
    assert stack.status("pushed")["live"]["release"] == before
    with load(host, "pushed.example.com", ["/healthz"], rate=100) as result:
        done = login.git("push", "host", "v2:refs/heads/main")
        assert done.returncode == 0, done.stderr
    figure("push_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    before = stack.status("pushed")["live"]["revision"]
    done = login.git("push", "host", "broken")
    assert done.returncode != 0 and "the deploy failed" in done.stderr, done.stderr
    assert "broken on purpose" in done.stderr
    assert stack.status("pushed")["live"]["revision"] == before
    assert stack.status("pushed")["history"][-1]["who"].startswith("deploy_pushed/ci-server@")


Attack = Callable[[Login], Done]


def asked(text: str, *options: str, **how: str) -> Attack:
    return lambda login: login.ask(text, *options, **how)


def forwarded(*option: str) -> Attack:
    """A tunnel by which the client reaches what the host alone reaches; what comes through it is the output."""

    def attack(login: Login) -> Done:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = [word.replace("PORT", str(port)) for word in option]
        tunnel = subprocess.Popen(
            [*login.command("-N", *words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(2)
        got = subprocess.run(
            ["curl", "-s", "--max-time", "3", "--noproxy", "*", f"http://127.0.0.1:{port}/"],
            capture_output=True,
            text=True,
            check=False,
        )
        tunnel.terminate()
        said = tunnel.communicate()[1]
        return subprocess.CompletedProcess(option, got.returncode, got.stdout, said)

    return attack


def here(command: str, user: str = "deploy_blog") -> Attack:
    """As somebody who got further than the shell lets him: a process of that user on the host."""

    def attack(login: Login) -> Done:
        group = "emperor_deploy" if user == "deploy_blog" else user
        done = login.machine.host.run(
            "setpriv --reuid=%s --regid=%s --clear-groups sh -c %s", user, group, command
        )
        return subprocess.CompletedProcess(command, done.rc, done.stdout, done.stderr)

    return attack


LEAVE = f"touch {MARK}"
PROGRAM = "/usr/local/lib/emperor-stack/deploy-login"
ATTACKS: dict[str, Attack] = {
    "a shell": asked("", stdin=f"{LEAVE}\nid\n"),
    "a terminal": asked("", "-tt", stdin=f"{LEAVE}\nid\n"),
    "a command": asked("id"),
    "a command of a shell": asked(f"sh -c '{LEAVE}'"),
    "the command emperor": asked("emperor run blog -- id"),
    "run": asked("run blog -- id"),
    "sudo": asked("sudo -n id"),
    "a second command": asked(f"deploy v1; {LEAVE}"),
    "a second line": asked(f"deploy v1\n{LEAVE}"),
    "a pipe": asked("deploy v1|id"),
    "a substitution": asked(f"deploy $({LEAVE})"),
    "backticks": asked(f"deploy `{LEAVE}`"),
    "an option as the version": asked("deploy --force"),
    "an option of git as the version": asked(f"deploy --upload-pack={LEAVE}"),
    "an option after the version": asked("deploy v1 --force"),
    "an option of rollback": asked("rollback --across-migration"),
    "a path as the release": asked("rollback ../../etc"),
    "a pattern": asked("deploy v*"),
    "a path as the version": asked("deploy ../../../etc/passwd"),
    "a refspec": asked("deploy main:refs/heads/other"),
    "a carriage return": asked("deploy v1\r"),
    "a sequence of a terminal": asked("deploy v1\x1b[2J"),
    "digits of another script": asked("deploy v\u0661"),
    "a blank that is none": asked("deploy v1\u00a0v2"),
    "a request without an end": asked("deploy " + "a" * 100_000),
    "another app": asked("deploy shop v2"),
    "the status of another app": asked("status shop"),
    "the login of another app": asked("status", user="deploy_shop"),
    "the app's own user": asked("id", user="blog"),
    "root": asked("id", user="root"),
    "sftp": lambda login: login.run(
        [*login.command(program="sftp"), "-b", "-", login.remote("")], f"put /etc/hostname {MARK}\n", 20
    ),
    "a subsystem": asked("sftp", "-s"),
    "scp to the host": lambda login: login.copy("/etc/hostname", login.remote(MARK)),
    "scp as it was": lambda login: login.copy("-O", "/etc/hostname", login.remote(MARK)),
    "scp of what the host knows": lambda login: login.copy(
        "-O", login.remote(KNOWN), str(login.key.parent / "got")
    ),
    "rsync": asked("rsync --server --sender . /etc"),
    "git fetch of the repository": asked("git-upload-pack '/srv/git/blog.git'"),
    "git push to it": asked("git-receive-pack '/srv/git/blog.git'"),
    "git archive": asked("git-upload-archive '/srv/git/blog.git'"),
    "git clone of what was pushed": lambda login: login.git("fetch", "host"),
    "a push of two": lambda login: login.git("push", "host", "v3", "v4"),
    "a push that deletes": lambda login: login.git("push", "host", ":refs/heads/main"),
    "a push of a hook": lambda login: login.git("push", "host", "v3:refs/hooks/post-receive"),
    "a push of a note": lambda login: login.git("push", "host", "v3:refs/notes/x"),
    "a push with a name for a shell": lambda login: login.git(
        "push", "host", f"v3:refs/heads/$({LEAVE.replace(' ', '-')})"
    ),
    "a push to another app": lambda login: login.git("push", "host", "v3", user="deploy_blog"),
    "a push by another app's login": lambda login: login.git("push", "host", "v3", user="deploy_shop"),
    "a push to a path": lambda login: login.git("push", "host", "v3", repository="srv/git/blog.git"),
    "a push by other words": lambda login: login.git(
        "push", "--receive-pack=git-receive-pack --advertise-refs", "host", "v3"
    ),
    "a push where there is no repository": lambda login: login.git(
        "push", "host", "v3", user="deploy_blog", repository="blog"
    ),
    "a tunnel": forwarded("-L", "PORT:127.0.0.1:80"),
    "a tunnel to a socket": forwarded("-L", "PORT:/run/systemd/private"),
    "a proxy": asked("", "-W", "127.0.0.1:22"),
    "a port of the host": asked("status", "-o", "ExitOnForwardFailure=yes", "-R", "9999:127.0.0.1:22"),
    "a network": asked("status", "-o", "ExitOnForwardFailure=yes", "-w", "0:0"),
    "sudo of anything": here("sudo -n id"),
    "sudo of the command": here("sudo -n /usr/local/sbin/emperor status"),
    "sudo with an argument": here(f"SSH_ORIGINAL_COMMAND=status sudo -n {PROGRAM} shop"),
    "sudo as another user": here(f"sudo -n -u blog {PROGRAM}"),
    "sudo with variables of Python": here(f"PYTHONSTARTUP=/etc/passwd SUDO_UID=0 sudo -n -E {PROGRAM} x"),
    "more keys": here("echo x >>/var/lib/emperor-stack/logins/blog/.ssh/authorized_keys"),
    "another home": here("mv /var/lib/emperor-stack/logins/blog /var/lib/emperor-stack/logins/x"),
    "what the host knows": here(f"cat {KNOWN}"),
    "the list of apps": here("ls /var/lib/emperor-stack/apps"),
    "the release's environment": here("cat /srv/apps/blog/active/release/environment.json"),
    "the app itself": here(f"sudo -n {PROGRAM}", user="blog"),
    "the keys, by the app": here("echo x >>/var/lib/emperor-stack/logins/blog/.ssh/authorized_keys", "blog"),
    "the command, by the app": here("emperor deploy blog v1", user="blog"),
}


def test_a_login_can_do_nothing_else(login: Login, stack: Stack) -> None:
    host = login.machine.host
    host.run("rm -f %s", MARK)
    apps = ("blog", "shop", "pushed")
    before = [(live(stack, name), stack.status(name)["history"]) for name in apps]
    came_through = []
    for name, attack in ATTACKS.items():
        done = attack(login)
        said = done.stdout + done.stderr
        # A login without a request is told what it may ask for, and ends.
        refused = done.returncode != 0 or "does nothing else" in done.stdout
        if not refused or "uid=" in said or SECRET in said or host.file(MARK).exists:
            came_through.append(f"{name}: {done.returncode} {said[-500:]}")
            host.run("rm -f %s", MARK)
    after = [(live(stack, name), stack.status(name)["history"]) for name in apps]
    figure("foreign_commands_refused", f"{len(ATTACKS) - len(came_through)}/{len(ATTACKS)}")
    assert not came_through, "\n".join(came_through)
    assert after == before
    assert ":9999 " not in host.check_output("ss -Hltn")


def test_what_a_client_sends_beside_its_request_has_no_effect(login: Login) -> None:
    """Variables, and all that sshd grants to a key."""
    sent = [
        "SUDO_UID=0",
        "SUDO_USER=root",
        "EMPEROR_KEY=root",
        "PYTHONPATH=/tmp",
        "LC_ALL=$(id)",
        "LANG=../../x",
    ]
    sent += ["SSH_ORIGINAL_COMMAND=history", "GIT_SSH_COMMAND=id", "PATH=/tmp"]
    options = ["-v", *(word for one in sent for word in ("-o", f"SetEnv={one}"))]
    done = login.ask("status", *options)
    assert done.returncode == 0 and re.search(r"^blog +\d{8}T", done.stdout, re.MULTILINE), done.stderr
    assert "shop" not in done.stdout
    granted = set(re.findall(r"key options: ([^\n]*)", done.stderr))
    assert {one.strip() for one in granted} == {"command"}, granted


def test_keys_that_are_taken_away_come_in_no_more(login: Login, stack: Stack) -> None:
    for one in stack.apps:
        if one["name"] == "blog":
            del one["deploy_keys"]
    stack.good("site.yml")
    assert login.ask("status").returncode == 255
    assert login.machine.host.run("getent passwd deploy_blog").rc != 0
    assert not login.machine.host.file("/var/lib/emperor-stack/logins/blog").exists
    assert login.machine.host.run("getent passwd deploy_shop").rc == 0
