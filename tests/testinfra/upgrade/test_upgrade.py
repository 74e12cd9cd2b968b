"""A host of the version before is taken over by this one: visitors and releases notice nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from deploying import ROOT, Load, Outcome, Stack, figure, load
from testinfra.host import Host

APPS = ("notes", "links", "shop")


def releases(host: Host) -> dict[str, dict[str, Any]]:
    """The manifests of all releases, by their paths."""
    paths = host.check_output("ls /srv/apps/*/releases/*/release.json").splitlines()
    return {path: json.loads(host.file(path).content_string) for path in paths}


def live(host: Host) -> dict[str, str]:
    """The live release of each app."""
    return {app: host.check_output("readlink -f /srv/apps/%s/active/release", app) for app in APPS}


def changed(outcome: Outcome) -> bool:
    return "changed=0" not in outcome.output


def still_answers(stack: Stack, version: str = "v1") -> None:
    """`notes` with *version*, and `shop` with the one that it was rolled back to."""
    for app in ("notes", "links"):
        assert stack.ask(f"{app}.localhost", "/healthz")
    assert stack.ask("shop.localhost", "/") == "v0"
    assert stack.status("notes")["live"]["version"] == version


@pytest.fixture(scope="module")
def taken_over(host: Host, stack: Stack) -> dict[str, Any]:
    """What was there, then the first run of this checkout, under load."""
    found: dict[str, Any] = {"manifests": releases(host), "live": live(host)}
    assert len(found["manifests"]) == 5
    stack.checkout = ROOT
    slow, echo = "/diagnostics/slow?seconds=3", "/diagnostics/echo"
    with (
        load(host, "notes.localhost", ["/healthz", "/favicon.ico"], slow=slow, echo=echo, rate=40) as notes,
        load(host, "links.localhost", ["/healthz", "/favicon.ico"], slow=slow, echo=echo, rate=40) as links,
        load(host, "shop.localhost", ["/healthz", "/seen/x"], echo="/echo", rate=20) as shop,
    ):
        found["run"] = stack.play("site.yml", measured=True)
    found["loads"] = [notes, links, shop]
    return found


def test_no_request_fails(host: Host, taken_over: dict[str, Any]) -> None:
    loads: list[Load] = taken_over["loads"]
    name = host.backend.host.rpartition("-")[2]
    failed, total = sum(one.failed for one in loads), sum(one.total for one in loads)
    assert taken_over["run"].code == 0, taken_over["run"].output[-6000:]
    figure("bundle_upgrade_failed_requests", f"{failed}/{total}")
    figure(f"bundle_upgrade_seconds_{name}", round(taken_over["run"].seconds, 1))
    assert failed == 0, "\n".join(one.failures() for one in loads)


def test_no_app_gets_a_release(host: Host, stack: Stack, taken_over: dict[str, Any]) -> None:
    now = releases(host)
    figure("bundle_upgrade_releases", f"{len(now.keys() - taken_over['manifests'].keys())}/{len(APPS)}")
    assert now.keys() == taken_over["manifests"].keys()
    assert live(host) == taken_over["live"]
    assert "was rolled back" in taken_over["run"].output
    # Of what they say nothing is another than before, but for the format of what they are compared by; nothing ever read
    # `migrated`, which is not written any more.
    for path, manifest in taken_over["manifests"].items():
        assert {k: v for k, v in now[path].items() if k in manifest and k != "fingerprint"} == {
            k: v for k, v in manifest.items() if k not in ("fingerprint", "migrated")
        }
    compared = {path for path in now if Path(path).parent.as_posix() in live(host).values()}
    compared |= {path for path, manifest in now.items() if manifest["status"] == "rolled_back"}
    assert all(now[path]["fingerprint"].startswith("2:") for path in compared)
    still_answers(stack)


def test_a_second_run_changes_nothing(host: Host, stack: Stack, taken_over: dict[str, Any]) -> None:
    before = releases(host)
    outcome = stack.good("site.yml")
    assert not changed(outcome), outcome.output[-4000:]
    assert "was rolled back" in outcome.output
    assert releases(host) == before


def test_a_new_key_makes_no_release(
    host: Host, stack: Stack, tomorrow: Path, taken_over: dict[str, Any]
) -> None:
    before = releases(host)
    stack.checkout = tomorrow
    outcome = stack.good("site.yml")
    made = releases(host).keys() - before.keys()
    figure("new_key_releases", f"{len(made)}/{len(APPS)}")
    assert not made
    assert not changed(outcome), outcome.output[-4000:]


def test_a_new_key_that_is_set_makes_a_release_of_that_app(
    host: Host, stack: Stack, tomorrow: Path, taken_over: dict[str, Any]
) -> None:
    before = releases(host)
    (links,) = (app for app in stack.apps if app["name"] == "links")
    links["brand_new"] = 8
    stack.checkout = tomorrow
    stack.good("playbooks/deploy.yml")
    made = releases(host).keys() - before.keys()
    assert [path.split("/")[3] for path in made] == ["links"]
    assert live(host)["links"] != taken_over["live"]["links"]
    del links["brand_new"]


def test_a_rollback_to_a_release_of_the_version_before(
    host: Host, stack: Stack, taken_over: dict[str, Any]
) -> None:
    """`notes` cold, to a release that this version never started; `links` from a release of this version to its first."""
    stack.checkout = ROOT
    outcome = stack.play("playbooks/rollback.yml", app="notes,links")
    assert outcome.code == 0, outcome.output[-4000:]
    still_answers(stack, "v0")
    assert live(host)["links"] == taken_over["live"]["links"]
    # What was left stays away, although the inventory asks for it, and what serves is what `links` is to be.
    outcome = stack.good("playbooks/deploy.yml")
    assert "notes: " in outcome.output and "was rolled back" in outcome.output
    assert not changed(outcome), outcome.output[-4000:]
    still_answers(stack, "v0")


# Another Debian below: the whole of it is scenario upgrade_os, which takes too long for each change.


def test_venvs_name_their_python_in_full(host: Host, taken_over: dict[str, Any]) -> None:
    """Those of the version before as well, whose releases stay: an upgrade of Debian changes what python3 is."""
    for path, manifest in releases(host).items():
        python = host.check_output("readlink %s/venv/bin/python", str(Path(path).parent))
        assert python == f"/usr/bin/python{manifest['python']}"


def test_a_rollback_to_a_python_that_is_gone_is_refused_at_once(
    host: Host, stack: Stack, taken_over: dict[str, Any]
) -> None:
    """As after an upgrade of Debian and `apt-get autoremove`."""
    (path,) = (
        path for path, one in releases(host).items() if one["app"] == "shop" and one["version"] == "v1"
    )
    place = Path(path).parent
    now = live(host)["shop"]
    manifest = host.file(path).content_string
    assert manifest.count('"python": "3.1') == 1
    python = host.check_output("readlink %s/venv/bin/python", str(place))
    host.check_output('sed -i \'s/"python": "[0-9.]*"/"python": "3.9"/\' %s', path)
    host.check_output("ln -sfn /usr/bin/python3.9 %s/venv/bin/python", str(place))
    began = time.monotonic()
    refused = host.run("emperor rollback shop %s", place.name)
    seconds = time.monotonic() - began
    host.check_output(
        'sed -i \'s/"python": "3.9"/"python": "%s"/\' ' + path, python.removeprefix("/usr/bin/python")
    )
    host.check_output("ln -sfn %s %s/venv/bin/python", python, str(place))
    said = " ".join((refused.stdout + refused.stderr).split())
    assert refused.rc != 0
    assert "was built for Python 3.9, and its venv finds none on this host" in said
    assert "deploy.yml -e app=shop -e version=v1" in said
    figure("impossible_rollback_refused_seconds", round(seconds, 1))
    assert seconds < 5
    assert live(host)["shop"] == now
    assert host.file(path).content_string == manifest


def test_an_upgrade_of_debian_is_refused_with_all_problems_at_once(
    host: Host, stack: Stack, taken_over: dict[str, Any]
) -> None:
    if host.system_info.release.startswith("13"):
        pytest.skip("it is the newest Debian")
    sources = host.check_output("cat /etc/apt/sources.list")
    host.check_output("apt-mark hold nginx")
    host.check_output("chmod 0700 /run/emperor-stack/sockets/links")
    host.check_output("echo 'deb http://127.0.0.1:1/ bookworm main' >/etc/apt/sources.list.d/other.list")
    try:
        outcome = stack.play("playbooks/upgrade_os.yml")
    finally:
        host.check_output("apt-mark unhold nginx")
        host.check_output("chmod 0750 /run/emperor-stack/sockets/links")
        host.check_output("rm /etc/apt/sources.list.d/other.list")
    said = " ".join(outcome.output.split())
    assert outcome.code != 0
    assert "Debian was not upgraded, and nothing was changed" in said
    assert "app links reason: it is not healthy" in said, outcome.output[-4000:]
    assert "nginx are held, and would stay behind" in said
    assert "sources of apt with trixie reason:" in said and "127.0.0.1:1" in said
    assert "app notes" not in said.partition("Debian was not upgraded")[2]
    assert host.check_output("cat /etc/apt/sources.list") == sources
    assert host.check_output("apt-mark showmanual python3.11 | wc -l") == "0"
    still_answers(stack, "v0")
