"""The host's command `emperor`, on a host where builds and answers are played."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.operate import surroundings, verbs
from ansible_collections.emperor.stack.plugins.module_utils.programs import emperor
from ansible_collections.emperor.stack.plugins.module_utils.release import known_app, plan
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.source import references

from .playing import MINE, THEIRS, Host

#: What the repository has.
REVISIONS = {"v1": "a" * 40, "v2": "b" * 40, "v3": "c" * 40}


@pytest.fixture
def deploys(host: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    # What belongs to root belongs to whoever runs the tests.
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    monkeypatch.setattr(surroundings, "as_a_module_runs", lambda: None)
    monkeypatch.setattr(plan, "resolve_git", lambda source, key: REVISIONS[source["version"]])
    monkeypatch.setenv("SUDO_USER", "ann")
    return Host(monkeypatch)


@pytest.fixture
def know(deploys: Host) -> Callable[..., None]:
    """Tell the host of app blog, as site.yml does."""

    def tell(**changes: Any) -> None:
        source = {"git": "https://git.example.com/blog.git", "version": "v1"}
        spec = {**deploys.spec(source=source), "secrets": {"TOKEN": "seven seas"}}
        known: dict[str, Any] = {
            "format": known_app.FORMAT,
            "name": "blog",
            "spec": known_app.lasting(spec),
            "reason": "",
            "settings": known_app.settings_of(Options(keep_releases=3)),
            "front": "nginx",
            "hosts": [],
            **changes,
        }
        os.makedirs(layout.KNOWN_APPS, exist_ok=True)
        Path(layout.known_app("blog")).write_text(known_app.text(known))

    tell()
    return tell


Said = pytest.CaptureFixture[str]


def test_it_deploys_and_goes_back(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    assert emperor.main(["deploy", "blog", "v2"]) == 0
    said = capsys.readouterr()
    assert "app   live release             version  result    seconds" in said.out
    assert "blog: v2 lasts until the next run of site.yml" in said.out
    assert "which deploys v1 again. To keep it, set source.version of blog to v2" in said.out
    assert "... blog: prepare" in said.err
    live = deploys.state.manifest(str(deploys.state.live_release()))
    assert live and live.revision == REVISIONS["v2"]
    assert emperor.main(["rollback", "blog"]) == 0
    assert "rolled back" in capsys.readouterr().out
    live = deploys.state.manifest(str(deploys.state.live_release()))
    assert live and live.revision == REVISIONS["v1"]
    deploys.settled()
    first, *_, last = deploys.state.history()
    here = socket.gethostname()
    assert (first["kind"], first["who"], first["controller"]) == ("deploy", f"ann@{here}", here)
    assert last["kind"] == "rollback" and last["result"] == "good"


def test_a_line_of_history_is_that_of_a_playbook(deploys: Host, know: Callable[..., None]) -> None:
    deploys.deploy(REVISIONS["v1"])
    assert emperor.main(["deploy", "blog", "v2"]) == 0
    by_playbook, by_hand = deploys.state.history()
    assert by_playbook.keys() == by_hand.keys()
    assert by_playbook["who"] == MINE["who"]


def test_what_is_live_is_left_alone(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    deploys.calls.clear()
    capsys.readouterr()
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert deploys.calls == []
    assert emperor.main(["deploy", "blog", "v1", "--force"]) == 0
    assert "prepare" in deploys.calls


def test_a_release_that_was_rolled_back_is_held(
    deploys: Host, know: Callable[..., None], capsys: Said
) -> None:
    for command in (["deploy", "blog", "v1"], ["deploy", "blog", "v2"], ["rollback", "blog"]):
        assert emperor.main(command) == 0
    capsys.readouterr()
    assert emperor.main(["deploy", "blog", "v2"]) == 0
    said = capsys.readouterr().out
    # The option that is there, not that of the playbook.
    assert "was rolled back; deploy it anyway with --force, or change the app's version" in said


def test_a_run_of_a_controller_keeps_it_out(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    with deploys.state.working():
        deploys.state.take_lock(THEIRS, (), False)
    assert emperor.main(["deploy", "blog", "v2"]) == 2
    said = capsys.readouterr().out
    assert "held by bob@desk on desk" in said and "break the lock with --break-lock" in said
    assert deploys.calls == []
    assert emperor.main(["deploy", "blog", "v2", "--break-lock"]) == 0


def test_a_failure_fails_and_keeps_the_old_release(
    deploys: Host, know: Callable[..., None], capsys: Said
) -> None:
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    deploys.breaks["probe"] = OSError("no answer; the token is seven seas")
    capsys.readouterr()
    assert emperor.main(["deploy", "blog", "v2"]) == 2
    said = capsys.readouterr().out
    assert "failed: start" in said and "********" in said and "seven seas" not in said
    live = deploys.state.manifest(str(deploys.state.live_release()))
    assert live and live.revision == REVISIONS["v1"]


def test_json(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    assert emperor.main(["deploy", "blog", "v2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["apps"]["blog"]["live"] == deploys.state.live_release()
    assert said["phases"] == ["plan", "prepare", "migrate", "start", "switch", "drain"]
    assert emperor.main(["history", "blog", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["kind"] == "deploy"
    deploys.breaks["probe"] = OSError("no answer")
    assert emperor.main(["deploy", "blog", "v3", "--json"]) == 2
    assert "no answer" in json.loads(capsys.readouterr().out)["apps"]["blog"]["error"]


def test_history_as_a_table(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    assert emperor.main(["deploy", "blog", "v2"]) == 0
    deploys.breaks["probe"] = OSError("no answer")
    assert emperor.main(["deploy", "blog", "v3"]) == 2
    capsys.readouterr()
    assert emperor.main(["history", "blog", "-n", "1"]) == 0
    titles, row, *reason = capsys.readouterr().out.splitlines()
    assert titles.split() == ["time", "what", "release", "as", "seconds", "who", "result"]
    assert f"ann@{socket.gethostname()}"[:12] in row and row.endswith("FAILED in start")
    assert "no answer" in "\n".join(reason)


@pytest.mark.parametrize(
    "version",
    [
        "-x",
        "--upload-pack=id",
        "",
        "v1 v2",
        "v1;id",
        "$(id)",
        "v*",
        "../x",
        "v1\n",
        "v1\0",
        "v\u0661",
        "a" * 5000,
    ],
)
def test_a_version_is_no_option_and_no_pattern(
    deploys: Host, know: Callable[..., None], capsys: Said, version: str
) -> None:
    known = known_app.read("blog")
    if len(version) > 300:
        assert emperor.main(["deploy", "blog", "--json", "--", version]) == 2
    else:
        with pytest.raises(verbs.Refused, match="is not a version"):
            verbs.deploy(known, version, {})
    assert deploys.calls == []


@pytest.mark.parametrize("release", ["../../etc", "-x", "a b", "x" * 65, "a\n"])
def test_a_release_is_no_path(deploys: Host, know: Callable[..., None], capsys: Said, release: str) -> None:
    assert emperor.main(["rollback", "blog", "--", release]) == 2
    assert "is not the name of a release" in capsys.readouterr().err


@pytest.mark.parametrize("app", ["../known/blog", "root", "BLOG", "", "blog/../blog", "-v"])
def test_an_app_is_no_path(deploys: Host, know: Callable[..., None], capsys: Said, app: str) -> None:
    assert emperor.main(["history", "--", app]) == 2
    assert "is not the name of an app" in capsys.readouterr().err


def test_an_app_that_nobody_knows(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    assert emperor.main(["deploy", "shop", "v1"]) == 2
    assert "this host does not know an app shop. Known: blog." in capsys.readouterr().err


def test_several_hosts(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    know(hosts=["web1", "web2"])
    assert emperor.main(["deploy", "blog", "v2"]) == 2
    said = capsys.readouterr().err
    assert "blog is on several hosts (web1, web2)" in said
    assert "ansible-playbook playbooks/deploy.yml -e version=v2 -e app=blog" in said
    assert emperor.main(["rollback", "blog"]) == 2
    assert deploys.calls == []
    assert emperor.main(["deploy", "blog", "v2", "--only-here"]) == 0


def test_code_of_the_controller(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    know(spec=None, reason="its code comes from source.path, which only the controller has")
    assert emperor.main(["deploy", "blog", "v2"]) == 2
    assert "blog cannot be deployed here: its code comes from source.path" in capsys.readouterr().err


def test_a_file_of_another_format(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    know(format=99)
    assert emperor.main(["deploy", "blog", "v2"]) == 2
    assert "was written by another version of Emperor Stack: run site.yml" in capsys.readouterr().err
    Path(layout.known_app("blog")).write_text("{")
    assert emperor.main(["deploy", "blog", "v2"]) == 2
    assert "is damaged: run site.yml" in capsys.readouterr().err


def test_only_root(deploys: Host, know: Callable[..., None], capsys: Said, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert emperor.main(["status"]) == 2
    assert "use sudo" in capsys.readouterr().err


def test_maintenance(deploys: Host, know: Callable[..., None], capsys: Said) -> None:
    os.makedirs(layout.MAINTENANCE)
    assert emperor.main(["maintenance", "blog", "on"]) == 0
    since = os.stat(layout.maintenance("blog")).st_mtime_ns
    assert emperor.main(["maintenance", "blog", "on"]) == 0
    assert os.stat(layout.maintenance("blog")).st_mtime_ns == since
    # A restore would end its own.
    Path(layout.maintenance("blog")).write_text("playbooks/restore.yml\n")
    assert emperor.main(["maintenance", "blog", "on"]) == 0
    assert Path(layout.maintenance("blog")).read_text() == ""
    assert emperor.main(["maintenance", "blog", "off"]) == 0
    assert not os.path.exists(layout.maintenance("blog"))
    know(front="apache")
    assert emperor.main(["maintenance", "blog", "on"]) == 2
    assert not os.path.exists(layout.maintenance("blog"))


def test_what_is_run_is_one_line_or_words(deploys: Host, know: Callable[..., None], monkeypatch: Any) -> None:
    ran: list[tuple[str, float]] = []

    def run_command(app: str, release: str, command: str, timeout: float) -> Any:
        ran.append((command, timeout))
        return verbs.app_command.Outcome("done", "" if command != "false" else "exit status 1", 0)

    monkeypatch.setattr(verbs.app_command, "hide_secrets", lambda *_: None)
    monkeypatch.setattr(verbs.app_command, "run_command", run_command)
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    assert emperor.main(["run", "blog", "--", "echo 'a b' && id"]) == 0
    assert emperor.main(["run", "blog", "--timeout", "5", "--", "echo", "a b", "--json", "$(id)"]) == 0
    assert emperor.main(["run", "blog", "false"]) == 2
    assert emperor.main(["run", "blog", "--timeout", "0", "false"]) == 2
    assert ran == [
        ("echo 'a b' && id", 3600),
        ("echo 'a b' --json '$(id)'", 5),
        ("false", 3600),
    ]


def test_logs_are_those_of_the_app_and_its_processes(deploys: Host, know: Callable[..., None]) -> None:
    deploys.deploy(workers={"jobs": {"count": 1, "overlap": True}})
    command = verbs.logs(known_app.read("blog"), 5, follow=True)
    assert command[:4] == ["journalctl", "--namespace=apps", "--lines=5", "--no-pager"]
    assert command[4:] == ["--follow", "--identifier=blog", "--identifier=blog-jobs", "--identifier=blog-web"]


def test_a_deploy_writes_what_the_host_knows(deploys: Host, know: Callable[..., None]) -> None:
    """deploy.yml may bring new settings; the version stays the inventory's."""
    source = {"git": "https://git.example.com/blog.git", "version": "v2"}
    deploys.options = Options(owner=MINE, keep_releases=7)
    deploys.deploy(REVISIONS["v2"], source=source, fingerprint="2:" + "e" * 64)
    known = known_app.read("blog")
    assert known["spec"] and known["spec"]["fingerprint"] == "2:" + "e" * 64
    assert known["spec"]["source"]["version"] == "v1"
    assert "revision" not in known["spec"] and "digest" not in known["spec"]
    assert known["settings"]["keep_releases"] == 7
    assert os.stat(layout.known_app("blog")).st_mode & 0o777 == 0o600


