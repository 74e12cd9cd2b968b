"""A host's own defences, met from outside; and that none of them shuts out who administers it. In this order."""

from __future__ import annotations

import json
import re
import subprocess
import time

from deploying import Outcome, Stack, figure
from outside import PROGRAM, Machine
from testinfra.host import Host

HARDENING = ("--tags", "base,hardening")
DROP_IN = "/etc/ssh/sshd_config.d/40-emperor-stack.conf"
SETTINGS = "/usr/local/lib/emperor-stack/hardening/settings.json"
UNITS = (
    "nginx.service",
    "emperor@a.service",
    "emperor-stack-firewall.service",
    "emperor-stack-firewall-undo.service",
    "emperor-stack-fail2ban.service",
    "app_one_jobs@*.service",
    "app_two_nightly.service",
)
#: Every file outside of its own directory that the role puts anywhere, as a glob.
FILES = (
    "/etc/systemd/system/emperor-stack-f* /etc/systemd/system/*.wants/emperor-stack-f* "
    "/etc/fail2ban/*/*emperor-stack* /etc/apt/apt.conf.d/52emperor* "
    "/etc/needrestart/conf.d/emperor* /etc/sysctl.d/61-emperor* /etc/ssh/sshd_config.d/*emperor* "
    "/etc/systemd/system/unattended-upgrades.service.d/*emperor*"
)
#: Stands for an upgrade that runs: it has the lock, and notes that it was told to end.
UPGRADE = """
import apt_pkg, os, pathlib, signal, time
apt_pkg.init()
apt_pkg.get_lock("/run/unattended-upgrades.lock")
pathlib.Path("/run/unattended-upgrades.pid").write_text(str(os.getpid()))
def end(*_):
    pathlib.Path("/root/ended").touch()
    raise SystemExit
signal.signal(signal.SIGTERM, end)
pathlib.Path("/root/upgrading").touch()
while True:
    time.sleep(0.1)
"""
#: Rules of somebody else, as Docker's or a colleague's may be.
FOREIGN = "table inet {} {{\n chain c {{\n type filter hook input priority {}; tcp dport {} drop\n }}\n}}"


def lynis(host: Host) -> int:
    host.check_output("lynis audit system --quick --no-colors --quiet >/dev/null 2>&1 || true")
    return int(host.check_output("sed -n 's/^hardening_index=//p' /var/log/lynis-report.dat | tail -n 1"))


def unchanged(outcome: Outcome) -> bool:
    return "changed=0 " in outcome.output and "failed=0 " in outcome.output


def sshd(host: Host) -> set[str]:
    return set(host.check_output("sshd -T").splitlines())


def test_the_host_before_is_looked_at_by_lynis(machine: Machine) -> None:
    machine.index = lynis(machine.host)
    figure("lynis_before", machine.index)


def test_a_host_whose_firewall_would_cut_somebody_off_is_left_as_it_is(
    machine: Machine, stack: Stack
) -> None:
    machine.listen(9100)
    machine.host.check_output(
        "systemd-run --quiet --unit=local-only python3 -m http.server --bind 127.0.0.1 9101"
    )
    before = sshd(machine.host)
    outcome = stack.play("site.yml", *HARDENING)
    assert outcome.code != 0
    said = " ".join(outcome.output.split())
    assert "would cut off python3 (tcp 9100 at " in said
    assert "hardening_firewall_allow: [{port: 9100}]" in said
    assert "9101" not in said
    assert "inet emperor_stack" not in "".join(machine.tables())
    assert not machine.host.file(SETTINGS).exists
    assert sshd(machine.host) == before
    assert machine.reaches(9100)


def test_a_host_is_hardened_and_serves(machine: Machine, stack: Stack) -> None:
    machine.host.check_output("nft %s", FOREIGN.format("foreign", 5, 9999))
    stack.variables["hardening_firewall_allow"] = [{"port": 9100}]
    stack.good("site.yml")
    for domain in ("one.example.com", "two.example.com"):
        assert machine.reaches(80, "/", domain)
    assert (
        machine.host.run("curl -ksS --resolve two.example.com:443:127.0.0.1 https://two.example.com/").rc == 0
    )


def test_a_second_run_changes_nothing(stack: Stack) -> None:
    assert unchanged(stack.good("site.yml"))


def test_nobody_reaches_a_port_that_is_not_allowed(machine: Machine) -> None:
    machine.listen(9200)
    assert machine.host.run("curl -sS -o /dev/null http://127.0.0.1:9200/").rc == 0
    assert not machine.reaches(9200)
    assert machine.reaches(9100)
    assert machine.ssh("true").returncode == 0


