"""Write the entry of a new app into an inventory: `make app NAME=blog DOMAIN=blog.example.com SOURCE=https://…`."""

from __future__ import annotations

import argparse
import os
import secrets as random
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..console import Stop, note, run, step
from ..project import ROOT, VENV

sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import (
    APPS,
    SECRETS,
    Controller,
    HostApps,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.inventory import problems

from .insert import into_list, into_map, keys_of_map, names_in_list
from .recognise import Recognised, recognise

#: Where the password is that `make app` makes when there is none yet. Git ignores it.
PASSWORD = ROOT / ".vault_password"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make app", description=__doc__)
    for name in ("name", "domain", "source", "version", "callable", "inventory"):
        parser.add_argument(f"--{name}", default="")
    given = parser.parse_args(arguments)
    try:
        _write(given)
    except Stop as stop:
        print(f"make app: {stop}", file=sys.stderr)
        return 1
    return 0


def _write(given: argparse.Namespace) -> None:
    name = given.name or _asked("NAME", "name of the app, also its Unix user", "blog")
    domain = given.domain or _asked("DOMAIN", "domain of the app", "blog.example.com")
    source = given.source or _asked(
        "SOURCE", "git URL, or a directory of this machine", "https://git.example.com/blog.git"
    )
    directory = Path(given.inventory).resolve() / "group_vars" / "app_hosts"
    if not directory.is_dir():
        raise Stop(
            f"{given.inventory} has no group_vars/app_hosts",
            "Make an inventory first: cp -r inventories/production inventories/mine, then add INVENTORY=inventories/mine.",
        )
    step(f"Reading the source code of {name}")
    where, recognised = _look(source, given.version)
    entry = _entry(name, domain, where, recognised, given.callable)
    _check(entry)
    apps, vault = directory / "apps.yml", directory / "vault.yml"
    changed = into_list(_text(apps), APPS, _as_yaml([entry]))
    if names_in_list(changed, APPS).count(name) > 1:
        raise Stop(f"{apps} has an app {name} already", "Change that entry, or choose another NAME.")
    for line in _store_secrets(vault, name, entry.get("secrets", [])):
        note(line)
    _replace(apps, changed)
    step(f"Added to {_shown(apps)}")
    print(textwrap.indent(_as_yaml([entry]), "    "))
    _next(given.inventory, name, entry)


def _asked(variable: str, what: str, example: str) -> str:
    if not sys.stdin.isatty():
        raise Stop(f"{variable} is missing: the {what}", f"Add it, for example {variable}={example}.")
    return input(f"{variable} ({what}, for example {example}): ").strip()


def _look(source: str, version: str) -> tuple[dict[str, str], Recognised | None]:
    """The app's `source`, and what its code is. A git repository is fetched into a directory of its own."""
    if Path(source).expanduser().is_dir():
        path = Path(source).expanduser().resolve()
        return {"path": str(path)}, recognise(path)
    with tempfile.TemporaryDirectory() as place:
        run(["git", "clone", "--quiet", "--", source, place], timeout=600)
        if not version:
            tag = run(["git", "-C", place, "describe", "--tags", "--abbrev=0"], check=False)
            branch = run(["git", "-C", place, "branch", "--show-current"])
            version = tag.stdout.strip() if tag.returncode == 0 else branch.stdout.strip()
        run(["git", "-C", place, "checkout", "--quiet", "--detach", version])
        return {"git": source, "version": version}, recognise(Path(place))


def _entry(
    name: str, domain: str, source: Mapping[str, str], recognised: Recognised | None, named: str
) -> dict[str, Any]:
    keys = dict(recognised.keys) if recognised else {}
    if named:
        kind = "asgi" if "asgi" in keys else "wsgi"
        keys = {
            kind: named,
            **{key: value for key, value in keys.items() if key not in ("wsgi", "asgi", "paste")},
        }
    elif not recognised:
        raise Stop(
            "no Django, Flask, FastAPI, Pyramid or other app was recognised in the code",
            "Say which object serves requests: CALLABLE=package.module:application.",
        )
    if recognised:
        note(f"{recognised.framework}: {', '.join(f'{key} {value}' for key, value in keys.items())}")
    entry = {"name": name, "domains": [domain], "source": dict(source), **keys}
    if recognised and recognised.secrets:
        entry["secrets"] = recognised.secrets
    return entry


def _check(entry: Mapping[str, Any]) -> None:
    secrets = {entry["name"]: dict.fromkeys(entry.get("secrets", []), "x")}
    found = problems({"new": HostApps(apps=[entry], secrets=secrets)}, Controller(str(ROOT)))
    if found:
        raise Stop("the entry is invalid:\n" + "\n".join(map(str, found)), "Nothing was written.")


def _store_secrets(vault: Path, name: str, secrets: Sequence[str]) -> list[str]:
    """Encrypt a value for each of *secrets* and add it to the *vault*. What there is to say of it."""
    if not secrets:
        return []
    text = _text(vault)
    if text.startswith("$ANSIBLE_VAULT"):
        raise Stop(
            f"{_shown(vault)} is encrypted as a whole",
            f"Add values for {', '.join(secrets)} of {name} by ansible-vault edit, or encrypt values one by one: "
            "docs/inventories.md.",
        )
    if name in keys_of_map(text, SECRETS):
        # Of an earlier run that was killed, or of an app that has gone.
        return [f"{_shown(vault)} has values for {name} already, which stay"]
    said = []
    if not os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") and not PASSWORD.exists():
        descriptor = os.open(PASSWORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, random.token_urlsafe(32).encode() + b"\n")
        os.close(descriptor)
        said.append(
            "made .vault_password, which decrypts your secrets: keep a copy in a safe place, and out of git"
        )
    lines = [f"{name}:"]
    for secret in filter(_can_be_random, secrets):
        lines.append(textwrap.indent(_encrypted(secret, random.token_urlsafe(50)).rstrip(), "  "))
        said.append(f"{secret}: a random value")
    if len(lines) == 1:
        lines = [f"{name}: {{}}"]
    _replace(vault, into_map(text, SECRETS, "\n".join(lines) + "\n"))
    return said


def _replace(path: Path, text: str) -> None:
    """Replace the file at once: an inventory is not lost half-way."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    if path.exists():
        shutil.copymode(path, temporary)
    os.replace(temporary, path)


def _can_be_random(secret: str) -> bool:
    """Whether *secret* is a key that only the app itself uses, by its name."""
    return secret.endswith("SECRET_KEY")


def _encrypted(name: str, value: str) -> str:
    options = (
        [] if os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") else ["--vault-password-file", str(PASSWORD)]
    )
    program = str(VENV / "bin" / "ansible-vault")
    return run([program, "encrypt_string", *options, "--stdin-name", name], input=value, cwd=str(ROOT)).stdout


def _next(inventory: str, name: str, entry: Mapping[str, Any]) -> None:
    step("Next")
    if not os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") and entry.get("secrets"):
        note("export ANSIBLE_VAULT_PASSWORD_FILE=.vault_password")
    for secret in entry.get("secrets", []):
        if not _can_be_random(secret):
            note(
                f"printf %s VALUE | ansible-vault encrypt_string --stdin-name {secret}    # the output goes to vault.yml"
            )
    note(
        "read the entry again, and add health: {path: …}: each release then has to answer there before it gets traffic"
    )
    note(f"ansible-playbook -i {inventory} playbooks/check.yml")
    note(
        f"ansible-playbook -i {inventory} site.yml    # a first time; from then on playbooks/deploy.yml -e app={name}"
    )


def _as_yaml(value: Any) -> str:
    """*value* as YAML, with short maps and lists on one line."""

    class Dumper(yaml.SafeDumper):
        pass

    def pairs(dumper: yaml.SafeDumper, data: dict[str, Any]) -> yaml.Node:
        short = "name" not in data
        return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=short)

    def items(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=isinstance(data[0], str))

    Dumper.add_representer(dict, pairs)
    Dumper.add_representer(list, items)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, width=4096, allow_unicode=True)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
