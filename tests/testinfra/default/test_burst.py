"""Many visitors in the same moment wait for their answer, and get it."""

from __future__ import annotations

from testinfra.host import Host

from bench.served import BURST

testinfra_hosts = ["ansible://default-debian13"]


def test_two_thousand_connections_at_once_are_all_answered(host: Host) -> None:
    """A page takes milliseconds, so nearly all of them wait for the app at the same time."""
    said = host.check_output("python3 -c %s 2000 links.localhost 80", BURST)
    right, failed, rest = said.split(" ", 2)
    print(f"\nfigure: burst_answered = {right}/2000")
    assert (right, failed) == ("2000", "0"), rest
