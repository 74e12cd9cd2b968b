"""What runs beside and below an app follows its releases."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deploying import Outcome, Repository, Stack, figure, load
from testinfra.host import Host

TOKEN = "only-the-app-may-know-this-5f1c"
GUNICORN = "shop-a.localhost"


def activation(machine: Host, app: str = "shop") -> str:
    return machine.check_output(f"basename $(readlink /srv/apps/{app}/active)")


def live(machine: Host, app: str = "shop") -> str:
    return machine.check_output(f"basename $(readlink /srv/apps/{app}/active/release)")


def events(machine: Host, process: str, app: str = "shop") -> list[tuple[str, ...]]:
    """(event, release, process id) in the order in which they were written."""
    # A timer may not have run yet.
    lines = machine.run(f"cat /srv/apps/{app}/shared/data/{process}").stdout.splitlines()
    return [tuple(line.split()) for line in lines]


def at_work(machine: Host, process: str, app: str = "shop") -> list[str]:
    """The releases of the processes of this name that run now."""
    pids = machine.run("pgrep -u %s -f %s", app, f"work.py {process}").stdout.split()
    began = {pid: release for event, release, pid in events(machine, process, app) if event == "began"}
    return sorted(began[pid] for pid in pids if pid in began)


def eventually(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.3)


def answer(machine: Host) -> str:
    return machine.run("curl -sS -m 5 -H 'Host: shop-a.localhost' http://127.0.0.1/healthz").stdout


def ran_in(machine: Host, release: str) -> bool:
    return any(event == "began" and its == release for event, its, _ in events(machine, "tick"))


def settled(machine: Host) -> None:
    """Workers, timers and units are those of the live release, and of nothing else."""
    release, serial = live(machine), activation(machine).partition("@")[2]
    # What was just started again notes that when its Python has booted.
    eventually(lambda: at_work(machine, "a-b") == [release] * 2 and at_work(machine, "single") == [release])
    workers = [f"app_shop_{name}@{serial}.service" for name in ("a-b", "single")]
    workers.append(f"app_shop_a-b@{serial}-2.service")
    timers = [f"app_shop_{name}.timer" for name in ("nightly", "tick")]
    files = machine.check_output("ls /etc/systemd/system | grep '^app_shop_'").split()
    assert sorted(files) == sorted(workers + timers + [one.replace(".timer", ".service") for one in timers])
    loaded = machine.check_output(
        "systemctl list-units --all --type=service,timer --plain --no-legend 'app_shop_*' | cut -d' ' -f1"
    )
    jobs = [f"app_shop_{name}.service" for name in ("nightly", "tick")]
    assert sorted(set(loaded.split()) - set(jobs)) == sorted(workers + timers)
    links = machine.check_output("ls /etc/systemd/system/*.target.wants | grep '^app_shop_'").split()
    assert sorted(links) == sorted(workers + timers)


def test_a_deploy_and_a_rollback_take_workers_and_timers_along(machine: Host, stack: Stack) -> None:
    first = live(machine)
    settled(machine)
    eventually(lambda: ran_in(machine, first))
    stack.good("playbooks/deploy.yml", app="shop", version="v1")
    second = live(machine)
    assert second != first
    settled(machine)
    eventually(lambda: ran_in(machine, second))
    outcome = stack.rollback("shop")
    assert outcome.code == 0, outcome.output[-3000:]
    assert live(machine) == first
    settled(machine)
    before = len(events(machine, "tick"))
    eventually(lambda: len(events(machine, "tick")) > before + 4)
    assert {release for _, release, _ in events(machine, "tick")[-3:]} == {first}
    # Each one that left got its signal and the time to end what it had in hand.
    for process, signal, count in (("a-b", "TERM", 2), ("single", "INT", 1)):
        ended = [(event, its) for event, its, _ in events(machine, process) if event.startswith("ended")]
        assert (
            ended[-2 * count :]
            == [(f"ended-{signal}", first)] * count + [(f"ended-{signal}", second)] * count
        )


def test_the_status_shows_workers_and_timers(machine: Host, stack: Stack) -> None:
    status = stack.status("shop")
    workers = [(one["worker"], one["state"], one["live"], one["restarts"]) for one in status["workers"]]
    assert workers == [
        ("a-b", "running", True, 0),
        ("a-b", "running", True, 0),
        ("single", "running", True, 0),
    ]
    timers = {one["timer"]: one for one in status["timers"]}
    assert timers["nightly"]["next"].endswith("T03:00:00Z")
    assert timers["tick"]["last"] is not None
    web = next(one for one in stack.status("shop-a")["activations"] if one["live"])
    assert (web["running"], web["emperor"], web["workers"]) == (True, "systemd", 2)
    assert web["memory_mib"] > 1


def test_a_worker_that_does_not_keep_running_fails_the_deploy(machine: Host, stack: Stack) -> None:
    """At the start, or, where it may not run beside the old one, after the switch: the old release has all back."""
    before = live(machine)
    for version, unit in (("broken-worker", "app_shop_a-b@"), ("broken-single", "app_shop_single@")):
        outcome = stack.deploy("shop", version)
        assert outcome.code == 2, outcome.output[-3000:]
        name = unit.partition("shop_")[2].rstrip("@")
        assert f"{unit}" in outcome.output
        assert "does not keep running" in outcome.output
        assert f"{name} is broken in this release" in outcome.output
        assert live(machine) == before
        settled(machine)


def test_what_must_not_run_twice_never_did(machine: Host, stack: Stack) -> None:
    """After deploys, rollbacks and failures; and the timer, whose command takes longer than its interval."""
    stack.good("playbooks/restart.yml")
    settled(machine)
    doubled = {
        name: len([e for e in events(machine, name) if e[0] == "doubled"]) for name in ("single", "tick")
    }
    runs = {name: len([e for e in events(machine, name) if e[0] == "began"]) for name in doubled}
    figure("workers_doubled", f"{doubled['single']}/{runs['single']}")
    figure("timers_doubled", f"{doubled['tick']}/{runs['tick']}")
    assert runs["single"] >= 5
    assert runs["tick"] >= 5
    assert doubled == {"single": 0, "tick": 0}
    # The instrument shows what it would show: two of the other worker do run beside each other.
    assert [e for e in events(machine, "a-b") if e[0] == "doubled"]


def test_no_secret_is_where_others_can_see_it(machine: Host, stack: Stack) -> None:
    assert machine.run("grep -rl %s /etc/systemd/system /run/systemd", TOKEN).stdout == ""
    assert TOKEN not in machine.check_output("ps axww -o args")
    assert (
        machine.run("journalctl --namespace='*' --no-pager -o export | grep -ac %s", TOKEN).stdout.strip()
        == "0"
    )
    modes = machine.check_output("stat -c '%U %G %a' /srv/apps/shop/releases/*/environment.json | sort -u")
    assert modes == "root shop 440"


def test_a_worker_is_kept_in(machine: Host, stack: Stack) -> None:
    """From inside a command, which has the sandbox of the workers."""
    attempts = {
        "write to its code": "touch app.py",
        "write to its release": "touch ../x",
        "read the environment of another app": "cat /srv/apps/shop-a/releases/*/environment.json",
        "see processes of another app": "pgrep -u shop-a .",
        "write to /etc": "touch /etc/x",
        "write to /var": "touch /var/tmp/../x",
        "mount": "unshare --user --mount true",
        "a raw device": "test -e /dev/mem -o -e /dev/sda",
        "sockets of another app": "ls /run/emperor-stack/sockets/shop-a",
    }
    line = "; ".join(
        f"({command}) >/dev/null 2>&1 && echo 'ESCAPED {what}'" for what, command in attempts.items()
    )
    outcome = stack.good(
        "playbooks/run.yml", app="shop", command=f"set +e; {line}; touch data/mine && echo done"
    )
    assert "ESCAPED" not in outcome.output
    assert "done" in outcome.output
    unit = machine.check_output("systemctl show --property=Slice,User --value 'app_shop_single@*'").split()
    assert unit == ["shop", "apps-shop.slice"] or unit == ["apps-shop.slice", "shop"]


def test_workers_and_commands_may_ask_the_kernel_for_addresses(machine: Host, stack: Stack) -> None:
    """By netlink, as getifaddrs(3) does and the web processes could always do; in a command, which has their sandbox."""
    asks = "python -c 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print(2 * 21)'"
    assert re.search(
        r"\] 42$", stack.good("playbooks/run.yml", app="shop", command=asks).output, re.MULTILINE
    )
    other = asks.replace("AF_NETLINK", "AF_VSOCK")
    assert stack.play("playbooks/run.yml", app="shop", command=other).code == 2
    families = machine.check_output(
        "systemctl show --property=RestrictAddressFamilies --value 'app_shop_single@*'"
    )
    assert set(families.split()) == {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"}


def test_a_command_that_ansible_would_cut_is_refused_with_one_that_runs(machine: Host, stack: Stack) -> None:
    made = machine.file("/srv/apps/shop/shared/data/typed")
    refused = stack.play("playbooks/run.yml", "-e", "app=shop", "-e", "command=sh -c 'touch data/typed'")
    assert refused.code != 0 and not made.exists
    (typed,) = re.findall(r"fix: .* (-e .*)$", refused.output, re.MULTILINE)
    stack.good("playbooks/run.yml", "-e", "app=shop", *shlex.split(typed))
    assert made.exists


def test_a_command_runs_in_the_live_release(machine: Host, stack: Stack) -> None:
    outcome = stack.good(
        "playbooks/run.yml",
        app="shop",
        command='python -c \'import os, sys; print(sys.prefix, os.environ["APP_RELEASE"], os.getcwd(), '
        'len(os.environ["TOKEN"]))\'; id -un; echo "$TOKEN"; X=1; echo "=${X}=$(echo 2)=%n=$$="',
    )
    release = live(machine)
    directory = f"/srv/apps/shop/releases/{release}"
    # Line by line as the command printed it.
    said = outcome.output
    assert f"\n  {directory}/venv {release} {directory}/code {len(TOKEN)}\n  shop\n" in said, said
    assert re.search(r"\n  .*=1=2=%n=[0-9]+=\n", said), "the command has to arrive as it was typed"
    assert TOKEN not in outcome.output
    for command, extra, says in (
        ("echo before; exit 7", {}, "exit status 7"),
        ("echo before; sleep 60", {"timeout": 2}, "still running after 2 s"),
    ):
        outcome = stack.play("playbooks/run.yml", app="shop", command=command, **extra)
        assert outcome.code == 2, outcome.output[-2000:]
        assert outcome.output.count(says) == 1 and "...ignoring" not in outcome.output, outcome.output
        assert "before" in outcome.output
    assert machine.run("systemctl list-units --plain --no-legend 'app_shop_run@*'").stdout == ""


THREADS = (
    "import threading, time; "
    "[threading.Thread(target=time.sleep, args=(30,), daemon=True).start() for _ in range(8000)]"
)

#: What a build does, what the run says of it, and whether the release goes live.
BUILDS = {
    "leaves a process": ("sleep 75 & echo started", None, True),
    "leaves a daemon that holds its output": ("setsid sleep 75 & echo started", None, True),
    "ends by SIGTERM": ("kill -TERM $$", "build failed (ended by SIGTERM)", False),
    "starts 8,000 threads": (f"python -c '{THREADS}'", "can't start new thread", False),
    "prints without measure": ("yes | head -c 300000000; echo; echo the reason; exit 4", "the reason", False),
    "paints the terminal": ("printf '\\033]0;owned\\007\\033[31mred\\n'; exit 5", "red", False),
    "says its secrets": ('echo "=$TOKEN="; exit 6', "=********=", False),
    "looks around": (
        "set +e; for try in 'pgrep -u shop-a .' 'touch /var/tmp/../x' 'ls /run/systemd/transient/*command*.env' "
        "'kill -0 1' 'touch ../environment.json'; do $try >/dev/null 2>&1 && echo \"ESCAPED $try\"; done; touch mine; "
        "grep -o 'apps.slice/apps-shop.slice/app_shop_command@' /proc/self/cgroup | sort -u; exit 7",
        "apps.slice/apps-shop.slice/app_shop_command@",
        False,
    ),
    "wants more memory than there is": (
        "python -c 'x = [bytearray(1 << 20) for _ in range(1 << 20)]'",
        "limits.memory of shop",
        False,
    ),
}


#: Commands of an app, three at a time, while somebody reloads systemd over and over; prints what came of each.
RELOADED = r"""
import json, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, "/usr/local/lib/emperor-stack/python")
from emperor_stack.host.command import CommandFailed
from emperor_stack.systemd.app_process import run_as