def test_a_deploy_by_the_command_changes_nothing_of_it(deploys: Host, know: Callable[..., None]) -> None:
    before = Path(layout.known_app("blog")).read_bytes()
    assert emperor.main(["deploy", "blog", "v2"]) == 0
    assert Path(layout.known_app("blog")).read_bytes() == before


def test_a_deploy_leaves_alone_what_the_host_cannot_make(deploys: Host, know: Callable[..., None]) -> None:
    know(spec=None, reason="its `files` depend on the version")
    before = Path(layout.known_app("blog")).read_bytes()
    deploys.deploy(REVISIONS["v2"])
    assert Path(layout.known_app("blog")).read_bytes() == before


def test_the_lock_of_a_run_of_this_host_that_has_ended_is_free(
    deploys: Host, know: Callable[..., None]
) -> None:
    token = f"{verbs.process_token(os.getpid())}1"
    with deploys.state.working():
        deploys.state.take_lock({"token": token, "who": "ann@web1", "controller": "web1"}, (), False)
    assert emperor.main(["deploy", "blog", "v2"]) == 0


def test_the_next_plan_says_who_deployed_it_here(
    deploys: Host, know: Callable[..., None], monkeypatch: Any
) -> None:
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    assert emperor.main(["deploy", "blog", "v2"]) == 0
    deploys.revision = REVISIONS["v1"]
    found = deploys.phase("plan")
    here = socket.gethostname()
    assert found["action"] == "deploy"
    assert found["why"] == (
        f"ann@{here} deployed it on the host; revision bbbbbbb is live, aaaaaaa is wanted"
    )


