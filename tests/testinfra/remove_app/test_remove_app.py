"""Removal of one app takes all of it, and nothing of others."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

from deploying import Outcome, Repository, Stack, ending, figure, load
from leaving import left_behind
from testinfra.host import Host
from vaulted import VaultedByApp

OTHERS = ("app2", "my-app", "app-2")

#: Kind, mode, owner, time of change, target and digest of everything that the bundle has on a host.
LISTING = r"""
cd / && for directory in srv etc usr/local/lib var/lib/emperor-stack var/lib/systemd/timers run/emperor-stack; do
  find "$directory" -xdev -name "d" -prune -o -printf '%p\t%y %m %U:%G %T@ %l\n'
  find "$directory" -xdev -name "d" -prune -o -type f -size -4M -exec sha256sum {} + | sed -E 's/^(\S+)  (.*)$/\2\t\1/'
done
find var/log/nginx -printf '%p\t%i %m %U:%G\n'
find tmp -maxdepth 1 ! -name 'systemd-private-*' ! -path tmp -printf '%p\t%y %m %U:%G\n'
"""

#: What removing `app` may change: what is its own alone, what is written for all apps, and directories that lose an entry.
OWN = re.compile(
    r"srv/apps/app(/.*)?|run/emperor-stack/sockets/app(/.*)?|run/emperor-stack/app@\d+\.started"
    r"|etc/systemd/system/([\w-]+\.target\.wants/)?(app_app_[a-z]+(@\d+)?\.(service|socket|timer)|apps-app\.slice)"
    r"|etc/emperor-stack/vassals/[ab]/app@\d+\.ini(\.socket)?|var/lib/systemd/timers/stamp-app_app_[a-z]+\.timer"
    r"|etc/nginx/emperor-stack/sites/app\.conf|var/log/nginx/app\.(access|error)\.log([.-]\d+)?(\.gz)?"
    # The second half of a name in which the app has planted a line break.
    r"|lines"
)
FOR_ALL = re.compile(
    r"etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|etc/tmpfiles\.d/emperor-stack\.conf|etc|var/lib/systemd/timers"
    r"|etc/nginx/(nginx|emperor-stack/default)\.conf|etc/nginx(/emperor-stack(/sites)?)?|var/lib/emperor-stack(/.*)?"
    r"|srv/apps|run/emperor-stack(/sockets)?|etc/emperor-stack(/vassals(/[ab])?)?|etc/systemd/system(/[\w-]+\.target\.wants)?"
    r"|etc/tmpfiles\.d|etc/\.pwd\.lock"
)


def listing(machine: Host) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in machine.check_output(LISTING).splitlines():
        path, _, what = line.partition("\t")
        found[path] = (*found.get(path, ()), what)
    return found


def changed(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> list[str]:
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def processes(machine: Host, *names: str) -> dict[str, list[str]]:
    """The process ids of users, of nginx's master and of the emperor."""
    found = {name: sorted(machine.run("pgrep -u %s", name).stdout.split()) for name in names}
    found["nginx"] = machine.check_output("systemctl show --property=MainPID nginx").split()
    found["emperors"] = machine.check_output("systemctl show --property=MainPID 'emperor@*'").split()
    return found


def without(stack: Stack, *names: str) -> dict[str, Any]:
    """The variables of an inventory that has forgotten *names*."""
    return {
        "python_apps": [app for app in stack.apps if app["name"] not in names],
        "vault_python_apps_secrets": {app: of for app, of in stack.secrets.items() if app not in names},
    }


def unchanged(outcome: Outcome) -> None:
    """Nothing was changed in a run; else the assertion shows which tasks did."""
    assert re.findall(r"^TASK \[(.*)\] \*+\n(?:ok.*\n)*changed:", outcome.output, re.M) == []
    assert re.search(r"changed=0 ", outcome.output), outcome.output[-1500:]


