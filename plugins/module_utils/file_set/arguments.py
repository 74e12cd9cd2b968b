"""The arguments of module `file_set`, which `drift` validates too."""

from __future__ import annotations

from typing import Any

from . import items, manifest


def argument_spec() -> dict[str, Any]:
    return _spec({})


def drift_spec() -> dict[str, Any]:
    """Those of a question of `drift`, which may have the sha256 of a file in place of its content."""
    return _spec({"sha256": {"type": "str"}})


def _spec(more: dict[str, Any]) -> dict[str, Any]:
    item = {
        "path": {"type": "str", "required": True},
        "content": {"type": "str"},
        "link": {"type": "str"},
        "directory": {"type": "bool", "default": False},
        "touch": {"type": "bool", "default": False},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "sensitive": {"type": "bool", "default": False},
        "part": {"type": "str"},
        **items.OF_THE_CONTROLLER,
        **more,
    }
    service = {
        "unit": {"type": "str", "required": True},
        "replaces": {"type": "list", "elements": "str", "default": []},
        "log": {"type": "str", "default": ""},
    }
    return {
        "name": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "dict", "required": True, "options": item},
        "prune": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "directory": {"type": "str", "required": True},
                "pattern": {"type": "str", "default": "*"},
                "warning": {"type": "str"},
                "known": {"type": "list", "elements": "str", "default": []},
                "below": {"type": "bool", "default": False},
            },
        },
        "tree": {"type": "str"},
        "validate": {"type": "str"},
        "aside": {"type": "list", "elements": "str", "default": []},
        "verify": {"type": "str"},
        "running": {"type": "str"},
        "apply": {"type": "str"},
        "present": {"type": "list", "elements": "str", "default": []},
        "units": {"type": "list", "elements": "str", "default": []},
        "service": {"type": "dict", "options": service},
        "manifests": {"type": "str", "default": manifest.MANIFESTS},
    }