def command(_):
    try:
        argv = ["/bin/sh", "-c", 'printf %s "$WORD"; printf $1', "sh", "a;b"]
        return run_as("shop", argv, what="x", env={"WORD": "it's (a) $HOME; `x`"}, whole=1000)
    except CommandFailed as error:
        return str(error)

def reload():
    while not done.is_set():
        subprocess.run(["systemctl", "daemon-reload"], check=True)

done = threading.Event()
reloading = threading.Thread(target=reload)
reloading.start()
with ThreadPoolExecutor(3) as pool:
    said = list(pool.map(command, range(9)))
done.set()
reloading.join()
print(json.dumps(said))
"""


def test_a_command_is_the_same_when_systemd_is_reloaded_before_it_begins(machine: Host, stack: Stack) -> None:
    said = json.loads(machine.check_output("python3 -c %s", RELOADED))
    wrong = [one for one in said if one != "it's (a) $HOME; `x`a;b"]
    figure("commands_changed_by_reload", f"{len(wrong)}/{len(said)}")
    assert not wrong


@contextlib.contextmanager
def memory_of(machine: Host, app: str, more: int) -> Iterator[None]:
    """The app's slice may take *more* bytes than it does now."""
    unit = f"apps-{app}.slice"
    used = int(machine.check_output(f"systemctl show --property=MemoryCurrent --value {unit}"))
    machine.check_output(f"systemctl set-property --runtime {unit} MemoryMax={used + more}")
    try:
        yield
    finally:
        machine.check_output(f"rm -rf /run/systemd/system.control/{unit}.d && systemctl daemon-reload")


