"""The ASGI example beside the others: its page, a stream and a WebSocket. Scenario `asgi` has the rest."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]

HANDSHAKE = (
    "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13'"
    " -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='"
)


def asked(host: Host, path: str, words: str = "") -> str:
    """What comes within two seconds: some of these answers have no end."""
    command = f"curl -siN -m 2 -H 'Host: chat.localhost' {words} http://127.0.0.1{path}"
    return str(host.run(command).stdout)


def test_the_page_a_stream_and_a_websocket(host: Host) -> None:
    assert "<h1>What is going on?</h1>" in asked(host, "/")
    assert ": welcome" in asked(host, "/events")
    opened = asked(host, "/talk", HANDSHAKE)
    assert opened.startswith("HTTP/1.1 101 ")
    # As RFC 6455 answers its own example.
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in opened


def test_a_page_of_another_site_opens_no_websocket(host: Host) -> None:
    assert asked(host, "/talk", f"{HANDSHAKE} -H 'Origin: https://elsewhere.example'").startswith(
        "HTTP/1.1 403 "
    )