def nothing_of(machine: Host, name: str) -> None:
    """Neither a name nor a process of exactly this app is left, but for its archive and what is the user's own."""
    slice_name = name.replace("-", ".x2d")
    names = (
        rf"{name}",
        rf"app_{name}_[^/]*",
        rf"stamp-app_{name}_[^/]*",
        rf"{name}@[0-9]+[^/]*",
        rf"\.leaving-{name}",
    )
    pattern = rf"/({'|'.join(names)}|apps-{slice_name}\.slice)"
    left = machine.check_output(
        "find / -xdev -regextype posix-extended -regex %s", f".*{pattern}"
    ).splitlines()
    left += machine.check_output(
        "find /var/log/nginx /run -regextype posix-extended -regex %s",
        rf".*(/{name}\.(access|error)\.log.*|{pattern})",
    ).splitlines()
    # The user's own, the tests' own, and a package of the bundle's library that is called `app`.
    others = ("/etc/nginx/emperor-stack/local/", "/root/", "/usr/local/lib/emperor-stack/python/")
    left = [path for path in left if not path.startswith(others)]
    assert left == []
    assert not machine.user(name).exists
    assert not machine.group(name).exists
    assert (
        machine.run("systemctl list-units --all --plain --no-legend | grep -F %s", f"app_{name}_").stdout
        == ""
    )


def test_the_vault_password_of_one_app_is_enough_for_it(machine: Host, stack: Stack) -> None:
    """Nobody needs one to check, to look and to roll back; a deploy needs those of the apps that it deploys."""
    vaulted = VaultedByApp(machine, stack.inventory, stack.directory, stack.apps, stack.secrets)
    checked = vaulted.good("playbooks/check.yml").output
    assert (
        "not checked, because no given vault password decrypts them: vault_python_apps_secrets.app" in checked
    )
    own = ("--vault-id", vaulted.vault_id("my-app"))
    vaulted.good("playbooks/deploy.yml", *own, app="my-app", version="v1")
    assert stack.status("my-app")["live"]["version"] == "v1"
    refused = vaulted.play("playbooks/deploy.yml", *own, app="app2")
    assert refused.code != 0
    assert "no host was touched" in refused.output
    assert "vault_python_apps_secrets.app2.TOKEN\n" in refused.output
    assert "the value is encrypted, and no given vault password decrypts it" in refused.output
    everything = vaulted.play("site.yml", *own)
    assert everything.code != 0
    assert "python_apps has 3 problems; no host was touched" in everything.output
    vaulted.good("playbooks/rollback.yml", app="my-app")
    assert stack.status("my-app")["live"]["version"] == "v0"
    assert re.search(r"^my-app +\S", ending(vaulted.good("playbooks/status.yml", app="my-app").output), re.M)


def test_preview_changes_nothing(machine: Host, stack: Stack) -> None:
    before, running = listing(machine), processes(machine, *OTHERS)
    # What it writes while it runs.
    writes = re.compile(r"srv/apps/app/shared/data(/tick(\.lock)?)?")
    absent = {**without(stack, "app"), "python_apps": [{"name": "app", "state": "absent"}, *stack.apps[1:]]}
    outcome = stack.good("playbooks/remove.yml", "--check", app="app", **absent)
    for text in (
        "app: would be removed: ",
        "user app",
        "unit app_app_jobs@",
        "unit app_app_nightly.timer",
        "unit emperor-stack-retire-app-",
        "/srv/apps/app",
        "/run/emperor-stack/sockets/app",
        "/etc/systemd/system/apps-app.slice",
        "/var/log/nginx/app.error.log.2.gz",
        "stays: /etc/nginx/emperor-stack/local/app: directives of your own",
        "stays: /tmp/left-by-app: owned by uid",
    ):
        assert text in outcome.output, f"{text}\n{outcome.output[-4000:]}"
    assert [path for path in changed(before, listing(machine)) if not writes.fullmatch(path)] == []
    assert processes(machine, *OTHERS) == running


def test_an_app_that_is_wanted_is_refused(machine: Host, stack: Stack) -> None:
    before = listing(machine)
    outcome = stack.play("playbooks/remove.yml", app="app2")
    assert outcome.code != 0
    assert "-e app=app2: the inventory still has this app on remove-app-debian13" in outcome.output
    assert "state: absent" in outcome.output
    assert [
        path
        for path in changed(before, listing(machine))
        if "/tick" not in path and "shared/data" not in path
    ] == []