def test_a_build_is_a_process_of_the_app(machine: Host, stack: Stack) -> None:
    """In its slice, in its sandbox, and over when it is over; what serves and other apps do not notice."""
    shop = stack.apps[0]
    serving = machine.check_output("pgrep -u shop-a .")
    try:
        for name, (build, says, good) in BUILDS.items():
            before = live(machine)
            stack.apps[0] = {**shop, "build": [build]}
            with memory_of(machine, "shop", 250 << 20):
                outcome = stack.deploy("shop", "v3")
            assert outcome.code == (0 if good else 2), (name, outcome.output[-3000:])
            assert (live(machine) != before) is good, name
            assert says is None or says in outcome.output, (name, outcome.output[-3000:])
            assert not re.search(r"ESCAPED (?!\$try)", outcome.output), name
            assert "\x1b" not in outcome.output, name
            assert "\x07" not in outcome.output, name
            assert TOKEN not in outcome.output, name
            assert len(outcome.output) < 200_000, name
            assert machine.run("pgrep -u shop sleep").stdout == "", name
            assert machine.run("ls /run/systemd/transient | grep app_shop_command").stdout == "", name
            assert not machine.file("/srv/apps/shop/state/lock.json").exists, name
            assert at_work(machine, "single") == [live(machine)], name
    finally:
        stack.apps[0] = shop
    assert machine.check_output("pgrep -u shop-a .") == serving
    assert stack.deploy("shop", "v3").code == 0
    settled(machine)


