"""What visitors notice of certificates that come, go, fail and move: an answer, all along.

The tests follow the life of one host, in this order.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Pebble, app, shown
from deploying import Load, Stack, figure, load
from testinfra.host import Host

#: All that has to do with certificates. The apps' releases are not the matter here.
FRONT = ("--tags", "tls,nginx")
APPS = ("one.example.com", "two.example.com", "three.example.com")
asked: list[Load] = []


@contextlib.contextmanager
def visitors(host: Host) -> Iterator[None]:
    """Requests by HTTPS during the block; each has to be answered. Counted over all tests."""
    with load(host, APPS[0], ["/healthz", "/", "/version"], rate=40, tls=True) as result:
        yield
    asked.append(result)
    assert result.failed == 0, result.failures()
    assert {"new", "kept"} <= {answer["kind"] for answer in result.answers}


def test_sites_are_up_when_the_authority_is_down(machine: Host, stack: Stack) -> None:
    outcome = stack.play("site.yml")
    assert outcome.code != 0
    assert (
        "Everything else is done, and every site is up; but these certificates could not be issued"
        in outcome.output
    )
    assert "the authority https://localhost:14000/dir does not answer" in " ".join(outcome.output.split())
    for domain in APPS:
        assert "Self-signed" in shown(machine, domain).issuer
        answer = machine.check_output(
            "curl -sSk --resolve %s:443:127.0.0.1 https://%s/healthz", domain, domain
        )
        assert answer == "ok"


def test_the_timer_gets_them_from_a_slow_authority(machine: Host, stack: Stack, pebble: Pebble) -> None:
    pebble.start(days=90)
    with visitors(machine):
        machine.check_output("systemctl start emperor-stack-tls.service")
        for domain in APPS:
            assert shown(machine, domain).by_authority, domain
    assert shown(machine, APPS[0]).names == ("one.example.com", "www.one.example.com")
    again = stack.good("site.yml")
    assert re.search(r"changed=0 .*failed=0", again.output), again.output[-2000:]
    assert pebble.orders() == 3


def test_the_timer_runs_by_itself_and_in_a_sandbox(machine: Host) -> None:
    assert machine.service("emperor-stack-tls.timer").is_running
    assert machine.service("emperor-stack-tls.timer").is_enabled
    said = machine.check_output("systemd-analyze security --no-pager emperor-stack-tls.service")
    score = re.findall(r"exposure level for \S+: ([\d.]+)", said)[0]
    figure("sandbox_score_emperor-stack-tls", score)
    assert float(score) <= 3.0


def test_what_is_soon_to_end_is_renewed_by_an_authority_that_forgot_us(
    machine: Host, stack: Stack, pebble: Pebble
) -> None:
    pebble.start(days=30 / 86400)
    # Another kind of key is wanted, so all three are had anew, for 30 seconds.
    with visitors(machine):
        stack.variables["tls_acme_key_type"] = "ec384"
        stack.good("site.yml", *FRONT)
        before = {domain: shown(machine, domain) for domain in APPS}
        pebble.start(days=90)
        time.sleep(20)
        machine.check_output("systemctl start emperor-stack-tls.service")
        after = {domain: shown(machine, domain) for domain in APPS}
    for domain in APPS:
        assert after[domain].by_authority
        assert after[domain].serial != before[domain].serial
        assert after[domain].ends != before[domain].ends
    assert machine.file(
        "/var/lib/emperor-stack/tls/accounts/localhost_14000/tests@example.com.unknown"
    ).exists


def test_domains_come_and_go(machine: Host, stack: Stack, pebble: Pebble) -> None:
    others = {domain: shown(machine, domain).serial for domain in APPS[1:]}
    with visitors(machine):
        stack.apps[0]["domains"] = ["one.example.com", "www.one.example.com", "new.one.example.com"]
        stack.good("site.yml", *FRONT)
        assert set(shown(machine, APPS[0]).names) == set(stack.apps[0]["domains"])
        stack.apps[0]["domains"] = ["one.example.com", "new.one.example.com"]
        stack.good("site.yml", *FRONT)
        assert set(shown(machine, APPS[0]).names) == set(stack.apps[0]["domains"])
    assert {domain: shown(machine, domain).serial for domain in APPS[1:]} == others


def test_one_broken_domain_among_three(machine: Host, stack: Stack, pebble: Pebble) -> None:
    """One that leads elsewhere, and one that only the authority cannot find. Each is named; nobody else is touched."""
    # In place: the file is mounted.
    machine.check_output(
        "sed 's/ broken.one.example.com//' /etc/hosts > /tmp/names; cat /tmp/names > /etc/hosts"
    )
    pebble.cannot_find("refused.two.example.com")
    three = shown(machine, "three.example.com").serial
    orders = pebble.orders()
    with visitors(machine):
        stack.apps[0]["domains"] = ["one.example.com", "broken.one.example.com", "www.one.example.com"]
        stack.apps[1] = app("two", "two", "refused.two")
        outcome = stack.play("site.yml", *FRONT)
    said = " ".join(outcome.output.split())
    assert outcome.code != 0
    assert "http://broken.one.example.com/ does not lead to this host" in said
    assert "refused.two.example.com: acme: error: 400" in said
    # Each has what could be had.
    assert set(shown(machine, APPS[0]).names) == {"one.example.com", "www.one.example.com"}
    assert shown(machine, "two.example.com").names == ("two.example.com",)
    assert shown(machine, "three.example.com").serial == three
    status = stack.good("playbooks/status.yml").output
    assert re.search(r"(?m)^\[\d+\] one: broken\.one\.example\.com: ", status), status[-3000:]
    # The refused one pauses: a second run asks the authority for nothing.
    now = pebble.orders()
    assert now > orders
    assert stack.play("site.yml", *FRONT).code != 0
    assert pebble.orders() == now


def test_repaired_domains_are_had_when_they_are_asked_for(
    machine: Host, stack: Stack, pebble: Pebble
) -> None:
    machine.check_output("echo '127.0.0.1 broken.one.example.com' >> /etc/hosts")
    stack.apps[1] = app("two")
    with visitors(machine):
        stack.good("site.yml", *FRONT)
        stack.good("playbooks/certificates.yml", force=True)
    assert set(shown(machine, APPS[0]).names) == set(stack.apps[0]["domains"])


def test_a_timer_that_was_stopped_runs_again_and_nothing_else_is_done(machine: Host, stack: Stack) -> None:
    """A run of everything leaves the roles alone, certificates included, where one question finds nothing to do."""
    # The tests before left the apps' own changes to it.
    stack.good("site.yml")
    calm = stack.good("site.yml", "-v").output
    assert re.search(r"differs: \{\}", calm) and "changed=0 " in calm, calm[-3000:]
    assert "Ensure every site has a certificate" not in calm
    machine.check_output("systemctl disable --now --quiet emperor-stack-tls.timer")
    outcome = stack.good("site.yml", "-v").output
    assert re.search(r"(?m)^\s+tls/install:\s+- emperor-stack-tls.timer is not running", outcome), outcome[
        -3000:
    ]
    timer = machine.service("emperor-stack-tls.timer")
    assert timer.is_running and timer.is_enabled


def test_a_domain_can_be_proved_by_dns(machine: Host, stack: Stack, pebble: Pebble) -> None:
    script = """#!/bin/sh
