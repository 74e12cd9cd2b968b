"""What role postgresql writes on a host whose databases other hosts use."""

from __future__ import annotations

import yaml
from ansible.template import Templar, trust_as_template

from tools.project import ROOT

ROLE = ROOT / "roles/postgresql"


def test_it_waits_for_the_address_that_it_listens_on() -> None:
    """PostgreSQL ends with 'could not create any TCP/IP sockets' where its only address is not there yet."""
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    (file,) = (one for one in variables["__postgresql_tls_files"] if "template" in one)
    templar = Templar(loader=None, variables={**variables, "postgresql_listen": ["10.0.0.5"]})
    path = templar.template(trust_as_template(file["path"]))
    assert path == "/etc/systemd/system/postgresql@.service.d/emperor-stack.conf"
    text = templar.template(trust_as_template((ROLE / "templates" / file["template"]).read_text()))
    unit = text.partition("[Unit]")[2]
    assert {"Wants=network-online.target", "After=network-online.target"} <= set(
        unit.split()
    ) and "10.0.0.5" in unit