def test_what_a_killed_deploy_left_ends_with_the_next(machine: Host, stack: Stack) -> None:
    shop = stack.apps[0]
    stack.apps[0] = {**shop, "build": ["sleep 301 & sleep 300"]}
    workers = machine.check_output("pgrep -u shop -f 'work.py [as]' | sort")
    process = stack.start("playbooks/deploy.yml", app="shop", version="v2")
    try:
        eventually(lambda: machine.run("pgrep -u shop -x sleep").stdout.count("\n") == 2, 120)
        shown = machine.check_output("systemctl show 'app_shop_command@*'")
        assert "OOMScoreAdjust=1000" in shown
        assert TOKEN not in shown
        assert TOKEN not in machine.check_output("ps axww -o args")
        machine.check_output("kill -9 $(ps -o ppid= -C systemd-run)")
    finally:
        output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output[-2000:]
    assert machine.run("pgrep -u shop -x sleep").stdout.count("\n") == 2, "the run died, its build did not"
    stack.apps[0] = shop
    outcome = stack.deploy("shop", "v3")
    assert outcome.code == 0, outcome.output[-3000:]
    assert machine.run("pgrep -u shop -x sleep").stdout == ""
    assert machine.run("ls /run/systemd/transient | grep app_shop_command").stdout == ""
    if "switched in" not in outcome.output:
        assert machine.check_output("pgrep -u shop -f 'work.py [as]' | sort") == workers
    settled(machine)


