"""Activations: what is said of an answer, when one is healthy, idle or gone; and the emperors above them."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.app import front_sites
from ansible_collections.emperor.stack.plugins.module_utils.emperor import handover, old_sockets
from ansible_collections.emperor.stack.plugins.module_utils.files.atomic import link_atomically
from ansible_collections.emperor.stack.plugins.module_utils.host import layout, unix_sockets
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.unix_sockets import Connections
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release.lifecycle import Health, NotHealthy
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import client as uwsgi_client
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import emperor_check
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi import stats as uwsgi_stats
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.client import Answer
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.sockets import NoAnswer
from ansible_collections.emperor.stack.plugins.module_utils.uwsgi.stats import Stats, Worker

R1 = "20261122T193000-ab12cd3"
Activate = Callable[..., str]


def health(**changes: Any) -> Health:
    base = {
        "path": "/up",
        "status": (),
        "answers": 3,
        "timeout": 0.5,
        "host": "blog.example.com",
        "release": R1,
    }
    return Health(**{**base, **changes})


def answer(status: int = 200, release: str | None = R1, body: bytes = b"") -> Answer:
    return Answer(status, {"x-release": release} if release else {}, body)


@pytest.mark.parametrize(
    ("given", "wanted", "complaint"),
    [
        (answer(200), (), None),
        (answer(302), (), None),
        (answer(401), (401,), None),
        (answer(200, "r0"), (), f"GET /up was answered by release r0, not by {R1}"),
        (answer(200, None), (), f"GET /up was answered by no release of this app, not by {R1}"),
        (
            answer(500, R1, b" Oops\n"),
            (),
            "GET /up with Host blog.example.com answered 500, not 2xx or 3xx: Oops",
        ),
        (answer(199), (), "GET /up with Host blog.example.com answered 199, not 2xx or 3xx: "),
        (answer(400), (), "GET /up with Host blog.example.com answered 400, not 2xx or 3xx: "),
        (answer(204), (200, 301), "GET /up with Host blog.example.com answered 204, not 200, 301: "),
        (answer(500, R1, b"\xff" * 300), (), None),
    ],
)
def test_complaints(given: Answer, wanted: tuple[int, ...], complaint: str | None) -> None:
    found = health(status=wanted).complaint(given)
    if given.body.startswith(b"\xff"):
        assert found is not None
        assert len(found) < 300
    else:
        assert found == complaint


def activate(activation: str = "blog@1") -> None:
    directory = Path(f"{layout.activations('blog')}/{activation}")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "app.sock").symlink_to(layout.socket("blog", activation))


def test_answers_have_to_be_right_in_a_row(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    activate()
    Path(layout.socket("blog", "blog@1")).write_text("")
    script = [answer(500), NoAnswer("x"), answer(), answer(), answer(200, "r0"), answer(), answer(), answer()]

    def ask(*_: Any) -> Answer:
        given = script.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    monkeypatch.setattr(uwsgi_client, "ask", ask)
    assert lifecycle.wait_until_healthy("blog", "blog@1", health(timeout=5)) == 8
    assert not script


@pytest.mark.parametrize(
    ("listens", "given", "says"),
    [
        (False, None, "it did not start to listen"),
        (True, answer(500, R1, b"boom"), "answered 500, not 2xx or 3xx: boom"),
        (True, answer(200, "r0"), "was answered by release r0"),
    ],
)
@pytest.mark.parametrize(("log", "shown"), [("Traceback", "its log:\nTraceback"), ("", "It logged nothing")])
def test_what_is_said_of_one_that_never_was(
    host: Path, monkeypatch: pytest.MonkeyPatch, listens: bool, given: Answer, says: str, log: str, shown: str
) -> None:
    activate()
    if listens:
        Path(layout.socket("blog", "blog@1")).write_text("")
    monkeypatch.setattr(uwsgi_client, "ask", lambda *_: given)
    monkeypatch.setattr(lifecycle, "app_log", lambda *_: log)
    with pytest.raises(NotHealthy) as failed:
        lifecycle.wait_until_healthy("blog", "blog@1", health())
    assert str(failed.value).startswith("blog@1 was not healthy within 0.5 s: ")
    assert says in str(failed.value)
    assert shown in str(failed.value)
    # An app that answers 500 and keeps the reason for itself.
    assert ("It logged no traceback: docs/deploy.md" in str(failed.value)) == ("answered 500" in says)


def test_the_front_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [answer(), answer(), answer(200, "r0")]
    monkeypatch.setattr(uwsgi_client, "ask_http", lambda *_: script.pop(0))
    lifecycle.probe_through_front(health(), 2, 1, 80)
    with pytest.raises(NotHealthy, match=r"through nginx: .* release r0"):
        lifecycle.probe_through_front(health(), 2, 1, 80)


def test_a_site_of_https_is_probed_as_its_visitors_ask(
    host: Path, state: AppState, save: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an app that redirects to HTTPS would pass its probe by doing so."""
    manifest = save(R1)
    wanted = host / "wanted.json"
    monkeypatch.setattr(layout, "TLS_WANTED", str(wanted))
    assert Health.of(manifest).scheme == "http"
    assert lifecycle.url_of(manifest, 80) == f"http://{manifest.host}/"
    assert lifecycle.url_of(replace(manifest, path="/shop/"), 8080) == f"http://{manifest.host}:8080/shop/"
    for redirect, scheme in ((True, "https"), (False, "http")):
        wanted.write_text(
            json.dumps({"apps": [{"name": "site", "domains": [manifest.host], "redirect": redirect}]})
        )
        assert Health.of(manifest).scheme == scheme
        assert lifecycle.url_of(manifest, 80) == f"{scheme}://{manifest.host}/"
    wanted.write_text(
        json.dumps({"apps": [{"name": "blog", "domains": ["other.example.com"], "redirect": True}]})
    )
    assert Health.of(manifest).scheme == "http"


