"""Code, files, secrets and Pythons arrive as they were meant, and nothing of a secret is anywhere else."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deploying import HERE, ROOT, Outcome, Repository, figure, load
from testinfra.host import Host
from vaulted import OLDER, OLDER_PATH, Vaulted, tricky

INTERPRETERS = {OLDER: OLDER_PATH}

#: What the hosts install beside Debian's packages, as Ansible reads it: without the last line's end.
UWSGI = (ROOT / "roles/uwsgi_emperor/files/uwsgi.txt").read_text().rstrip()
UV = (ROOT / "roles/python_apps/files/uv.txt").read_text().rstrip()


def told(stack: Vaulted, app: str, path: str) -> dict[str, Any]:
    return dict(json.loads(stack.ask(f"{app}.localhost", path)))


def app_of(stack: Vaulted, name: str) -> dict[str, Any]:
    return next(app for app in stack.apps if app["name"] == name)


def deploy(stack: Vaulted, name: str, *words: str, **extra: object) -> Outcome:
    return stack.play(
        "playbooks/deploy.yml", *words, app=name, python_apps_interpreters=INTERPRETERS, **extra
    )


def live(stack: Vaulted, name: str) -> dict[str, Any]:
    path = stack.host.check_output("readlink -f /srv/apps/%s/active/release", name)
    return dict(json.loads(stack.host.check_output("cat %s/release.json", path)))


# Sources


@pytest.mark.parametrize(
    ("app", "files"),
    [
        ("tarred", {"version.txt": "from a tar\n"}),
        ("zipped", {"version.txt": "from a zip\n"}),
        # The version of the whole repository stands at its top, outside of the subdirectory.
        ("modular", {"part/version.txt": "from a submodule\n"}),
    ],
)
def test_the_code_is_what_the_source_holds(stack: Vaulted, app: str, files: dict[str, str]) -> None:
    found = told(stack, app, "/code")
    wanted = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in files.items()}
    assert found == wanted
    assert not stack.host.run("find /srv/apps/%s/releases/ -name .git -o -name '.fetch-*'", app).stdout


def test_a_repository_needs_its_key(stack: Vaulted, directory: Path) -> None:
    app = app_of(stack, "modular")
    kept = dict(app["source"])
    other = directory / "other_key"
    other.write_text(Path(kept["key"]).read_text().replace("A", "B", 5))
    app["source"] = {**kept, "key": str(other), "version": "v0"}
    refused = deploy(stack, "modular")
    app["source"] = kept
    assert refused.code != 0
    assert "whether source.key may read it" in refused.output
    assert other.read_text().splitlines()[2] not in refused.output


def test_an_archive_that_is_another_is_refused(stack: Vaulted) -> None:
    before = live(stack, "zipped")
    app = app_of(stack, "zipped")
    kept = dict(app["source"])
    app["source"] = {**kept, "checksum": f"sha256:{'0' * 64}"}
    refused = deploy(stack, "zipped")
    app["source"] = kept
    assert refused.code != 0
    assert f"has {kept['checksum']}, but source.checksum is sha256:000" in " ".join(refused.output.split())
    assert live(stack, "zipped")["release"] == before["release"]
    assert before["revision"] == kept["checksum"][7:47]


def test_nothing_differs_then(stack: Vaulted) -> None:
    before = stack.host.check_output("ls /srv/apps/*/releases")
    again = stack.good("playbooks/deploy.yml", python_apps_interpreters=INTERPRETERS)
    assert "changed=0" in again.output
    assert stack.host.check_output("ls /srv/apps/*/releases") == before


# Files


def test_a_changed_template_is_a_new_release_with_the_same_code(stack: Vaulted, directory: Path) -> None:
    template = directory / "note.txt.j2"
    template.write_text("{{ app.name }} on {{ inventory_hostname }}: {{ secrets.S000 }}\n")
    app = app_of(stack, "echo")
    app["files"] = {"notes/note.txt": str(template)}
    assert deploy(stack, "echo").code == 0
    first = live(stack, "echo")
    rendered = f"echo on {stack.host.backend.host}: {stack.secrets['echo']['S000']}\n"
    assert told(stack, "echo", "/code")["notes/note.txt"] == hashlib.sha256(rendered.encode()).hexdigest()
    template.write_text("another text\n")
    assert deploy(stack, "echo").code == 0
    second = live(stack, "echo")
    assert told(stack, "echo", "/code")["notes/note.txt"] == hashlib.sha256(b"another text\n").hexdigest()
    assert first["revision"] == second["revision"]
    assert first["release"] != second["release"]
    path = f"/srv/apps/echo/releases/{second['release']}/code/notes/note.txt"
    assert stack.host.check_output("stat -c '%%U:%%G %%a' %s", path) in ("root:echo 640", "root:echo 440")


def test_a_template_that_lacks_a_variable_says_where(stack: Vaulted, directory: Path) -> None:
    template = directory / "note.txt.j2"
    kept = template.read_text()
    template.write_text("one\ntwo {{ no_such_variable }}\n")
    refused = deploy(stack, "echo")
    template.write_text(kept)
    assert refused.code != 0
    said = " ".join(refused.output.split())
    assert f"echo: files: notes/note.txt: {template}, line 2: 'no_such_variable' is undefined" in said
    template.rename(directory / "elsewhere.j2")
    refused = deploy(stack, "echo")
    (directory / "elsewhere.j2").rename(template)
    assert refused.code != 0
    assert "no host was touched" in refused.output
    assert f"there is no file {template} on the controller" in " ".join(refused.output.split())


# Secrets


def test_secrets_arrive_byte_for_byte(stack: Vaulted) -> None:
    found = told(stack, "echo", "/environment")
    wanted = stack.secrets["echo"]
    wrong = [n for n, v in wanted.items() if found.get(n) != hashlib.sha256(v.encode()).hexdigest()]
    figure("secrets_unchanged", f"{len(wanted) - len(wrong)}/{len(wanted)}")
    assert not wrong, {name: wanted[name][:80] for name in wrong}


def test_a_changed_secret_is_a_new_release_with_the_same_code(stack: Vaulted) -> None:
    before = live(stack, "echo")
    stack.secrets["echo"] = {**stack.secrets["echo"], **dict(list(tricky(5, 300).items())[60:])}
    assert deploy(stack, "echo").code == 0
    after = live(stack, "echo")
    assert (after["revision"], after["release"] != before["release"]) == (before["revision"], True)
    test_secrets_arrive_byte_for_byte(stack)


def test_secrets_are_nowhere_else(machine: Host, stack: Vaulted, private_index: dict[str, str]) -> None:
    """Runs with all the output that there is, of an app from a private index whose build says its secrets aloud."""
    plant = "planted-5e7c-multi\nplanted-5e7c-line two"
    stack.secrets["tarred"] = {"PLANT": plant}
    app = app_of(stack, "tarred")
    app["secrets"] = ["PLANT"]
    app["files"] = {name: str(stack.directory / f"{name}.j2") for name in ("plant.txt", "pins/all.txt")}
    app["requirements"] = "pins/all.txt"
    (stack.directory / "pins").mkdir()
    (stack.directory / "pins/all.txt.j2").write_text("privately==1.0\n")
    (stack.directory / "plant.txt.j2").write_text("{{ secrets.PLANT }}\n")
    outcomes = [
        stack.play("site.yml", "-vvv", "--diff", python_apps_interpreters=INTERPRETERS, **private_index)
    ]
    assert outcomes[0].code == 0, outcomes[0].output[-3000:]
    assert told(stack, "tarred", "/python")["packages"]["privately"] == "1.0"
    # What the host knows of its apps, for the command emperor: root's alone.
    known = "/var/lib/emperor-stack/apps"
    assert machine.check_output("stat -c '%%a %%U' %s", known) == "700 root"
    modes = machine.check_output("find %s -type f -printf '%%m %%u\\n'", known).splitlines()
    assert set(modes) == {"600 root"}
    # [c]: the search must not find itself.
    places = "/etc /run /var/lib /var/log /usr/local /root /tmp"
    found = machine.check_output(f"grep -rlIs 'planted-5e7[c]' {places} || true").split()
    found = [path for path in found if not path.startswith(f"{known}/")]
    found += machine.check_output(
        "grep -la 'planted-5e7[c]' /proc/[0-9]*/cmdline 2>/dev/null || true"
    ).split()
    journal = machine.check_output(
        "journalctl --namespace='*' -a --no-pager | grep -c 'planted-5e7[c]' || true"
    )
    releases = machine.check_output("grep -rl planted-5e7c /srv/apps --exclude-dir=cache").split()
    app["build"] = ['echo "$PLANT"; env; python -c "import os; print(repr(os.environ[\'PLANT\']))"; exit 3']
    outcomes.append(deploy(stack, "tarred", "-vvv", "--diff", **private_index))
    del app["build"]
    assert outcomes[1].code != 0
    assert "exit status 3" in outcomes[1].output
    outputs = sum("planted-5e7c" in outcome.output for outcome in outcomes)
    figure("secrets_found_elsewhere", len(found) + int(journal) + outputs)
    assert (found, journal, outputs) == ([], "0", 0)
    assert {Path(path).name for path in releases} == {"environment.json", "plant.txt"}
    assert "planted-5e7c" not in machine.check_output("cat /srv/apps/tarred/state/history.jsonl")
    assert "planted-5e7c-password" not in stack.ask("tarred.localhost", "/environment")


#: Writes down every argument list of the host that has the planted text in it, until /tmp/watch is gone. [c]: not its own.
_WATCH = """
touch /tmp/watch
while [ -e /tmp/watch ]; do grep -las 'planted-5e7[c]' /proc/[0-9]*/cmdline; sleep 0.02; done >/tmp/seen 2>/dev/null
"""


#: What an app's own process could do while uv runs: take what other processes of its user have on standard input.
_TAKE = """
import os, time
opened = read = 0
end = time.monotonic() + 45
while time.monotonic() < end:
    time.sleep(0.002)
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                taken = os.open(f"/proc/{name}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                if "pipe:" in os.readlink(f"/proc/self/fd/{taken}"):
                    opened += 1
                    read += b"5e7c" in os.read(taken, 4096)
            except OSError:
                pass
            finally:
                os.close(taken)
print(opened, read)
"""


def test_a_build_finds_no_credential(
    machine: Host, stack: Vaulted, private_index: dict[str, str], directory: Path
) -> None:
    """Of a git server and an index that want a password: a package looks for it in all that its build can reach."""
    repository = Repository(machine, "spied", HERE / "apps" / "echo", directory)
    repository.version("v1", {"requirements.txt": "spy==1.0\n"})
    repository.push()
    user = private_index["python_apps_index"].partition("://")[2].partition("@")[0]
    source = {"git": f"http://{user}@127.0.0.1:8801/spied.git", "version": "v1"}
    stack.apps.append(
        {**app_of(stack, "zipped"), "name": "spied", "domains": ["spied.localhost"], "source": source}
    )
    machine.check_output("systemd-run --quiet --collect --unit=tests-watch sh -c %s", _WATCH)
    wanted = {"python_apps_interpreters": INTERPRETERS, **private_index}
    outcomes = [stack.play("site.yml", "-vvv", "--diff", **wanted)]
    taker = f"systemd-run --quiet --wait --pipe --collect --uid=spied --unit=tests-take python3 -c {shlex.quote(_TAKE)}"
    machine.check_output("sh -c %s >/tmp/taken 2>&1 &", taker)
    # Another variable of uv's: the venv is not linked to the one before.
    outcomes.append(
        deploy(
            stack, "spied", force=True, **private_index, python_apps_uv_environment={"UV_HTTP_TIMEOUT": "31"}
        )
    )
    machine.check_output("while systemctl is-active --quiet tests-take; do sleep 0.5; done; sleep 1")
    opened, read = machine.check_output("cat /tmp/taken").split()
    figure("credentials_taken_from_uv", f"{read}/{opened}")
    assert int(read) == 0
    assert outcomes.pop().code == 0
    stack.apps[-1]["source"] = {**source, "version": "none"}
    outcomes.append(deploy(stack, "spied", "-vvv", **private_index))
    stack.apps[-1]["source"] = {**source, "git": source["git"].replace("-password", "-other")}
    outcomes.append(deploy(stack, "spied", "-vvv", force=True, **private_index))
    machine.check_output("rm /tmp/watch; sleep 0.2")
    assert outcomes[0].code == 0, outcomes[0].output[-4000:]
    assert "has no branch or tag none" in " ".join(outcomes[1].output.split())
    assert "whether source.key may read it" in " ".join(outcomes[2].output.split())
    found = json.loads(
        machine.check_output(
            "cat /srv/apps/spied/active/release/venv/lib/python3*/site-packages/spy_found.json"
        )
    )
    figure("credentials_found_by_a_build", len(found["found"]))
    assert found["found"] == [], found
    assert found["looked"]["files"] > 100, found
    assert machine.check_output("cat /tmp/seen") == ""
    assert not any("planted-5e7c" in outcome.output for outcome in outcomes)
    assert machine.check_output("grep -rl 'planted-5e7c' /srv/apps/spied || true") == ""
    assert machine.check_output("stat -c '%U:%G %a' /srv/apps/spied/repo.git") == "root:spied 2750"
    stack.apps.pop()


def test_a_token_in_an_archives_url_is_never_shown(stack: Vaulted, zipped: tuple[str, str]) -> None:
    app = app_of(stack, "zipped")
    kept = dict(app["source"])
    app["source"] = {
        "archive": f"{kept['archive']}?private_token=planted-5e7c-token",
        "checksum": f"sha256:{'1' * 64}",
    }
    refused = deploy(stack, "zipped", "-vvv", "--diff")
    app["source"] = {**app["source"], "checksum": kept["checksum"]}
    outcome = deploy(stack, "zipped", "-vvv", "--diff", force=True)
    app["source"] = kept
    assert "but source.checksum is sha256:111" in " ".join(refused.output.split())
    assert outcome.code == 0, outcome.output[-4000:]
    assert "planted-5e7c" not in refused.output + outcome.output
    assert stack.host.check_output("grep -rl planted-5e7c /srv/apps/zipped || true") == ""


def test_a_variable_that_builds_would_read_is_refused(stack: Vaulted) -> None:
    refused = deploy(stack, "echo", python_apps_uv_environment={"UV_GITHUB_TOKEN": "planted-5e7c-token"})
    assert refused.code != 0
    said = " ".join(refused.output.split())
    assert "python_apps_uv_environment.UV_GITHUB_TOKEN: builds can read uv's environment" in said
    assert "planted-5e7c" not in refused.output


#: A repository whose top tree is written by hand, with a submodule that shall get out of the code by $1.
_HOSTILE = r"""
set -eu
rm -rf /srv/git/hostile /srv/git/evil && mkdir -p /srv/git/hostile /srv/git/evil
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
cd /srv/git/evil && git init -q -b main && echo evil >evil.txt && git add . && git commit -qm x
part=$(git rev-parse HEAD)
cd /srv/git/hostile && git init -q -b main
modules=$(printf '[submodule "m"]\n\tpath = %s\n\turl = ../evil\n' "$2" | git hash-object -w --stdin)
link=$(printf /srv/outside | git hash-object -w --stdin)
raw() { git hash-object -t tree --literally -w --stdin; }
id() { python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))' "$1"; }
inner=$({ printf '160000 m\0'; id "$part"; } | raw)
case $1 in
    parent) top=$({ printf '40000 ..\0'; id "$inner"; printf '100644 .gitmodules\0'; id "$modules"; } | raw) ;;
    link) top=$({ printf '100644 .gitmodules\0'; id "$modules"; printf '120000 a\0'; id "$link"
        printf '40000 a\0'; id "$inner"; } | raw) ;;
