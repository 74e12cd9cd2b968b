"""What of a URL is a credential, where it goes, and what is shown in its place."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import credentials
from ansible_collections.emperor.stack.plugins.module_utils.host.credentials import Login

TOKEN = "ghp-0123456789ab"


@pytest.mark.parametrize(
    ("url", "shown", "plain"),
    [
        ("https://h/a.git", "https://h/a.git", "https://h/a.git"),
        ("https://u:p@h:8443/a?token=x#y", "https://h:8443/a", "https://h:8443/a?token=x#y"),
        (f"https://{TOKEN}@h/a", "https://h/a", "https://h/a"),
        ("https://u:p%40s@h/a@b", "https://h/a@b", "https://h/a@b"),
        ("https://h/a@b", "https://h/a@b", "https://h/a@b"),
        ("HTTPS://u:p@h/", "HTTPS://h/", "HTTPS://h/"),
        ("ssh://git@h/a", "ssh://git@h/a", "ssh://git@h/a"),
        ("ssh://git:pw@h/a", "ssh://git@h/a", "ssh://git@h/a"),
        ("git@h:team/a.git", "git@h:team/a.git", "git@h:team/a.git"),
        ("/srv/git/a.git", "/srv/git/a.git", "/srv/git/a.git"),
        ("dist/blog.zip", "dist/blog.zip", "dist/blog.zip"),
    ],
)
def test_urls_without_credentials(url: str, shown: str, plain: str) -> None:
    assert credentials.without_credentials(url) == shown
    assert credentials.without_login(url) == plain


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("https://u:p%40s@H/a", Login("https://h", "u", "p@s")),
        ("https://u:p@h:443/a", Login("https://h", "u", "p")),
        ("http://u:p@h:8080", Login("http://h:8080", "u", "p")),
        ("https://u:p@[::1]:8/a", Login("https://[::1]:8", "u", "p")),
        (f"https://{TOKEN}@h", Login("https://h", TOKEN, "")),
        ("https://h/a", None),
        ("ssh://git:p@h/a", None),
        ("https://u:p@h:port/", None),
        ("/srv/u:p@x", None),
    ],
)
def test_whose_password_it_is(url: str, login: Login | None) -> None:
    assert credentials.login(url) == login


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://u:pass%40w@h/", {"u:pass%40w", "pass%40w", "pass@w", "dTpwYXNzQHc="}),
        (f"https://{TOKEN}@h/", {TOKEN, "Z2hwLTAxMjM0NTY3ODlhYjo="}),
        (f"https://{TOKEN}:x-oauth-basic@h/", {f"{TOKEN}:x-oauth-basic", "x-oauth-basic", TOKEN}),
        ("https://ann@h/", set()),
        ("ssh://git@h/a git@h:a", set()),
        ("https://h/a?token=abc123&ref=main", {"abc123"}),
        ("https://h/a?token=p1N8&key=abc", {"p1N8"}),
        ("https://h/a?private_token=a%2Fb%2Fc", {"a%2Fb%2Fc", "a/b/c"}),
        ("https://h/a?X-Amz-Signature=00ff00ff&X-Amz-Date=2026", {"00ff00ff"}),
        ("https://h/a?abcdef123456", {"abcdef123456"}),
        ("https://h/a?v=1&name=blog-1.0", set()),
        ("pkgs=https://u:secret@h/simple https://v:other1@k/", {"u:secret", "secret", "v:other1", "other1"}),
        ("nothing", set()),
    ],
)
def test_what_must_not_be_shown(text: str, found: set[str]) -> None:
    seen = set(credentials.secrets_of(text))
    assert found <= seen
    if not found:
        assert not seen


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("fetching https://u:p@h/a failed", "fetching https://********@h/a failed"),
        ("fatal: 'https://tok@h/a/': gone", "fatal: 'https://********@h/a/': gone"),
        ("https://h/a?token=x&b=c and more", "https://h/a?token=********&b=c and more"),
        ("ssh://git@h/a", "ssh://git@h/a"),
        ("ftp://u:p@h", "ftp://********@h"),
        ("no URL: a@b?token=c", "no URL: a@b?token=c"),
        ("http://proxy/https://u:p@h", "http://proxy/https://********@h"),
    ],
)
def test_a_text_with_urls(text: str, masked: str) -> None:
    assert credentials.masked(text) == masked


@pytest.mark.parametrize("text", ["a." * 40_000, "://" * 30_000, "a://" * 30_000, "a://b?" + "x=y&" * 20_000])
def test_no_text_takes_long(text: str) -> None:
    """A build prints what it likes. The test would take minutes."""
    assert credentials.masked(text + "https://u:p@h").endswith("://********@h")
