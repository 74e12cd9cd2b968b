"""The fields of `tls`: certificates, and what browsers are told about them."""

from __future__ import annotations

from ..kinds import Choice, Field, Flag, Number, Section, Text
from ..rules import paths, servers

TLS = Section(
    (
        Field(
            "provider",
            Choice(("acme", "files", "self_signed", "none")),
            "Source of the certificate. `acme`: a certificate authority, configured by the role's `tls_acme_*` "
            "variables; until the authority has answered, the site has a self-signed certificate. `files`: from"
            " the controller. `self_signed`: made on the host. `none`: plain HTTP, for example behind a proxy "
            "that terminates TLS.",
            "provider: acme",
            default="none",
        ),
        Field(
            "files",
            Section(
                (
                    Field(
                        "certificate",
                        Text(paths.controller_path, "file on the controller", "secrets/blog.crt", show=False),
                        "Certificate in PEM, followed by its intermediate certificates.",
                        "certificate: secrets/blog.crt",
                    ),
                    Field(
                        "key",
                        Text(paths.key_path, "file on the controller", "secrets/blog.key", show=False),
                        "Private key in PEM, without a passphrase; the file may be encrypted by ansible-vault.",
                        "key: secrets/blog.key",
                    ),
                )
            ),
            "Certificate and key for `provider: files`. Relative paths start at the root of this repository.",
            "files: {certificate: secrets/blog.crt, key: secrets/blog.key}",
        ),
        Field(
            "challenge",
            Choice(("http-01", "dns-01")),
            "How the authority validates the domains: by a file that it fetches on port 80, or by a DNS record,"
            " which needs no open port.",
            "challenge: dns-01",
            default="http-01",
        ),
        Field(
            "dns_provider",
            Text(servers.dns_provider, "name that `lego dnshelp` lists", "hetzner"),
            "DNS provider of the domains, for `dns-01`. Put its credentials into `tls_dns_environment`.",
            "dns_provider: hetzner",
        ),
        Field(
            "redirect",
            Flag(),
            "Whether plain HTTP redirects to HTTPS.",
            "redirect: false",
            default=True,
        ),
        Field(
            "hsts",
            Section(
                (
                    Field(
                        "max_age",
                        Number(0, 63072000, "seconds"),
                        "How long a browser refuses plain HTTP and invalid certificates after its last visit. "
                        "It cannot be revoked earlier; 0 revokes it for browsers that visit again. Without it, "
                        "no header is sent.",
                        "max_age: 63072000",
                    ),
                    Field(
                        "subdomains",
                        Flag(),
                        "Also cover all names below the domains, including those that other machines serve.",
                        "subdomains: true",
                        default=False,
                    ),
                    Field(
                        "preload",
                        Flag(),
                        "Allow browsers to build it in: practically irrevocable.",
                        "preload: true",
                        default=False,
                    ),
                )
            ),
            "Strict-Transport-Security, off unless `max_age` is given. The app's own header takes precedence.",
            "hsts: {max_age: 63072000}",
        ),
    )
)