def test_rules_of_others_stay(machine: Machine) -> None:
    assert "table inet foreign" in machine.tables()
    assert "dport 9999 drop" in machine.host.check_output("nft list table inet foreign")


def test_a_firewall_that_cuts_off_ssh_is_undone_by_the_host_itself(machine: Machine) -> None:
    """A ruleset that lets everybody in but the administrator, and nobody who could say so."""
    before = machine.host.check_output("nft list table inet emperor_stack")
    machine.host.check_output("cp -r %s /root/wrong", PROGRAM.rpartition("/")[0])
    machine.host.check_output("sed -i '/@SSH_PORTS@/d' /root/wrong/firewall.nft")
    machine.host.check_output('sed -i \'s/"trial": 40/"trial": 12/\' /root/wrong/settings.json')
    assert json.loads(machine.host.check_output("/root/wrong/hardening apply"))["confirm"]
    assert machine.ssh("true").returncode != 0
    assert machine.reaches(80)
    machine.until(lambda: machine.ssh("true").returncode == 0)
    assert machine.host.check_output("nft list table inet emperor_stack") == before
    late = machine.host.run("/root/wrong/hardening confirm")
    assert late.rc != 0
    assert "the new firewall was not confirmed in time" in late.stderr


def test_a_run_that_cannot_come_back_says_so_and_the_host_goes_back(machine: Machine, stack: Stack) -> None:
    """Something drops new connections of SSH from the moment of the trial on."""
    spoil = (
        "until [ -e /var/lib/emperor-stack/hardening/trial.json ]; do sleep 0.1; done; "
        f"nft '{FOREIGN.format('spoiler', -5, '22 ct state new')}'; "
        "while [ -e /var/lib/emperor-stack/hardening/trial.json ]; do sleep 0.2; done; nft delete table inet spoiler"
    )
    machine.host.check_output("systemd-run --quiet --unit=spoiler sh -c %s", spoil)
    wanted = [{"port": 9100}, {"port": 9300}]
    outcome = stack.play("site.yml", *HARDENING, hardening_firewall_allow=wanted, hardening_firewall_trial=20)
    assert outcome.code != 0
    assert "the new firewall locks out this controller" in " ".join(outcome.output.split())
    machine.until(lambda: machine.ssh("true").returncode == 0)
    machine.until(lambda: machine.host.run("systemctl is-active spoiler").rc != 0)
    assert "9300" not in machine.host.check_output("nft list table inet emperor_stack")
    # The same run again, with nothing in the way.
    stack.variables["hardening_firewall_allow"] = wanted
    stack.good("site.yml", *HARDENING)
    assert "9300" in machine.host.check_output("nft list table inet emperor_stack")


def test_somebody_who_deletes_the_firewall_is_corrected_by_the_next_run(
    machine: Machine, stack: Stack
) -> None:
    machine.host.check_output("nft delete table inet emperor_stack")
    assert machine.reaches(9200)
    stack.good("site.yml", *HARDENING)
    assert not machine.reaches(9200)


def test_sshd_has_our_settings(machine: Machine) -> None:
    values = sshd(machine.host)
    assert {"x11forwarding no", "passwordauthentication no", "permitrootlogin without-password"} <= values
    assert machine.ssh("true", password=True).returncode != 0


def test_passwords_stay_while_somebody_comes_in_by_one(machine: Machine) -> None:
    machine.host.check_output("rm %s && systemctl reload ssh", DROP_IN)
    machine.until(lambda: machine.ssh("true", password=True).returncode == 0)
    done = machine.ssh(f"sudo {PROGRAM} apply", password=True)
    assert done.returncode == 0, done.stderr
    assert any(
        note == "ssh: password login left enabled: this session (ann) authenticated by password"
        for note in json.loads(done.stdout)["notes"]
    )
    assert "passwordauthentication yes" in sshd(machine.host)
    assert machine.ssh("true", password=True).returncode == 0
    # By a key it is proven that nobody who is in now needs one.
    done = machine.ssh(f"{PROGRAM} apply")
    assert json.loads(done.stdout)["notes"] == [] or "password" not in done.stdout
    assert "passwordauthentication no" in sshd(machine.host)
    assert machine.ssh("true", password=True).returncode != 0
    assert machine.ssh("true").returncode == 0


