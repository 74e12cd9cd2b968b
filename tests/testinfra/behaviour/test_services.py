"""What survives: restarts, kills, a reboot. The last test of the file restarts the whole host."""

from __future__ import annotations

import re
import secrets
import subprocess

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import App, Site, container, eventually, front, location
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]


def main_pid(host: Host, unit: str) -> int:
    return int(host.check_output("systemctl show -P MainPID %s", unit))


def emperor(host: Host) -> str:
    """The unit that runs the apps; usually emperor@a."""
    running = host.check_output(
        "systemctl list-units --no-legend --plain --state=active 'emperor@*.service'"
    ).split()
    assert len([word for word in running if word.startswith("emperor@")]) == 1, running
    return str(running[0])


def parent(host: Host, pid: int) -> int:
    status = host.file(f"/proc/{pid}/status").content_string
    found = re.search(r"^PPid:\s+(\d+)", status, re.M)
    assert found
    return int(found[1])


def warm(host: Host, app: App) -> str:
    """Start the live release once more beside itself, as an earlier one that is kept for a rollback; its link."""
    link = (
        f"{layout.vassals(emperor(host).removeprefix('emperor@').removesuffix('.service'))}/{app.name}@0.ini"
    )
    config = host.check_output("readlink -f %s", f"{layout.active(app.name)}/vassal.ini")
    socket = layout.socket(app.name, f"{app.name}@0")
    host.check_output("echo %s >%s.socket", socket, link)
    host.check_output("ln -s %s %s.new", config, link)
    host.check_output("chown -h %s:%s %s.new", app.name, app.name, link)
    host.check_output("mv -T %s.new %s", link, link)
    eventually(lambda: host.file(socket).exists, 30, f"{socket} is there")
    return link


def all_work(sites: list[Site]) -> bool:
    return all(site.works() for site in sites)


def wait_for_all(sites: list[Site], seconds: float, after: str) -> None:
    def down() -> str:
        return ", ".join(site.app.name for site in sites if not site.works())

    eventually(lambda: all_work(sites), seconds, f"all apps answer after {after} (down: {down() or 'none'})")


def test_no_unit_failed(host: Host) -> None:
    failed = host.check_output("systemctl list-units --no-legend --plain --state=failed,auto-restart")
    assert not re.search(r"nginx|apache|emperor|uwsgi|tmpfiles|sysctl", failed), failed


def test_the_distributions_own_uwsgi_does_not_run(host: Host) -> None:
    """It would be a second emperor or serve as www-data; masked or absent, but never active."""
    assert host.run("systemctl is-active uwsgi uwsgi-emperor").stdout.split() == ["inactive", "inactive"]


def test_the_configuration_of_the_web_server_is_valid(host: Host) -> None:
    done = host.run(front(host).check)
    assert done.rc == 0, done.stderr
    assert not re.search(r"\[warn\]|AH\d+", done.stderr), done.stderr


def test_a_burst_of_requests_finds_room_in_the_queue(site: Site) -> None:
    """The socket's backlog: uWSGI's default of 100 is filled by a burst, and nginx answers 502 at once."""
    path = site.host.check_output("readlink -f %s", layout.active_socket(site.app.name))
    rows = [row.split() for row in site.host.check_output("ss -xlH").splitlines() if f" {path} " in row]
    assert len(rows) == 1, rows
    largest = int(site.host.file("/proc/sys/net/core/somaxconn").content_string)
    assert int(rows[0][3]) >= min(1024, largest)


def test_a_killed_worker_is_replaced(site: Site) -> None:
    pid = site.diagnostics("identity")["pid"]
    master = parent(site.host, pid)
    site.host.check_output("kill -9 %s", str(pid))
    eventually(lambda: not site.host.file(f"/proc/{pid}").exists, 5, "the worker is gone")

    def two_workers() -> bool:
        children = site.host.check_output("cat /proc/%s/task/%s/children", str(master), str(master)).split()
        return site.works() and len(children) >= 2

    eventually(two_workers, 10, "two workers answer again")