esac
commit=$(git commit-tree -m x "$top")
git update-ref refs/heads/main "$commit"
mkdir -p /srv/outside
# As the version before has fetched it: without a look at its objects.
rm -rf /srv/apps/hostile/repo.git
if [ "$3" = fetched ]; then
    mkdir -p /srv/apps/hostile && git init -q --bare /srv/apps/hostile/repo.git
    chmod 700 /srv/apps/hostile/repo.git
    git --git-dir /srv/apps/hostile/repo.git fetch -q /srv/git/hostile "main:refs/emperor-stack/$commit"
    git --git-dir /srv/apps/hostile/repo.git fetch -q /srv/git/evil "main:refs/emperor-stack/$part"
fi
"""


def test_a_repository_writes_nothing_outside_of_its_code(machine: Host, stack: Vaulted) -> None:
    """Trees that git itself never makes, as they come and as the version before left them on the host."""
    source = {"git": "file:///srv/git/hostile", "version": "main", "submodules": True}
    stack.apps.append(
        {**app_of(stack, "zipped"), "name": "hostile", "domains": ["hostile.localhost"], "source": source}
    )

    def first() -> Outcome:
        """Makes its user as well."""
        return stack.play("site.yml", python_apps_interpreters=INTERPRETERS)

    refused: list[bool] = []
    for kind, path in (("parent", "../m"), ("link", "a/m")):
        for state in ("new", "fetched"):
            machine.check_output(f"bash -c %s bash {kind} {path} {state}", _HOSTILE)
            outcome = deploy(stack, "hostile") if refused else first()
            said = " ".join(outcome.output.split())
            assert outcome.code != 0, said[-3000:]
            assert "hostile: prepare: " in said and ("remove that entry" in said or "fsck" in said), said[
                -3000:
            ]
            refused.append(machine.check_output("find /srv/apps /srv/outside /tmp -name evil.txt") == "")
    stack.apps.pop()
    machine.check_output("rm -rf /srv/git/hostile /srv/git/evil /srv/outside")
    figure("hostile_repositories_refused", f"{sum(refused)}/{len(refused)}")
    assert all(refused)


def test_a_text_that_only_looks_like_a_template_is_refused_or_marked(stack: Vaulted) -> None:
    """Without !unsafe Ansible would change it silently."""
    bare = {name: dict(values) for name, values in stack.secrets.items()}
    bare["echo"]["S000"] = "before {# gone #} after"
    path = stack.directory / "bare.yml"
    path.write_text(json.dumps({"vault_python_apps_secrets": bare}))
    refused = stack.play("playbooks/check.yml", "-e", f"@{path}")
    assert refused.code != 0
    assert "put !unsafe before the value" in " ".join(refused.output.split())
    assert "gone" not in refused.output


# Pythons


def test_another_python_keeps_the_versions_that_serve(machine: Host, stack: Vaulted) -> None:
    release = live(stack, "older")
    lock = f"/srv/apps/older/releases/{release['release']}/requirements.lock"
    assert "six==" in machine.check_output("cat %s", lock)
    # As if this release had been built while 1.16.0 was the newest.
    machine.check_output("sed -i 's/^six==.*/six==1.16.0/' %s", lock)
    app_of(stack, "older")["python"] = OLDER
    with load(machine, "older.localhost", ["/python"], rate=60) as result:
        outcome = deploy(stack, "older", "-v")
    assert outcome.code == 0, outcome.output[-4000:]
    assert "it was built for Python 3.13, 3.11 is wanted" in " ".join(outcome.output.split())
    about = told(stack, "older", "/python")
    assert (about["version"], about["packages"]["six"]) == (OLDER, "1.16.0")
    figure("second_python", about["version"])
    assert result.failed == 0, result.failures()
    assert told(stack, "echo", "/python")["version"] == "3.13"


def test_an_own_server_is_deployed_and_rolled_back_without_a_lost_request(
    machine: Host, stack: Vaulted
) -> None:
    """Its uWSGI is another than the emperor's: stop, drain, statistics and restarts must work all the same."""
    with load(machine, "older.localhost", ["/python"], rate=60) as result:
        outcomes = [deploy(stack, "older", force=True), stack.rollback("older")]
        outcomes.append(stack.play("playbooks/restart.yml"))
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes[-1].output[-3000:]
    figure("own_server_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    status = stack.status("older")
    assert status["health"] == "ok"
    assert [a["workers"] for a in status["activations"] if a["live"]] == [1]
    assert programs_of(machine, "older") == {OLDER_PATH}


def programs_of(machine: Host, app: str) -> set[str]:
    return set(
        machine.check_output(f"for pid in $(pgrep -u {app}); do readlink /proc/$pid/exe; done; true").split()
    )


def processes_of(machine: Host, app: str) -> list[str]:
    """Those of the live activation, its master first."""
    serial = machine.check_output(f"readlink /srv/apps/{app}/active").partition("@")[2]
    listed = machine.run(f"systemctl list-units --plain --no-legend 'app_{app}_web.{serial}.*.scope'").stdout
    masters = re.findall(r"\.(\d+)\.scope", listed)
    return [*masters[-1:], *machine.run(f"pgrep -P {masters[-1]}").stdout.split()] if masters else []


def restarted(machine: Host, app: str, signal: str) -> None:
    """Send *signal* to the master of *app*, and wait until none of its processes is the same but perhaps that one."""
    before = processes_of(machine, app)
    machine.check_output("kill -%s %s", signal, before[0])

    def fresh() -> bool:
        now = processes_of(machine, app)
        return len(now) >= len(before) and not set(now[1:]) & set(before[1:])

    def answers() -> bool:
        return machine.run(f"curl -fsS -m 5 -H 'Host: {app}.localhost' http://127.0.0.1/").rc == 0

    for what in (fresh, answers):
        eventually(what, f"{app} did not start again")


def eventually(what: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


def changed(outcome: Outcome) -> set[str]:
    return set(re.findall(r"changed=(\d+)", outcome.output))


def test_debians_uwsgi_serves_where_it_is_wanted(machine: Host, stack: Vaulted) -> None:
    """Apps move to it and back without a lost request; the one that has its own Python keeps its own."""
    python = machine.check_output("readlink -f /usr/bin/python3")
    assert programs_of(machine, "echo") == {python}
    with load(machine, "echo.localhost", ["/python"], rate=60) as result:
        wanted = {"uwsgi_emperor_server": "debian", "python_apps_interpreters": INTERPRETERS}
        outcomes = [stack.play("site.yml", "--tags", "uwsgi_emperor", **wanted)]
        debians = programs_of(machine, "echo"), programs_of(machine, "older")
        again = stack.play("site.yml", "--tags", "uwsgi_emperor", **wanted)
        wanted["uwsgi_emperor_server"] = "wheel"
        outcomes.append(stack.play("site.yml", "--tags", "uwsgi_emperor", **wanted))
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[-1].output[-3000:]
    assert debians == ({machine.check_output("readlink -f /usr/bin/uwsgi")}, {OLDER_PATH})
    assert (again.code, changed(again)) == (0, {"0"}), again.output[-3000:]
    assert programs_of(machine, "echo") == {python}
    figure("other_server_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()


@pytest.mark.parametrize("app", ["echo", "older"])
def test_a_reload_by_hand_keeps_the_python_of_the_release(machine: Host, stack: Vaulted, app: str) -> None:
    """What an admin's habit sends, and what uWSGI's own reload does: the master becomes its program anew."""
    before = told(stack, app, "/python")
    assert before["executable"] == f"{before['prefix']}/bin/python"
    assert before["prefix"].startswith(f"/srv/apps/{app}/releases/")
    for _ in range(2):
        restarted(machine, app, "HUP")
        assert told(stack, app, "/python") == before


def test_while_uwsgi_cannot_be_had_the_one_before_serves(machine: Host, stack: Vaulted) -> None:
    """Also those that crash while it is fetched, and after that has failed."""
    debians = machine.check_output("readlink -f /usr/bin/uwsgi")

    def check() -> None:
        restarted(machine, "echo", "KILL")
        assert debians not in programs_of(machine, "echo")

    refused(machine, stack, "uwsgi_emperor", "__uwsgi_emperor_lock", UWSGI, check)


def test_while_uv_cannot_be_had_the_one_before_stays_usable(machine: Host, stack: Vaulted) -> None:
    def check() -> None:
        machine.check_output("/usr/local/lib/emperor-stack/tools/bin/uv --version")

    refused(machine, stack, "python_apps", "__python_apps_uv_lock", UV, check)


def refused(
    machine: Host, stack: Vaulted, role: str, variable: str, lock: str, check: Callable[[], None]
) -> None:
    """A run with a lock that cannot be had, and *check* during and after it. Later ones find what they need."""
    machine.check_output("rm -rf /usr/local/lib/emperor-stack/*.new")
    # Hashes that nothing has.
    wrong = re.sub(r"sha256:\w{8}", "sha256:00000000", lock)
    wanted = {"python_apps_interpreters": INTERPRETERS}
    process = stack.start("site.yml", "--tags", role, **wanted, **{variable: wrong})
    try:
        begun = "ls -d /usr/local/lib/emperor-stack/*.new"
        eventually(lambda: machine.run(begun).rc == 0, "it did not begin to install")
        check()
    finally:
        output, _ = process.communicate(timeout=300)
    check()
    assert process.returncode != 0, output[-3000:]
    said = " ".join(output.split())
    assert "DO NOT MATCH THE HASHES" in said and "index-url in /etc/pip.conf" in said, output[-3000:]
    again = stack.play("site.yml", "--tags", role, **wanted)
    assert again.code == 0, again.output[-3000:]
    once_more = stack.play("site.yml", "--tags", role, **wanted)
    assert (once_more.code, changed(once_more)) == (0, {"0"}), once_more.output[-3000:]


def test_a_newer_lock_moves_the_apps_without_a_lost_request(machine: Host, stack: Vaulted) -> None:
    """As an update of the bundle brings it. An install that died midway before is no obstacle."""
    newer = f"{UWSGI}\n# another"
    wanted = {"python_apps_interpreters": INTERPRETERS, "__uwsgi_emperor_lock": newer}
    left = f"/usr/local/lib/emperor-stack/pyuwsgi-13-{hashlib.sha256(newer.encode()).hexdigest()[:12]}"
    machine.check_output("mkdir -p %s.new && touch %s.new/half", left, left)
    before = processes_of(machine, "echo")
    with load(machine, "echo.localhost", ["/python"], rate=60) as result:
        outcome = stack.play("site.yml", "--tags", "uwsgi_emperor", **wanted)
        again = stack.play("site.yml", "--tags", "uwsgi_emperor", **wanted)
    assert outcome.code == 0, outcome.output[-3000:]
    assert f" {left}/" in machine.check_output("cat /proc/%s/maps", processes_of(machine, "echo")[0])
    assert not machine.file(f"{left}/half").exists
    assert set(processes_of(machine, "echo")).isdisjoint(before)
    assert (again.code, changed(again)) == (0, {"0"}), again.output[-3000:]
    figure("newer_server_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    stack.good("site.yml", "--tags", "uwsgi_emperor", python_apps_interpreters=INTERPRETERS)


def test_a_python_that_the_host_lacks(stack: Vaulted) -> None:
    before = live(stack, "older")["release"]
    app_of(stack, "older")["python"] = "3.10"
    refused = deploy(stack, "older")
    app_of(stack, "older")["python"] = OLDER
    assert refused.code != 0
    said = " ".join(refused.output.split())
    assert f"older needs Python 3.10, but this host has 3.11 ({OLDER_PATH}), 3.13 (/usr/bin/python3)" in said
    assert live(stack, "older")["release"] == before
