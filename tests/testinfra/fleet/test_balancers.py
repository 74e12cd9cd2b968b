"""Hosts come and go behind their balancers, and visitors notice nothing, or what docs/fleet.md says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from deploying import figure
from fleets import ADDRESS, STATUS_PASSWORD, Fleet, failed_gets, get, shares, slowest, visitors

UP = {"fleet-app1": "UP", "fleet-app2": "UP", "fleet-app3": "UP"}


def told(fleet: Fleet, balancer: str, *holds: tuple[str, str, bool]) -> None:
    """Hold hosts out at one balancer, by module balancer."""
    listed = [{"app": app, "host": host, "held": held} for app, host, held in holds]
    words = [
        str(Path(sys.executable).with_name("ansible")),
        "-i",
        str(fleet.inventory),
        balancer,
        "-m",
        "emperor.stack.balancer",
        "-a",
    ]
    subprocess.run(
        [*words, json.dumps({"holds": listed})],
        cwd=fleet.checkout,
        env=fleet._environment(),
        check=True,
        capture_output=True,
    )


def test_an_app_is_on_the_hosts_that_the_inventory_gives_it(fleet: Fleet) -> None:
    for balancer in fleet.balancers:
        servers = fleet.servers(balancer)
        assert set(servers["blog"]) == set(UP)
        assert set(servers["wiki"]) == {"fleet-app2", "fleet-app3"}
    assert get().stdout.endswith("\n200")
    assert get(domain="wiki.example.com").stdout.endswith("\n200")


def test_unknown_names_get_no_answer_and_hosts_answer_their_balancers_alone(fleet: Fleet) -> None:
    assert "Empty reply" in get(domain="other.example.com").stderr
    # The firewall of an app host drops what does not come from a balancer.
    direct = get("/version", "blog.example.com", fleet.address("fleet-app1"))
    assert direct.returncode == 28, direct
    # Nobody learns from outside whether a host is ready.
    assert get("/lb-ready").stdout.endswith("\n404")


def test_visitors_cannot_choose_the_address_that_a_host_takes_for_theirs(fleet: Fleet) -> None:
    get(
        "/forged",
        "blog.example.com",
        ADDRESS,
        "-H",
        "X-Forwarded-For: 198.51.100.9",
        "-H",
        "X-Forwarded-Proto: https",
    )
    time.sleep(1.5)
    logged = "".join(
        fleet.check(host, "cat /var/log/nginx/blog.access.log | grep /forged || true")
        for host in fleet.app_hosts
    )
    assert '"client":"10.213.0.1"' in logged and "198.51.100.9" not in logged, logged
    assert '"scheme":"http"' in logged


def test_https_ends_at_the_balancer_and_http_2_is_spoken(fleet: Fleet) -> None:
    command = [
        "curl",
        "-sS",
        "-k",
        "--max-time",
        "5",
        "--noproxy",
        "*",
        "--resolve",
        f"blog.example.com:443:{ADDRESS}",
    ]
    command += ["-o", "/dev/null", "-D", "-", "https://blog.example.com/version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("HTTP/2 200"), said


STATUS_PAGE = """
import base64, sys, urllib.error, urllib.request
path, user = sys.argv[1:]
request = urllib.request.Request(f"http://127.0.0.1:8404{path}")
if user:
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
try:
    with urllib.request.urlopen(request, timeout=5) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_the_status_page_and_the_metrics_are_behind_a_password(fleet: Fleet) -> None:
    def asked(balancer: str, path: str, user: str) -> str:
        return fleet.check(balancer, "python3 -c %s %s %s", STATUS_PAGE, path, user)

    for balancer in fleet.balancers:
        for path, expected in (
            ("/", "Statistics Report"),
            ("/metrics", 'haproxy_server_status{proxy="app_blog",server="fleet-app1"'),
        ):
            assert asked(balancer, path, "").strip() == "401"
            assert asked(balancer, path, "ops:wrong").strip() == "401"
            said = asked(balancer, path, f"ops:{STATUS_PASSWORD}")
            assert said.startswith("200 ") and expected in said and "app_blog" in said, said[:2000]
        # From outside nobody reaches it.
        direct = subprocess.run(
            ["curl", "-sS", "--max-time", "3", "--noproxy", "*", f"http://{fleet.address(balancer)}:8404/"],
            capture_output=True,
            check=False,
        )
        assert direct.returncode in (7, 28), direct