def test_a_deploy_that_is_under_way_is_not_disturbed(machine: Host, stack: Stack) -> None:
    lock = {
        "token": "x",
        "who": "somebody",
        "controller": "elsewhere",
        "phase": "prepare",
        "expires_at": time.time() + 600,
    }
    machine.check_output("echo %s >/srv/apps/app/state/lock.json", json.dumps(lock))
    try:
        outcome = stack.play("playbooks/remove.yml", "--check", app="app", **without(stack, "app"))
    finally:
        machine.check_output("rm /srv/apps/app/state/lock.json")
    assert outcome.code != 0
    assert "a deploy is under way" in outcome.output
    assert "somebody" in outcome.output


def test_removal_takes_all_of_one_app_and_nothing_of_others(machine: Host, stack: Stack) -> None:
    before, running = listing(machine), processes(machine, *OTHERS)
    sites = machine.file("/etc/nginx/nginx.conf").content_string.splitlines()
    assert all(running.values()), running
    with load(machine, "app2.localhost", ["/", "/healthz"], echo="/echo", rate=100) as answers:
        stack.ask("app.localhost", "/")
        outcome = stack.good("playbooks/remove.yml", app="app", **without(stack, "app"))
    after = listing(machine)
    others = [
        path for path in changed(before, after) if not OWN.fullmatch(path) and not FOR_ALL.fullmatch(path)
    ]
    figure("removal_changed_files_of_others", len(others))
    assert others == []
    assert len([path for path in before if not OWN.fullmatch(path)]) > 500
    assert len([path for path in before if OWN.fullmatch(path)]) > 100
    assert processes(machine, *OTHERS) == running
    figure("removal_failed_requests", f"{answers.failed}/{answers.total}")
    assert answers.failed == 0, answers.failures()
    assert answers.total > 200
    nothing_of(machine, "app")
    # What is written for all apps together knows exactly the others.
    left = machine.file("/etc/nginx/nginx.conf").content_string.splitlines()
    assert left == [line for line in sites if "/sites/app.con" not in line]
    assert len(left) == len(sites) - 1
    sizes = json.loads(machine.file("/var/lib/emperor-stack/sizes.json").content_string)
    assert set(sizes) == set(OTHERS)
    tmpfiles = machine.file("/etc/tmpfiles.d/emperor-stack.conf").content_string
    directories = re.findall(r"^d /run/emperor-stack/(\S+)", tmpfiles, re.M)
    assert directories == ["sockets", *(f"sockets/{name}" for name in OTHERS)]
    assert "stays: /tmp/left-by-app: owned by uid" in outcome.output
    print("\nWhat is left of app on the host:")
    left = [
        path
        for path in after
        if re.search(r"(^|/)(app|left-by-app)($|[./@-])", path)
        and not re.match(rf"(srv/apps|run/emperor-stack)/({'|'.join(OTHERS)})/", path)
        and "app-2" not in path
        # A package of the bundle's library has the same name.
        and not path.startswith("usr/local/lib/emperor-stack/python/")
    ]
    archives = machine.check_output("find /var/backups/emperor-stack -printf '%M %u:%g %p\\n'").splitlines()
    for line in (*archives, *sorted(left)):
        print(f"  {line}")
    assert sorted(left) == [
        "etc/emperor-stack/vassals/a/app@notes",
        "etc/nginx/emperor-stack/local/app",
        "srv/apps/app.old",
        "srv/apps/app.old/data",
        "srv/apps/app@backup",
        "tmp/left-by-app",
    ]


def test_the_archive_has_the_data_and_no_secret(machine: Host, stack: Stack) -> None:
    (path,) = machine.check_output("ls /var/backups/emperor-stack/*").split()
    assert re.fullmatch(r"/var/backups/emperor-stack/app-\d{8}T\d{6}Z\.tar\.gz", path)
    archive = machine.file(path)
    assert (archive.mode, archive.user, archive.group) == (0o600, "root", "root")
    assert machine.file("/var/backups/emperor-stack").mode == 0o700
    assert machine.check_output("tar -xzOf %s shared/data/kept", path) == "of app"
    names = machine.check_output("tar -tzf %s", path)
    assert re.search(r"^state/history\.jsonl$", names, re.M)
    assert len(re.findall(r"^releases/[^/]+/release\.json$", names, re.M)) == 2
    assert "environment.json" not in names
    assert re.search(r"^var/log/nginx/app\.access\.log$", names, re.M)
    assert "shared/data/trap/etc/" not in names
    assert machine.run("zgrep -aq only-the-app-may-know-this %s", path).rc == 1


