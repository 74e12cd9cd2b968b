"""Templates rendered as Ansible renders them, in milliseconds and without a host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parent.parent.parent

#: What a play has gathered.
FACTS = {"distribution": "Debian", "distribution_major_version": "12"}

Render = Callable[..., str]


def role_variables(role: str) -> dict[str, Any]:
    """The role's defaults and vars, in Ansible's order."""
    loader = DataLoader()
    found: dict[str, Any] = {"ansible_facts": FACTS, "inventory_hostname": "host.example"}
    for part in ("defaults", "vars"):
        path = ROOT / "roles" / role / part / "main.yml"
        if path.exists():
            found.update(loader.load_from_file(str(path), trusted_as_template=True) or {})
    return found


@pytest.fixture
def render() -> Render:
    """`render("nginx", "vhost.conf.j2", site={…})`: a role's template with its defaults and the given variables.

    Block handling is that of `emperor.stack.file_set`.
    """

    def rendered(role: str, template: str, /, **variables: Any) -> str:
        templates = ROOT / "roles" / role / "templates"
        loader = DataLoader()
        loader.set_basedir(str(templates))
        templar = Templar(loader=loader, variables={**role_variables(role), **variables})
        templar = templar.copy_with_new_env(searchpath=[str(templates)])
        text = trust_as_template((templates / template).read_text())
        return str(templar.template(text, overrides={"trim_blocks": True, "lstrip_blocks": True}))

    return rendered


@pytest.fixture
def role_value() -> Callable[..., Any]:
    """`role_value("nginx", "__nginx_files", nginx_sites=[…])`: a variable of a role, resolved."""

    def resolved(role: str, name: str, /, **variables: Any) -> Any:
        everything = {**role_variables(role), **variables}
        return Templar(loader=DataLoader(), variables=everything).template(
            trust_as_template(f"{{{{ {name} }}}}")
        )

    return resolved
