"""A controller that keeps secrets of every kind in a vault, for a host with a second Python."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploying import Stack

#: Where the second Python of the test host lies: one of another Debian release, unpacked beside the host's own.
OLDER = "3.11"
OLDER_PATH = "/opt/python3.11/usr/bin/python3.11"


def tricky(seed: int, count: int) -> dict[str, str]:
    """Secrets of every kind that a text can have: what YAML, JSON, Jinja, a shell or an ini would take for its own."""
    chance = random.Random(seed)
    known = [
        "true", "yes", "null", "~", "1", "1.10", "0x1f", "1e3", "2026-11-22", "[]", "{}", '{"a": 1}', "blog", "good",
        "a\nb", "a\r\nb\r", "\n", " ", "  lead and trail  ", "\t", "tab\tinside", "trail\n\n", "{{ 7 * 7 }}",
        "{{ undefined_here }}", "{% if", "{# gone #}", "{#", "%", "%n", "100%", "$(hostname)", "`id`", "$HOME", "${HOME}",
        "@(/etc/passwd)", "'", '"', "'''", "\\", "\\n", "\\\\", "a'b\"c", "#", "a # b", ": ", "- a", "! a", "!unsafe x",
        "&a", "*a", "|", ">", "é", "日本語", "🎉", "\u2028", "\u0085", "\ufeff", "\x01\x1f\x7f", "\u200b", "e\u0301",
        "********", "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", "x" * 65536, "é" * 32768, "-----BEGIN KEY-----\nAAA=\n---\n",
    ]  # fmt: skip
    alphabet = (
        [chr(code) for code in range(1, 0x180)]
        + list("{}%#$()`'\"\\ \n\r\t=,:;[]") * 6
        + ["日", "🎉", "\uffff"]
    )
    while len(known) < count:
        known.append("".join(chance.choices(alphabet, k=chance.randint(1, 60))))
    return {f"S{number:03}": value for number, value in enumerate(known)}


@dataclass
class Vaulted(Stack):
    """A controller whose secrets stand in a file that ansible-vault encrypted, each marked as no template."""

    #: The encrypted files, by what is in them.
    vaults: dict[str, Path] = field(default_factory=dict)

    def command(self, playbook: str, *words: str, **extra: object) -> list[str]:
        options = ["--vault-password-file", str(self.directory / "vault_password")]
        return super().command(playbook, "-e", f"@{self._vault(options)}", *options, *words, **extra)

    def _vault(self, options: list[str]) -> Path:
        """The file with the secrets as they are now."""
        lines = ["vault_python_apps_secrets:"]
        for app, values in self.secrets.items():
            lines += [
                f"  {app}:",
                *(f"    {name}: {quoted(value)}" for name, value in values.items()),
            ]
        text = "\n".join(lines)
        if text not in self.vaults:
            (self.directory / "vault_password").write_text("only-for-this-test\n")
            vault = self.directory / f"vault-{time.monotonic_ns()}.yml"
            vault.write_text(text)
            program = Path(sys.executable).with_name("ansible-vault")
            subprocess.run([program, "encrypt", *options, str(vault)], check=True, capture_output=True)
            self.vaults[text] = vault
        return self.vaults[text]


class VaultedByApp(Stack):
    """A controller where each app's secrets are encrypted one by one, with a vault password of the app's own."""

    def command(self, playbook: str, *words: str, **extra: object) -> list[str]:
        lines = ["vault_python_apps_secrets:"]
        for app, values in self.secrets.items():
            lines.append(f"  {app}:")
            for name, value in values.items():
                lines += textwrap.indent(self._encrypted(app, name, value), "    ").splitlines()
        path = self.directory / f"vault-{time.monotonic_ns()}.yml"
        path.write_text("\n".join(lines))
        return super().command(playbook, "-e", f"@{path}", *words, **extra)

    def vault_id(self, app: str) -> str:
        """The value of --vault-id for *app*."""
        password = self.directory / f"password-of-{app}"
        password.write_text(f"only-for-{app}\n")
        return f"{app}@{password}"

    def _encrypted(self, app: str, name: str, value: str) -> str:
        program = Path(sys.executable).with_name("ansible-vault")
        command = [program, "encrypt_string", "--vault-id", self.vault_id(app), "--name", name, value]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def quoted(text: str) -> str:
    """*text* in YAML, by escapes where it is no letter or digit.

    Marked as no template where it looks like one; elsewhere not, as Ansible makes a number of `!unsafe "1"`.
    """
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return (
        ("!unsafe " if "{" in text else "")
        + '"'
        + "".join(c if c in plain else f"\\U{ord(c):08x}" for c in text)
        + '"'
    )