def test_a_killed_app_comes_back_and_its_neighbours_serve_on(site: Site, sites: list[Site]) -> None:
    before = {each.app.name: parent(each.host, each.diagnostics("identity")["pid"]) for each in sites}
    release = site.diagnostics("identity")["release"]
    master = before[site.app.name]
    owner = site.host.file(f"/proc/{master}").user
    assert owner == site.app.name, (
        f"the parent of the worker belongs to {owner}: it is not the app's own master"
    )
    site.host.check_output("kill -9 %s", str(master))
    neighbours = [each for each in sites if each.app is not site.app]
    assert all_work(neighbours)
    eventually(site.works, 30, f"{site.app.name} answers again")
    assert site.diagnostics("identity")["release"] == release
    for each in neighbours:
        assert parent(each.host, each.diagnostics("identity")["pid"]) == before[each.app.name]


def test_only_one_web_server_runs(host: Host) -> None:
    unit = front(host).unit
    states = {name: host.run("systemctl is-active %s", name).stdout.strip() for name in ("nginx", "apache2")}
    assert states == {"nginx": "inactive", "apache2": "inactive", unit: "active"}
    other = "nginx" if unit == "apache2" else "apache2"
    assert host.run("systemctl is-enabled %s", other).stdout.strip() in ("disabled", "not-found", "")


def test_a_killed_web_server_comes_back(host: Host, sites: list[Site]) -> None:
    unit = front(host).unit
    pid = main_pid(host, unit)
    host.check_output("kill -9 %s", str(pid))
    wait_for_all(sites, 30, f"{unit} was killed")
    assert main_pid(host, unit) not in (0, pid)


def test_a_killed_emperor_comes_back(host: Host, sites: list[Site]) -> None:
    unit = emperor(host)
    links = [warm(host, site.app) for site in sites]
    pid = main_pid(host, unit)
    host.check_output("kill -9 %s", str(pid))
    eventually(lambda: main_pid(host, unit) not in (0, pid), 30, "a new emperor runs")
    wait_for_all(sites, 30, "the emperor was killed")
    assert not [link for link in links if host.file(link).exists], "only the live releases come back"


@pytest.mark.parametrize("service", ["web server", "emperor"])
def test_all_apps_answer_after_a_restart_of(host: Host, sites: list[Site], service: str) -> None:
    unit = emperor(host) if service == "emperor" else front(host).unit
    pid = main_pid(host, unit)
    releases = [site.diagnostics("identity")["release"] for site in sites]
    host.check_output("systemctl restart %s", unit)
    wait_for_all(sites, 30, f"a restart of {unit}")
    assert main_pid(host, unit) not in (0, pid)
    assert [site.diagnostics("identity")["release"] for site in sites] == releases


def test_all_apps_and_their_data_are_there_after_a_reboot(host: Host, sites: list[Site]) -> None:
    """/run is emptied: sockets and their directories have to be made anew in time."""
    words, places, releases = {}, {}, {}
    for site in sites:
        words[site.app.name] = f"kept-{secrets.token_hex(4)}"
        places[site.app.name] = location(site.submit(words[site.app.name]))
        releases[site.app.name] = site.diagnostics("identity")["release"]
    links = [warm(host, site.app) for site in sites]
    host.check_output("touch /run/marker-of-this-boot")
    subprocess.run(
        ["docker", "restart", "--time", "30", container(host)], check=True, capture_output=True, timeout=120
    )
    wait_for_all(sites, 60, "a reboot")
    assert not host.file("/run/marker-of-this-boot").exists, "/run was not emptied: this was no reboot"
    assert not [link for link in links if host.file(link).exists], "only the live releases come back"
    for site in sites:
        assert words[site.app.name] in site.get(places[site.app.name]).text
        assert site.diagnostics("identity")["release"] == releases[site.app.name]
    failed = host.check_output("systemctl list-units --no-legend --plain --state=failed")
    assert not re.search(r"nginx|apache|emperor|uwsgi|tmpfiles|sysctl", failed), failed
