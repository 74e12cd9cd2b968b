"""Problems of who may log in to deploy an app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ....module_utils.host import layout
from ..faults import Fault
from .found import Controller

#: Characters of a user's name, for useradd.
LONGEST_USER = 32


def faults(app: Mapping[str, Any], where: str, controller: Controller) -> Iterator[Fault]:
    """Of a user whose name would be none, and of logins that could deploy nothing."""
    name, source = str(app.get("name") or ""), app.get("source")
    if not app.get("deploy_keys"):
        return
    if len(layout.login_user(name)) > LONGEST_USER:
        yield Fault(
            f"{where}.deploy_keys",
            f"the user that they log in as, {layout.login_user(name)}, would have more than {LONGEST_USER} characters",
            f"shorten the name of the app to {LONGEST_USER - len(layout.login_user(''))} characters",
        )
    if isinstance(source, Mapping) and source.get("git") is None:
        yield Fault(
            f"{where}.deploy_keys",
            "only an app whose code comes from git has versions that a login could deploy",
            "remove deploy_keys, or give source.git and source.version",
        )
