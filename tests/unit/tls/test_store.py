"""Certificates on a host, made and read by the real OpenSSL, with an authority that is a few lines here."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.tls import (
    acme,
    backup,
    certificates,
    renewal,
    serving,
    store,
)
from ansible_collections.emperor.stack.plugins.module_utils.tls.certificates import OrderRefused
from ansible_collections.emperor.stack.plugins.module_utils.tls.store import Unusable

HERE = "https://ca.example.com/dir"
SETTINGS: dict[str, Any] = {
    "directory": HERE,
    "email": "a@example.com",
    "key_type": "ec256",
    "preflight": True,
    "https_port": 443,
}
Pair = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path / "lib"
    for name, path in (
        ("TLS", "tls"),
        ("TLS_WANTED", "tls/wanted.json"),
        ("TLS_LOCK", "tls/lock"),
        ("TLS_ACCOUNTS", "tls/accounts"),
        ("CHALLENGES", "challenges"),
        ("TLS_AUTHORITY", "authority.crt"),
    ):
        monkeypatch.setattr(layout, name, str(base / path))
    monkeypatch.setattr(renewal, "directory_error", lambda _: None)
    monkeypatch.setattr(acme, "unreachable", lambda _: None)
    with store.locked():
        pass
    return base


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    def make(*names: str, days: int = 90) -> tuple[str, str]:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-subj", "/CN=x", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)]
            + ["-days", str(days), "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c")],
            check=True,
            capture_output=True,
        )
        return (tmp_path / "c").read_text(), (tmp_path / "k").read_text()

    return make


def app(name: str = "blog", *domains: str, **changes: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "domains": list(domains) or [f"{name}.example", f"www.{name}.example"],
        "provider": "acme",
        "challenge": "http-01",
        "dns_provider": None,
        "redirect": True,
    }
    return {**base, **changes}


class Authority:
    """Gives what it is asked for, except for domains that it refuses."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.refuses, self.said, self.orders = pair, set[str](), "", list[list[str]]()

    def __call__(self, asking: Any, domains: list[str], settings: Any, _: float) -> Any:
        self.orders.append(list(domains))
        if self.said:
            raise OrderRefused(self.said, {})
        if bad := {domain: "EOF" for domain in domains if domain in self.refuses}:
            raise OrderRefused("refused", bad)
        meta = {"source": "acme", "authority": HERE, "key_type": settings["key_type"]}
        return store.install(asking["name"], *self.pair(*domains), meta)


