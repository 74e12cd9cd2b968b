"""Passwords and keys of the fleet's services: derived from one secret, so that the controller keeps no state of them."""

from __future__ import annotations

import base64
import hashlib
import hmac

#: Rounds of PBKDF2 in what PostgreSQL stores of a password; its own default.
ROUNDS = 4096

#: Characters of the secret: what is derived from less could be guessed.
SHORTEST = 32


class TooShort(ValueError):
    """The secret is missing or too short."""


def of(secret: str, *purpose: str) -> bytes:
    """32 bytes for *purpose*, which nobody can compute without *secret*. Raises TooShort."""
    if len(secret) < SHORTEST:
        raise TooShort(
            f"vault_services_secret is missing or shorter than {SHORTEST} characters. Set it for all hosts, in a vaulted "
            "file; openssl rand -hex 32 prints one"
        )
    return hmac.new(secret.encode(), "\0".join(("emperor-stack", *purpose)).encode(), hashlib.sha256).digest()


def password(secret: str, *purpose: str) -> str:
    """43 characters that need no quoting in a URL."""
    return base64.urlsafe_b64encode(of(secret, "password", *purpose)).decode().rstrip("=")


def verifier(secret: str, *purpose: str) -> str:
    """What PostgreSQL stores of `password` (RFC 5802): by it a server checks the password, but nobody can log in."""
    salt = of(secret, "salt", *purpose)[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password(secret, *purpose).encode(), salt, ROUNDS)

    def keyed(text: bytes) -> bytes:
        return hmac.new(salted, text, hashlib.sha256).digest()

    stored = hashlib.sha256(keyed(b"Client Key")).digest()
    salt_text, stored_text, server_text = (
        base64.b64encode(part).decode() for part in (salt, stored, keyed(b"Server Key"))
    )
    return f"SCRAM-SHA-256${ROUNDS}:{salt_text}${stored_text}:{server_text}"