def test_both_probes_ask_with_the_scheme(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    activate()
    Path(layout.socket("blog", "blog@1")).write_text("")
    asked: list[Any] = []
    monkeypatch.setattr(uwsgi_client, "ask", lambda _, variables, __: asked.append(variables) or answer())
    monkeypatch.setattr(uwsgi_client, "ask_http", lambda *given: asked.append(given) or answer())
    lifecycle.wait_until_healthy("blog", "blog@1", health(answers=1, scheme="https"))
    lifecycle.probe_through_front(health(scheme="https"), 1, 1, 80)
    assert asked[0]["REQUEST_SCHEME"] == "https" and asked[0]["HTTPS"] == "on"
    assert asked[1][-1] == "https"


def test_an_asgi_app_is_probed_in_http(
    host: Path, save: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    activate()
    Path(layout.socket("blog", "blog@1")).write_text("")
    asked: list[bytes] = []
    monkeypatch.setattr(uwsgi_client, "ask", lambda _, request, __: asked.append(request) or answer())
    lifecycle.wait_until_healthy("blog", "blog@1", health(answers=1, protocol="http"))
    assert asked[0].startswith(b"GET ")
    assert Health.of(save(R1, protocol="http")).protocol == "http"
    assert Health.of(save(R1)).protocol == "uwsgi"


def test_open_websockets_get_their_time_to_end(state: AppState, save: Callable[..., Manifest]) -> None:
    activate()
    Path(layout.activations("blog"), "blog@1", "release").symlink_to(f"../../releases/{R1}")
    for changes, seconds in (
        ({"request_timeout": 20}, 25),
        ({"request_timeout": 20, "websocket_drain": 300}, 25),
        ({"request_timeout": 20, "websocket_drain": 300, "protocol": "http"}, 315),
        ({"request_timeout": 600, "websocket_drain": 300, "protocol": "http"}, 605),
    ):
        save(R1, **changes)
        assert state.seconds_to_end("blog@1") == seconds, changes


def test_an_activation_is_a_directory_and_a_vassal(
    state: AppState, save: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = save(R1)
    before = os.umask(0o077)
    try:
        name = lifecycle.start(state, manifest, "b")
    finally:
        os.umask(before)
    directory = Path(layout.activations("blog"), name)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o711
    assert os.readlink(directory / "app.sock") == layout.socket("blog", "blog@1")
    assert (directory / "release").resolve() == Path(layout.release("blog", R1)).resolve()
    assert lifecycle.emperor_of(name) == "b"
    assert os.readlink(lifecycle.vassal_path("b", name)) == layout.activation_vassal("blog", name)
    assert (
        Path(f"{lifecycle.vassal_path('b', name)}.socket").read_text() == f"{layout.socket('blog', name)}\n"
    )
    # What a condition of systemd looks for below `active`.
    assert (directory / name).is_file()
    assert state.live_activation() is None
    lifecycle.switch(state, name)
    assert state.live_release() == R1
    lifecycle.stop(state, name)
    assert directory.exists()
    assert lifecycle.emperor_of(name) is None


def test_the_emperor_is_woken_when_there_is_something_to_see(
    state: AppState, save: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer looks by itself, a little later."""
    seen = []

    def stats(path: str) -> dict[str, Any]:
        seen.append((Path(path).name, [name for _, name in lifecycle.vassals_of("blog")]))
        raise NoAnswer(path)

    monkeypatch.setattr(lifecycle.sockets, "stats", stats)
    name = lifecycle.start(state, save(R1), "b")
    assert seen == [("emperor-b.stats", [name])]


def test_vassals_are_those_of_exactly_this_app(host: Path) -> None:
    for emperor, name in (
        ("a", "blog@1.ini"),
        ("b", "blog@2.ini"),
        ("a", "blog2@3.ini"),
        ("a", "my-blog@3.ini"),
        ("a", "blog@x.ini"),
        ("a", "blog@4.ini.new-77"),
        ("a", "blog.ini"),
    ):
        Path(layout.vassals(emperor), name).write_text("")
    assert list(lifecycle.vassals_of("blog")) == [("a", "blog@1"), ("b", "blog@2")]
    assert handover.apps_under("a") == ["blog", "blog2", "my-blog"]


VASSALS = {
    "today's": "[uwsgi]\n# a = b\nchdir = /x\nlisten = 7\n",
    "an earlier version's": "[uwsgi]\n# a = b\nsocket = /run/emperor-stack/blog/%n.sock\nchmod-socket = 660\nchdir = /x\n"
    "stats = /run/emperor-stack/blog/%n.stats\nlisten = 7\nvacuum = true\n",
}


@pytest.mark.parametrize("release", VASSALS)
def test_the_vassals_config_binds_nothing(
    state: AppState, save: Callable[..., Manifest], release: str
) -> None:
    """Whatever version made the release, which itself stays as it is."""
    manifest = save(R1)
    config = Path(layout.release("blog", R1), "vassal.ini")
    config.write_text(VASSALS[release])
    name = lifecycle.start(state, manifest, "a")
    path = Path(layout.activation_vassal("blog", name))
    assert path.read_text() == VASSALS["today's"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert config.read_text() == VASSALS[release]


def test_the_directory_of_sockets_is_roots_and_the_fronts(host: Path) -> None:
    shutil.rmtree(layout.sockets())
    before = os.umask(0o077)
    try:
        lifecycle.make_socket_directory("blog")
        lifecycle.make_socket_directory("blog")
    finally:
        os.umask(before)
    for path, mode in ((layout.sockets(), 0o711), (layout.socket_directory("blog"), 0o750)):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode


def slow() -> NoAnswer:
    return NoAnswer("x")


@pytest.mark.parametrize(
    ("counted", "said", "quiet"),
    [
        (None, 0, None),
        (Connections(0, 0), 0, True),
        (Connections(1, 1), 0, False),
        (Connections(0, 0), 1, False),
        # A connection that a leftover holds open: uWSGI has nobody at work.
        (Connections(0, 3), 0, True),
        (Connections(0, 0), slow(), True),
        (Connections(0, 2), slow(), False),
        (OSError("no netlink"), 0, False),
        (TimeoutError("too many"), 0, False),
    ],
    ids=[
        "nobody listens",
        "quiet",
        "a queue",
        "at work",
        "leftover",
        "asleep",
        "says nothing",
        "not counted",
        "too many",
    ],
)
def test_when_one_is_quiet(
    host: Path, monkeypatch: pytest.MonkeyPatch, counted: Any, said: Any, quiet: bool | None
) -> None:
    def connections(path: str) -> Any:
        assert path == layout.socket("blog", "blog@1")
        if isinstance(counted, Exception):
            raise counted
        return counted

    def read(*_: str) -> Stats:
        if isinstance(said, Exception):
            raise said
        return Stats(1, tuple(Worker(2, True, 0, 0) for _ in range(said)))

    monkeypatch.setattr(unix_sockets, "connections", connections)
    monkeypatch.setattr(uwsgi_stats, "read", read)
    assert lifecycle.is_quiet("blog", "blog@1") is quiet


@pytest.mark.parametrize(
    ("moments", "looks", "idle", "asked"),
    [
        ([True] * 5, lifecycle.JUST_LEFT, True, 5),
        ([False, True, True, False, True, True, True, True, True], lifecycle.JUST_LEFT, True, 9),
        ([True, False, True, True], lifecycle.LONG_LEFT, True, 4),
        ([False, None], lifecycle.JUST_LEFT, True, 2),
        ([False] * 100, lifecycle.JUST_LEFT, False, 0),
    ],
    ids=["idle", "busy again", "left long ago", "gone", "never"],
)
def test_a_drain_waits_for_quiet(
    host: Path,
    monkeypatch: pytest.MonkeyPatch,
    moments: list[bool | None],
    looks: int,
    idle: bool,
    asked: int,
) -> None:
    calls = []

    def is_quiet(*_: Any) -> bool | None:
        calls.append(1)
        return moments[len(calls) - 1]

    monkeypatch.setattr(lifecycle, "is_quiet", is_quiet)
    assert lifecycle.drain("blog", "blog@1", 5 if idle else 0.3, looks) is idle
    assert not asked or len(calls) == asked


def test_the_socket_is_where_the_activations_link_leads(host: Path) -> None:
    """An earlier version's is in the app's reach, and serves from there until it is replaced."""
    activate()
    assert lifecycle.is_out_of_reach("blog", "blog@1")
    old = f"{layout.old_socket_directory('blog')}/blog@2.sock"
    Path(layout.activations("blog"), "blog@2").mkdir()
    Path(layout.activations("blog"), "blog@2", "app.sock").symlink_to(old)
    assert lifecycle.socket_of("blog", "blog@2") == old
    assert not lifecycle.is_out_of_reach("blog", "blog@2")
    assert lifecycle.socket_of("blog", "blog@3") == layout.socket("blog", "blog@3")


@pytest.mark.parametrize(
    ("content", "emperor"), [(None, "a"), ("b\n", "b"), ("a", "a"), ("x", "a"), ("", "a")]
)
def test_the_emperor_that_runs(host: Path, content: str | None, emperor: str) -> None:
    if content is not None:
        Path(layout.CONFIG, "emperor").write_text(content)
    assert emperor_check.running_emperor() == emperor
    assert emperor_check.other(emperor) != emperor


# The emperors

MAPS = """\
5581-5582 r-xp 00000000 08:01 77 /usr/bin/uwsgi-core (deleted)
5583-5584 r--p 00000000 08:01 78 /usr/lib/x/libssl.so.3 (deleted)
5585-5586 r-xp 00000000 08:01 79 /usr/lib/x/libc.so.6
5587-5588 r-xp 00000000 08:01 77 /usr/bin/uwsgi-core (deleted)
5589-5590 rwxp 00000000 00:01 80 /memfd:jit (deleted)
5591-5592 rwxs 00000000 00:01 81 /dev/zero (deleted)
5593-5594 r-xp 00000000 08:01 82 /srv/apps/blog/x.so (deleted)
5595-5596 r-xp 00000000 00:00 0 [vdso]
5597-5598 r-xp 00000000 08:01 83 /lib/x/libz z.so (deleted)
559a-559b r-xp 00000000 00:00 0
"""


def test_what_was_replaced_since_it_was_loaded() -> None:
    # As a file gives them, with their ends.
    for ends in (True, False):
        found = emperor_check.deleted_files(MAPS.splitlines(keepends=ends))
        assert found == ["/usr/bin/uwsgi-core", "/lib/x/libz z.so"]
    assert emperor_check.deleted_files([]) == []


@pytest.fixture
def emperor(host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    unit = host / "emperor@.service"
    unit.write_text("unit")
    Path(emperor_check.settings("a")).write_text("ini")
    monkeypatch.setattr(emperor_check, "UNIT", str(unit))
    monkeypatch.setattr(emperor_check, "unit_property", lambda *_: str(os.getpid()))
    # As the unit's ExecStartPre notes it: sha256sum of both files, one after the other.
    started = host / "run/emperor-a.started"
    started.write_text(f"{hashlib.sha256(b'unitini').hexdigest()}  -\n")
    return started


@pytest.mark.parametrize("why", ["unit", "settings", "never noted", "empty note", None])
def test_an_emperor_is_out_of_date_by_its_files(emperor: Path, host: Path, why: str | None) -> None:
    if why == "unit":
        Path(emperor_check.UNIT).write_text("other")
    elif why == "settings":
        Path(emperor_check.settings("a")).write_text("other")
    elif why == "never noted":
        emperor.unlink()
    elif why == "empty note":
        emperor.write_text("")
    assert emperor_check.out_of_date("a") == (why and "its unit or settings changed")


def test_an_emperor_is_out_of_date_by_what_it_runs(emperor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emperor_check, "deleted_files", lambda maps: ["/usr/bin/uwsgi-core"] if maps else [])
    assert emperor_check.out_of_date("a") == "/usr/bin/uwsgi-core was replaced since it started"


def test_an_app_that_maps_a_file_whose_name_is_no_text(emperor: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(path, "wb+") as file:
        file.write(b"x" * 4096)
        file.flush()
        with mmap.mmap(file.fileno(), 4096):
            assert emperor_check.out_of_date("a") is None


@pytest.fixture
def move(
    state: AppState, save: Callable[..., Manifest], run_activation: Activate, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    save(R1, status="good")
    run_activation(R1, "blog@1", live=True)
    calls: list[str] = []
    for name in ("wait_until_healthy", "probe_through_front"):
        monkeypatch.setattr(lifecycle, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(lifecycle, "drain", lambda app, activation, _: calls.append(f"drain {activation}"))
    monkeypatch.setattr(front_sites, "own", lambda app: [f"/etc/nginx/{app}.conf"])
    monkeypatch.setattr(front_sites, "of_other_apps", lambda app: [])
    return calls


def test_an_app_moves_to_the_other_emperor(state: AppState, move: list[str]) -> None:
    assert handover.move_app("blog", "b", 80) == "blog@2"
    assert list(lifecycle.vassals_of("blog")) == [("b", "blog@2")]
    assert state.live_activation() == "blog@2"
    assert move == ["wait_until_healthy", "probe_through_front", "drain blog@1"]
    assert state.history()[-1]["kind"] == "handover"
    assert handover.move_app("blog", "b", 80) is None


def test_an_app_is_restarted_under_the_emperor_that_it_has(state: AppState, move: list[str]) -> None:
    assert handover.restart_app("blog", "a", 80) == "blog@2"
    assert list(lifecycle.vassals_of("blog")) == [("a", "blog@2")]
    assert state.live_activation() == "blog@2" and state.live_release() == R1
    assert move[-1] == "drain blog@1"
    assert state.history()[-1]["kind"] == "restart"


def test_an_app_that_is_not_live_cannot_be_restarted(host: Path) -> None:
    with pytest.raises(lifecycle.NotHealthy, match="deploy it first"):
        handover.restart_app("shop", "a", 80)


def test_an_app_moves_without_a_site(
    state: AppState, move: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has left the inventory and was not removed: it answers at its socket, and nothing leads there."""

    def closed(*_: Any) -> None:
        raise NotHealthy("through nginx: Remote end closed connection without response")

    monkeypatch.setattr(lifecycle, "probe_through_front", closed)
    monkeypatch.setattr(front_sites, "own", lambda app: [])
    assert handover.move_app("blog", "b", 80) == "blog@2"
    assert state.live_activation() == "blog@2"
    assert move == ["wait_until_healthy", "drain blog@1"]
    # Below the domain of another app, visitors still get there.
    monkeypatch.setattr(front_sites, "of_other_apps", lambda app: ["/etc/nginx/shop.conf"])
    with pytest.raises(NotHealthy, match="through nginx"):
        handover.move_app("blog", "a", 80)
    assert state.live_activation() == "blog@2"


def test_what_an_emperor_still_has_is_drained_before_it_goes(
    state: AppState, move: list[str], run_activation: Activate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warm activations are not waited for by the deploy that left them."""
    run_activation(R1, "blog@2", live=True)
    monkeypatch.setattr(handover, "stop_unit", lambda emperor: move.append(f"stop {emperor}"))
    monkeypatch.setattr(lifecycle, "stop", lambda _, activation: move.append(f"stop {activation}"))
    monkeypatch.setattr(handover, "apps_under", lambda emperor: [] if "stop blog@1" in move else ["blog"])
    handover.retire("a")
    assert move == ["drain blog@1", "stop blog@1", "stop a"]


def test_what_is_live_again_by_then_stays(
    state: AppState, move: list[str], run_activation: Activate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rolls back while an emperor drains what it still has."""
    run_activation(R1, "blog@2", live=True)
    monkeypatch.setattr(
        lifecycle, "drain", lambda *_: link_atomically("activations/blog@1", layout.active("blog"))
    )
    handover.drain_and_stop(state, "blog@1")
    assert ("a", "blog@1") in list(lifecycle.vassals_of("blog"))


def test_an_app_whose_server_is_a_unit_moves_only_for_fresh_processes(
    state: AppState, move: list[str], save: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(R1, status="good", server="gunicorn")
    os.makedirs(layout.release_units("blog", R1))
    Path(layout.release_units("blog", R1), "app_blog_web@.service").write_text("[Install]")
    os.rename(lifecycle.vassal_path("a", "blog@1"), layout.unit_file("app_blog_web@1.service"))
    monkeypatch.setattr(app_units, "run", lambda *_, **__: "")
    assert handover.move_app("blog", "b", 80) is None
    assert handover.move_app("blog", "b", 80, fresh=True) == "blog@2"
    assert list(lifecycle.running_activations("blog")) == [("systemd", "blog@2")]
    assert state.live_activation() == "blog@2"


@pytest.mark.parametrize("step", ["wait_until_healthy", "probe_through_front"])
@pytest.mark.parametrize("error", [NotHealthy("no"), OSError("full"), CommandFailed("x", "x", "x", "")])
def test_an_app_that_does_not_start_there_stays(
    state: AppState, move: list[str], monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(lifecycle, step, fail)
    with pytest.raises(type(error)):
        handover.move_app("blog", "b", 80)
    assert state.live_activation() == "blog@1"
    assert list(lifecycle.vassals_of("blog")) == [("a", "blog@1")]
    assert state.activation_names() == ["blog@1"]


def test_an_emperor_retires_only_without_live_apps(
    state: AppState, move: list[str], run_activation: Activate, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(handover, "stop_unit", stopped.append)
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(handover.time, "monotonic", lambda: next(clock))
    with pytest.raises(NotHealthy, match="still runs blog"):
        handover.retire("a")
    assert not stopped
    run_activation(R1, "blog@2", live=True, emperor="b")
    handover.retire("a")
    assert stopped == ["a"]
    assert list(lifecycle.vassals_of("blog")) == [("b", "blog@2")]


# What earlier versions left


@pytest.fixture
def old(host: Path) -> Path:
    """The directory in which the app bound its sockets, with things of the app's in it."""
    directory = Path(layout.old_socket_directory("blog"))
    (directory / "deep" / "er").mkdir(parents=True)
    (directory / "passwd").symlink_to("/etc/passwd")
    waiting = Path(layout.old_waiting_directory("blog"))
    waiting.mkdir(parents=True)
    return directory


def reach(activation: str, old: Path) -> None:
    """Let *activation* have its socket in the app's reach."""
    link_atomically(f"{old}/{activation}.sock", f"{layout.activations('blog')}/{activation}/app.sock")


def test_old_directories_are_seen(old: Path) -> None:
    Path(layout.sockets(), "blog").mkdir(parents=True, exist_ok=True)
    Path(layout.RUN, "emperor-a.started").write_text("")
    Path(layout.RUN, "link").symlink_to("/tmp")
    Path(layout.current_steps("a" * 16)).mkdir(parents=True)
    assert sorted(emperor_check.old_socket_directories()) == [
        str(old),
        layout.old_waiting_directory("blog"),
    ]
    assert old_sockets.apps() == ["blog"]


def test_up_to_date_is_only_who_has_none(emperor: Path, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emperor_check, "is_running", lambda name: name == "a")
    monkeypatch.setattr(emperor_check, "out_of_date", lambda _: None)
    # Of a run that goes on meanwhile.
    Path(layout.current_steps("a" * 16)).mkdir(parents=True)
    assert emperor_check.up_to_date()
    Path(layout.old_socket_directory("blog")).mkdir()
    assert not emperor_check.up_to_date()


def test_they_go_when_nothing_uses_them(old: Path, state: AppState) -> None:
    old_sockets.leave("blog")
    assert not old.exists()
    assert not os.path.exists(layout.old_waiting())
    assert old_sockets.apps() == []
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("user", ["activation", "unit"])
def test_they_stay_while_something_does(
    old: Path, state: AppState, save: Callable[..., Manifest], run_activation: Activate, user: str
) -> None:
    if user == "activation":
        save(R1)
        reach(run_activation(R1, "blog@1", live=True), old)
    else:
        Path(layout.unit_file("app_blog_jobs@1.service")).write_text(
            f"[Service]\nReadWritePaths=/srv {old}\n"
        )
    with pytest.raises(NotHealthy, match=r"use a socket directory that the app can write to"):
        old_sockets.leave("blog")
    assert old.exists()


def test_what_is_live_there_moves_under_the_same_emperor(state: AppState, move: list[str], old: Path) -> None:
    reach("blog@1", old)
    assert handover.move_app("blog", "a", 80) == "blog@2"
    assert lifecycle.is_out_of_reach("blog", "blog@2")
    handover.leave_old_sockets("blog")
    assert not old.exists()
    assert handover.move_app("blog", "a", 80) is None


def test_what_is_warm_there_ends(
    state: AppState, move: list[str], old: Path, run_activation: Activate
) -> None:
    reach("blog@1", old)
    lifecycle.switch(state, lifecycle.start(state, state.manifests()[0], "a"))
    handover.leave_old_sockets("blog")
    assert move == ["drain blog@1"]
    assert list(lifecycle.vassals_of("blog")) == [("a", "blog@2")]
    assert not old.exists()
