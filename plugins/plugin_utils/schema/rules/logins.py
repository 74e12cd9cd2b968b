"""Who may log in to deploy: public keys of SSH."""

from __future__ import annotations

import base64
import binascii
import re

from ....module_utils.values.texts import Wrong

#: Kinds of keys that today's sshd accepts: ssh-dss is none of them.
KINDS = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def public_key(text: str) -> Wrong | None:
    """One line of a .pub file, without options before it."""
    if "PRIVATE KEY" in text:
        return Wrong("this is a private key: take the file that ends in .pub, and never show the other one")
    kind, _, rest = text.partition(" ")
    if kind not in KINDS:
        known = next((name for name in KINDS if f"{name} " in text), "")
        reason = f"it must be a public key, which begins with one of {', '.join(KINDS[:3])} and others"
        if known:
            reason = "it must begin with the kind of the key: options before it are set by Emperor Stack"
        return Wrong(reason, text[text.index(known) :] if known and not text.startswith("#") else "")
    body, _, comment = rest.partition(" ")
    try:
        length = len(kind).to_bytes(4, "big")
        whole = base64.b64decode(body, validate=True)
        if not whole.startswith(length + kind.encode()) or len(whole) < len(kind) + 4 + 32:
            return Wrong("the key is damaged or cut: copy the whole line of the .pub file")
    except (binascii.Error, ValueError):
        return Wrong("the key is damaged or cut: copy the whole line of the .pub file")
    if not re.fullmatch(r"[A-Za-z0-9@._+:/ -]{0,64}", comment):
        return Wrong(
            "its comment, which the history shows, may have letters, digits, blanks and @ . _ + : / - only"
        )
    return None