def test_a_hold_holds_over_a_reload_and_a_boot_of_the_balancer(fleet: Fleet) -> None:
    second = next(name for name in fleet.balancers if name != fleet.holder())
    told(fleet, second, ("blog", "fleet-app1", True), ("wiki", "fleet-app9", True))
    assert fleet.servers(second)["blog"]["fleet-app1"].startswith("MAINT")
    fleet.check(second, "systemctl reload haproxy")
    time.sleep(3)
    assert fleet.servers(second)["blog"]["fleet-app1"].startswith("MAINT")
    fleet.reboot(second)
    fleet.until(lambda: fleet.hosts[second].run("test -S /run/haproxy/emperor-stack.sock").rc == 0)
    time.sleep(2)
    assert fleet.servers(second)["blog"]["fleet-app1"].startswith("MAINT")
    told(fleet, second, ("blog", "fleet-app1", False), ("wiki", "fleet-app9", False))
    fleet.until_servers(UP)


def test_reloads_and_a_reinstalled_package_cut_no_request(fleet: Fleet, directory: Path) -> None:
    holder = fleet.holder()
    with visitors(directory, slow="/slow?seconds=3") as load:
        for _ in range(5):
            fleet.check(holder, "systemctl reload haproxy")
            time.sleep(2)
    figure(
        "balancer_reload_failed_requests", f"{load.failed}/{load.total} (reopened {load.summary['reopened']})"
    )
    assert load.failed == 0, load.failures()
    before = fleet.check(holder, "systemctl show --property=MainPID haproxy")
    with visitors(directory, slow="/slow?seconds=3") as load:
        fleet.check(
            holder,
            "DEBIAN_FRONTEND=noninteractive apt-get install -qq --reinstall -o Dpkg::Options::=--force-confold haproxy",
        )
    figure(
        "balancer_reinstall_failed_requests",
        f"{load.failed}/{load.total} (reopened {load.summary['reopened']})",
    )
    assert load.failed == 0, load.failures()
    assert fleet.check(holder, "systemctl show --property=MainPID haproxy") == before, "it was restarted"


def test_a_drained_host_reboots_and_no_request_fails(fleet: Fleet, directory: Path) -> None:
    with visitors(directory, slow="/slow?seconds=3") as load:
        fleet.good("playbooks/drain.yml", host="fleet-app1", state="on")
        fleet.until_servers({"fleet-app1": "NOLB"})
        fleet.reboot("fleet-app1")
        # It is back, and stays out until somebody says so.
        fleet.until(
            lambda: fleet.hosts["fleet-app1"].run("systemctl is-active nginx").stdout.strip() == "active"
        )
        time.sleep(4)
        assert not fleet.servers(fleet.holder())["blog"]["fleet-app1"].startswith("UP")
        refused = fleet.play("playbooks/drain.yml", host="fleet-nowhere", state="on")
        fleet.good("playbooks/drain.yml", host="fleet-app1", state="off")
        fleet.until_servers(UP)
    figure("host_drained_rebooted_failed_requests", f"{load.failed}/{load.total}")
    assert load.failed == 0, load.failures()
    assert refused.code != 0 and "no host of app_hosts has that name" in refused.output


def test_a_host_leaves_and_a_host_joins_and_no_request_fails(fleet: Fleet, directory: Path) -> None:
    with visitors(directory) as load:
        fleet.good("playbooks/drain.yml", host="fleet-app1", state="on")
        fleet.left_out.add("fleet-app1")
        fleet.good("site.yml")
        assert all(set(fleet.servers(name)["blog"]) == set(UP) - {"fleet-app1"} for name in fleet.balancers)
        # As a new host has it.
        fleet.check("fleet-app1", "rm /etc/emperor-stack/drained")
        fleet.left_out.clear()
        fleet.good("site.yml")
        fleet.until_servers(UP)
    figure("host_left_and_joined_failed_requests", f"{load.failed}/{load.total}")
    assert load.failed == 0, load.failures()


def test_the_last_host_that_is_up_is_not_drained(fleet: Fleet) -> None:
    fleet.check("fleet-app2", "touch /etc/emperor-stack/drained")
    fleet.until_servers({"fleet-app2": "NOLB"}, app="wiki")
    refused = fleet.play("playbooks/drain.yml", host="fleet-app3", state="on")
    assert refused.code != 0 and "no other host takes requests for wiki" in refused.output, refused.output[
        -3000:
    ]
    assert not fleet.hosts["fleet-app3"].file("/etc/emperor-stack/drained").exists
    fleet.check("fleet-app2", "rm /etc/emperor-stack/drained")
    fleet.until_servers({"fleet-app2": "UP"}, app="wiki")


