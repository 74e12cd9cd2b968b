"""What a hostile app can do to its neighbours, to the host and to its own limits, tried from inside of it: nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from deploying import HERE
from walls.ground import NEIGHBOUR, Ground, results, shown
from walls.test_running import statistics_of

#: nginx does not follow the link whoever has planted it. All others get what they want where no walls are.
REFUSED_TO_ROOT = {"read_static_of_neighbour_by_link"}

Facts = dict[str, Any]


def listening(ground: Ground, app: str) -> Facts:
    script = (
        "import socket\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        f"client.connect({statistics_of(ground, app)!r})\n"
        "text = b''\n"
        "while piece := client.recv(65536):\n"
        "    text += piece\n"
        "print(text.decode())"
    )
    found: Facts = json.loads(ground.host.check_output("python3 -c %s", script))
    return found


def facts_of(ground: Ground) -> Facts:
    """What the hostile app is told about its neighbour: more than it could find out."""
    host = ground.host
    private = f"{layout.shared(NEIGHBOUR)}/data/private.txt"
    host.check_output("su -s /bin/sh neighbour -c %s", f"echo private > {private}")
    _activation, own = (
        host.check_output("readlink %s", layout.active(app)).rpartition("/")[2]
        for app in (NEIGHBOUR, "hostile")
    )
    running = listening(ground, NEIGHBOUR)
    emperor = host.run("cat %s/emperor", layout.CONFIG).stdout.strip() or "a"
    memory = "/sys/fs/cgroup/memory/apps.slice/apps-hostile.slice/memory.limit_in_bytes"
    unified = "/sys/fs/cgroup/apps.slice/apps-hostile.slice/memory.max"
    vassal = f"{layout.vassals('a')}/{own}.ini"
    settings = "vassal.ini" if ground.server == "uwsgi" else "gunicorn.conf.py"
    if ground.server != "uwsgi":
        vassal = layout.unit_file(layout.activation_unit("hostile", "web", own))
    release = host.check_output("readlink -f %s/release", layout.active("hostile"))
    return {
        "uid": int(host.check_output("id -u neighbour")),
        "root": layout.app_root(NEIGHBOUR),
        "release": host.check_output("readlink -f %s/release", layout.active(NEIGHBOUR)),
        "releases": layout.releases(NEIGHBOUR),
        "shared": layout.shared(NEIGHBOUR),
        "cache": layout.cache(NEIGHBOUR),
        "state": layout.state(NEIGHBOUR),
        "access_log": "/var/log/nginx/neighbour.access.log",
        "master": running["pid"],
        "worker": running["workers"][0]["pid"],
        "emperor": int(host.check_output(f"systemctl show --property=MainPID --value emperor@{emperor}")),
        "emperor_unit": f"emperor@{emperor}",
        "nginx": int(host.check_output("systemctl show --property=MainPID --value nginx")),
        "socket": host.check_output("readlink %s", layout.active_socket(NEIGHBOUR)),
        "statistics": statistics_of(ground, NEIGHBOUR),
        "emperor_statistics": f"{layout.RUN}/emperor-{emperor}.stats",
        "socket_directory": layout.socket_directory(NEIGHBOUR),
        "waiting": layout.socket_directory("fresh"),
        "vassals": layout.vassals(emperor),
        "own_vassal": vassal,
        "own_settings": f"{release}/{settings}",
        "own_release": release,
        "own_media": f"{layout.shared('hostile')}/media",
        "own_memory_limit": memory if host.file(memory).exists else unified,
    }


@pytest.fixture(scope="module")
def facts(grounds: list[Ground]) -> dict[str, Facts]:
    return {ground.name: facts_of(ground) for ground in grounds}


def ask_hostile(ground: Ground, path: str, facts: Facts) -> Any:
    said = ground.host.run(
        "curl -sS --max-time 60 -H 'Host: hostile.localhost' -d %s http://127.0.0.1%s",
        json.dumps(facts),
        path,
    )
    return json.loads(said.stdout)


def test_every_attempt_would_succeed_without_the_walls(
    ground: Ground, facts: dict[str, Facts], tmp_path: Path
) -> None:
    """As root, where no walls are: an attempt at what is not there would always be refused, and prove nothing."""
    host = ground.host
    (tmp_path / "facts.json").write_text(json.dumps(facts[ground.name]))
    for source in (HERE / "apps" / "hostile" / "app.py", tmp_path / "facts.json"):
        subprocess.run(["docker", "cp", "-q", str(source), f"{host.backend.host}:/root/"], check=True)
    came = json.loads(host.check_output("python3 /root/app.py /root/facts.json"))
    refused = {name: one for name, one in came.items() if "got" not in one}
    assert set(refused) == REFUSED_TO_ROOT, refused


def test_a_hostile_app_gets_nowhere(ground: Ground, facts: dict[str, Facts]) -> None:
    names = ask_hostile(ground, "/attempts", {})
    came = {name: ask_hostile(ground, f"/attempt/{name}", facts[ground.name]) for name in names}
    got = [name for name in names if "refused" not in came[name]]
    for name in names:
        wrong = "" if name not in got else "it got there"
        try:
            ground.note(0, f"from inside: {name.replace('_', ' ')}", shown(came[name]), wrong)
        except AssertionError:
            continue
    assert len(names) >= 50
    assert not got, {name: came[name] for name in got}


def test_the_host_and_the_neighbour_never_noticed(ground: Ground, facts: dict[str, Facts]) -> None:
    """Runs after the attempts: the same processes, the same answers, no unit of ours that failed."""
    known = facts[ground.name]
    host = ground.host
    assert listening(ground, NEIGHBOUR)["pid"] == known["master"]
    assert ground.ask(NEIGHBOUR) == (200, NEIGHBOUR.encode())
    for unit, pid in ((known["emperor_unit"], known["emperor"]), ("nginx", known["nginx"])):
        assert host.check_output("systemctl show --property=MainPID --value %s", unit) == str(pid)
    listed = "systemctl list-units --state=failed --plain --no-legend 'app*' 'emperor*' nginx.service"
    assert host.check_output(listed) == ""
    assert [one.name for (name, _), one in results.items() if name == ground.name and one.row == 0]


def test_memory_of_the_app_is_what_its_slice_allows(ground: Ground, facts: dict[str, Facts]) -> None:
    host = ground.host
    limit = facts[ground.name]["own_memory_limit"]
    assert host.check_output("cat %s", limit) == str(200 * 1024 * 1024)
    assert host.check_output("systemctl show --property=TasksMax --value apps-hostile.slice") == "64"


def test_no_process_of_any_app_is_outside_of_its_slice(ground: Ground) -> None:
    for app, found in ground.as_root("processes", apps=["hostile", NEIGHBOUR, "fresh"]).items():
        assert found
        outside = [one for one in found if f"/apps.slice/{layout.app_slice(app)}/" not in one[3]]
        assert not outside, outside
