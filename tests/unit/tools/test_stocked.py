from __future__ import annotations

import re

import yaml

from tools import stocked
from tools.project import ROOT


def defaults(role: str, name: str = "defaults") -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((ROOT / f"roles/{role}/{name}/main.yml").read_text())
    return loaded


def test_the_image_has_the_packages_that_the_roles_install_anyway():
    wanted = {
        *defaults("base")["base_packages"],
        *defaults("uwsgi_emperor")["uwsgi_emperor_packages"],
        *defaults("python_apps", "vars")["__python_apps_packages"],
        # All of them but what `hardening_fail2ban` asks for.
        *re.findall(r"'([\w-]+)'", str(defaults("hardening", "vars")["__hardening_packages"])),
    } - {"fail2ban", "python3-systemd"}
    assert wanted <= set(stocked.PACKAGES)


def test_what_is_installed_lies_where_the_roles_look_for_it():
    tools, server = stocked.installations(13)
    assert re.fullmatch(r"/usr/local/lib/emperor-stack/tools-[0-9a-f]{12}", tools)
    assert re.fullmatch(r"/usr/local/lib/emperor-stack/pyuwsgi-13-[0-9a-f]{12}", server)
    # The roles say it as expressions; these are the parts that would have to change with them.
    assert defaults("python_apps", "vars")["__python_apps_uv"].split("[:")[1].startswith("12]")
    assert "pyuwsgi'" in defaults("uwsgi_emperor", "vars")["__uwsgi_emperor_server"]
    assert stocked.LIBRARY == "/usr/local/lib/emperor-stack"


def test_another_lock_makes_the_image_stale(monkeypatch, tmp_path):
    before = stocked.recipe(13)
    lock = tmp_path / "uv.txt"
    lock.write_text("uv==0.0.1\n")
    monkeypatch.setitem(stocked.LOCKS, "tools", lock)
    assert stocked.recipe(13) != before