def test_a_root_who_comes_in_by_a_password_is_not_shut_out(machine: Machine) -> None:
    mine = "/etc/ssh/sshd_config.d/50-mine.conf"
    machine.host.check_output("rm %s; echo 'PermitRootLogin yes' >%s; systemctl reload ssh", DROP_IN, mine)
    machine.host.check_output("echo root:%s | chpasswd", machine.password)
    machine.until(lambda: machine.ssh("true", password=True, user="root").returncode == 0)
    done = machine.ssh(f"{PROGRAM} apply", password=True, user="root")
    assert "this session (root) authenticated by password" in done.stdout, done.stderr
    assert {"permitrootlogin yes", "passwordauthentication yes"} <= sshd(machine.host)
    # Somebody else came in by a password: root's does not count any more, and hers does.
    assert machine.ssh(f"sudo {PROGRAM} apply", password=True).returncode == 0
    assert {"permitrootlogin without-password", "passwordauthentication yes"} <= sshd(machine.host)
    machine.host.check_output("rm %s; passwd --quiet -l root", mine)
    assert machine.ssh(f"{PROGRAM} apply").returncode == 0


def test_nothing_that_is_stricter_already_becomes_laxer(machine: Machine) -> None:
    mine = "/etc/ssh/sshd_config.d/50-mine.conf"
    machine.host.check_output("echo 'PermitRootLogin no' >%s", mine)
    machine.host.check_output("%s apply", PROGRAM)
    assert "permitrootlogin no" in sshd(machine.host)
    machine.host.check_output("rm %s && systemctl reload ssh", mine)


def test_settings_that_sshd_refuses_change_nothing(machine: Machine, stack: Stack) -> None:
    before = machine.host.file(DROP_IN).content_string
    outcome = stack.play("site.yml", *HARDENING, hardening_ssh_settings={"Nonsense": "yes"})
    assert outcome.code != 0
    assert "Nonsense" in outcome.output
    assert "nothing was changed" in " ".join(outcome.output.split())
    assert machine.host.file(DROP_IN).content_string == before
    assert machine.ssh("true").returncode == 0


def test_kernel_parameters_are_set_or_named(machine: Machine) -> None:
    assert machine.parameter("net.ipv4.conf.eth0.accept_redirects") == "0"
    assert machine.parameter("net.ipv4.conf.default.send_redirects") == "0"
    # What belongs to the machine below the container is not ours to set, and the run says so.
    notes = " ".join(json.loads(machine.host.check_output("%s apply", PROGRAM))["notes"])
    for name in ("kernel.kptr_restrict", "fs.protected_fifos"):
        assert machine.parameter(name) == {"kernel.kptr_restrict": "2"}.get(name, "2") or name in notes


def test_updates_are_those_of_security_and_restart_nothing(machine: Machine) -> None:
    host = machine.host
    said = host.run("unattended-upgrade --dry-run --verbose")
    assert said.rc == 0, said.stderr
    origins = re.findall(r"Allowed origins are: (.+)", said.stdout + said.stderr)
    assert origins == ["origin=Debian,codename=trixie-security,label=Debian-Security"]
    assert 'APT::Periodic::Unattended-Upgrade "1";' in host.check_output("apt-config dump")
    # A library of nginx is replaced, as an update does it.
    library = host.check_output("ldd /usr/sbin/nginx | awk '/libcrypto/ {print $3}'")
    host.check_output("cp --preserve %s /root/new && mv /root/new %s", library, library)
    assert "NEEDRESTART-SVC: nginx.service" in host.check_output("needrestart -b -r l")
    before = host.check_output("systemctl show --property=MainPID nginx.service emperor@a.service")
    host.check_output("DEBIAN_FRONTEND=noninteractive /usr/lib/needrestart/apt-pinvoke </dev/null")
    # Even where services may be restarted, those with traffic are not.
    host.check_output("DEBIAN_FRONTEND=noninteractive needrestart -r a </dev/null")
    assert host.check_output("systemctl show --property=MainPID nginx.service emperor@a.service") == before


def test_what_ends_an_upgrade_at_a_shutdown_takes_no_memory_until_then(machine: Machine) -> None:
    host = machine.host
    shown = "systemctl show --property=MainPID,SubState unattended-upgrades.service | sort"
    assert host.check_output(shown) == "MainPID=0\nSubState=exited"
    # An upgrade, as far as its lock and its end go.
    host.check_output("printf %%s %s >/root/upgrade.py", UPGRADE)
    host.check_output("systemd-run --quiet --unit=upgrading python3 /root/upgrade.py")
    machine.until(lambda: host.run("test -e /root/upgrading").rc == 0)
    host.check_output("systemctl stop unattended-upgrades.service")
    machine.until(lambda: host.run("test -e /root/ended").rc == 0)
    host.check_output("systemctl start unattended-upgrades.service")
    assert host.check_output(shown) == "MainPID=0\nSubState=exited"


