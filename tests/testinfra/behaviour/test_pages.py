"""What a visitor gets: pages, forms, static files, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import APPS, EXAMPLES, Answer, Site, address, eventually, front, location
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]

NOTES, POLLS = (next(app for app in APPS if app.name == name) for name in ("notes", "polls"))


def test_each_domain_shows_its_own_app(site: Site) -> None:
    answer = site.get("/")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<h1>{site.app.heading}</h1>" in answer.text


@pytest.mark.parametrize("port", ["", ":8080"], ids=["port 80", "port 8080"])
def test_a_sent_form_leads_back_to_the_site_and_shows_the_item(site: Site, port: str) -> None:
    """On a published port, too: neither the redirect nor Django's check of the Origin may lose it."""
    host = {"Host": site.app.domain + port}
    word = f"item-{secrets.token_hex(4)}"
    answer = site.submit(word, host)
    assert answer.status in (302, 303), answer.text[:500]
    assert re.match(rf"/|http://{re.escape(site.app.domain + port)}/", answer.headers["location"])
    assert word in site.get(location(answer), host).text
    assert word in Site(site.host, site.app).get("/").text, "other visitors see it as well"


def test_an_app_counts_in_its_redis(host: Host) -> None:
    """Where it has one; the page is the same without."""
    site = Site(host, POLLS)
    page = location(site.submit(f"item-{secrets.token_hex(4)}"))
    said = [re.search(r"seen (\d+) times?", site.get(page).text) for _ in range(3)]
    environment = json.loads(host.file(f"{layout.active('polls')}/release/environment.json").content_string)
    wanted = ["1", "2", "3"] if "REDIS_URL" in environment["environment"] else []
    assert [one[1] for one in said if one] == wanted


def test_static_files_arrive_byte_for_byte_without_the_app(site: Site) -> None:
    for url, source in site.app.static.items():
        answer = site.get(url)
        assert answer.status == 200, url
        assert answer.body == (EXAMPLES / source).read_bytes(), url
        kind = {"css": r"text/css", "ico": r"image/(x-icon|vnd\.microsoft\.icon)"}[url.rsplit(".", 1)[1]]
        assert re.match(kind, answer.headers["content-type"]), answer.headers
        assert "x-release" not in site.on_loopback(url), f"{url} was answered by the app"


#: Types that browsers need for what a site has in 2026, by the ending of the file.
TYPES = {
    "js": r"(text|application)/javascript",
    "mjs": r"text/javascript",
    "css": r"text/css",
    "map": r"application/json",
    "json": r"application/json",
    "jsonld": r"application/ld\+json",
    "geojson": r"application/geo\+json",
    "webmanifest": r"application/manifest\+json",
    "wasm": r"application/wasm",
    "wgsl": r"text/wgsl",
    "xml": r"(text|application)/xml",
    "txt": r"text/plain",
    "csv": r"text/csv",
    "md": r"text/markdown",
    "ics": r"text/calendar",
    "vcf": r"text/vcard",
    "yaml": r"application/yaml",
    "yml": r"application/yaml",
    "pdf": r"application/pdf",
    "epub": r"application/epub\+zip",
    "gpx": r"application/gpx\+xml",
    "avif": r"image/avif",
    "webp": r"image/webp",
    "jxl": r"image/jxl",
    "svg": r"image/svg\+xml",
    "png": r"image/png",
    "apng": r"image/apng",
    "heic": r"image/heic",
    "heif": r"image/heif",
    "woff": r"font/woff",
    "woff2": r"font/woff2",
    "ttf": r"font/ttf",
    "otf": r"font/otf",
    "ttc": r"font/collection",
    "mp3": r"audio/mpeg",
    "m4a": r"audio/(mp4|x-m4a)",
    "aac": r"audio/aac",
    "flac": r"audio/flac",
    "opus": r"audio/ogg",
    "oga": r"audio/ogg",
    "wav": r"audio/(x-)?wav",
    "weba": r"audio/webm",
    "mp4": r"video/mp4",
    "webm": r"video/webm",
    "ogv": r"video/ogg",
    "mkv": r"(video/x-matroska|video/matroska)",
    "vtt": r"text/vtt",
    "m3u8": r"application/vnd\.apple\.mpegurl",
    "ts": r"video/mp2t",
    "mpd": r"application/dash\+xml",
    "m4s": r"video/iso\.segment",
    "glb": r"model/gltf-binary",
    "gltf": r"model/gltf\+json",
    "usdz": r"model/vnd\.usdz\+zip",
    "zip": r"application/zip",
    "gz": r"application/gzip",
    "tar": r"application/x-tar",
    "zst": r"application/zstd",
    "bz2": r"application/x-bzip2?",
    "xz": r"application/x-xz",
    "7z": r"application/x-7z-compressed",
}