@pytest.fixture
def authority(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(pair)
    monkeypatch.setattr(acme, "_ask", made)
    return made


def names(name: str = "blog") -> tuple[str, ...]:
    found = store.live(name)
    assert found is not None
    return found.names


def test_a_site_has_a_certificate_before_anybody_was_asked() -> None:
    outcome = renewal.prepare([app()], SETTINGS, False)
    assert outcome["blog"]["changed"] and outcome["blog"]["source"] == "self_signed"
    assert names() == ("blog.example", "www.blog.example")
    assert os.stat(layout.certificate_key("blog")).st_mode & 0o777 == 0o600
    assert not renewal.prepare([app()], SETTINGS, False)["blog"]["changed"]


def test_a_site_under_another_name_shows_the_certificate_from_before(authority: Authority) -> None:
    renewal.prepare([app()], SETTINGS, False)
    renewal.issue()
    before = store.live("blog")
    assert before is not None and before.source == "acme"
    new = app("journal", *reversed(before.names))
    assert renewal.prepare([new], SETTINGS, True)["journal"]["changed"]
    assert store.live("journal") is None
    assert renewal.prepare([new], SETTINGS, False)["journal"]["changed"]
    assert store.live("journal") == before
    assert not renewal.prepare([new], SETTINGS, False)["journal"]["changed"]
    # The old name may go with all that it has, and nothing is ordered anew.
    store.forget("blog")
    shutil.rmtree(layout.certificates("blog"))
    assert store.live("journal") == before
    assert not renewal.issue()["journal"]["changed"] and len(authority.orders) == 1


@pytest.mark.parametrize(
    ("new", "spoilt"),
    [
        pytest.param(app("journal", "blog.example"), "", id="fewer domains"),
        pytest.param(app("journal", "blog.example", "www.blog.example", "x.example"), "", id="more domains"),
        pytest.param(
            app("journal", "blog.example", "www.blog.example", provider="self_signed"), "", id="another kind"
        ),
        pytest.param(app("journal", "blog.example", "www.blog.example"), "key.pem", id="without its key"),
    ],
)
def test_another_certificate_is_not_taken_over(
    authority: Authority, new: dict[str, Any], spoilt: str
) -> None:
    renewal.prepare([app()], SETTINGS, False)
    renewal.issue()
    if spoilt:
        os.unlink(f"{layout.live_certificate('blog')}/{spoilt}")
    assert renewal.prepare([new], SETTINGS, False)["journal"]["source"] == "self_signed"
    assert set(names("journal")) == set(new["domains"])


def test_check_mode_makes_nothing(host: Path) -> None:
    assert renewal.prepare([app()], SETTINGS, True)["blog"]["changed"]
    assert store.live("blog") is None
    assert not (host / "tls" / "wanted.json").exists()


def test_a_self_signed_certificate_follows_the_domains() -> None:
    renewal.prepare([app(provider="self_signed")], SETTINGS, False)
    new = app("blog", "new.example", provider="self_signed")
    assert renewal.prepare([new], SETTINGS, False)["blog"]["changed"]
    assert names() == ("new.example",)


def test_an_order_replaces_the_self_signed_one(authority: Authority) -> None:
    renewal.prepare([app()], SETTINGS, False)
    outcome = renewal.issue()
    assert outcome["blog"]["changed"] and not outcome["blog"]["errors"]
    assert outcome["blog"]["source"] == "acme"
    assert not renewal.issue()["blog"]["changed"]
    assert len(authority.orders) == 1


def test_a_silent_authority_is_asked_once_and_costs_no_pause(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(renewal, "directory_error", lambda _: looks.append(1) or "it does not answer")
    renewal.prepare([app(), app("shop")], SETTINGS, False)
    outcome = renewal.issue()
    assert [one["errors"] for one in outcome.values()] == [{"": "it does not answer"}] * 2
    assert len(looks) == 1 and authority.orders == []
    assert renewal.status()["blog"]["errors"] == {"": "it does not answer"}
    monkeypatch.setattr(renewal, "directory_error", lambda _: None)
    assert renewal.issue()["blog"]["source"] == "acme"
    assert renewal.status()["blog"]["errors"] == {}


def test_one_apps_refusal_is_not_anothers(authority: Authority) -> None:
    authority.refuses = {"shop.example", "www.shop.example"}
    renewal.prepare([app("shop"), app()], SETTINGS, False)
    outcome = renewal.issue()
    assert outcome["shop"]["source"] == "self_signed" and outcome["blog"]["source"] == "acme"
    assert set(outcome["shop"]["errors"]) == authority.refuses
    assert outcome["blog"]["errors"] == {}


def test_an_unreachable_domain_is_not_asked_for(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme, "unreachable", lambda domain: "nobody" if domain[0] == "w" else None)
    renewal.prepare([app()], SETTINGS, False)
    outcome = renewal.issue()
    assert authority.orders == [["blog.example"]]
    assert outcome["blog"]["errors"] == {"www.blog.example": "nobody"}
    assert outcome["blog"]["warnings"] == ["the certificate lacks www.blog.example"]
    # Found again with every run, and no order for what is there already.
    assert renewal.issue()["blog"]["errors"] == {"www.blog.example": "nobody"}
    assert len(authority.orders) == 1


def test_a_domain_that_the_authority_names_is_left_out_at_once_and_pauses(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.refuses = {"www.blog.example"}
    renewal.prepare([app()], SETTINGS, False)
    assert renewal.issue()["blog"]["errors"] == {"www.blog.example": "EOF"}
    assert authority.orders == [["blog.example", "www.blog.example"], ["blog.example"]]
    assert names() == ("blog.example",)
    again = renewal.issue()
    assert len(authority.orders) == 2
    assert "EOF (tried 1 times, next try after " in again["blog"]["errors"]["www.blog.example"]
    authority.refuses = set()
    assert renewal.issue(force=True)["blog"]["errors"] == {}
    assert names() == ("blog.example", "www.blog.example")
    assert store.problems("blog") == {}


def test_a_refused_order_pauses_until_its_time(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.said = "rateLimited"
    renewal.prepare([app()], SETTINGS, False)
    assert renewal.issue()["blog"]["errors"] == dict.fromkeys(app()["domains"], "rateLimited")
    assert len(authority.orders) == 1
    renewal.issue()
    assert len(authority.orders) == 1
    real = time.time()
    monkeypatch.setattr(renewal.time, "time", lambda: real + certificates.FIRST_PAUSE + 1)
    renewal.issue()
    assert len(authority.orders) == 2
    assert store.problems("blog")[""]["failures"] == 2


def test_a_run_out_of_patience_leaves_the_rest_to_the_timer(authority: Authority) -> None:
    renewal.prepare([app()], SETTINGS, False)
    assert "the timer will" in renewal.issue(patience=0)["blog"]["errors"][""]
    assert authority.orders == []
    assert store.problems("blog") == {}


def test_files_are_taken_when_they_fit(pair: Pair) -> None:
    certificate, key = pair("blog.example")
    files = app(provider="files", certificate=certificate, key=key)
    outcome = renewal.prepare([files], SETTINGS, False)["blog"]
    assert outcome["source"] == "files" and outcome["changed"] and not outcome["errors"]
    assert outcome["warnings"] == ["the certificate lacks www.blog.example"]
    assert not renewal.prepare([files], SETTINGS, False)["blog"]["changed"]
    assert "certificate" not in store.read_wanted()["apps"][0]
    assert "PRIVATE" not in Path(layout.TLS_WANTED).read_text()


@pytest.mark.parametrize("broken", ["key of another", "no certificate", "no key"])
def test_files_that_do_not_fit_change_nothing(pair: Pair, broken: str) -> None:
    certificate, key = pair("blog.example")
    renewal.prepare([app(provider="files", certificate=certificate, key=key)], SETTINGS, False)
    before = os.readlink(layout.live_certificate("blog"))
    other, _ = pair("other.example")
    given = {"key of another": (other, key), "no certificate": ("x", key), "no key": (certificate, "x")}[
        broken
    ]
    outcome = renewal.prepare([app(provider="files", certificate=given[0], key=given[1])], SETTINGS, False)[
        "blog"
    ]
    assert "its certificate files cannot be used: " in outcome["errors"][""]
    assert not outcome["changed"]
    assert os.readlink(layout.live_certificate("blog")) == before
    assert len(os.listdir(f"{layout.certificates('blog')}/versions")) == 1
    # Said again until it is repaired.
    assert renewal.issue()["blog"]["errors"] == outcome["errors"]


def test_few_versions_stay(pair: Pair) -> None:
    for number in range(4):
        store.install("blog", *pair(f"v{number}.example"), {"source": "acme"})
    assert names() == ("v3.example",)
    assert len(os.listdir(f"{layout.certificates('blog')}/versions")) == store.KEEP


def test_an_app_that_is_gone_is_not_renewed(authority: Authority) -> None:
    renewal.prepare([app(), app("shop")], SETTINGS, False)
    renewal.prepare([app("shop")], SETTINGS, False)
    assert list(renewal.issue()) == ["shop"]


def test_an_app_that_is_removed_is_not_renewed(authority: Authority) -> None:
    renewal.prepare([app(), app("shop")], SETTINGS, False)
    store.forget("blog")
    store.forget("other")
    assert store.read_wanted()["directory"] == SETTINGS["directory"]
    assert list(renewal.issue()) == ["shop"]


def rebuilt(host: Path) -> None:
    """All state is lost."""
    os.rename(host / "tls", host / f"lost-{time.monotonic_ns()}")
    with store.locked():
        pass


def test_a_backup_brings_certificates_and_accounts_to_a_new_host(host: Path, authority: Authority) -> None:
    account = host / "tls/accounts/ca.example.com/a@example.com"
    account.mkdir(parents=True)
    (account / "account.json").write_text("mine")
    renewal.prepare([app()], SETTINGS, False)
    renewal.issue()
    before = store.live("blog")
    data = backup.backup()
    rebuilt(host)
    renewal.prepare([app()], SETTINGS, False)
    told = backup.restore(data)
    assert told[0] == "account a@example.com at ca.example.com" and len(told) == 2
    assert store.live("blog") == before
    assert (account / "account.json").read_text() == "mine"
    assert os.stat(layout.certificate_key("blog")).st_mode & 0o777 == 0o600
    # Nothing is wanted of the authority then, and a second time there is nothing to do.
    assert not renewal.issue()["blog"]["changed"]
    assert len(authority.orders) == 1
    assert backup.restore(data) == []


def test_a_backup_does_not_replace_a_newer_certificate(pair: Pair) -> None:
    meta = {"source": "acme", "authority": HERE, "key_type": "ec256"}
    store.install("blog", *pair("blog.example", days=10), meta)
    data = backup.backup()
    store.install("blog", *pair("blog.example", days=90), meta)
    newer = store.live("blog")
    assert backup.restore(data) == []
    assert store.live("blog") == newer


def archive(name: str, **changes: Any) -> str:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as made:
        member = tarfile.TarInfo(name)
        for key, value in changes.items():
            setattr(member, key, value)
        made.addfile(member, io.BytesIO(b""))
    return base64.b64encode(data.getvalue()).decode()


@pytest.mark.parametrize(
    "data",
    [
        "not base64!",
        base64.b64encode(b"no archive").decode(),
        "",
        archive("../../etc/passwd"),
        archive("/etc/passwd"),
        archive("apps/blog/versions/20261122T000000-abcdef/other.pem"),
        archive("accounts/../../x"),
        archive("apps/blog/live", type=tarfile.SYMTYPE, linkname="/etc"),
        archive("apps/blog/live", type=tarfile.SYMTYPE, linkname="versions/../../../.."),
        archive("accounts/x", type=tarfile.LNKTYPE, linkname="/etc/shadow"),
        archive("accounts/x", type=tarfile.CHRTYPE),
    ],
)  # fmt: skip
def test_strange_archives_are_refused_whole(host: Path, data: str) -> None:
    before = sorted(os.listdir(host / "tls"))
    with pytest.raises(Unusable):
        backup.restore(data)
    assert sorted(os.listdir(host / "tls")) == before
    assert os.listdir(layout.TLS_ACCOUNTS) == []


class Lego:
    """Stands in for the program: says what it is told to, or leaves a certificate."""

    def __init__(self, pair: Pair, *script: str) -> None:
        self.pair, self.script, self.environments = pair, list(script), list[dict[str, str]]()
        self.really = store.run

    def __call__(self, command: list[str], **options: Any) -> str:
        if command[0] != "lego":
            return self.really(command, **options)
        self.environments.append(options["env"])
        said = self.script.pop(0) if self.script else ""
        if said:
            raise store.CommandFailed("the order", "lego", "exit status 1", said)
        directory = command[command.index("--path") + 1]
        domains = [command[i + 1] for i, word in enumerate(command) if word == "--domains"]
        os.makedirs(f"{directory}/certificates")
        certificate, key = self.pair(*domains)
        Path(f"{directory}/certificates/{domains[0]}.crt").write_text(certificate)
        Path(f"{directory}/certificates/{domains[0]}.key").write_text(key)
        return ""


UNKNOWN = "2026/11/22 23:40:41 Could not obtain: urn:ietf:params:acme:error:accountDoesNotExist :: unknown"


def account(host: Path, text: str) -> Path:
    made = host / "tls/accounts/ca.example.com/a@example.com"
    made.mkdir(parents=True)
    (made / "account.json").write_text(text)
    return made


def test_an_authority_that_forgot_the_account_is_no_dead_end(
    host: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = account(host, '{"mine": 1}')
    monkeypatch.setattr(acme, "run", Lego(pair, UNKNOWN))
    renewal.prepare([app()], SETTINGS, False)
    assert renewal.issue()["blog"]["source"] == "acme"
    assert not mine.exists()
    assert Path(f"{mine}.unknown/account.json").read_text() == '{"mine": 1}'


def test_an_account_that_is_refused_twice_is_a_refusal(
    host: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(host, "{}")
    lego = Lego(pair, UNKNOWN, UNKNOWN, UNKNOWN)
    monkeypatch.setattr(acme, "run", lego)
    renewal.prepare([app()], SETTINGS, False)
    assert "accountDoesNotExist" in renewal.issue()["blog"]["errors"]["blog.example"]
    assert len(lego.environments) == 2


def test_a_half_written_account_is_forgotten(host: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = account(host, '{"mine"')
    monkeypatch.setattr(acme, "run", Lego(pair))
    renewal.prepare([app()], SETTINGS, False)
    assert renewal.issue()["blog"]["source"] == "acme"
    assert not (mine / "account.json").exists()


def test_a_private_authority_and_credentials_reach_the_client(
    host: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(layout.TLS_AUTHORITY).write_text("x")
    lego = Lego(pair)
    monkeypatch.setattr(acme, "run", lego)
    dns = app(challenge="dns-01", dns_provider="exec", environment={"EXEC_PATH": "/x"})
    renewal.prepare([dns], SETTINGS, False)
    assert renewal.issue()["blog"]["source"] == "acme"
    assert lego.environments[0]["EXEC_PATH"] == "/x"
    assert lego.environments[0]["LEGO_CA_CERTIFICATES"] == layout.TLS_AUTHORITY


def test_drift_is_what_a_run_would_do_or_say(
    host: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, str] = {}
    monkeypatch.setattr(serving, "served", lambda domain, _port: shown.get(domain))
    wanted = [app()]
    before = sorted(host.rglob("*"))
    assert any("there is no certificate" in line for line in renewal.drift(wanted, SETTINGS))
    assert sorted(host.rglob("*")) == before
    renewal.prepare(wanted, SETTINGS, False)
    assert any("self-signed" in line for line in renewal.drift(wanted, SETTINGS))
    renewal.issue()
    assert renewal.drift(wanted, SETTINGS) == ["nginx does not serve the certificate of blog.example"]
    live = store.live("blog")
    assert live is not None
    shown["blog.example"] = live.fingerprint
    assert renewal.drift(wanted, SETTINGS) == []
    assert renewal.drift(wanted, {**SETTINGS, "key_type": "rsa2048"}) != []
    assert renewal.drift([app("blog", "blog.example")], SETTINGS) != []
    assert renewal.drift([], SETTINGS) == [f"{layout.TLS_WANTED} differs"]
    monkeypatch.setattr(certificates.Certificate, "due", lambda _self, _now: True)
    assert any("it ends on" in line for line in renewal.drift(wanted, SETTINGS))


def test_drift_tells_of_an_order_that_was_refused(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "stale", lambda _: [])
    wanted = [app("blog", "blog.example", "www.blog.example")]
    renewal.prepare(wanted, SETTINGS, False)
    renewal.issue()
    assert renewal.drift(wanted, SETTINGS) == []
    authority.refuses = {"new.example"}
    more = [app("blog", "blog.example", "www.blog.example", "new.example")]
    renewal.prepare(more, SETTINGS, False)
    renewal.issue()
    assert any("new.example" in line for line in renewal.drift(more, SETTINGS))


def test_on_a_balancer_haproxy_takes_up_the_certificates(
    host: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SETTINGS, "service": "haproxy.service", "challenge_port": 8402, "preflight": True}
    told: list[list[str]] = []
    shown: dict[str, str] = {}
    monkeypatch.setattr(serving, "served", lambda domain, _port: shown.get(domain, ""))

    def reload(command: list[str], **_: object) -> str:
        told.append(command)
        live = store.live("blog")
        assert live is not None
        shown["blog.example"] = live.fingerprint
        return ""

    monkeypatch.setattr(serving, "run", reload)
    renewal.prepare([app()], settings, False)
    # Nothing could answer a question of its own before the order.
    renewal.issue()
    assert renewal.drift([app()], settings) == ["HAProxy does not serve the certificate of blog.example"]
    assert serving.settle() == (True, [])
    assert told == [["systemctl", "reload", "haproxy.service"]]
    # HAProxy looks for the key beside the certificate.
    directory = Path(layout.live_certificate("blog"))
    assert (directory / "certificate.pem.key").read_text() == (directory / "key.pem").read_text()


def test_a_balancer_that_was_a_host_of_apps_finds_the_keys_of_its_certificates() -> None:
    """An earlier version, or a host that serves by nginx, put no key beside the certificate."""
    renewal.prepare([app()], SETTINGS, False)
    beside = Path(layout.live_certificate("blog")) / store.KEY_OF_HAPROXY
    beside.unlink()
    assert not renewal.prepare([app()], SETTINGS, False)["blog"]["changed"] and not beside.exists()
    balancer = {**SETTINGS, "service": "haproxy.service"}
    assert renewal.prepare([app()], balancer, True)["blog"]["changed"] and not beside.exists()
    assert renewal.prepare([app()], balancer, False)["blog"]["changed"]
    assert beside.read_text() == beside.with_name("key.pem").read_text()
    assert not renewal.prepare([app()], balancer, False)["blog"]["changed"]
