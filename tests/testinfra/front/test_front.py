"""What one site breaks does not touch the others, and what nginx runs is what is wanted."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import odd_entries
from deploying import Outcome, Stack, figure, load
from front.conftest import NAMES, changed
from testinfra.host import Host

from tools.gixy import findings

SNIPPET = "/etc/nginx/emperor-stack/snippets/two.server.conf"
BROKEN = {"nginx": {"server": 'location = /said {\n    return 200 "second";\n    no_such_directive on;\n}'}}


def said(stack: Stack) -> dict[str, str]:
    return {name: stack.ask(f"{name}.localhost", "/said") for name in NAMES}


def master(host: Host) -> str:
    return host.check_output("cat /run/nginx.pid")


def nginx(stack: Stack, *words: str) -> Outcome:
    return stack.play("site.yml", "--tags", "nginx", *words)


def recap(outcome: Outcome) -> str:
    return outcome.output[-3000:]


def test_a_run_without_changes_is_one_exchange_and_no_reload(machine: Host, stack: Stack) -> None:
    before = machine.check_output("pgrep -P %s nginx", master(machine))
    outcome = nginx(stack)
    assert outcome.code == 0 and "changed=0 " in outcome.output, recap(outcome)
    assert machine.check_output("pgrep -P %s nginx", master(machine)) == before
    assert "a foreign file that nginx does not load" not in outcome.output


def test_one_broken_snippet_in_three_apps(machine: Host, stack: Stack) -> None:
    """Two go live, the third serves on as it was; every run says so until it is right, and then it goes live too."""
    stack.apps = changed("second", **BROKEN)
    began = master(machine)
    with (
        load(machine, "one.localhost", ["/", "/said"], rate=40) as one,
        load(machine, "two.localhost", ["/", "/said"], rate=40) as two,
    ):
        outcome = stack.play("site.yml")
        assert outcome.code != 0
        message = outcome.output[outcome.output.index("nginx refuses the new configuration") :]
        for expected in (
            "two: it keeps its last working files",
            'unknown directive "no_such_directive"',
            f"{SNIPPET}:3",
        ):
            assert expected in message, message[:3000]
        assert not re.search(r"(?m)^\s*(one|three): it", message), message[:3000]
        held = said(stack)
        assert held == {"one": "second", "three": "second", "two": "first"}

        again = stack.play("site.yml", "--tags", "nginx")
        assert again.code != 0 and "two: it keeps its last working files" in again.output, recap(again)
        assert "changed=0 " in again.output, recap(again)

        stack.apps = changed("second")
        fixed = stack.play("site.yml", "--tags", "nginx")
        assert fixed.code == 0, recap(fixed)
        assert set(said(stack).values()) == {"second"}
    failed, total = one.failed + two.failed, one.total + two.total
    figure("broken_snippet_sites_live", f"{sum(held[name] == 'second' for name in ('one', 'three'))}/2")
    figure("broken_snippet_failed_requests", f"{failed}/{total}")
    assert failed == 0, one.failures() + two.failures()
    assert master(machine) == began


def test_check_mode_names_the_broken_one_and_changes_nothing(machine: Host, stack: Stack) -> None:
    before = machine.check_output(
        "find /etc/nginx /var/log/nginx -printf '%p %i %T@ %C@\\n' | grep -v 'log '"
    )
    stack.apps = changed("second", **BROKEN)
    outcome = nginx(stack, "--check", "--diff")
    assert outcome.code != 0 and f"{SNIPPET}:3" in outcome.output, recap(outcome)
    assert '+    return 200 "second";' in outcome.output
    after = machine.check_output("find /etc/nginx /var/log/nginx -printf '%p %i %T@ %C@\\n' | grep -v 'log '")
    assert after == before
    assert set(said(stack).values()) == {"first"}


def test_a_run_that_ends_with_a_failed_app_names_refused_sites(machine: Host, stack: Stack) -> None:
    stack.apps = changed("second", **BROKEN)
    stack.apps[0] = {**stack.apps[0], "build": ["exit 3"]}
    outcome = stack.play("site.yml")
    assert outcome.code != 0
    assert "exit status 3" in outcome.output, recap(outcome)
    at_the_end = outcome.output.partition("PLAY RECAP")[2]
    assert at_the_end.count("two: it keeps its last working files") == 1, recap(outcome)


def test_directives_names_and_a_default_site_that_passed_the_check_are_live(
    machine: Host, stack: Stack
) -> None:
    """Each of them stopped all sites of the host, or was refused, although the check had nothing against it."""
    long = ".".join(["a" * 38] * 4)
    stack.apps = changed("first")
    stack.apps[0] = {
        **stack.apps[0],
        "domains": [*stack.apps[0]["domains"], long],
        "default_site": True,
        "nginx": {
            "app": "uwsgi_buffering off; uwsgi_read_timeout 1h;",
            "server": f"{stack.apps[0]['nginx']['server']}\nclient_max_body_size 1g;",
        },
    }
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    ask = "curl -s -m 5 -o /dev/null -w '%%{http_code}' -H 'Host: %s' http://127.0.0.1/"
    assert machine.check_output(ask, long) == "301"
    assert stack.ask("nobody.example.org", "/said") == "first"
    stack.apps = changed("first")
    assert nginx(stack).code == 0
    assert machine.run(ask, "nobody.example.org").rc == 52


def test_nginx_takes_whatever_the_check_takes(machine: Host, stack: Stack) -> None:
    """Whole sites at the borders of what the check lets through; each alone would stop all of them."""
    odd = odd_entries.entries()
    stack.apps = [*changed("second"), *odd]
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    live = set(machine.check_output("ls /etc/nginx/emperor-stack/sites").split())
    missing = [one["name"] for one in odd if f"{one['name']}.conf" not in live]
    figure("odd_entries_nginx_takes", f"{len(odd) - len(missing)}/{len(odd)}")
    assert not missing and len(odd) > 40
    assert set(said(stack).values()) == {"second"}


def test_a_new_app_that_is_broken_is_left_out(machine: Host, stack: Stack) -> None:
    stack.apps = changed("first")[:-1]
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    assert not machine.file(SNIPPET).exists
    stack.apps = changed("second", **BROKEN)
    outcome = nginx(stack)
    assert outcome.code != 0 and "two: it is left out, because it never ran" in outcome.output, recap(outcome)
    assert not machine.file("/etc/nginx/emperor-stack/sites/two.conf").exists
    assert stack.ask("one.localhost", "/said") == "second"


def test_a_site_stays_while_what_is_to_replace_it_is_broken(machine: Host, stack: Stack) -> None:
    """App `two` serves a part of its domain alone; a new one is to have the domain, and with it the site's name."""
    two = {**stack.apps[-1], "path": "/shop/"}
    stack.apps = [*stack.apps[:-1], two]
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    new = {**two, "name": "blog", "path": "/", **BROKEN}
    stack.apps = [*stack.apps, new]
    for _ in range(2):
        outcome = nginx(stack)
        assert outcome.code != 0, recap(outcome)
        assert "blog: it is left out, because it never ran" in outcome.output, recap(outcome)
        assert "two: it keeps its last working files" in outcome.output, recap(outcome)
        assert "sites/two.conf" in machine.check_output("nginx -T 2>/dev/null")
        assert said(stack)["two"] == "first"
    stack.apps = [*stack.apps[:-1], {**new, "nginx": {}}]
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    assert not machine.file("/etc/nginx/emperor-stack/sites/two.conf").exists
    assert said(stack)["two"] == "first"