case $1 in present) what=set-txt;; *) what=clear-txt;; esac
exec curl -sS -d "{\\"host\\":\\"$2\\",\\"value\\":\\"$3\\"}" "http://127.0.0.1:8055/$what"
"""
    machine.check_output("printf %%s %s > /usr/local/bin/dns-record", script)
    machine.check_output("chmod 755 /usr/local/bin/dns-record")
    stack.variables |= {
        "tls_dns_environment": {"exec": {"EXEC_PATH": "/usr/local/bin/dns-record"}},
        "tls_dns_wait": False,
    }
    stack.apps.append(app("dns", challenge="dns-01", dns_provider="exec"))
    stack.apps[-1]["domains"].append("*.dns.example.com")
    stack.good("site.yml", *FRONT)
    own = shown(machine, "dns.example.com")
    assert own.by_authority
    # The same certificate, for a name that nobody has listed.
    assert shown(machine, "somebody.dns.example.com") == own


def test_a_new_host_takes_over_from_a_backup(
    machine: Host, stack: Stack, other_machine: Host, other_stack: Stack, directory: Path
) -> None:
    stack.good("playbooks/certificates.yml", action="backup", directory=str(directory))
    archive = directory / "tls-debian13.tls.b64"
    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.read_text().startswith("$ANSIBLE_VAULT")
    other_stack.apps = [one for one in stack.apps if one["name"] != "dns"]
    other_stack.variables["tls_acme_key_type"] = "ec384"
    # Nothing answers as authority there. The site is up, and stays so while the backup comes.
    assert other_stack.play("site.yml").code != 0
    given: dict[str, Any] = {"action": "restore", "directory": str(directory), "from": machine.backend.host}
    with visitors(other_machine):
        other_stack.good("playbooks/certificates.yml", **given)
        for domain in APPS:
            assert shown(other_machine, domain) == shown(machine, domain)
        # Nothing is wanted of the authority any more.
        assert re.search(r"changed=0 .*failed=0", other_stack.good("site.yml").output)


def test_no_request_failed_all_along() -> None:
    figure("tls_failed_requests", f"{sum(one.failed for one in asked)}/{sum(one.total for one in asked)}")
    assert len(asked) == 6, "a test above did not get so far"


@pytest.fixture(params=["machine", "other_machine"], ids=["debian13", "debian12"])
def either(request: pytest.FixtureRequest) -> Host:
    found: Host = request.getfixturevalue(request.param)
    return found


def answer(host: Host, url: str, *options: str) -> tuple[str, str, str, dict[str, str]]:
    """Status, protocol, where it redirects to, headers."""
    said = host.check_output(
        "curl -sSk -o /dev/null -D /tmp/head --connect-to ::127.0.0.1: " + " ".join(options) + " -w "
        "'%%{http_code} %%{http_version} %%{redirect_url}' %s; echo; cat /tmp/head",
        url,
    )
    first, *lines = said.splitlines()
    status, protocol, *target = first.split(" ")
    headers = dict(re.findall(r"(?m)^([A-Za-z-]+): (.*?)\r?$", "\n".join(lines)))
    return status, protocol, "".join(target), {name.lower(): value for name, value in headers.items()}


def test_http_leads_to_https_and_that_to_the_canonical_domain(either: Host) -> None:
    assert answer(either, "http://one.example.com/a?b=c")[2] == "https://one.example.com/a?b=c"
    assert answer(either, "http://www.one.example.com/a")[2] == "https://www.one.example.com/a"
    status, protocol, target, headers = answer(either, "https://www.one.example.com/a?b=c")
    assert (status, protocol, target) == ("301", "2", "https://one.example.com/a?b=c")
    assert headers["strict-transport-security"] == "max-age=63072000"
    status, protocol, _, headers = answer(either, "https://one.example.com/")
    assert (status, protocol) == ("200", "2")
    assert headers["strict-transport-security"] == "max-age=63072000"
    assert "strict-transport-security" not in answer(either, "https://two.example.com/")[3]
    assert "strict-transport-security" not in answer(either, "http://one.example.com/")[3]


def test_only_a_probe_of_this_host_passes_by_the_redirect(either: Host) -> None:
    probe = "-H 'X-Emperor-Stack-Probe: https'"
    assert answer(either, "http://one.example.com/", probe)[0] == "200"
    address = either.check_output("hostname -I").split()[0]
    from_outside = either.check_output(
        "curl -sS -o /dev/null -w '%%{http_code}' --interface %s "
        + probe
        + " --resolve one.example.com:80:%s "
        "http://one.example.com/",
        address,
        address,
    )
    assert from_outside == "301"


def test_a_name_that_is_not_ours_gets_no_certificate(either: Host) -> None:
    said = either.run(
        "openssl s_client -connect 127.0.0.1:443 -servername stranger.example.org </dev/null 2>&1"
    )
    assert "unrecognized name" in said.stdout
    assert "BEGIN CERTIFICATE" not in said.stdout


def test_keys_are_for_root_only(either: Host) -> None:
    said = either.run("setpriv --reuid=one --regid=one --clear-groups ls /var/lib/emperor-stack/tls")
    assert said.rc != 0 and "Permission denied" in said.stderr


def test_the_profile_is_mozillas(either: Host, sslyze: Path, directory: Path, pebble: Pebble) -> None:
    name = either.backend.host
    inspected = json.loads(
        subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True).stdout
    )
    address = next(iter(inspected[0]["NetworkSettings"]["Networks"].values()))["IPAddress"]
    root = directory / "root.pem"
    root.write_text(pebble.root())
    done = subprocess.run(
        [str(sslyze), "--mozilla_config=intermediate", f"--certinfo_ca_file={root}"]
        + [f"one.example.com:443{{{address}}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    verdict = re.findall(r"one\.example\.com:443: (OK - Compliant|FAILED.*)", done.stdout)
    assert verdict, done.stdout[-3000:] + done.stderr[-1000:]
    release = re.sub(r"\D", "", name)
    figure(f"sslyze_intermediate_debian{release}", "compliant" if verdict[0].startswith("OK") else verdict[0])
    assert verdict[0].startswith("OK"), done.stdout[-2500:]


def test_the_grade_is_the_best_that_there_is(machine: Host, pebble: Pebble) -> None:
    """By testssl.sh, which knows SSL Labs' criteria; the private authority is made known to it."""
    machine.check_output(
        "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends testssl.sh"
    )
    machine.check_output("printf %%s %s >/root/authority.pem", pebble.root())
    said = machine.run(
        "testssl --ip 127.0.0.1 --add-ca /root/authority.pem --color 0 --quiet --warnings off one.example.com:443"
    ).stdout
    grade = re.search(r"Overall Grade\s+(\S+)", said)
    assert grade, said[-3000:]
    figure("testssl_grade", grade[1])
    assert grade[1] in ("A", "A+"), said[-3000:]
    assert "Grade cap" not in said
