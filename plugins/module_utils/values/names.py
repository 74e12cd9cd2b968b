"""What the name of an app may be."""

from __future__ import annotations

import re

from .texts import Wrong, words

#: Users and groups that Debian or a package next to us owns; an app of that name would take over its files.
RESERVED_NAMES = words(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody _apt
    adm tty disk dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl
    plugdev staff users nogroup input kvm render sgx kmem crontab netdev wheel docker ssh ssl-cert
    nginx uwsgi sshd messagebus polkitd postgres mysql mariadb redis memcache rabbitmq postfix exim dovecot
    opendkim bind unbound dnsmasq ntp ntpsec chrony avahi uuidd statd rpc tcpdump tss munin prometheus grafana
    nagios zabbix haproxy varnish apache squid debian admin ansible vagrant ubuntu emperor waiting sockets
    """
)
RESERVED_PREFIXES = ("systemd-", "debian-", "emperor-stack")


def name(text: str) -> Wrong | None:
    if text in RESERVED_NAMES or text.startswith(RESERVED_PREFIXES):
        return Wrong(
            "it is reserved for Debian, a package or Emperor Stack, and an app's name becomes its Unix user",
            f"{text}-app" if not text.startswith(RESERVED_PREFIXES) else "",
        )
    if re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text):
        return None
    guess = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789")[:31]
    return Wrong(
        "it becomes a Unix user and a path: start with a lowercase letter, then use lowercase letters, digits and hyphens, "
        "31 characters at most",
        guess if guess and name(guess) is None else "",
    )
