"""What nginx does with visitors, asked by real requests."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from deploying import Stack, figure, load
from testinfra.host import Host

PASSWORD = "correct horse"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@pytest.fixture
def ask(stack: Stack) -> Any:
    """Ask a site's path as a visitor of an address of his own; further words are curl's."""

    def asked(domain: str, path: str, *words: str, client: str = "198.51.100.1") -> Answer:
        command = "curl -sS -i --path-as-is -H %s -H %s " + " ".join(["%s"] * (len(words) + 1))
        said = stack.host.check_output(
            command,
            f"Host: {domain}.localhost",
            f"X-Forwarded-For: {client}",
            *words,
            f"http://127.0.0.1{path}",
        )
        head, _, body = said.replace("\r\n", "\n").partition("\n\n")
        first, *lines = head.splitlines()
        pairs = (line.partition(": ") for line in lines)
        return Answer(int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body)

    return asked


# two apps, one domain


def test_each_app_sees_its_own_part_of_the_url(ask: Any) -> None:
    root, shop = ask("site", "/a/b?x=1").json(), ask("site", "/shop/a%20b/c%3Fd?x=1").json()
    assert (root["app"], root["SCRIPT_NAME"] or "", root["PATH_INFO"]) == ("site", "", "/a/b")
    assert (shop["app"], shop["SCRIPT_NAME"], shop["PATH_INFO"]) == ("site-shop", "/shop", "/a b/c?d")
    assert shop["QUERY_STRING"] == "x=1"
    assert ask("site", "/shopping").json()["app"] == "site"
    gun = ask("site", "/shop/gun/a%20b?x=1").json()
    assert (gun["app"], gun["SCRIPT_NAME"], gun["PATH_INFO"]) == ("site-gun", "/shop/gun", "/a b")
    assert ask("site", "/shop/x%0Ay").json()["PATH_INFO"] == "/x\ny"


def test_the_path_without_its_slash_leads_to_the_app(ask: Any) -> None:
    answer = ask("site", "/shop?a=b")
    assert (answer.status, answer.headers["location"]) == (301, "http://site.localhost/shop/?a=b")


def test_static_files_below_the_path(ask: Any) -> None:
    for url in ("/static/style.css", "/shop/static/style.css", "/shop/one.css"):
        assert ask("site", url).body.strip() == "body { color: black }", url
    assert ask("site", "/shop/static/../../static/none.css").status == 404
    assert ask("site", "/shop/static/.git/config").status == 404


def test_each_app_has_a_log_of_its_own(stack: Stack, ask: Any) -> None:
    word = f"for-the-log-{time.monotonic_ns()}"
    ask("site", f"/shop/{word}")
    logs = "/var/log/nginx/%s.access.log"
    # A line is in the file a second later at the latest.
    deadline = time.monotonic() + 10
    while word not in stack.host.file(logs % "site-shop").content_string:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert word not in stack.host.file(logs % "site").content_string


# redirects and headers


def test_redirects(ask: Any) -> None:
    one, away = ask("site", "/old?x=1"), ask("site", "/away")
    assert (one.status, one.headers["location"]) == (301, "http://site.localhost/new?x=1")
    assert (away.status, away.headers["location"]) == (302, "https://example.com/there")


def test_headers_are_the_apps_to_override_and_to_drop(ask: Any) -> None:
    for url in ("/", "/static/style.css"):
        headers = ask("site", url).headers
        assert "x-frame-options" not in headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["permissions-policy"] == 'camera=(), geolocation=(self "https://example.com")'
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]
    assert ask("site", "/?Referrer-Policy=origin").headers["referrer-policy"] == "origin"
    assert ask("site", "/shop/").headers["x-frame-options"] == "SAMEORIGIN"


def test_how_long_files_are_kept(ask: Any) -> None:
    assert ask("site", "/static/style.css").headers["cache-control"] == "public, max-age=7200"
    assert ask("site", "/shop/static/style.css").headers["cache-control"] == "public, max-age=300"


# limits


def test_a_burst_is_answered_and_what_is_above_gets_429(ask: Any) -> None:
    answers = [ask("limited", "/", client="198.51.100.10") for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 3
    assert answers[-1].headers["retry-after"] == "1"
    assert ask("limited", "/", client="198.51.100.11").status == 200


def test_one_address_has_so_many_requests_under_way(stack: Stack) -> None:
    command = (
        "for n in 1 2 3 4; do curl -s -o /dev/null -w '%{http_code} ' -H Host:limited.localhost "
        "-H X-Forwarded-For:198.51.100.12 'http://127.0.0.1/?sleep=2' & done; wait"
    )
    assert sorted(stack.host.check_output(command).split()) == ["200", "200", "429", "429"]


@pytest.mark.parametrize(
    ("client", "status"),
    [("10.1.2.3", 200), ("10.6.7.8", 403), ("192.0.2.7", 200), ("192.0.2.8", 403), ("2001:db8::1", 403)],
)
def test_the_most_specific_network_decides(ask: Any, client: str, status: int) -> None:
    assert ask("networks", "/", client=client).status == status


# passwords


def test_who_has_the_password_passes(ask: Any) -> None:
    for url in ("/", "/static/style.css"):
        assert ask("walled", url).status == 401
        assert ask("walled", url, "--user", "alice:wrong").status == 401
        assert ask("walled", url, "--user", f"alice:{PASSWORD}").status == 200
    seen = ask("walled", "/", "--user", f"alice:{PASSWORD}").json()
    assert (seen["REMOTE_USER"], seen["HTTP_AUTHORIZATION"]) == ("alice", None)


def test_hashes_are_for_nginx_alone(stack: Stack) -> None:
    path = "/etc/nginx/emperor-stack/users/walled"
    as_user = "setpriv --reuid=%s --regid=%s --clear-groups cat %s"
    assert stack.host.run(as_user, "www-data", "www-data", path).rc == 0
    assert stack.host.run(as_user, "site", "site", path).rc != 0
    value = stack.secrets["walled"]["ALICE"]
    stack.secrets["walled"]["ALICE"] = value[:-1] + ("." if value[-1] != "." else "/")
    try:
        said = stack.good("site.yml", "--check", "--diff", "-vvv").output
    finally:
        stack.secrets["walled"]["ALICE"] = value
    assert path in said
    assert "$6$tests" not in said


def test_what_a_neighbour_may_ask_by_the_way_of_probes_tells_nothing(ask: Any) -> None:
    """The way is open to every process of the host, so it shows the health path's status and no more."""
    probe = ("-H", "X-Emperor-Stack-Probe: http")
    inside = {"client": "127.0.0.1"}
    assert ask("walled", "/healthz", "--head", *probe, **inside).status == 200
    assert ask("walled", "/healthz", *probe, **inside).status == 401
    assert ask("walled", "/", "--head", *probe, **inside).status == 401
    assert ask("walled", "/healthz", "--head", *probe).status == 401