def test_files_have_the_types_that_browsers_need(host: Host) -> None:
    """With nosniff, a browser runs no module script and uses no style sheet of another type."""
    site = Site(host, NOTES)
    public = host.check_output("readlink -f /srv/apps/notes/active/release/public/static")
    names = " ".join(f"{public}/of-tests.{ending}" for ending in TYPES)
    host.check_output(f"for name in {names}; do echo text > $name && chmod 644 $name || exit; done")
    try:
        wrong = {}
        for ending, wanted in TYPES.items():
            answer = site.get(f"/static/of-tests.{ending}")
            kind = answer.headers.get("content-type", "")
            if answer.status != 200 or not re.fullmatch(wanted + "(; ?charset=.*)?", kind):
                wrong[ending] = (answer.status, kind)
            if answer.headers.get("content-encoding"):
                wrong[ending] = (answer.status, answer.headers["content-encoding"])
    finally:
        host.check_output(f"rm -f {names}")
    assert wrong == {}


def test_a_browser_may_keep_static_files_and_ask_whether_they_changed(site: Site) -> None:
    url = next(iter(site.app.static))
    answer = site.get(url)
    assert "max-age=" in answer.headers.get("cache-control", ""), answer.headers
    again = site.get(url, {"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_page_links_a_stylesheet_that_is_there(site: Site) -> None:
    """For Django that is the hashed copy which collectstatic made."""
    sheet = re.search(r'<link rel="stylesheet" href="([^"]+)"', site.get("/").text)
    assert sheet
    assert site.get(sheet[1]).body == (EXAMPLES / next(iter(site.app.static.values()))).read_bytes()


def test_static_urls_lead_to_static_files_only(site: Site) -> None:
    source = (
        EXAMPLES / next(iter(site.app.static.values())).split("/")[0] / site.app.secret_file
    ).read_bytes()
    directory = next(iter(site.app.static)).rsplit("/", 1)[0]
    for path in (
        f"/{site.app.secret_file}",
        f"/static/../{site.app.secret_file}",
        f"/static../{site.app.secret_file}",
        f"/static/..%2f{site.app.secret_file}",
        f"{directory}/%2e%2e/{site.app.secret_file}",
        f"{directory}/..%5c{site.app.secret_file}",
        "/environment.json",
    ):
        answer = site.get(path)
        assert answer.status in (400, 403, 404), (path, answer.status)
        assert source not in answer.body
    assert site.get(f"{directory}/").status in (403, 404), "no listing of the directory"


@pytest.mark.parametrize("size", [10, 4_000_000], ids=["kept in memory", "spooled to a file"])
def test_an_upload_to_notes_can_be_downloaded_again(host: Host, size: int) -> None:
    """Django renames large uploads from its temporary directory into media: nginx has to read both kinds."""
    site = Site(host, NOTES)
    page = site.get("/new")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    content, boundary = os.urandom(size), secrets.token_hex(16)
    fields = {"csrfmiddlewaretoken": token[1], "title": "With a file"}
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'
        for k, v in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="attachment"; filename="picture.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    body = "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    sent = site.ask("POST", "/new", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert sent.status == 302, sent.text[:500]
    link = re.search(r'href="(/media/[^"]+\.png)"', site.get(location(sent)).text)
    assert link
    answer = site.get(link[1])
    assert (answer.status, answer.headers.get("content-type")) == (200, "image/png")
    assert answer.body == content


@pytest.mark.parametrize("port", ["", ":8080"], ids=["port 80", "port 8080"])
def test_other_domains_lead_to_the_canonical_one(site: Site, port: str) -> None:
    answer = site.get("/a%20b/c?q=1&r=%C3%BC", {"Host": f"www.{site.app.domain}{port}"})
    assert (answer.status, answer.headers.get("location")) == (
        301,
        f"http://{site.app.domain}{port}/a%20b/c?q=1&r=%C3%BC",
    )


def test_a_cookie_of_7_kb_reaches_the_app(site: Site) -> None:
    cookie = "big=" + secrets.token_hex(3500)
    answer = site.get("/diagnostics/headers", {"Cookie": cookie})
    assert answer.status == 200, answer.text[:300]
    assert answer.json()["Cookie"] == cookie


def test_a_proxy_header_never_reaches_the_app(site: Site) -> None:
    """It would become HTTP_PROXY, which many HTTP clients take for a setting."""
    seen = site.get("/diagnostics/headers", {"Proxy": "http://evil.example"}).json()
    assert "evil.example" not in str(seen)


def test_the_app_sees_a_request_id_of_our_own_making(site: Site) -> None:
    first, second = (site.get("/diagnostics/headers", {"X-Request-ID": "forged"}).json() for _ in range(2))
    ids = [
        next((v for k, v in seen.items() if k.lower() == "x-request-id"), None) for seen in (first, second)
    ]
    assert all(ids), first
    assert "forged" not in ids
    assert ids[0] != ids[1]


def _arrived_whole(answer: Answer, body: bytes) -> None:
    assert answer.status == 200, (answer.status, answer.body[:300])
    seen = answer.json()
    assert (seen["length"], seen["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert seen["content_length"] == str(len(body))
    assert seen["transfer_encoding"] is None


def test_an_upload_of_15_mb_arrives_whole(site: Site) -> None:
    body = os.urandom(15_000_000)
    _arrived_whole(site.ask("POST", "/diagnostics/echo", body), body)


@pytest.mark.parametrize("size", [1_000, 5_000_000])
def test_a_chunked_upload_arrives_whole_with_a_length(site: Site, size: int) -> None:
    body = os.urandom(size)
    pieces = (body[start : start + 70_001] for start in range(0, size, 70_001))
    if front(site.host).takes_chunks:
        _arrived_whole(site.ask("POST", "/diagnostics/echo", pieces), body)
    else:
        assert site.ask("POST", "/diagnostics/echo", (piece for piece in [body[:1000]])).status == 411


def test_an_app_that_ignores_an_upload_still_answers(site: Site) -> None:
    """Nothing reads the body of a POST to healthz: the refusal has to arrive, not a broken connection."""
    body = os.urandom(900_000)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.ask("POST", "/healthz", body).status, range(80)))
    assert set(answers) <= {403, 404, 405}, answers


def test_a_body_above_the_limit_is_refused_before_it_is_sent(site: Site) -> None:
    assert site.announce("/diagnostics/echo", 21 * 1024 * 1024).status == 413


def test_requests_are_answered_side_by_side(site: Site) -> None:
    """Two processes with two threads: one after the other, four would take eight seconds."""
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: site.get("/diagnostics/slow?seconds=2").status, range(4)))
    assert answers == [200] * 4
    assert time.monotonic() - start < 8


def test_what_the_app_prints_is_in_the_journal_of_the_apps(site: Site) -> None:
    token = secrets.token_hex(8)
    answer = site.get(f"/diagnostics/print?token={token}")
    assert answer.status == 200, answer.text[:300]
    lines = {f"{stream}: Grüße aus Zürich — ✓ {token}" for stream in ("stdout", "stderr")}
    uid = site.host.check_output("id -u %s", site.app.name)

    def logged() -> bool:
        said = site.host.check_output("journalctl --namespace=apps -a -o cat --no-pager -n 500 _UID=%s", uid)
        return all(line in said for line in lines)

    eventually(logged, 10, f"journal has {lines}")


def _raw(host: Host, request: bytes) -> bytes:
    """All that comes back until the other side closes the connection."""
    with socket.create_connection((address(host), 80), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return received


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: unknown.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: notes.localhost.evil.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /../../vassal.ini HTTP/1.1\r\nHost: notes.localhost\r\nConnection: close\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ],
    ids=[
        "unknown",
        "looks alike",
        "address",
        "no Host",
        "no Host in 1.1",
        "above the root",
        "no HTTP",
        "TLS",
    ],
)
def test_who_asks_for_no_site_of_ours_gets_no_answer(host: Host, request_: bytes) -> None:
    assert _raw(host, b"GET / HTTP/1.1\r\nHost: notes.localhost\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200 "
    ), "the way of asking works"
    answer = _raw(host, request_)
    if front(host).is_silent:
        assert answer == b""
    else:
        assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer
        assert b"localhost" not in answer and b"X-Release" not in answer, "it tells of no site"


def test_the_release_is_told_to_the_host_itself_only(site: Site) -> None:
    answer = site.get("/healthz")
    assert (answer.status, answer.body) == (200, b"ok")
    assert "x-release" not in answer.headers
    assert site.on_loopback("/healthz")["x-release"] == site.diagnostics("identity")["release"]


def test_the_server_does_not_tell_its_version(site: Site) -> None:
    name = front(site.host).server
    for path in ("/", next(iter(site.app.static)), "/nothing/here"):
        answer = site.get(path)
        assert answer.headers["server"] == name
        assert f"{name}/" not in answer.text