def test_what_runs_with_old_files_is_shown_and_gets_new_ones(machine: Machine, stack: Stack) -> None:
    assert "nginx.service" in stack.good("playbooks/status.yml").output
    stack.good("playbooks/restart.yml")
    machine.until(
        lambda: "nginx.service" not in machine.host.check_output("needrestart -b -r l"), patience=30
    )
    assert machine.reaches(80)


def test_a_scanner_is_shut_out(machine: Machine, stack: Stack) -> None:
    host = machine.host
    stack.good("site.yml", *HARDENING, hardening_fail2ban=True)
    stack.variables["hardening_fail2ban"] = True
    assert host.check_output("fail2ban-client status").count("emperor-stack-") == 3
    assert machine.reaches(80)
    for _ in range(6):
        machine.reaches(80, "/wp-login.php")
    machine.until(lambda: not machine.reaches(80))
    # By the port of the web server only; and a page like any other is no offence.
    assert machine.ssh("true").returncode == 0
    matched = host.check_output(
        "fail2ban-regex --print-all-matched --print-no-missed /var/log/nginx/one.access.log emperor-stack-scan"
    )
    assert "wp-login.php" in matched
    assert '"uri":"/"' not in matched
    host.check_output("fail2ban-client unban --all")
    assert machine.reaches(80)
    # A lie about who asks, in whatever a client may send, shuts out nobody else.
    for _ in range(6):
        host.run(
            "curl -sS -o /dev/null -A %s -H 'Host: one.example.com' http://127.0.0.1/wp-login.php",
            '","client":"192.0.2.66","status":"404',
        )
    time.sleep(2)
    assert "192.0.2.66" not in host.check_output("fail2ban-client banned")
    assert machine.reaches(80)


def test_who_guesses_passwords_is_shut_out(machine: Machine) -> None:
    host = machine.host
    status = "fail2ban-client get sshd maxretry"
    assert host.check_output(status) == "5"
    wrong = Machine(host, machine.directory, password="wrong")
    host.check_output("rm -f %s && systemctl reload ssh", DROP_IN)
    tries = 0
    while "Permission denied" in wrong.ssh("true", password=True).stderr:
        tries += 1
        assert tries < 20
    machine.until(lambda: machine.ssh("true").returncode != 0)
    host.check_output("fail2ban-client unban --all")
    assert machine.ssh(f"{PROGRAM} apply").returncode == 0


def test_every_unit_of_ours_is_in_a_sandbox(machine: Machine) -> None:
    for wanted in UNITS:
        # Which activation it is depends on what came before.
        unit = machine.host.run(f"cd /etc/systemd/system && ls -d {wanted}").stdout.strip() or wanted
        said = machine.host.check_output("systemd-analyze security --no-pager %s", unit)
        score = re.findall(r"exposure level for \S+: ([\d.]+)", said)[0]
        figure(f"sandbox_score_{unit.removesuffix('.service').partition('@')[0]}", score)
        assert float(score) <= 3.0, unit
    # It holds for what runs, and not only for what will be started.
    workers = machine.host.check_output("pgrep --parent $(cat /run/nginx.pid) | head -n 1")
    assert "NoNewPrivs:\t1" in machine.host.check_output("cat /proc/%s/status", workers)


def test_a_reboot_brings_it_all_back(machine: Machine, stack: Stack) -> None:
    subprocess.run(["docker", "restart", "--time=20", machine.name], check=True, capture_output=True)
    machine.until(lambda: machine.host.run("systemctl is-active ssh.service nginx.service").rc == 0)
    stack.inventory = machine.write_inventory()
    machine.listen(9200)
    machine.until(lambda: machine.ssh("true").returncode == 0)
    assert not machine.reaches(9200)
    machine.until(lambda: machine.reaches(80))


def test_the_host_after_is_looked_at_by_lynis(machine: Machine) -> None:
    after = lynis(machine.host)
    figure("lynis_after", after)
    assert after > machine.index


def test_what_is_switched_off_is_taken_away(machine: Machine, stack: Stack) -> None:
    parts = ("firewall", "ssh", "fail2ban", "upgrades", "time")
    stack.variables |= {f"hardening_{part}": False for part in parts} | {"hardening_sysctl": {}}
    stack.good("site.yml", *HARDENING)
    host = machine.host
    assert host.run(f"ls {FILES}").stdout == ""
    assert "table inet emperor_stack" not in machine.tables()
    assert machine.reaches(9200)
    assert "x11forwarding yes" in sshd(host)
    assert host.run("systemctl is-active fail2ban.service").rc != 0
    # As Debian has it.
    assert host.check_output("systemctl show --property=MainPID --value unattended-upgrades.service") != "0"
    assert host.run("systemctl is-enabled emperor-stack-firewall.service").rc != 0
    assert unchanged(stack.good("site.yml", *HARDENING))