def test_a_site_that_keeps_its_files_of_an_earlier_version_holds_up_nothing(
    machine: Host, stack: Stack
) -> None:
    """Earlier versions called $front_is_probe $front_inside; a refused site goes on with the files that it wrote then."""
    site = "/etc/nginx/emperor-stack/sites/two.conf"
    good = "/var/lib/emperor-stack/file_set/nginx.good.json"
    machine.check_output("sed -i 's/$front_is_probe:/$front_inside:/g' %s %s", site, good)
    machine.check_output("systemctl reload nginx && sleep 1")
    stack.apps = changed("second", **BROKEN)
    outcome = nginx(stack)
    assert outcome.code != 0 and "two: it keeps its last working files" in outcome.output, recap(outcome)
    assert "$front_inside:" in machine.file(site).content_string
    assert said(stack) == {"one": "second", "three": "second", "two": "first"}


def test_what_all_sites_share_is_refused_as_a_whole(machine: Host, stack: Stack) -> None:
    stack.variables = {"nginx_http_includes": ["conf.d/absent.conf"]}
    stack.apps = changed("second")
    outcome = nginx(stack)
    assert outcome.code != 0, recap(outcome)
    assert (
        "nothing was changed" in outcome.output
        and "The last working configuration keeps serving" in outcome.output
    )
    assert re.search(r"absent\.conf\" failed .* in /etc/nginx/nginx\.conf:\d+", outcome.output), recap(
        outcome
    )
    assert set(said(stack).values()) == {"first"}
    machine.check_output("nginx -t -q")