# the cache


def test_many_visitors_cost_one_request(ask: Any) -> None:
    answers = [ask("cached", "/many") for _ in range(10)]
    assert len({answer.json()["hit"] for answer in answers}) == 1
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS"] + ["HIT"] * 9


@pytest.mark.parametrize(
    "path",
    [
        "/a?Set-Cookie=x",
        "/b?Cache-Control=private",
        "/c?Cache-Control=no-store",
        "/d?Vary=*",
        "/e?status=404",
    ],
)
def test_answers_that_are_not_for_all_are_not_kept(ask: Any, path: str) -> None:
    assert ask("cached", path).json()["hit"] != ask("cached", path).json()["hit"]


@pytest.mark.parametrize("words", [("-H", "Cookie: a=b"), ("--user", "a:b"), ("--data", "x=y")])
def test_who_is_known_to_the_app_neither_gets_nor_makes_a_kept_answer(
    ask: Any, words: tuple[str, ...]
) -> None:
    path = f"/known-{len(words[1])}"
    own = ask("cached", path, *words).json()["hit"]
    kept = ask("cached", path).json()["hit"]
    assert kept != own
    assert ask("cached", path, *words).json()["hit"] not in (own, kept)
    assert ask("cached", path).json()["hit"] == kept


def test_answers_are_kept_by_what_they_depend_on(ask: Any) -> None:
    one = ask("cached", "/lang?Vary=Accept-Language", "-H", "Accept-Language: de").json()["hit"]
    assert ask("cached", "/lang?Vary=Accept-Language", "-H", "Accept-Language: en").json()["hit"] != one
    assert ask("cached", "/lang?Vary=Accept-Language", "-H", "Accept-Language: de").json()["hit"] == one
    assert ask("cached", "/q?a=1").json()["hit"] != ask("cached", "/q?a=2").json()["hit"]
    ask("cached", "/head", "--head")
    assert ask("cached", "/head").json()["PATH_INFO"] == "/head"


