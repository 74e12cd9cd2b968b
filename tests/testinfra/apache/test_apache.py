"""Behind Apache, too, users notice nothing of deploys; and a host changes its web server in a moment."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from appsite import APPS, Site
from deploying import ROOT, Load, Outcome, Stack, figure, load
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]

VARIABLES = ROOT / "inventories" / "local" / "group_vars" / "app_hosts"
PATHS = ["/healthz", "/favicon.ico", "/healthz", "/static/style.css", "/"]


def inventory(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((VARIABLES / name).read_text())
    return found


@pytest.fixture
def stack(host: Host, tmp_path: Path) -> Stack:
    """The controller with the example apps, of which `links` comes from a copy that the tests may change."""
    apps = [app for app in inventory("apps.yml")["python_apps"] if "asgi" not in app]
    copy = tmp_path / "links"
    shutil.copytree(ROOT / "examples" / "flask", copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    links = next(app for app in apps if app["name"] == "links")
    links["source"] = {"path": str(copy)}
    made = Stack(host, Path(os.environ["MOLECULE_INVENTORY_FILE"]), tmp_path, apps)
    made.secrets = inventory("secrets.yml")["vault_python_apps_secrets"]
    return made


def new_version(stack: Stack, number: int) -> Outcome:
    (stack.directory / "links" / "version.txt").write_text(f"{number}\n")
    return stack.play("playbooks/deploy.yml", app="links")


def under_load(host: Host) -> object:
    return load(
        host,
        "links.localhost",
        PATHS,
        slow="/diagnostics/slow?seconds=3",
        echo="/diagnostics/echo",
        rate=120,
    )


def shown(name: str, result: Load) -> None:
    figure(name, f"{result.failed}/{result.total}")
    assert result.failed == 0, result.failures()
    assert result.summary["truncated"] == 0
    assert {"new", "kept", "slow"} <= {answer["kind"] for answer in result.answers}


def test_deploys_and_a_rollback_fail_no_request(host: Host, stack: Stack) -> None:
    outcomes: list[Outcome] = []
    with under_load(host) as result:
        outcomes += [new_version(stack, 1), new_version(stack, 2), stack.rollback("links")]
    failed = [outcome.output[-3000:] for outcome in outcomes if outcome.code]
    assert not failed, failed[0]
    shown("apache_deploy_failed_requests", result)
    # Each was really seen by clients, and none of them once the next one had answered.
    first, second, third = sorted(result.releases)
    answers = [answer for answer in result.answers if answer.get("release")]
    seen = {name: [answer for answer in answers if answer["release"] == name] for name in result.releases}
    switches = [min(answer["ended"] for answer in seen[name]) for name in (second, third)]
    late = [answer for answer in seen[first] if answer["began"] > switches[0]]
    back = [answer for answer in seen[second] if answer["began"] > max(a["began"] for a in seen[third])]
    late += [a for a in seen[third] if back and a["began"] > min(b["began"] for b in back)]
    assert back, "the rollback was not seen"
    assert not late, late[:5]


def test_reloads_fail_no_request(host: Host) -> None:
    with under_load(host) as result:
        for _ in range(4):
            host.check_output("systemctl reload apache2 && sleep 1")
    shown("apache_reload_failed_requests", result)


def test_a_broken_snippet_is_refused_and_apache_serves_on(host: Host, stack: Stack) -> None:
    directory = "/etc/apache2/emperor-stack/local/notes"
    host.check_output("mkdir -p %s && echo 'NoSuchDirective on' > %s/broken.conf", directory, directory)
    try:
        outcome = stack.play("site.yml", apache_max_requests=200)
    finally:
        host.check_output("rm -r %s", directory)
    assert outcome.code != 0
    assert "NoSuchDirective" in outcome.output
    assert "nothing was changed" in outcome.output
    assert "MaxRequestWorkers 400" in host.file("/etc/apache2/emperor-stack/http.conf").content_string
    assert all(Site(host, app).works() for app in APPS)


def test_a_trusted_proxy_is_believed_that_the_visitor_used_https(host: Host, stack: Stack) -> None:
    """The app's own idea of the scheme, which its absolute URLs show, and not just a header."""
    polls = next(app for app in APPS if app.name == "polls")
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
    assert Site(host, polls).submit("one", told).headers["location"].startswith("http://polls.localhost/")
    stack.good("site.yml", apache_trusted_proxies=["192.0.2.0/24", "172.16.0.0/12"])
    site = Site(host, polls)
    answer = site.submit("two", {**told, "Origin": f"https://{polls.domain}"})
    assert answer.headers["location"].startswith("https://polls.localhost/"), answer.headers
    seen = site.get("/diagnostics/headers", told).json()
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-For"]) == ("https", "198.51.100.7")
    elsewhere = site.get("/a", {**told, "Host": f"www.{polls.domain}"})
    assert elsewhere.headers["location"] == f"https://{polls.domain}/a"


def test_a_host_changes_its_web_server_and_back(host: Host, stack: Stack) -> None:
    milliseconds = []
    for server, unit in (("nginx", "nginx"), ("apache", "apache2")):
        outcome = stack.good("site.yml", front_server=server)
        found = re.search(rf"(\d+) ms without a listener, when {unit}\.service replaced", outcome.output)
        assert found, outcome.output[-3000:]
        milliseconds.append(int(found[1]))
        assert Site(host, APPS[0]).get("/").headers["server"].lower() == server
        assert all(Site(host, app).works() for app in APPS)
        states = [host.run("systemctl is-active %s", each).stdout.strip() for each in ("nginx", "apache2")]
        assert sorted(states) == ["active", "inactive"]
    figure("front_change_milliseconds", max(milliseconds))