def test_files_that_somebody_edited_are_put_right_whether_nginx_has_loaded_them_or_not(
    machine: Host, stack: Stack
) -> None:
    site = "/etc/nginx/emperor-stack/sites/one.conf"
    # Loaded, and then put back by hand: the files are right, what runs is not.
    machine.check_output(
        "cp -p %s /root/kept && sed -i 's/server_name one/server_name other/' %s", site, site
    )
    machine.check_output("sed -i s/first/edited/ %s", SNIPPET.replace("two", "one"))
    machine.check_output("systemctl reload nginx && sleep 1")
    machine.check_output("sed -i s/edited/first/ %s && cp /root/kept %s", SNIPPET.replace("two", "one"), site)
    outcome = nginx(stack)
    assert outcome.code == 0 and "changed=0 " not in outcome.output, recap(outcome)
    assert said(stack)["one"] == "first"
    # Broken, and not loaded: after a reboot nothing would have started.
    machine.check_output("echo 'broken {' >>%s", site)
    assert machine.run("nginx -t -q").rc != 0
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    machine.check_output("nginx -t -q")


def test_a_broken_file_by_hand_and_a_broken_wish_leave_what_last_ran(machine: Host, stack: Stack) -> None:
    machine.check_output("echo 'broken {' >>/etc/nginx/emperor-stack/sites/two.conf")
    stack.apps = changed("second", **BROKEN)
    outcome = nginx(stack)
    assert outcome.code != 0 and "two: it keeps its last working files" in outcome.output, recap(outcome)
    assert said(stack) == {"one": "second", "three": "second", "two": "first"}
    machine.check_output("nginx -t -q")


def test_files_of_others_are_left_alone_not_loaded_and_named(machine: Host, stack: Stack) -> None:
    text = "server { listen 80; server_name foreign.localhost; return 200 foreign; }"
    places = ("/etc/nginx/emperor-stack/sites/foreign.conf", "/etc/nginx/conf.d/foreign.conf")
    for path in places:
        machine.check_output("echo %s >%s", text, path)
    for _ in range(2):
        outcome = nginx(stack)
        assert outcome.code == 0, recap(outcome)
        for path in places:
            printed = " ".join(outcome.output.split())
            assert re.search(rf"{path}[^:]*: a foreign file that nginx does not load", printed), path
            assert machine.check_output("cat %s", path) == text
    assert machine.run("curl -sS -H 'Host: foreign.localhost' http://127.0.0.1/").rc == 52
    stack.variables = {"nginx_http_includes": ["conf.d/*.conf"]}
    outcome = nginx(stack)
    assert "conf.d/foreign.conf" not in outcome.output, recap(outcome)
    assert stack.ask("foreign.localhost", "/") == "foreign"
    machine.check_output("rm %s", " ".join(places).split()[0])
    machine.check_output("rm %s", places[1])