def test_a_host_that_dies_costs_no_get(fleet: Fleet, directory: Path) -> None:
    with visitors(directory) as load:
        time.sleep(2)
        fleet.kill("fleet-app2")
        fleet.until_servers({"fleet-app2": "DOWN"})
        time.sleep(3)
        fleet.boot("fleet-app2")
        fleet.until_servers(UP)
    failed = failed_gets(load)
    figure(
        "host_killed_failed_gets",
        f"{len(failed)}/{load.total} (slowest {slowest(load):.1f} s, in all: {shares(load)})",
    )
    assert not failed, load.failures()


def test_a_host_whose_link_is_cut_costs_no_get(fleet: Fleet, directory: Path) -> None:
    with visitors(directory) as load:
        time.sleep(2)
        with fleet.cut("fleet-app3"):
            fleet.until_servers({"fleet-app3": "DOWN"})
            time.sleep(5)
        fleet.until_servers(UP)
    failed = failed_gets(load)
    figure(
        "host_cut_failed_gets",
        f"{len(failed)}/{load.total} (slowest {slowest(load):.1f} s, in all: {shares(load)})",
    )
    assert not failed, load.failures()


def test_another_balancer_takes_the_address_of_one_that_dies(fleet: Fleet, directory: Path) -> None:
    holder = fleet.holder()
    with visitors(directory) as load:
        time.sleep(2)
        fleet.kill(holder)
        began = time.monotonic()
        while not get("/version").stdout.endswith("\n200"):
            assert time.monotonic() - began < 30
            time.sleep(0.1)
        answered = time.monotonic() - began
        time.sleep(3)
    figure("balancer_killed_failed_requests", f"{load.failed}/{load.total} ({shares(load)})")
    figure("balancer_killed_seconds", f"{answered:.1f}")
    assert answered < 4
    # The one that returns takes nothing back.
    fleet.boot(holder)
    fleet.until_servers(UP)
    time.sleep(4)
    assert fleet.holder() != holder


def test_when_no_host_is_up_visitors_see_a_page(fleet: Fleet) -> None:
    for host in ("fleet-app2", "fleet-app3"):
        fleet.check(host, "systemctl stop nginx")
    fleet.until_servers({"fleet-app2": "DOWN", "fleet-app3": "DOWN"}, app="wiki")
    said = get(domain="wiki.example.com").stdout
    assert said.endswith("\n503") and "Back in a moment" in said
    assert get().stdout.endswith("\n200")
    for host in ("fleet-app2", "fleet-app3"):
        fleet.check(host, "systemctl start nginx")
    fleet.until_servers(UP)


def test_all_hosts_are_upgraded_and_rebooted_and_no_request_fails(fleet: Fleet, directory: Path) -> None:
    """A container that ends in a reboot does not start by itself."""
    done = threading.Event()

    def power() -> None:
        while not done.wait(0.5):
            for name in fleet.app_hosts:
                subprocess.run(["docker", "start", name], check=False, capture_output=True)

    def reinstall(name: str) -> None:
        # apt has nothing to upgrade on a host that was made today: another version on paper makes it install these.
        for package in ("nginx", "uwsgi-plugin-python3"):
            fleet.check(
                name,
                "sed -i %s /var/lib/dpkg/status",
                f"/^Package: {package}$/,/^Version: /s/^Version: .*/&~/",
            )

    for host in fleet.app_hosts:
        reinstall(host)
    watch = threading.Thread(target=power, daemon=True)
    watch.start()
    try:
        with visitors(directory, slow="/slow?seconds=3") as load:
            outcome = fleet.play("playbooks/upgrade.yml", "--limit", "app_hosts", reboot="always")
    finally:
        done.set()
        watch.join()
    figure("rolling_upgrade_failed_requests", f"{load.failed}/{load.total} ({shares(load)})")
    assert outcome.code == 0, outcome.output[-6000:]
    assert load.failed == 0, load.failures()
    for host in fleet.app_hosts:
        assert "~" not in fleet.check(host, "dpkg-query -W -f '${Version}' nginx")
    fleet.until_servers(UP)
