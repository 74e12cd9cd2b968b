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


def test_an_app_reaches_no_database_but_its_own() -> None:
    """A database that was there before lets every role in, unless somebody has taken that away."""
    apps = [
        {"name": "blog", "database": "shared", "local": True, "addresses": []},
        {"name": "shop", "database": "shop", "local": False, "addresses": ["10.0.0.3"]},
    ]
    templar = Templar(
        loader=None, variables={"postgresql_apps": apps, "postgresql_access": ["host x y z trust"]}
    )
    text = templar.template(trust_as_template((ROLE / "templates/pg_hba.conf.j2").read_text()))
    # The first line that fits decides.
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        'local "shared" "blog" peer',
        # By user postgres only, for a restore.
        'local "shared.restored","shared.tested" "blog" peer map=emperor-restore',
        'local all "blog" reject',
        'local "shop.restored","shop.tested" "shop" peer map=emperor-restore',
        'local all "shop" reject',
        "local all all peer",
        'hostssl "shop" "shop" 10.0.0.3/32 scram-sha-256',
        "host x y z trust",
    ]