def test_a_port_that_is_taken_holds_back_the_app_that_wants_it(machine: Host, stack: Stack) -> None:
    """nginx -t passes, the reload is answered, and nginx runs on with what it had."""
    machine.check_output(
        "systemd-run --quiet --unit=taker python3 -c %s",
        "import socket, time; s = socket.create_server(('127.0.0.1', 8099)); time.sleep(3600)",
    )
    try:
        machine.check_output("timeout 10 sh -c 'until ss -ltn | grep -q :8099; do sleep 0.1; done'")
        stack.apps = changed("second")
        stack.apps[-1]["nginx"]["server"] += "\nlisten 127.0.0.1:8099;"
        outcome = nginx(stack)
        assert outcome.code != 0 and "bind() to 127.0.0.1:8099 failed" in outcome.output, recap(outcome)
        assert "two: it keeps its last working files" in outcome.output, recap(outcome)
        assert said(stack) == {"one": "second", "three": "second", "two": "first"}
        # The port of all sites: nobody can be left out.
        stack.apps = changed("third")
        stack.variables = {"front_http_port": 8099}
        outcome = nginx(stack)
        assert outcome.code != 0 and "The last working configuration keeps serving" in outcome.output, recap(
            outcome
        )
        assert said(stack) == {"one": "second", "three": "second", "two": "first"}
        machine.check_output("nginx -t -q")
        assert "8099" not in machine.check_output("cat /etc/nginx/emperor-stack/listen.conf")
    finally:
        machine.check_output("systemctl stop taker")


def test_nginx_that_is_stopped_is_started(machine: Host, stack: Stack) -> None:
    machine.check_output("systemctl disable --now nginx")
    outcome = nginx(stack)
    assert outcome.code == 0, recap(outcome)
    assert machine.service("nginx").is_enabled
    assert set(said(stack).values()) == {"first"}


def test_gixy_finds_nothing_in_what_the_host_runs(machine: Host, stack: Stack, tmp_path: Path) -> None:
    container = machine.backend.host
    subprocess.run(["docker", "cp", "--quiet", f"{container}:/etc/nginx", str(tmp_path)], check=True)
    found = findings(tmp_path / "nginx/nginx.conf")
    figure("gixy_findings", len(found))
    assert found == []


def test_whatever_drifts_is_named_and_put_right_by_a_run_of_everything(machine: Host, stack: Stack) -> None:
    """A run asks for all roles at once, and leaves them alone where nothing differs: so nothing may escape the question."""
    calm = stack.good("site.yml", "-v").output
    assert re.search(r"differs: \{\}", calm) and "changed=0 " in calm, calm[-3000:]
    assert "Write, check and load nginx's configuration" not in calm
    full = stack.good("site.yml", "-v", "-e", "full=true").output
    assert "Write, check and load nginx's configuration" in full and "changed=0 " in full, full[-3000:]
    assert "differs:" not in full
    damages = {
        "base/configure": "echo 'net.core.somaxconn = 1' >/etc/sysctl.d/60-emperor-stack.conf",
        "hardening/configure": "rm /etc/needrestart/conf.d/emperor-stack.conf",
        "uwsgi_emperor/configure": "chmod 0700 /usr/local/lib/emperor-stack/confine",
        "python_apps/accounts": "chmod 0777 /srv/apps/two/shared",
        "nginx/configure": "systemctl disable --quiet nginx",
    }
    looks = (
        "sha256sum /etc/sysctl.d/60-emperor-stack.conf /etc/needrestart/conf.d/emperor-stack.conf; "
        "stat -c %%a /usr/local/lib/emperor-stack/confine /srv/apps/two/shared; systemctl is-enabled nginx"
    )
    before = machine.check_output(looks)
    for command in damages.values():
        machine.check_output(command)
    outcome = stack.good("site.yml", "-v")
    named = outcome.output.partition("differs:")[2].partition("\nTASK")[0]
    assert [role for role in damages if not re.search(rf"(?m)^\s+{role}:", named)] == [], named[:3000]
    assert machine.check_output(looks) == before
    assert re.search(r"differs: \{\}", stack.good("site.yml", "-v").output)
    # Their arguments hold keys, hashes and whole files. Other modules have left their lines there.
    journal = machine.check_output("journalctl --no-pager")
    assert "ansible-" in journal
    quiet = ("host_drift", "file_set", "release", "certificates")
    assert [name for name in quiet if f"ansible-emperor.stack.{name}" in journal] == []
    # A package that is gone is asked for before all that.
    machine.check_output("dpkg --remove --force-depends needrestart >/dev/null 2>&1")
    stack.good("site.yml")
    assert machine.package("needrestart").is_installed
