"""Requests that no example sends: exceptions, odd paths, many and large headers, and files that browsers kept."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import posixpath
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from deploying import HERE, Repository, Stack, figure
from testinfra.host import Host

SERVERS = ("uwsgi", "gunicorn")
#: An app at `/` of a domain, beside one at `/admin/` that lets nobody in.
SHARED = "odd.localhost"


def archive(directory: Path, name: str, changed: str) -> dict[str, str]:
    """The app as a tar in which all files have the time 0."""

    source = HERE / "apps" / "odd"
    path = directory / f"{name}.tar"
    with tarfile.open(path, "w") as tar:
        for file in sorted(source.rglob("*")):
            if not file.is_file() or "__pycache__" in file.parts:
                continue
            content = file.read_bytes()
            if file.name == "other.js":
                content = content.replace(b"aaaa", changed.encode())
            member = tarfile.TarInfo(f"odd/{file.relative_to(source)}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return {"archive": str(path), "checksum": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"}


@pytest.fixture(scope="module")
def odd(stack: Stack, machine: Host, directory: Path) -> Stack:
    repository = Repository(machine, "odd", HERE / "apps" / "odd", directory)
    repository.version("v0")
    repository.push()
    common = {"source": {"git": repository.url, "version": "v0"}, "wsgi": "app:application"}
    common |= {"requirements": "requirements.txt", "static": {"/static/": "static"}}
    media = {"persistent": ["media"], "static": {"/static/": "static", "/media/": "media"}}
    media["build"] = ["ln -s ../version.txt static/version.txt", "ln -s /etc/hostname static/outside.txt"]
    names = ["other-odd.localhost", "www.other-odd.localhost", "*.other-odd.localhost"]
    closed = {"path": "/admin/", "allow": ["192.0.2.0/24"]}
    own = {
        "server": "listen 8081;\nlocation /internal { return 403; }",
        "http": "types { model/vnd.usd usd; }",
    }
    stack.apps[:] = [
        {**common, "name": "odd-uwsgi", "domains": [SHARED], "nginx": own},
        {
            **common,
            "name": "odd-gunicorn",
            "domains": names,
            "server": "gunicorn",
            **media,
        },
        {**common, "name": "closed", "domains": [SHARED], **closed},
        {
            **common,
            "name": "kept",
            "domains": ["kept.localhost"],
            "source": archive(directory, "one", "aaaa"),
        },
    ]
    stack.variables["nginx_header_limit"] = 8
    stack.variables["hardening_firewall_allow"] = [{"port": 8081}]
    stack.good("site.yml")
    return stack


DOMAINS = {"uwsgi": SHARED, "gunicorn": "other-odd.localhost"}


def exchange(
    machine: Host, domain: str, target: str, headers: Sequence[tuple[str, str]] = (), port: int = 80
) -> tuple[int, bytes, dict[str, str]]:
    """One request, sent as it is; status, body and headers of the answer."""
    address = machine.check_output("hostname -I").split()[0]
    connection = http.client.HTTPConnection(address, port, timeout=20)
    connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
    for name, value in [("Host", domain), *headers]:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize("server", SERVERS)
def test_an_exception_before_the_answer_begins_is_the_app_s_500(
    machine: Host, odd: Stack, server: str
) -> None:
    for path in ("/raise", "/raise/late", "/raise/parts"):
        status, body, headers = exchange(machine, DOMAINS[server], path)
        assert (status, body) == (500, b"Internal Server Error\n"), path
        assert "retry-after" not in headers, path
    log = machine.check_output(
        "journalctl --namespace=apps -q -o cat --since=-60s _UID=$(id -u odd-%s)", server
    )
    for reason in ("raised at once", "raised after the head", "raised by the first part"):
        assert f"LookupError: {reason}" in log, log[-3000:]


@pytest.mark.parametrize("server", SERVERS)
def test_the_app_sees_the_slashes_that_the_client_sent(machine: Host, odd: Stack, server: str) -> None:
    for target, path in (
        ("/a/b", "/a/b"),
        ("//a///b/?q=//", "//a///b/"),
        ("/a%2Fb", "/a/b"),
        ("/a%2F%2Fb", "/a//b"),
        ("/%C3%BC//%25", "/\xc3\xbc//%"),
        ("/a/./b//../c", "/a/c"),
    ):
        status, body, _ = exchange(machine, DOMAINS[server], target)
        seen = json.loads(body)
        assert (status, seen["PATH_INFO"], seen["REQUEST_URI"]) == (200, path, target)


#: Ways to write a path that is closed.
WAYS = (
    "/{0}", "//{0}", "/%2F{0}", "/./{0}", "/%2e/{0}", "//%2e//{0}", "/{0}/", "/{0}//", "/{0}/x", "//{0}//x", "/{0}%2Fx",
    "/{0}%2F..", "/{0}%2F..%2F{0}/x", "/x/../{0}/x", "/x/..//{0}/x", "/x%2F..%2F{0}%2Fx", "/x//..%2F%2F{0}", "/{0}/../x",
    "/{0}//../x", "/%61dmin/x", "/x/%2e%2e/%2F{0}", "/.//{0}/x", "/{0};/x", "/{0}%00", "/{0}\\x", "/x?/../{0}/x",
)  # fmt: skip


@pytest.mark.parametrize("name", ["admin", "internal"])
def test_no_way_to_write_a_path_leads_past_what_is_closed(machine: Host, odd: Stack, name: str) -> None:
    """An app that is closed by its networks, and a location of one's own: what reaches the app at / is not below them."""
    passed, refused = [], 0
    for way in WAYS:
        target = way.format(name)
        try:
            status, body, _ = exchange(machine, SHARED, target)
        except http.client.RemoteDisconnected:
            # nginx takes it for no request at all.
            continue
        if status == 200:
            seen = json.loads(body)
            path = posixpath.normpath(re.sub("/+", "/", seen["PATH_INFO"]))
            if seen["SCRIPT_NAME"] or path == f"/{name}" or path.startswith(f"/{name}/"):
                passed.append((target, seen))
        else:
            assert status in (301, 400, 403, 404), (target, status)
            refused += status == 403
    figure(f"closed_paths_reached_{name}", f"{len(passed)}/{len(WAYS)}")
    assert not passed
    assert refused >= 10


