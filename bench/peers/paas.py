#!/usr/bin/python3
"""A small platform of the usual kind, written by hand for the comparison: a push to a bare repository deploys in place.

As the known ones of this kind do it: one user for all apps; the hook resets the app's working tree, runs pip when the
requirements changed, writes the vassal's file anew and then runs the release command. The distribution's uWSGI and an
emperor serve, nginx is in front. There is no release, no probe and no way back.

    paas.py serve WORDS…     what sshd runs for a login: git-receive-pack of an app's repository
    paas.py hook APP         the repository's post-receive
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

HOME = Path.home()
APPS, REPOS, VENVS, ENABLED = (HOME / name for name in ("apps", "repos", "venvs", "enabled"))
NGINX = HOME / "nginx"

VASSAL = """[uwsgi]
chdir = {code}
master = true
processes = {processes}
threads = {threads}
virtualenv = {venv}
module = {wsgi}
plugin = python3
enable-threads = true
socket = {home}/{app}.sock
chmod-socket = 666
listen = 1024
max-requests = 100000
disable-logging = true
"""

SITE = """server {{
    listen 80;
    server_name {app}.localhost;
    location /static/ {{
        alias {code}/{static}/;
    }}
    location / {{
        include uwsgi_params;
        uwsgi_pass unix:{home}/{app}.sock;
    }}
}}
"""


def settings(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def processes(path: Path) -> dict[str, str]:
    """A Procfile."""
    return {
        key: value.strip()
        for key, _, value in (line.partition(":") for line in path.read_text().splitlines())
    }


def changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def deploy(app: str, revision: str) -> None:
    code, venv = APPS / app, VENVS / app
    # git gives a hook its own directory, which is not that of the clone.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    if not code.exists():
        subprocess.run(["git", "clone", "--quiet", REPOS / app, code], env=environment, check=True)
    subprocess.run(["git", "fetch", "--quiet"], cwd=code, env=environment, check=True)
    subprocess.run(["git", "reset", "--quiet", "--hard", revision], cwd=code, env=environment, check=True)
    if not (venv / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    wanted, stamp = code / "requirements.txt", venv / "installed"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        subprocess.run([venv / "bin/pip", "install", "--quiet", "-r", wanted], check=True)
        stamp.write_text(wanted.read_text())
    kinds = processes(code / "Procfile")
    given = settings(code / "ENV")
    values = {"app": app, "code": code, "venv": venv, "home": HOME, "wsgi": kinds["wsgi"]}
    values["static"] = kinds.get("static", "staticfiles")
    values |= {"processes": given.get("PROCESSES", "2"), "threads": given.get("THREADS", "2")}
    changed(NGINX / f"{app}.conf", SITE.format(**values))
    vassal = ENABLED / f"{app}.ini"
    vassal.unlink(missing_ok=True)
    vassal.write_text(
        VASSAL.format(**values) + "".join(f"env = {key}={value}\n" for key, value in given.items())
    )
    if "release" in kinds:
        environment |= given | {"PATH": f"{venv}/bin:{os.environ['PATH']}"}
        subprocess.run(["/bin/sh", "-c", kinds["release"]], cwd=code, env=environment, check=True)


def main() -> None:
    verb, *words = sys.argv[1:]
    if verb == "hook":
        for line in sys.stdin:
            _, revision, _ = line.split()
            deploy(words[0], revision)
        return
    asked = shlex.split(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
    if len(asked) != 2 or asked[0] != "git-receive-pack" or not re.fullmatch(r"[a-z0-9]+", asked[1]):
        sys.exit("only pushes")
    repository = REPOS / asked[1]
    if not repository.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
        hook = repository / "hooks/post-receive"
        hook.write_text(f"#!/bin/sh\nexec {Path(__file__).resolve()} hook {asked[1]}\n")
        hook.chmod(0o755)
    os.execvp("git-receive-pack", ["git-receive-pack", str(repository)])  # noqa: S606


if __name__ == "__main__":
    main()