def test_a_second_removal_changes_nothing(machine: Host, stack: Stack) -> None:
    before = listing(machine)
    outcome = stack.good("playbooks/remove.yml", app="app", **without(stack, "app"))
    assert "app: nothing to remove" in outcome.output
    assert re.search(r"changed=0 ", outcome.output), outcome.output[-1500:]
    # Where the file set remembers, under a lock, what it has compared; nothing else.
    held = re.compile(r"var/lib/emperor-stack/file_set(/nginx\.json(\.lock)?)?")
    assert [path for path in changed(before, listing(machine)) if not held.fullmatch(path)] == []


#: What is in the way of an app, what puts it there, what takes it away, and what the run says of it.
TROUBLE = (
    (
        "rm -r /srv/apps/app2/cache/tmp && ln -s /etc /srv/apps/app2/cache/tmp",
        "rm /srv/apps/app2/cache/tmp",
        "app2: /srv/apps/app2/cache/tmp is a link, but must be a directory",
    ),
    (
        "rm -r /srv/apps/my-app/cache/tmp && touch /srv/apps/my-app/cache/tmp",
        "rm /srv/apps/my-app/cache/tmp",
        "my-app: /srv/apps/my-app/cache/tmp is a file, but must be a directory",
    ),
    ("groupadd taken", "groupdel taken", "taken: group taken (gid "),
    ("useradd --comment Ann person", "userdel person", "person: user person (uid "),
)


def test_one_apps_trouble_is_its_own(machine: Host, stack: Stack) -> None:
    """What is in the way of one app's user or directories holds up no other, and is said at the end of the run."""
    for make, _, _ in TROUBLE:
        machine.check_output(make)
    # A group that was lost comes back.
    owner = machine.check_output("stat -c '%g' /srv/apps/app-2/shared/data")
    machine.check_output("groupdel --force app-2")
    new = ("taken", "person", "fresh")
    plain = {**stack.apps[2], "workers": {}}
    wanted = without(stack, "app")
    wanted["python_apps"] += [{**plain, "name": name, "domains": [f"{name}.localhost"]} for name in new]
    wanted["vault_python_apps_secrets"] |= dict.fromkeys(new, stack.secrets["app2"])
    etc = machine.check_output("stat -c '%U:%G %a' /etc")
    outcome = stack.play("site.yml", **wanted)
    said = outcome.output.rpartition("PLAY RECAP")[2]
    assert outcome.code == 2
    assert said.count("It was left out of this run") == len(TROUBLE)
    for _, _, told in TROUBLE:
        assert outcome.output.count(told) == said.count(told) == 1, f"{told}\n{outcome.output[-4000:]}"
    # The new one went live beside them, and what was live of them serves on.
    names = ("app2", "my-app", "app-2", "fresh")
    live = [name for name in names if stack.ask(f"{name}.localhost", "/") == "v0"]
    figure("others_live_beside_apps_left_out", f"{len(live)}/{len(names)}")
    assert len(live) == len(names)
    assert machine.check_output("stat -c '%U:%G %a' /etc") == etc
    assert not machine.file("/srv/apps/taken").exists
    assert machine.group("app-2").gid == int(owner)
    assert machine.check_output("stat -c '%g' /srv/apps/app-2/shared/data") == owner
    # A run that has nothing else to do says it as well.
    assert "It was left out of this run" in stack.play("site.yml", **wanted).output
    for _, mend, _ in TROUBLE:
        machine.check_output(mend)
    stack.good("site.yml", **wanted)
    assert stack.ask("taken.localhost", "/") == "v0"
    again = stack.good("site.yml", **wanted)
    unchanged(again)
    stack.good("playbooks/remove.yml", app=",".join(new), archive=False, **without(stack, "app"))
    for name in new:
        nothing_of(machine, name)


