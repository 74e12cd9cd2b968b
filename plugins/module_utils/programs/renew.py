"""renew: order missing certificates, renew those that are due, and let nginx load them. A timer runs this every day."""

from __future__ import annotations

from ..tls import certificates, renewal, serving, store


def main() -> int:
    """Returns 1 when a domain lacks a certificate that it should have."""
    with store.locked():
        outcome = renewal.issue()
        _, left = serving.settle()
    bad = 0
    for name, one in outcome.items():
        if one["changed"]:
            print(f"{name}: a new certificate of {one['source']} for {', '.join(one['names'])}")
        for warning in one["warnings"]:
            print(f"<4>{name}: {warning}")
        if one["errors"]:
            bad = 1
            print(f"<3>{name}: {certificates.sentence(one['errors'])}")
    if left:
        bad = 1
        print(
            f"<3>{serving.name(store.read_wanted())} does not serve the new certificate of {', '.join(left)}"
        )
    return bad