#: What a process is told of itself, and by whom: variables, or how they begin. All else is the same for all of an app.
OWN = {
    "systemd": ("INVOCATION_ID", "JOURNAL_STREAM", "LOG_NAMESPACE", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_"),
    "systemd, of a timer": ("TRIGGER_",),
    "systemd, of a socket": ("LISTEN_",),
    "the emperor and uWSGI": ("UWSGI_", "EMPEROR_STACK_UWSGI"),
    "gunicorn": ("SERVER_SOFTWARE",),
    "a shell": ("PWD",),
}
PLACES = ("web", "worker", "timer", "hook", "build", "migrate", "run")


def test_the_environment_is_the_same_everywhere(machine: Host, stack: Stack) -> None:
    """Under uWSGI and under gunicorn, and there before Python starts; after a reload of uWSGI, too."""
    before = [dict(app) for app in stack.apps]
    for app in stack.apps:
        app |= {
            "env": {"TZ": "Asia/Tokyo"},
            "build": ["python seen.py build"],
            "migrate": "python seen.py migrate",
            "hooks": {"before_switch": ["python seen.py hook"]},
            "workers": {**app["workers"], "seen": {"command": "python seen.py worker 3600"}},
            "schedule": {"look": {"command": "python seen.py timer", "every": "1s"}},
        }
    found: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        for app in ("shop", "shop-a"):
            stack.good("playbooks/deploy.yml", app=app, version="v2")
            stack.good("playbooks/run.yml", app=app, command="python seen.py run")
            directory = f"/srv/apps/{app}/shared/data"
            eventually(lambda path=f"{directory}/timer": machine.file(path).exists)
            for place in PLACES[1:]:
                found[app, place] = json.loads(machine.check_output(f"cat {directory}/{place}"))
            found[app, "web"] = json.loads(stack.ask(f"{app}.localhost", "/environment"))
        machine.check_output("kill -HUP %s", master_of(machine, "shop"))
        time.sleep(2)
        found["shop", "web, reloaded"] = json.loads(stack.ask("shop.localhost", "/environment"))
    finally:
        stack.apps[:] = before
    odd = []
    own = tuple(name for names in OWN.values() for name in names)
    for (app, place), one in found.items():
        release = f"/srv/apps/{app}/releases/{live(machine, app)}"
        wanted = {
            **{"APP_NAME": app, "APP_RELEASE": live(machine, app), "TOKEN": TOKEN, "TZ": "Asia/Tokyo"},
            **{"HOME": f"/srv/apps/{app}/cache", "TMPDIR": f"/srv/apps/{app}/cache/tmp", "LANG": "C.UTF-8"},
            **{"USER": app, "LOGNAME": app, "VIRTUAL_ENV": f"{release}/venv"},
            **{"PATH": f"{release}/venv/bin:/usr/local/bin:/usr/bin:/bin"},
            **{"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            "APP_REVISION": stack.status(app)["live"]["revision"],
        }
        seen = {name: value for name, value in one["environment"].items() if not name.startswith(own)}
        if seen != wanted or one["zone"] != "+0900":
            odd.append((app, place, set(seen.items()) ^ set(wanted.items()), one["zone"]))
    figure("environments_alike", f"{len(found) - len(odd)}/{len(found)}")
    assert not odd
    assert len(found) == 2 * len(PLACES) + 1
    for app in ("shop", "shop-a"):
        stack.good("playbooks/deploy.yml", app=app, version="v3")


def test_what_a_worker_prints_reaches_the_journal_at_once(machine: Host, stack: Stack) -> None:
    """Though nobody has flushed it."""
    prints = "python -c 'import time; print(\"printed by a worker\"); time.sleep(3600)'"
    shop = dict(stack.apps[0])
    stack.apps[0] = {**shop, "workers": {**shop["workers"], "prints": {"command": prints}}}
    try:
        assert stack.deploy("shop", "v2").code == 0
        log = "journalctl --namespace=apps -q -o cat --since=-60s -t shop-prints"
        eventually(lambda: machine.check_output(log).splitlines() == ["printed by a worker"], 10)
    finally:
        stack.apps[0] = shop
    assert stack.deploy("shop", "v3").code == 0


def test_a_gunicorn_app_is_deployed_without_a_failed_request(machine: Host, stack: Stack) -> None:
    first = live(machine, "shop-a")
    seen = json.loads(stack.ask(GUNICORN, "/seen/a%2541"))
    assert seen["SERVER_SOFTWARE"].startswith("gunicorn")
    assert (seen["PATH_INFO"], seen["REMOTE_ADDR"]) == ("/seen/a%41", "127.0.0.1")
    assert stack.ask(GUNICORN, "/parts").splitlines() == [f"part {number}" for number in range(1000)]
    outcomes: list[Outcome] = []
    with load(machine, GUNICORN, ["/healthz", "/parts"], echo="/echo", rate=60) as result:
        outcomes.append(stack.deploy("shop-a", "v1"))
        outcomes.append(stack.rollback("shop-a"))
        outcomes.append(stack.deploy("shop-a", "v2"))
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], [o.output[-2000:] for o in outcomes if o.code]
    figure("gunicorn_failed_requests", f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    assert len(result.releases) == 3
    assert live(machine, "shop-a") != first
    assert at_work(machine, "b", "shop-a") == [live(machine, "shop-a")]
    # The one before is warm until its end, for which the helper is called that systemd would call.
    units = "ls /etc/systemd/system | grep '^app_shop-a_web.*service$'"
    names = machine.check_output(units).split()
    assert len(names) == 2
    warm = next(name for name in names if activation(machine, "shop-a").partition("@")[2] + "." not in name)
    serial = warm.partition("@")[2].removesuffix(".service")
    machine.check_output(f"/usr/local/lib/emperor-stack/retire shop-a shop-a@{serial}")
    assert machine.check_output(units).split() == [name for name in names if name != warm]
    assert machine.run(f"pgrep -u shop-a -f shop-a@{serial}").stdout == ""
    machine.check_output(f"/usr/local/lib/emperor-stack/retire shop-a {activation(machine, 'shop-a')}")
    assert stack.ask(GUNICORN, "/healthz") == "v2"


def test_a_gunicorn_that_is_not_there_is_named(stack: Stack, jobs: object) -> None:
    shop = stack.apps[0]
    stack.apps[0] = {**shop, "server": "gunicorn", "requirements": "none.txt"}
    try:
        outcome = stack.play("playbooks/deploy.yml", app="shop", version="no-gunicorn")
    finally:
        stack.apps[0] = shop
    assert outcome.code == 2
    assert "add gunicorn>=27.0 to its requirements" in outcome.output


def left(machine: Host, seconds: str, app: str) -> set[str]:
    """What `leave.py` has left behind, by its mark."""
    return set(machine.run("pgrep -u %s -fx %s", app, f"sleep {seconds}").stdout.split())


def master_of(machine: Host, app: str) -> str:
    serial = activation(machine, app).partition("@")[2]
    if app == "shop-a":
        return machine.check_output("systemctl show -P MainPID app_shop-a_web@%s.service", serial)
    guards = machine.check_output(
        f"systemctl list-units --plain --no-legend 'emperor-stack-guard-{app}-{serial}-*'"
    )
    return guards.split(".service")[0].rpartition("-")[2]


@pytest.mark.parametrize("app", ["shop", "shop-a"], ids=["uwsgi", "gunicorn"])
def test_what_an_app_leaves_behind_ends_with_its_activation(
    machine: Host, stack: Stack, jobs: Repository, app: str
) -> None:
    """After a crash, and after a deploy at the end of the warm activation."""
    assert stack.deploy(app, "leaver").code == 0
    first = left(machine, "100077", app)
    assert len(first) == 2, "the instrument leaves what it says"
    machine.check_output("kill -KILL %s", master_of(machine, app))
    eventually(lambda: not first & left(machine, "100077", app), 60)
    eventually(lambda: len(left(machine, "100077", app)) == 2, 60)
    eventually(
        lambda: machine.run(f"curl -sS -m 5 -H 'Host: {app}.localhost' http://127.0.0.1/").stdout == "leaver"
    )
    warm = activation(machine, app)
    # What the inventory wants: later runs of site.yml have nothing to deploy.
    assert stack.deploy(app, "v0").code == 0
    machine.check_output("/usr/local/lib/emperor-stack/retire %s %s", app, warm)
    eventually(lambda: not left(machine, "100077", app), 60)
    figure(f"leftover_processes_of_{app.replace('-', '_')}", 0)


def test_what_a_scheduled_command_leaves_behind_ends_with_it(machine: Host, stack: Stack) -> None:
    machine.check_output("systemctl start app_shop_nightly.service")
    assert machine.check_output("cat /srv/apps/shop/shared/data/left") == "100078"
    assert left(machine, "100078", "shop") == set()


def test_a_changed_limit_holds_for_what_runs_already(machine: Host, stack: Stack) -> None:
    def limit() -> int:
        return int(machine.check_output("systemctl show --property=MemoryMax --value apps-shop.slice"))

    before, running = limit(), machine.check_output("pgrep -u shop -f 'work.py [as]' | sort")
    stack.good("site.yml", "--tags", "python_apps", python_apps_memory_per_app="25%")
    assert limit() < before * 0.6
    assert machine.check_output("pgrep -u shop -f 'work.py [as]' | sort") == running
    stack.good("site.yml", "--tags", "python_apps")
    assert limit() == before


def test_after_a_reboot_exactly_the_live_ones_run(machine: Host, stack: Stack) -> None:
    """Also with an activation beside the live one, as a deploy leaves it that a power cut ends after its start."""
    before = live(machine)
    directory = f"/srv/apps/shop/activations/{activation(machine)}"
    serial = directory.rpartition("@")[2]
    assert stack.deploy("shop-a", "v3").code == 0
    assert (
        len(machine.check_output("ls /etc/systemd/system | grep '^app_shop-a_web.*service$'").split()) == 2
    ), "one is warm"
    machine.check_output(
        f"cp -a {directory} {directory}99; cd /etc/systemd/system; "
        f"for n in a-b single; do sed 's/@{serial}/@{serial}99/g' app_shop_$n@{serial}.service "
        f">app_shop_$n@{serial}99.service; "
        f"ln -s /etc/systemd/system/app_shop_$n@{serial}99.service multi-user.target.wants/; done"
    )
    began = len(events(machine, "single"))
    subprocess.run(
        ["docker", "restart", "--time", "30", machine.backend.host], check=True, capture_output=True
    )
    eventually(
        lambda: machine.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), 60
    )
    eventually(lambda: answer(machine) == "v3")
    eventually(lambda: len(at_work(machine, "a-b")) == 2 and len(at_work(machine, "single")) == 1)
    assert at_work(machine, "a-b") == [before] * 2
    assert [event for event, _, _ in events(machine, "single")[began:]] == ["ended-INT", "began"]
    running = machine.check_output(
        "systemctl list-units --plain --no-legend --state=running 'app_*' | cut -d' ' -f1"
    ).split()
    assert not [unit for unit in running if f"@{serial}99" in unit], running
    for kind in ("service", "socket"):
        assert len([unit for unit in running if "_web@" in unit and unit.endswith(kind)]) == 1, running
    assert stack.status("shop-a")["health"] == "ok"
    # The next deploys go on as if nothing had been, and leave nothing behind.
    for name in ("shop", "shop-a"):
        outcome = stack.deploy(name, "v4")
        assert outcome.code == 0, outcome.output[-3000:]
    settled(machine)


def test_an_app_goes_live_while_another_builds_and_fails(machine: Host, stack: Stack) -> None:
    """The build of `shop` waits until the new release of `shop-a` is live, and fails then: of itself alone."""
    before = live(machine, "shop"), live(machine, "shop-a")
    wait = "until [ -e data/go ]; do sleep 0.2; done; printf 'the %s\\n' reason; exit 3"
    for number, more in ((0, {"build": [wait]}), (1, {})):
        app = stack.apps[number]
        stack.apps[number] = {**app, **more, "source": {**app["source"], "version": "v1"}}
    process = stack.start("playbooks/deploy.yml")
    try:
        eventually(lambda: live(machine, "shop-a") != before[1], 180)
        assert process.poll() is None
        assert stack.ask(GUNICORN, "/healthz") == "v1"
    finally:
        machine.check_output("runuser -u shop touch /srv/apps/shop/shared/data/go")
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 2, output[-3000:]
    assert live(machine, "shop") == before[0]
    assert output.count("the reason") == 1, output[-3000:]
    assert re.search(r"shop-a .*v1", output), output[-3000:]
    assert not machine.file("/srv/apps/shop/state/lock.json").exists