def test_a_deploy_that_was_killed_here_holds_up_no_removal(machine: Host, stack: Stack) -> None:
    """deploy.yml sees that the holder of the lock is dead; so do the playbooks that remove."""
    lock = "/srv/apps/app-2/state/lock.json"
    deploy = stack.start("playbooks/deploy.yml", app="app-2", force=True, **without(stack, "app"))
    held = machine.check_output("until cat %s 2>/dev/null; do sleep 0.05; done", lock)
    os.killpg(deploy.pid, signal.SIGKILL)
    deploy.communicate()
    # What the host has begun by then it may bring to its end, and give the lock back; here it does not come to that.
    machine.check_output("timeout 90 sh -c 'while [ -e %s ]; do sleep 0.2; done' || true", lock)
    machine.check_output("echo %s >%s", held, lock)
    outcome = stack.good("playbooks/remove.yml", "--check", app="app-2", **without(stack, "app", "app-2"))
    assert "app-2: would be removed: " in outcome.output
    # It stays for the next test, which removes the app for good.
    assert machine.file(lock).exists


def test_prune_tells_first(machine: Host, stack: Stack) -> None:
    known = without(stack, "app", "app-2")
    outcome = stack.good("site.yml", **known)
    assert "On this host, but not in python_apps: app-2." in outcome.output
    before, running = listing(machine), processes(machine, "app2", "my-app", "app-2")
    preview = stack.good("playbooks/prune.yml", **known)
    assert "app-2: would be removed: " in preview.output
    assert "app2" not in preview.output.replace("app-2", "")
    assert changed(before, listing(machine)) == []
    outcome = stack.good("playbooks/prune.yml", **known, confirm=True)
    assert "app-2: removed: " in outcome.output
    nothing_of(machine, "app-2")
    gone = [path for path in changed(before, listing(machine)) if re.search(r"app2|my-app", path)]
    assert gone == []
    del running["app-2"]
    assert processes(machine, "app2", "my-app") == running


def test_renaming_keeps_data_and_visitors(machine: Host, stack: Stack) -> None:
    old = next(app for app in stack.apps if app["name"] == "my-app")
    new = {
        **old,
        "name": "journal",
        "renamed_from": "my-app",
        "domains": ["journal.localhost", "my-app.localhost"],
    }
    stack.apps = [stack.apps[1], new]
    stack.secrets = dict.fromkeys(("app2", "journal"), stack.secrets["app2"])
    kept = machine.check_output("stat -c '%i %u %Y' /srv/apps/my-app/shared/data/kept")
    history = len(machine.file("/srv/apps/my-app/state/history.jsonl").content_string.splitlines())
    # A release that does not start: the old name serves on, and nothing of it is taken away.
    broken = [*stack.apps[:-1], {**new, "wsgi": "missing:application"}]
    assert stack.play("site.yml", python_apps=broken).code != 0
    assert stack.ask("journal.localhost", "/") == "v0"
    assert machine.user("my-app").exists
    with load(machine, "journal.localhost", ["/", "/healthz"], echo="/echo", rate=100) as answers:
        outcome = stack.good("site.yml")
    figure("rename_failed_requests", f"{answers.failed}/{answers.total}")
    assert answers.failed == 0, answers.failures()
    assert len(answers.releases) == 2, answers.releases
    assert "my-app: removed: " in outcome.output
    assert machine.check_output("stat -c '%i %u %Y' /srv/apps/journal/shared/data/kept") == kept
    assert machine.check_output("cat /srv/apps/journal/active/release/code/data/kept") == "of my-app"
    lines = machine.file("/srv/apps/journal/state/history.jsonl").content_string.splitlines()
    assert len(lines) > history + 1
    assert [line for line in lines if json.loads(line)["kind"] == "rename"]
    nothing_of(machine, "my-app")
    (path,) = machine.check_output("ls /var/backups/emperor-stack/my-app-*").split()
    kept_names = machine.check_output("tar -tzf %s", path).splitlines()
    assert "var/log/nginx/my-app.access.log" in kept_names
    assert all(name.startswith("var/log/nginx/my-app.") for name in kept_names), "the data is the new name's"
    assert f"its logs of the web server are in {path}" in outcome.output
    assert stack.status("journal")["health"] == "ok"
    # It is the worker of the new name that writes into the data now.
    assert machine.run("pgrep -u journal -f %s", "work.py jobs").stdout.split() != []
    again = stack.good("site.yml")
    unchanged(again)


