"""Problems with the values of secrets, and messages that tell nothing of one."""

from __future__ import annotations

import datetime
import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ....module_utils.host import masking
from ..faults import Fault, Hidden, Unresolved, closest, given, member, unresolved
from ..rules import environment, visitors
from . import databases, traffic
from .entries import good_items, name_of, present, schema_of
from .found import SECRETS, HostApps, Problem

#: Where a message cuts a text off; the second where it is quoted as JSON.
ELLIPSES = ("…", "\\u2026")


def hiding(faults: list[Fault], app: Any, where: str, secrets: list[str]) -> Iterator[Fault]:
    """*faults*, where those of a value with a secret in it tell nothing of it: a better text would be made of it."""
    masked = _masked(app, [secret.lower() for secret in secrets])
    hidden = {
        fault.where: fault
        for fault in schema_of(app).faults(masked, where, "")
        if fault.reason == Hidden.reason
    }
    for fault in faults:
        yield hidden.get(fault.where, fault)


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        return Hidden() if any(secret in value.lower() for secret in secrets) else value
    if isinstance(value, Mapping):
        return {key: _masked(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, secrets) for item in value]
    return value


# secrets


def secret_faults(declared: HostApps, known: set[str]) -> Iterator[Fault]:
    secrets = {} if declared.secrets is None else declared.secrets
    if isinstance(secrets, Unresolved):
        yield unresolved(secrets, SECRETS)
        return
    if not isinstance(secrets, Mapping):
        reason = f"this is {given_privately(secrets)}, but must be a map of apps"
        yield Fault(SECRETS, reason, f"{SECRETS}:\n  blog:\n    SECRET_KEY: …")
        return
    for name in secrets:
        if name not in known:
            near = closest(name, known) if isinstance(name, str) else ""
            yield Fault(
                f"{SECRETS}{member(str(name))}",
                "no host has an app with this name",
                f"did you mean {near}?" if near else "remove it, or add the app",
            )
    for where, app in present(declared.apps):
        if name := name_of(app):
            yield from _app_secret_faults(app, where, name, secrets.get(name))


def _app_secret_faults(app: Mapping[str, Any], where: str, name: str, values: Any) -> Iterator[Fault]:
    place = f"{SECRETS}{member(name)}"
    if isinstance(values, Unresolved):
        yield unresolved(values, place)
        return
    if values is not None and not isinstance(values, Mapping):
        yield Fault(
            place,
            f"this is {given_privately(values)}, but must be a map of names to values",
            f"{SECRETS}:\n  {name}:\n    SECRET_KEY: …",
        )
        return
    values = values or {}
    names = dict(good_items(app.get("secrets"), environment.env_name))
    if (url := databases.secret_of(app)) and values.get(url) is None:
        fix = f"{SECRETS}:    # in a file encrypted by ansible-vault\n  {name}:\n    {url}: postgresql://…"
        yield Fault(f"{where}.database.url", f"{url} has no value in {place}", fix)
    missing = [(index, secret) for index, secret in names.items() if values.get(secret) is None]
    for index, secret in missing:
        yield Fault(
            f"{where}.secrets[{index}]",
            f"{secret} has no value in {place}",
            f"{SECRETS}:    # in a file encrypted by ansible-vault\n  {name}:\n    {secret}: …",
        )
    hashes = set(traffic.secret_names(app))
    for secret in sorted(hashes):
        if values.get(secret) is None:
            reason = f"{secret} has no value in {place}"
            fix = f"{SECRETS}:    # in a file encrypted by ansible-vault\n  {name}:\n    {secret}: …    # openssl passwd -6"
            yield Fault(f"{where}.users", reason, fix)
    for key, value in values.items():
        absent = [secret for _, secret in missing]
        yield from _secret_fault(
            f"{place}{member(str(key))}", key, value, {*names.values(), *hashes, url}, absent
        )
        if key in hashes and isinstance(value, str) and (wrong := visitors.password_hash(value)):
            fix = f"{key}: $6$…    # what `openssl passwd -6` prints"
            yield Fault(f"{place}{member(str(key))}", wrong.reason, fix)


def _secret_fault(
    place: str, key: Any, value: Any, declared: set[str], missing: list[str]
) -> Iterator[Fault]:
    if key not in declared:
        near = closest(key, missing or declared) if isinstance(key, str) else ""
        fix = f"did you mean {near}?" if near else f"secrets: [{key}]    # in the app, or remove the value"
        yield Fault(place, "there is a value, but the app does not list this name in its `secrets`", fix)
    elif isinstance(value, Unresolved):
        yield unresolved(value, place)
    elif value is not None and not isinstance(value, str):
        yield Fault(
            place, f"this is {given_privately(value)}, but must be a text", f'{key}: "…"    # with quotes'
        )
    elif isinstance(value, str) and (wrong := environment.secret_value(value)):
        yield Fault(place, wrong.reason, f"{key}: …    # in a file encrypted by ansible-vault")


def given_privately(value: Any) -> str:
    """What YAML made of a secret, without its value."""
    if isinstance(value, bool):
        return "a boolean (YAML also reads unquoted yes, no, on and off as booleans)"
    if isinstance(value, int | float | datetime.date):
        return "a number or a date"
    return given(value)


def without_secrets(listed: list[Problem], fleet: Mapping[str, HostApps]) -> list[Problem]:
    """The last line of defence: a secret that a template carried into another field is not printed either."""
    if not listed:
        return listed
    beginnings: dict[str, list[str]] = defaultdict(list)
    for form in secret_forms(fleet.values()):
        beginnings[_beginning(form)].append(form)

    # Mostly one length: few letters become two in lower case.
    lengths = {len(start) for start in beginnings}

    def clean_text(text: str) -> str:
        # A fleet has thousands of secrets, and a text hardly ever the beginning of one.
        small = text.lower()
        starts = {small[at : at + length] for at in range(len(small)) for length in lengths}
        starts &= beginnings.keys()
        forms = [form for start in starts for form in beginnings[start]]
        return functools.reduce(_hidden, sorted(forms, key=len, reverse=True), text)

    def clean(problem: Problem) -> Problem:
        where, reason, fix = map(clean_text, (problem.where, problem.reason, problem.fix))
        fix = fix if where == problem.where else "remove the secret from this name"
        return replace(problem, where=where, reason=reason, fix=fix)

    return [clean(problem) for problem in listed]


def _beginning(form: str) -> str:
    return form[: masking.SHORTEST_HIDDEN].lower()


def secret_forms(hosts: Iterable[HostApps]) -> list[str]:
    """The values of all secrets, as they are and as messages quote them; the longest first."""
    values = {value for host in hosts for value in _leaves(host.secrets)}
    return sorted(masking.forms(values), key=len, reverse=True)


def _hidden(text: str, secret: str) -> str:
    """*text* with *secret* masked, also where it was cut off by an ellipsis or written in small letters."""
    start = 0
    while (start := text.lower().find(_beginning(secret), start)) >= 0:
        end = start
        while (
            end < len(text) and end - start < len(secret) and text[end].lower() == secret[end - start].lower()
        ):
            end += 1
        if end - start == len(secret) or text.startswith(ELLIPSES, end):
            text = f"{text[:start]}{masking.MASK}{text[end:]}"
            start += len(masking.MASK)
        else:
            start += 1
    return text


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
