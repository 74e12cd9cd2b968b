"""A certificate that the host signs itself, until an authority has answered."""

from __future__ import annotations

import tempfile

from ..host import layout
from ..host.command import run
from .certificates import Certificate
from .store import App, install

#: Days that a self-signed certificate lasts; browsers take no longer ones even when they are told to trust them.
SELF_SIGNED_DAYS = 365

_REQUEST = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
O = Self-signed until an authority answers
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""


def issue_self_signed(app: App) -> Certificate:
    """Make a certificate that nobody but its owner vouches for, and let it be live."""
    with tempfile.TemporaryDirectory(dir=layout.TLS) as directory:
        with open(f"{directory}/request.ini", "w", encoding="ascii") as file:
            file.write(_REQUEST.format(names=",".join(f"DNS:{domain}" for domain in app["domains"])))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", str(SELF_SIGNED_DAYS), "-config", f"{directory}/request.ini"]
        command += ["-keyout", f"{directory}/key.pem", "-out", f"{directory}/certificate.pem"]
        run(command, what="making a self-signed certificate", timeout=60)
        with open(f"{directory}/certificate.pem", encoding="ascii") as file:
            certificate = file.read()
        with open(f"{directory}/key.pem", encoding="ascii") as file:
            key = file.read()
    return install(app["name"], certificate, key, {"source": "self_signed"})
