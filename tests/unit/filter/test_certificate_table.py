"""What `status` shows of certificates."""

from __future__ import annotations

from ansible_collections.emperor.stack.plugins.filter.deploy import certificate_table


def test_a_line_for_each_app_and_below_what_is_wrong() -> None:
    good = {
        "provider": "acme",
        "source": "acme",
        "names": ["blog.example", "www.blog.example"],
        "not_after": "2027-02-20T23:35:08Z",
        "days": 89,
        "warnings": [],
        "errors": {},
    }
    bad = {
        **good,
        "source": "none",
        "names": [],
        "not_after": "",
        "days": 0,
        "warnings": ["there is no certificate"],
        "errors": {"": "the authority is silent", "shop.example": "refused"},
    }
    assert certificate_table({"blog": good, "shop": bad}).splitlines() == [
        "app   tls   certificate  until                 days  names",
        "blog  acme  acme         2027-02-20T23:35:08Z  89    blog.example www.blog.example",
        "shop  acme  none         -                     0",
        "WARNING shop: there is no certificate",
        "WARNING shop: the authority is silent",
        "WARNING shop: shop.example: refused",
    ]
