"""A certificate authority that can be slow, absent or wrong, and what a host shows to those who ask for a domain."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import testinfra
from deploying import HERE, Stack, alone
from testinfra.host import Host

DOMAINS = ["one", "www.one", "new.one", "broken.one", "two", "refused.two", "three", "dns"]
DIRECTORY = "https://localhost:14000/dir"


def app(name: str, *domains: str, **tls: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domains": [f"{domain}.example.com" for domain in domains or (name,)],
        "source": {"path": str(HERE / "apps" / "bare")},
        "wsgi": "app:application",
        "health": {"path": "/healthz", "timeout": 30},
        "web": {"processes": 1, "threads": 2},
        "tls": {"provider": "acme", **tls},
    }


@dataclass
class Pebble:
    """Debian's ACME server and the DNS server that it asks, both on the test host."""

    host: Host
    #: Seconds that it waits before it looks at a challenge, at most; and the share of nonces that it refuses.
    slow: int = 3
    bad_nonces: int = 15

    def install(self, certificate: Path, key: Path) -> None:
        self.host.check_output("apt-get install -qq --no-install-recommends pebble")
        self.host.check_output("mkdir -p /usr/local/share/pebble")
        for path in (certificate, key):
            subprocess.run(
                ["docker", "cp", "--quiet", str(path), f"{self.host.backend.host}:/usr/local/share/pebble/"],
                check=True,
            )
        # IPv4 only: names without an address there do not exist.
        self.host.check_output(
            "systemd-run --quiet --unit=challenge-names pebble-challtestsrv -http01= -https01= -tlsalpn01= -doh= "
            "-defaultIPv6="
        )

    def start(self, days: float = 90) -> None:
        """A new one, which knows of no account, whose certificates last so long."""
        self.stop()
        config = {
            "listenAddress": "127.0.0.1:14000",
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": "/usr/local/share/pebble/authority.crt",
            "privateKey": "/usr/local/share/pebble/authority.key",
            "httpPort": 80,
            "tlsPort": 443,
            "certificateValidityPeriod": int(days * 86400),
        }
        text = json.dumps({"pebble": config})
        self.host.check_output("printf %%s %s > /usr/local/share/pebble/config.json", text)
        self.host.check_output(
            "systemd-run --quiet --unit=pebble --collect "
            f"-E PEBBLE_VA_SLEEPTIME={self.slow} -E PEBBLE_WFE_NONCEREJECT={self.bad_nonces} "
            "pebble -config /usr/local/share/pebble/config.json -dnsserver 127.0.0.1:8053"
        )
        self.host.check_output(
            "for try in $(seq 50); do curl -sk https://localhost:14000/dir && exit; sleep 0.2; done; exit 1"
        )

    def stop(self) -> None:
        self.host.run("systemctl stop pebble.service")

    def orders(self) -> int:
        """How many orders it got since it was started."""
        said = self.host.check_output(
            "journalctl --no-pager -o cat -u pebble.service "
            "_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID pebble.service)"
        )
        return len(re.findall(r"There are now \d+ orders in the db", said))

    def root(self) -> str:
        """The certificate that a client has to trust, in PEM."""
        return self.host.check_output("curl -sSk https://127.0.0.1:15000/roots/0")

    def cannot_find(self, domain: str) -> None:
        body = json.dumps({"host": domain})
        self.host.check_output("curl -sS -d %s http://127.0.0.1:8055/set-servfail", body)


@dataclass
class Shown:
    """What a host shows to a client that asks for a domain."""

    issuer: str
    names: tuple[str, ...]
    ends: str
    serial: str

    @property
    def by_authority(self) -> bool:
        return "Pebble" in self.issuer


def shown(host: Host, domain: str) -> Shown:
    said = host.check_output(
        "openssl s_client -connect 127.0.0.1:443 -servername %s </dev/null 2>/dev/null "
        "| openssl x509 -noout -issuer -ext subjectAltName -enddate -serial",
        domain,
    )
    return Shown(
        # OpenSSL 3.0 and 3.5 differ in blanks.
        issuer=re.findall("^issuer=(.*)$", said, re.MULTILINE)[0].replace(" = ", "="),
        names=tuple(re.findall(r"DNS:([^,\s]+)", said)),
        ends=re.findall("^notAfter=(.*)$", said, re.MULTILINE)[0],
        serial=re.findall("^serial=(.*)$", said, re.MULTILINE)[0],
    )


def host_named(name: str) -> Host:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    return testinfra.get_hosts([f"ansible://{name}"], ansible_inventory=inventory)[0]


def controller(machine: Host, directory: Path, certificate: Path) -> Stack:
    machine.check_output(
        "echo '127.0.0.1 %s' >> /etc/hosts", " ".join(f"{name}.example.com" for name in DOMAINS)
    )
    variables = {
        # The DNS server of the tests listens at all addresses.
        "hardening_firewall_allow": [{"port": 8053}, {"port": 8053, "protocol": "udp"}, {"port": 8055}],
        "tls_acme_directory": DIRECTORY,
        "tls_acme_email": "tests@example.com",
        "tls_acme_ca_certificates": [str(certificate)],
        "tls_backup_password": "only-for-this-test",
    }
    apps = [app("one", "one", "www.one", hsts={"max_age": 63072000}), app("two"), app("three")]
    return Stack(machine, alone(machine, directory), directory, apps, {}, variables)