def test_absent_in_the_list_is_removed_by_site_yml(machine: Host, stack: Stack) -> None:
    stack.apps = [{"name": "app2", "state": "absent"}, stack.apps[1]]
    outcome = stack.good("site.yml")
    assert "app2: removed: " in outcome.output
    nothing_of(machine, "app2")
    assert stack.ask("journal.localhost", "/") == "v0"
    again = stack.good("site.yml", "--check")
    unchanged(again)
    wanted = stack.good("site.yml", "--check", "--diff", python_apps_packages=["sl"])
    assert "would install sl\n" in wanted.output


def test_a_removal_that_was_killed_here_is_finished_by_the_next(machine: Host, stack: Stack) -> None:
    stack.apps = []
    stack.secrets = {}
    removal = stack.start("playbooks/remove.yml", app="journal")
    machine.check_output(
        "while ls /etc/emperor-stack/vassals/a/journal@*.ini; do sleep 0.05; done >/dev/null 2>&1"
    )
    os.killpg(removal.pid, signal.SIGKILL)
    removal.communicate()
    outcome = stack.good("playbooks/remove.yml", app="journal")
    assert "under way" not in outcome.output
    assert not machine.user("journal").exists
    assert not machine.group("journal").exists
    assert (
        machine.run(
            "ls -d /srv/apps/journal /srv/apps/.leaving-journal /run/emperor-stack/sockets/journal"
        ).stdout
        == ""
    )
    assert machine.run("ls /var/backups/emperor-stack/journal-*.tar.gz").rc == 0


def test_a_host_without_emperor_stack(machine: Host, stack: Stack, code: Repository) -> None:
    """The last test: of the host nothing is left but Debian, and the archives."""
    name = machine.backend.host
    stack.apps = [
        {
            "name": "last",
            "domains": ["last.localhost"],
            "source": {"git": code.url, "version": "v0"},
            "wsgi": "app:application",
            "persistent": ["data"],
            "secrets": ["TOKEN"],
            "health": {"path": "/healthz", "timeout": 20, "answers": 1},
        }
    ]
    stack.secrets = {"last": {"TOKEN": "t" * 8}}
    stack.good("site.yml")
    machine.check_output("runuser -u last -- sh -c 'echo precious >/srv/apps/last/shared/data/kept'")
    machine.check_output("mkdir -p /etc/nginx/emperor-stack/local/last")
    machine.check_output("echo '# by hand' >/etc/nginx/emperor-stack/local/last/own.conf")
    machine.check_output("echo '# by hand' >>/etc/systemd/journald.conf.d/60-emperor-stack.conf")
    machine.check_output("echo theirs >/etc/sysctl.d/99-theirs.conf")
    before = machine.check_output("find /etc /usr/local /srv /var/lib/emperor-stack | sort | sha256sum")

    refused = stack.play("playbooks/uninstall.yml", host=name)
    said = " ".join(refused.output.split())
    assert refused.code != 0
    assert "this would remove last, with an archive" in said and "add -e confirm=true" in said
    assert (
        machine.check_output("find /etc /usr/local /srv /var/lib/emperor-stack | sort | sha256sum") == before
    )
    assert stack.ask("last.localhost", "/") == "v0"

    outcome = stack.good("playbooks/uninstall.yml", host=name, confirm=True)
    said = " ".join(outcome.output.split())
    assert "last: removed: " in said
    assert "60-emperor-stack.conf: changed since it was written, so left in place" in said
    assert "--force-confmiss nginx-common" in said and "uwsgi-core" in said
    left = left_behind(machine)
    assert left == ["/etc/systemd/journald.conf.d/60-emperor-stack.conf"], left
    assert machine.file("/etc/sysctl.d/99-theirs.conf").content_string == "theirs\n"
    assert not machine.user("last").exists and not machine.group("emperor_deploy").exists
    data, own = (
        machine.check_output("ls /var/backups/emperor-stack/%s-*.tar.gz | tail -n 1", kind)
        for kind in ("last", "host")
    )
    assert machine.check_output("tar -xzOf %s shared/data/kept", data) == "precious"
    assert (
        machine.check_output("tar -xzOf %s etc/nginx/emperor-stack/local/last/own.conf", own) == "# by hand"
    )
    assert machine.check_output("stat -c '%a %U' " + own) == "600 root"

    again = stack.good("playbooks/uninstall.yml", host=name, confirm=True)
    unchanged(again)
    assert "has nothing of Emperor Stack" in again.output
