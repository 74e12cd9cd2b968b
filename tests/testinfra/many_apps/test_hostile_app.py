"""What a hostile app can do to its neighbours, to the host and to its own limits, tried from inside of it: nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils import layout
from deploying import HERE, figure
from many_apps.fleet import Filled
from testinfra.host import Host


def listening(host: Host, activation: str, app: str) -> dict[str, Any]:
    said = host.check_output(
        "python3 -c %s",
        "import socket\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        f"client.connect({layout.stats_socket(app, activation)!r})\n"
        "text = b''\n"
        "while piece := client.recv(65536):\n"
        "    text += piece\n"
        "print(text.decode())",
    )
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture(scope="module")
def facts(filled: Filled) -> dict[str, Any]:
    """What the hostile app is told about its neighbour: more than it could find out."""
    host = filled.stack.host
    host.check_output(
        "su -s /bin/sh victim -c %s", f"echo private > {layout.shared('victim')}/data/private.txt"
    )
    live = {app: host.check_output("readlink %s", layout.active(app)) for app in ("victim", "hostile")}
    activation, own = (live[app].rpartition("/")[2] for app in ("victim", "hostile"))
    running = listening(host, activation, "victim")
    emperor = host.run("cat %s/emperor", layout.CONFIG).stdout.strip() or "a"
    memory = "/sys/fs/cgroup/memory/apps.slice/apps-hostile.slice/memory.limit_in_bytes"
    unified = "/sys/fs/cgroup/apps.slice/apps-hostile.slice/memory.max"
    return {
        "uid": int(host.check_output("id -u victim")),
        "root": layout.app_root("victim"),
        "release": host.check_output("readlink -f %s/release", layout.active("victim")),
        "releases": layout.releases("victim"),
        "shared": layout.shared("victim"),
        "cache": layout.cache("victim"),
        "state": layout.state("victim"),
        "access_log": "/var/log/nginx/victim.access.log",
        "master": running["pid"],
        "worker": running["workers"][0]["pid"],
        "emperor": int(host.check_output(f"systemctl show --property=MainPID --value emperor@{emperor}")),
        "emperor_unit": f"emperor@{emperor}",
        "nginx": int(host.check_output("systemctl show --property=MainPID --value nginx")),
        "socket": layout.socket("victim", activation),
        "statistics": layout.stats_socket("victim", activation),
        "emperor_statistics": f"{layout.RUN}/emperor-{emperor}.stats",
        "socket_directory": layout.socket_directory("victim"),
        "waiting": layout.socket_directory("idle-001"),
        "vassals": layout.vassals(emperor),
        "own_vassal": f"{layout.vassals('a')}/{own}.ini",
        "own_release": host.check_output("readlink -f %s/release", layout.active("hostile")),
        "own_media": f"{layout.shared('hostile')}/media",
        "own_memory_limit": memory if host.file(memory).exists else unified,
    }


def ask_hostile(host: Host, path: str, facts: dict[str, Any]) -> Any:
    said = host.run(
        "curl -sS --max-time 60 -H 'Host: hostile.localhost' -d %s http://127.0.0.1%s",
        json.dumps(facts),
        path,
    )
    return json.loads(said.stdout)


def test_every_attempt_would_succeed_without_the_walls(
    filled: Filled, facts: dict[str, Any], tmp_path: Path
) -> None:
    """As root, where no walls are: an attempt at what is not there would always be refused, and prove nothing."""
    host = filled.stack.host
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    for source in (HERE / "apps" / "hostile" / "app.py", tmp_path / "facts.json"):
        subprocess.run(["docker", "cp", "-q", str(source), f"{host.backend.host}:/root/"], check=True)
    came = json.loads(host.check_output("python3 /root/app.py /root/facts.json"))
    # nginx does not follow the link whoever has planted it; the journal answers root.
    refused = {name: one for name, one in came.items() if "got" not in one}
    assert set(refused) == {"read_static_of_neighbour_by_link"}, refused


def test_a_hostile_app_gets_nowhere(filled: Filled, facts: dict[str, Any]) -> None:
    host = filled.stack.host
    names = ask_hostile(host, "/attempts", {})
    came = {name: ask_hostile(host, f"/attempt/{name}", facts) for name in names}
    width = max(map(len, names))
    print("\n" + "\n".join(f"  {name:<{width}}  {json.dumps(answer)}" for name, answer in came.items()))
    refused = [name for name, answer in came.items() if "refused" in answer]
    figure("hostile_attempts_refused", f"{len(refused)}/{len(names)}")
    assert len(names) >= 25
    assert [name for name in names if name not in refused] == []


def test_the_host_and_the_neighbour_never_noticed(filled: Filled, facts: dict[str, Any]) -> None:
    """Runs after the attempts: the same processes, the same answers, no unit of ours that failed."""
    host = filled.stack.host
    running = listening(host, facts["socket"].rpartition("/")[2].removesuffix(".sock"), "victim")
    assert running["pid"] == facts["master"]
    assert host.check_output("curl -sS -H 'Host: victim.localhost' http://127.0.0.1/") == "victim"
    for unit, pid in ((facts["emperor_unit"], facts["emperor"]), ("nginx", facts["nginx"])):
        assert host.check_output("systemctl show --property=MainPID --value %s", unit) == str(pid)
    assert (
        host.check_output(
            "systemctl list-units --state=failed --plain --no-legend 'app*' 'emperor*' nginx.service"
        )
        == ""
    )


def test_memory_of_the_app_is_what_its_slice_allows(filled: Filled, facts: dict[str, Any]) -> None:
    host = filled.stack.host
    assert host.check_output("cat %s", facts["own_memory_limit"]) == str(200 * 1024 * 1024)
    assert host.check_output("systemctl show --property=TasksMax --value apps-hostile.slice") == "64"
    for process in host.check_output("pgrep -u hostile").split():
        assert "/apps.slice/apps-hostile.slice/" in host.file(f"/proc/{process}/cgroup").content_string


def test_no_process_of_any_app_is_outside_of_its_slice(filled: Filled) -> None:
    host = filled.stack.host
    apps = ("hostile", "victim", "links", "notes", "polls", "green", "kinto")
    for app in apps:
        pids = host.check_output("pgrep -u %s", app).split()
        assert pids
        for pid in pids:
            groups = host.run("cat /proc/%s/cgroup", pid).stdout
            assert not groups or f"/apps.slice/{layout.app_slice(app)}/" in groups, (app, groups)
