"""Let tests import the bundle's plugins as Ansible does: as the collection emperor.stack."""

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).resolve().parent.parent

init_plugin_loader([str(ROOT / "collections")])