SERVERS = pytest.mark.parametrize("name", ["cached", "cached-gun"])


@SERVERS
def test_an_answer_whose_end_nobody_can_tell_is_not_kept(ask: Any, name: str) -> None:
    """An app that ends in the middle looks as one that is done, unless it has said how much there is."""
    hits = [ask(name, "/whole?measured=no") for _ in range(3)]
    assert [answer.headers["x-cache"] for answer in hits] == ["MISS"] * 3
    assert len({answer.json()["hit"] for answer in hits}) == 3
    assert [ask(name, "/whole").headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


@SERVERS
@pytest.mark.parametrize("measured", ["yes", "no"])
def test_an_answer_that_a_killed_worker_cut_is_given_to_nobody_else(
    stack: Stack, ask: Any, name: str, measured: str
) -> None:
    path = f"/cut?measured={measured}"
    first = stack.host.run("curl -s -H %s %s | wc -c", f"Host: {name}.localhost", f"http://127.0.0.1{path}")
    assert 0 < int(first.stdout) < 200_000
    answers = [ask(name, path) for _ in range(2)]
    assert [len(answer.body) for answer in answers] == [200_000] * 2
    assert [answer.headers["x-cache"] for answer in answers] == [
        "MISS",
        "HIT" if measured == "yes" else "MISS",
    ]


def test_what_is_kept_is_forgotten_in_time(stack: Stack, ask: Any) -> None:
    """nginx shows the old answer while it asks for a new one: for ever, where the new ones are none that it may keep."""
    now = int(stack.host.check_output("date +%s"))
    assert ask("cached", "/forgotten").headers["x-cache"] == "MISS"
    keys = stack.host.check_output("grep -rahs '^KEY: .*/forgotten$' /var/lib/nginx/emperor-stack-cached")
    # `seconds` is above 300.
    assert re.fullmatch(r"KEY: (\d+) GET http://cached\.localhost/forgotten", keys), keys
    assert int(keys.split()[1]) in (now // 10_000, now // 10_000 + 1)


# uploads that an app answers before it has read them


@SERVERS
def test_early_answers_to_uploads_bind_no_thread(stack: Stack, name: str) -> None:
    """nginx sends no more of a body once an answer has begun: who waits for it then, waits until somebody gives up.

    Under uWSGI that is uWSGI, which says so; under gunicorn nginx. Twice as many uploads at once as the app has threads.
    """
    host = stack.host
    host.check_output("head -c 8000000 /dev/urandom >/root/upload")
    began = host.check_output("date +%s")
    logged = int(host.check_output("wc -l </var/log/nginx/%s.error.log", name))
    (digest, _) = host.check_output("sha256sum /root/upload").split()
    for path, answer in (("/early", "early"), ("/early?late", f"early {digest}")):
        curl = (
            f"curl -sS -H Host:{name}.localhost -H Expect: --data-binary @/root/upload http://127.0.0.1{path}"
        )
        said = host.check_output("seq 8 | xargs -P 8 -I{} sh -c %s", f"echo $({curl})")
        assert said.splitlines() == [answer] * 8
    journal = host.check_output(
        "journalctl --namespace=* --no-pager -o cat -u 'emperor@*' -u 'app_*' --since @%s", began
    )
    assert "Timeout reading" not in journal
    errors = host.check_output("tail -n +%s /var/log/nginx/%s.error.log", str(logged + 1), name)
    assert "timed out" not in errors


# compression


def test_brotli_and_gzip(stack: Stack, ask: Any) -> None:
    for coding in ("br", "gzip"):
        sizes = []
        for wanted in (coding, "identity"):
            said = stack.host.check_output(
                "curl -sS -D - -o /tmp/body -w 'size %%{size_download}' -H Host:site.localhost -H %s http://127.0.0.1/",
                f"Accept-Encoding: {wanted}",
            ).lower()
            sizes.append(int(said.rpartition("size ")[2]))
            assert ("content-encoding: " + coding in said) == (wanted == coding), said
        assert sizes[0] < sizes[1] / 2


def test_precompressed_files_are_sent_as_they_are(stack: Stack) -> None:
    public = "/srv/apps/site/active/release/public/static"
    stack.host.check_output(
        "printf brotli > %s/style.css.br && chown root:www-data %s/style.css.br", public, public
    )
    command = "curl -sS -H Host:site.localhost -H 'Accept-Encoding: br' http://127.0.0.1/static/style.css"
    assert stack.host.check_output(command) == "brotli"


# private files


def test_private_files_are_sent_when_the_app_says_so(ask: Any) -> None:
    one = ask("site", "/?X-Accel-Redirect=/protected/one.txt")
    assert one.body.strip() == "only for one"
    assert one.headers["content-security-policy"].startswith("default-src 'none'")
    assert one.headers["referrer-policy"] == "no-referrer"
    said = ask(
        "site",
        "/?X-Accel-Redirect=/protected/one.txt&Content-Security-Policy=sandbox&Referrer-Policy=origin"
        "&Content-Disposition=attachment&X-Frame-Options=DENY",
    ).headers
    for name, value in {
        "content-security-policy": "sandbox",
        "referrer-policy": "origin",
        "x-frame-options": "DENY",
        "content-disposition": "attachment",
    }.items():
        assert said[name] == value
    assert (
        ask("site", "/shop/?X-Accel-Redirect=/shop/protected/style.css").body.strip()
        == "body { color: black }"
    )
    for url in ("/protected/one.txt", "/shop/protected/style.css", "/protected/"):
        assert ask("site", url).status == 404
    assert ask("site", "/?X-Accel-Redirect=/protected/none.txt").status == 404


def test_an_app_cannot_send_the_private_files_of_its_neighbour(ask: Any) -> None:
    assert ask("site", "/?X-Accel-Redirect=/shop/protected/style.css").status == 404
    assert ask("site", "/shop/?X-Accel-Redirect=/protected/one.txt").status == 404


def test_private_files_are_the_apps_and_nginx_s(stack: Stack) -> None:
    path = "/srv/apps/site/shared/invoices/one.txt"
    as_user = "setpriv --reuid=%s --regid=%s --clear-groups cat %s"
    assert stack.host.run(as_user, "www-data", "www-data", path).rc == 0
    assert stack.host.run(as_user, "cached", "cached", path).rc != 0


# error pages and maintenance


def test_error_pages(ask: Any) -> None:
    missing = ask("site", "/static/none.css")
    assert (missing.status, missing.body.strip()) == (404, "<h1>Our own 404</h1>")
    assert ask("site", "/?status=404").json()["app"] == "site"
    caught = ask("strict", "/?status=404")
    assert (caught.status, caught.body.strip()) == (404, "<h1>Our own 404</h1>")
    assert ask("site", "/emperor-stack-404.html").status == 404


@pytest.fixture
def maintenance(stack: Stack) -> Iterator[None]:
    stack.good("playbooks/maintenance.yml", app="site", state="on")
    yield
    stack.good("playbooks/maintenance.yml", app="site", state="off")


@pytest.mark.usefixtures("maintenance")
def test_in_maintenance_visitors_get_the_page_and_some_pass(stack: Stack, ask: Any) -> None:
    for url in ("/", "/static/style.css", "/old"):
        answer = ask("site", url)
        assert (answer.status, answer.body.strip()) == (503, "<h1>Our own maintenance</h1>"), url
        assert answer.headers["retry-after"] == "120"
        assert ask("site", url, client="192.0.2.9").status in (200, 301)
    assert ask("site", "/shop/").status == 200
    assert stack.status("site")["maintenance"]
    assert stack.status("site")["health"] == "ok"
    stack.good("site.yml")
    assert ask("site", "/").status == 503


def test_after_it_visitors_reach_the_app(stack: Stack, ask: Any) -> None:
    assert ask("site", "/").status == 200
    assert stack.status("site")["maintenance"] is None


def test_a_page_of_ours_where_the_app_has_none(stack: Stack, ask: Any) -> None:
    stack.good("playbooks/maintenance.yml", app="site-shop", state="on")
    answer = ask("site", "/shop/")
    stack.good("playbooks/maintenance.yml", app="site-shop", state="off")
    assert answer.status == 503 and "Back soon" in answer.body
    assert ask("site", "/").status == 200


def test_switching_under_load_with_a_deploy_between_drops_nothing(stack: Stack, ask: Any) -> None:
    """Visitors get the app or the page, whole; those who are let in always the app; the deploy goes through."""
    site = next(one for one in stack.apps if one["name"] == "site")
    site["maintenance"]["allow"].append("127.0.0.1")
    stack.good("site.yml")
    with load(stack.host, "site.localhost", ["/"], rate=40) as passing:
        for state in ("on", "off", "on"):
            stack.good("playbooks/maintenance.yml", app="site", state=state)
        outcome = stack.deploy("site", "v1")
        stack.good("playbooks/maintenance.yml", app="site", state="off")
    site["source"]["version"] = "v1"
    assert outcome.code == 0, outcome.output[-3000:]
    assert len(passing.releases) == 2
    figure("maintenance_deploy_failed_requests", f"{passing.failed}/{passing.total}")
    assert passing.failed == 0, passing.failures()
    assert ask("site", "/").json()["version"] == "v1"


# deploys


@pytest.mark.parametrize("name", ["walled", "networks", "limited", "cached", "site-shop"])
def test_a_deploy_passes_what_visitors_meet(stack: Stack, name: str) -> None:
    outcome = stack.deploy(name, "v2")
    next(one for one in stack.apps if one["name"] == name)["source"]["version"] = "v2"
    assert outcome.code == 0, outcome.output[-3000:]


def test_a_changed_limit_makes_no_release(stack: Stack, ask: Any) -> None:
    before = stack.status("limited")["live"]["release"]
    next(one for one in stack.apps if one["name"] == "limited")["rate_limit"] = {"requests": "100/s"}
    stack.good("site.yml")
    assert stack.status("limited")["live"]["release"] == before
    assert {ask("limited", "/", client="198.51.100.30").status for _ in range(12)} == {200}


def test_a_second_run_changes_nothing(stack: Stack, machine: Host) -> None:
    said = stack.good("site.yml").output
    assert f"{machine.backend.host}" in said
    assert "changed=0" in said.rpartition("PLAY RECAP")[2], said[-2000:]