def test_what_was_not_pushed_yet_is_no_failure(
    deploys: Host, know: Callable[..., None], capsys: Said, monkeypatch: Any
) -> None:
    """Of a run of site.yml; who names a version that is not there is told so."""

    def missing(source: Any, key: Any) -> str:
        raise references.NoSuchVersion("the repository has no branch or tag main")

    monkeypatch.setattr(plan, "resolve_git", missing)
    source = {"git": layout.pushed_url("blog"), "version": "main"}
    found = deploys.phase("plan", source=source, digest=None)
    assert found["action"] == "held" and "git push deploy_blog@HOST:blog main" in found["why"]
    other = deploys.phase("plan", source={"git": "https://git.example.com/x", "version": "main"}, digest=None)
    assert "has no branch or tag main" in other["error"]
    know(spec=known_app.lasting(deploys.spec(source=source, digest=None)))
    assert emperor.main(["deploy", "blog", "main"]) == 2
    assert "has no branch or tag main" in capsys.readouterr().out


def test_a_job_is_not_green_where_nothing_was_deployed(deploys: Host, know: Callable[..., None]) -> None:
    for command in (["deploy", "blog", "v1"], ["deploy", "blog", "v2"], ["rollback", "blog"]):
        assert emperor.main(command) == 0
    assert verbs.deploy(known_app.read("blog"), "v2", {"login": True}) == 2
    assert emperor.main(["deploy", "blog", "v2"]) == 0


def test_status_shows_what_fails_and_does_not_fail(
    deploys: Host, know: Callable[..., None], capsys: Said, monkeypatch: Any
) -> None:
    assert emperor.main(["deploy", "blog", "v1"]) == 0
    monkeypatch.setattr(verbs, "run_phase", lambda name, specs, options: {"blog": answer})
    answer: dict[str, Any] = {
        "live": {"release": "20261122T100001-aaaaaaa", "version": "v1"},
        "health": "GET / gave 502",
    }
    capsys.readouterr()
    assert emperor.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "20261122T100001-aaaaaaa" in said and "fails [1]" in said and "[1] blog: GET / gave 502" in said
    assert emperor.main(["status", "blog", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blog"]["health"] == "GET / gave 502"
    answer = {"error": "it went wrong"}
    assert emperor.main(["status", "blog"]) == 2
    assert "it went wrong" in capsys.readouterr().out
