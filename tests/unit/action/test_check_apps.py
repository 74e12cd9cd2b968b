"""The action around the check: reading variables with Ansible's own templar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultLib, VaultSecret, VaultSecretsContext
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.action.check_apps import (
    Inventory,
    UsedOnly,
    bundle_root,
    message,
    unread,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.controller.native import (
    UNREADABLE,
    to_native,
    unreadable,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.faults import (
    Encrypted,
    NotNeeded,
    TemplateLike,
    Unresolved,
)
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.problems.found import HostApps, Problem
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.resolving import Omitted, Resolver


@pytest.mark.parametrize("value", [True, False, 1, 1.5, None, "x", [True, {"a": False}], {"b": 0}])
def test_plain_values_keep_their_type(value: Any) -> None:
    assert repr(to_native(value)) == repr(value)


def test_what_cannot_be_resolved_is_marked_at_its_place() -> None:
    templar = Templar(loader=None, variables={"known": "yes", "number": 5})
    value = {
        "good": trust_as_template("{{ known }}!"),
        "number": trust_as_template("{{ number }}"),
        "list": [trust_as_template("{{ unknown }}"), "kept"],
        "syntax": trust_as_template("{{ broken( }}"),
    }
    assert Resolver().resolved(templar, value) == {
        "good": "yes!",
        "number": 5,
        "list": [Unresolved("'unknown' is undefined"), "kept"],
        "syntax": Unresolved("unexpected '}', expected ')'"),
    }


def test_the_bundle_is_the_nearest_directory_with_an_ansible_cfg(tmp_path: Path) -> None:
    playbooks = tmp_path / "bundle" / "playbooks"
    playbooks.mkdir(parents=True)
    assert bundle_root(str(playbooks)) == str(playbooks)
    (tmp_path / "bundle" / "ansible.cfg").touch()
    assert bundle_root(str(playbooks)) == str(tmp_path / "bundle")


def test_the_message_lists_all_problems() -> None:
    problems = [Problem(("a",), "x", "r", "f"), Problem(("a", "b"), "y", "s", "two\nlines")]
    assert message("python_apps has", problems) == (
        "python_apps has 2 problems; no host was touched.\n\n"
        "host a: x\n  reason: r\n  fix:    f\n\n"
        "hosts a, b: y\n  reason: s\n  fix:\n    two\n    lines\n"
    )


def test_a_secret_that_a_template_would_change_is_marked() -> None:
    """An expression may be meant; a statement or a comment in a secret never is. What is no template stays as it is."""
    templar = Templar(loader=DataLoader(), variables={"other": "x"})
    texts = {"A": "a{# gone #}b", "B": "{% if", "C": "{{ other }}y", "D": "100% {"}
    trusted = {"blog": {name: trust_as_template(text) for name, text in texts.items()}}
    assert Resolver(statements=False).resolved(templar, trusted) == {
        "blog": {"A": TemplateLike(), "B": TemplateLike(), "C": "xy", "D": "100% {"}
    }
    assert Resolver(statements=False).resolved(templar, {"blog": texts}) == {"blog": texts}


def test_what_has_no_template_is_read_once_for_all_hosts() -> None:
    """And what has one is resolved for each of them."""
    same = {"name": "blog", "env": {"A": "b", "C": 1, "D": None, "E": "100% {"}}
    value = [same, {"name": "shop", "env": {"HOST": trust_as_template("{{ me }}"), "OTHER": ["x"]}}]
    resolver = Resolver()
    one, two = (
        resolver.resolved(Templar(loader=DataLoader(), variables={"me": me}), value) for me in ("a", "b")
    )
    assert one == [same, {"name": "shop", "env": {"HOST": "a", "OTHER": ["x"]}}]
    assert two == [same, {"name": "shop", "env": {"HOST": "b", "OTHER": ["x"]}}]
    assert one[0] is two[0] and one[1]["env"]["OTHER"] is two[1]["env"]["OTHER"]


def test_the_same_text_is_resolved_once_per_host() -> None:
    class Counting:
        count = 0

        def template(self, variable: Any) -> Any:
            self.count += 1
            return f"{variable} resolved"

    templates, text = Counting(), trust_as_template("{{ it }}")
    resolver = Resolver()
    assert resolver.resolved(templates, [text, {"a": text}]) == [
        f"{text} resolved",
        {"a": f"{text} resolved"},
    ]
    assert templates.count == 1
    resolver.resolved(templates, [text])
    assert templates.count == 2


def test_an_entry_that_a_template_omits_is_left_out() -> None:
    templar = Templar(loader=DataLoader(), variables={})
    omit = trust_as_template("{{ omit }}")
    assert Resolver().resolved(templar, {"a": [omit, 1], "b": omit, "c": {"d": omit}}) == {"a": [1], "c": {}}
    assert Resolver().resolved(templar, omit) == Omitted()


def test_variables_of_hosts_are_read_with_defaults_and_templates() -> None:
    class Variables(dict[str, Any]):
        def raw_get(self, host: str) -> Any:
            return self[host]

    a = {"number": 1, "text": trust_as_template("{{ number }}-{{ other }}"), "ansible_host": "10.0.0.1"}
    inventory = Inventory(Variables(a=a, b={"python_apps": [{"name": "blog"}]}), DataLoader())
    defaults = {"other": trust_as_template("{{ number }}0"), "text": "by default"}
    assert inventory.values("a", ("text", "none"), {**defaults, "other": 2}) == {"text": "1-2"}
    assert inventory.values("b", ("text",), defaults) == {"text": "by default"}
    assert inventory.values("b", ("text",)) == {}
    assert (inventory.declared("a").apps, inventory.declared("a").machine) == ([], "10.0.0.1")
    assert inventory.declared("b").apps == [{"name": "blog"}] and inventory.declared("b").machine == ""
    assert inventory.declared("a").variables == {*a, "hostvars"}


@pytest.fixture(scope="session")
def encrypted() -> EncryptedString:
    """A text that no given vault password decrypts."""
    if VaultSecretsContext.current(optional=True) is None:
        VaultSecretsContext.initialize(VaultSecretsContext(secrets=[]))
    return EncryptedString(ciphertext=VaultLib([("ci", VaultSecret(b"unknown"))]).encrypt("hidden").decode())


def test_what_no_password_decrypts_is_marked_as_that(encrypted: EncryptedString) -> None:
    templar = Templar(loader=DataLoader(), variables={"token": encrypted})
    secrets = {"blog": {"KEY": encrypted, "URL": trust_as_template("https://ci:{{ token }}@x"), "A": "b"}}
    assert Resolver().resolved(templar, secrets) == {
        "blog": {"KEY": Encrypted(), "URL": Encrypted(), "A": "b"}
    }


def test_only_values_of_used_apps_have_to_be_readable() -> None:
    apps = [
        {"name": "blog", "source": {"git": Encrypted()}},
        {"name": "shop", "source": {"git": Encrypted()}},
    ]
    declared = HostApps(apps=apps, secrets={"blog": {"KEY": Encrypted()}, "shop": Encrypted()})
    chosen = UsedOnly({"blog"})(declared)
    assert chosen.apps == [apps[0], {"name": "shop", "source": {"git": NotNeeded()}}]
    assert chosen.secrets == {"blog": {"KEY": Encrypted()}, "shop": NotNeeded()}
    assert UsedOnly({"*"})(declared) == declared
    only = UsedOnly(())
    assert only(declared).apps is only(declared).apps, "hosts that share their apps keep sharing them"
    assert UsedOnly(())(HostApps(secrets=Encrypted())).secrets == NotNeeded()


def test_values_that_are_not_used_are_named_in_a_warning() -> None:
    problems = [
        Problem(("a",), f"vault_python_apps_secrets.{name}", NotNeeded.reason, "") for name in "bcdef"
    ]
    (warning,) = unread(problems)
    assert (
        "vault_python_apps_secrets.b, vault_python_apps_secrets.c, vault_python_apps_secrets.d and 2 more."
        in warning
    )
    assert unread([]) == []


def test_what_does_not_use_a_secret_goes_on_without_it(encrypted: EncryptedString) -> None:
    """Apps are chosen and secrets selected without a look at what other apps have."""
    variables = {
        "apps": [
            {"name": "blog", "source": {"git": trust_as_template("{{ token }}")}},
            {"name": "shop", "source": {"git": "https://git.example.com/shop.git"}},
        ],
        "secrets": {"blog": {"KEY": encrypted}, "shop": {"KEY": "known"}},
        "token": encrypted,
    }
    templar = Templar(loader=DataLoader(), variables=variables)

    def evaluated(expression: str) -> Any:
        return to_native(templar.template(trust_as_template("{{ " + expression + " }}")))

    blog, shop = evaluated("apps | emperor.stack.choose_apps")
    assert blog == {"name": "blog", "source": {"git": UNREADABLE}} and unreadable(blog)
    assert shop == variables["apps"][1] and not unreadable(shop)  # type: ignore[index]
    assert evaluated("secrets | emperor.stack.secrets_of([apps[1]])") == {"shop": {"KEY": "known"}}
    with pytest.raises(AnsibleError):
        evaluated("secrets | emperor.stack.secrets_of([{'name': 'blog'}])")
