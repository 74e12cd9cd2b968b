"""The fields of who may deploy an app by SSH."""

from __future__ import annotations

from ..kinds import Field, ListOf, Text
from ..rules import logins

FIELDS = (
    Field(
        "deploy_keys",
        ListOf(
            Text(
                logins.public_key,
                "public key of SSH: one line of a .pub file",
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNjj7Eb4OTDwSxQFUCE28OoLcHVuCFgpzbHLcBSYVF7 ci",
            ),
            unique=True,
        ),
        "Public keys that may log in as `deploy_<name>` and do nothing but deploy versions of this app, roll it back and "
        "see its status and history: `ssh deploy_blog@host deploy v1.5`. The history shows the key's comment. Where "
        "`source.git` is `file:///var/lib/emperor-stack/pushed/<name>.git`, `git push deploy_blog@host:blog` deploys too.",
        'deploy_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNjj7Eb4OTDwSxQFUCE28OoLcHVuCFgpzbHLcBSYVF7 ci"]',
        default=(),
    ),
)