def cookie(size: int) -> tuple[str, str]:
    return ("Cookie", "c" * size)


#: Headers and path of a request, and the statuses that are right for it.
HEADS: dict[str, tuple[str, list[tuple[str, str]], set[int]]] = {
    "110 headers": ("/", [(f"X-{number}", "v") for number in range(110)], {200}),
    "900 headers": ("/", [(f"X-{number}", "v") for number in range(900)], {200}),
    "a cookie of 7 KB": ("/", [cookie(7000)], {200}),
    "a URL of 8 KB and two cookies": ("/?" + "q" * 8000, [cookie(8000), ("X-Other", "o" * 8000)], {200}),
    "an odd URL of 8 KB": ("//" + "%2F" * 2600, [cookie(8000)], {200}),
    "a cookie of 9 KB": ("/", [cookie(9000)], {400, 431}),
    "a URL of 9 KB": ("/?" + "q" * 9000, [], {414}),
    "more than fits": ("/", [(f"X-{number}", "v" * 7000) for number in range(5)], {400, 431}),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_head_that_nginx_takes_the_app_gets(machine: Host, odd: Stack, server: str) -> None:
    for name, (target, headers, wanted) in HEADS.items():
        status, body, _ = exchange(machine, DOMAINS[server], target, headers)
        assert status in wanted, (name, status)
        if status == 200:
            assert json.loads(body)["headers"] >= len(headers), name


def test_a_file_of_an_archive_has_another_etag_when_its_content_differs(
    machine: Host, odd: Stack, directory: Path
) -> None:
    """Every file of the archive has the time 0, and the changed one the same length."""

    def tags() -> dict[str, str]:
        found = {}
        for name in ("same.js", "other.js"):
            status, _, headers = exchange(machine, "kept.localhost", f"/static/{name}")
            assert status == 200 and "last-modified" not in headers
            found[name] = headers["etag"]
        return found

    before = tags()
    for name, tag in before.items():
        assert exchange(machine, "kept.localhost", f"/static/{name}", [("If-None-Match", tag)])[0] == 304
    odd.apps[-1]["source"] = archive(directory, "two", "bbbb")
    odd.good("playbooks/deploy.yml", app="kept")
    after = tags()
    assert after["same.js"] == before["same.js"]
    assert after["other.js"] != before["other.js"]
    again = exchange(machine, "kept.localhost", "/static/other.js", [("If-None-Match", before["other.js"])])
    assert (again[0], again[1]) == (200, b'console.log("bbbb");\n')


def test_links_of_a_build_are_published_where_they_stay_in_the_release(machine: Host, odd: Stack) -> None:
    status, body, _ = exchange(machine, DOMAINS["gunicorn"], "/static/version.txt")
    assert (status, body) == (200, b"v0\n")
    assert exchange(machine, DOMAINS["gunicorn"], "/static/outside.txt")[0] == 404
    outcome = odd.good("playbooks/deploy.yml", app="odd-gunicorn", force=True)
    assert "not published, because a link may only lead to a file in the same directory" in outcome.output
    assert "static/outside.txt" in outcome.output and "static/version.txt" not in outcome.output


def test_an_upload_that_was_moved_from_a_temporary_file_is_served(machine: Host, odd: Stack) -> None:
    """By a rename, from TMPDIR: what is moved so keeps the mode 0600. The sandbox of a unit must not be in the way of it."""
    domain = DOMAINS["gunicorn"]
    assert exchange(machine, domain, "/upload")[0] == 200
    file = machine.file("/srv/apps/odd-gunicorn/shared/media/moved.txt")
    assert file.mode == 0o600
    assert exchange(machine, domain, "/media/moved.txt")[:2] == (200, b"uploaded")
    assert file.mode == 0o644
    for _ in range(2):
        assert exchange(machine, domain, "/media/")[0] in (403, 404)
    assert exchange(machine, domain, "/media/none.txt")[0] == 404
    machine.check_output("ln -s /etc/shadow /srv/apps/odd-gunicorn/shared/media/link.txt")
    assert exchange(machine, domain, "/media/link.txt")[0] in (403, 404)
    machine.check_output("rm /srv/apps/odd-gunicorn/shared/media/link.txt")


def test_a_directory_that_nginx_cannot_enter_is_named_with_its_fix(machine: Host, odd: Stack) -> None:
    """One that was moved here, and one that was made here, which has the setgid bit."""
    fill = "echo inner >$TMPDIR/moved/x.txt; echo inner >media/made/x.txt; mv $TMPDIR/moved media/"
    command = f"sh -c 'umask 077; mkdir $TMPDIR/moved media/made; {fill}'"
    odd.good("playbooks/run.yml", app="odd-gunicorn", command=command)
    outcome = odd.good("playbooks/deploy.yml", app="odd-gunicorn", force=True)
    (told,) = set(re.findall(r"media: the web server cannot read (.*), so visitors get 404", outcome.output))
    assert set(told.split(", ")) == {"drwx------ moved", "drwx--S--- made"}
    (command,) = set(re.findall(r"-e \"command='(find [^']*)'\"", outcome.output))
    odd.good("playbooks/run.yml", app="odd-gunicorn", command=command)
    for name in ("moved", "made"):
        assert exchange(machine, DOMAINS["gunicorn"], f"/media/{name}/x.txt")[:2] == (200, b"inner\n")


def test_the_app_answers_for_every_name_of_a_wildcard(machine: Host, odd: Stack) -> None:
    """But for those that it has by themselves, which redirect, and those that another app has."""
    for name, wanted in (("ann", 200), ("a.b", 200), ("www", 301)):
        status, body, headers = exchange(machine, f"{name}.{DOMAINS['gunicorn']}", "/x")
        assert status == wanted, (name, status)
        if status == 200:
            assert json.loads(body)["PATH_INFO"] == "/x"
        else:
            assert headers["location"] == f"http://{DOMAINS['gunicorn']}/x"


def test_a_site_listens_on_a_second_port(machine: Host, odd: Stack) -> None:
    status, body, _ = exchange(machine, SHARED, "/x", port=8081)
    assert (status, json.loads(body)["PATH_INFO"]) == (200, "/x")


def test_a_type_can_be_added(machine: Host, odd: Stack) -> None:
    status, _, headers = exchange(machine, SHARED, "/static/scene.usd")
    assert (status, headers["content-type"]) == (200, "model/vnd.usd")


def test_larger_headers_have_a_key(machine: Host, odd: Stack) -> None:
    odd.variables["nginx_header_limit"] = 32
    try:
        odd.good("site.yml")
        for server in SERVERS:
            for target, headers in (("/", [cookie(30_000)]), ("/?" + "q" * 20_000, [cookie(8000)])):
                status, body, _ = exchange(machine, DOMAINS[server], target, headers)
                assert status == 200 and json.loads(body)["sizes"][1] == len(headers[0][1])
    finally:
        odd.variables["nginx_header_limit"] = 8
