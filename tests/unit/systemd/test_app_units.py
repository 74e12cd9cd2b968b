"""Units by their names, and the launcher of commands."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.emperor import handover
from ansible_collections.emperor.stack.plugins.module_utils.host import layout, unix_sockets
from ansible_collections.emperor.stack.plugins.module_utils.host.unix_sockets import Connections
from ansible_collections.emperor.stack.plugins.module_utils.release import lifecycle
from ansible_collections.emperor.stack.plugins.module_utils.release.state import AppState, Manifest
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units, unit_names

ROOT = Path(__file__).resolve().parents[3]
LAUNCH = ROOT / "roles/python_apps/files/launch.py"
R1 = "20261122T193000-ab12cd3"

OF_BLOG = [
    "app_blog_a-b@7.service",
    "app_blog_a-b@7-2.service",
    "app_blog_web@12.service",
    "app_blog_web@12.socket",
    "app_blog_nightly.service",
    "app_blog_nightly.timer",
    "emperor-stack-retire-blog-7.timer",
]
OF_OTHERS = [
    "app_blog-a_b@7.service",
    "app_blog-a_web@7.service",
    "app_blog-7_nightly.timer",
    "app_blogs_nightly.timer",
    "app_blog_nightly.timer.bak",
    "app_blog_a-b@7.service.new-1",
    "app_blog_a-b@.service",
    "emperor-stack-retire-blog-7-3.timer",
    "apps-blog.slice",
    "my-app_blog_nightly.timer",
]


def test_all_units_are_those_of_exactly_this_app(host: Path) -> None:
    for name in [*OF_BLOG[:-1], *OF_OTHERS]:
        Path(layout.unit_file(name)).write_text("")
    os.makedirs(layout.TRANSIENT_UNITS)
    Path(layout.TRANSIENT_UNITS, OF_BLOG[-1]).write_text("")
    Path(layout.TRANSIENT_UNITS, "app_blog_run@123.service").write_text("")
    assert unit_names.all_units("blog") == sorted([*OF_BLOG, "app_blog_run@123.service"])
    assert unit_names.all_units("blog-a") == ["app_blog-a_b@7.service", "app_blog-a_web@7.service"]
    assert unit_names.activation_units("blog") == [
        ("app_blog_a-b@7-2.service", "a-b", "blog@7"),
        ("app_blog_a-b@7.service", "a-b", "blog@7"),
        ("app_blog_web@12.service", "web", "blog@12"),
        ("app_blog_web@12.socket", "web", "blog@12"),
    ]
    assert unit_names.web_activations("blog") == ["blog@12"]
    assert unit_names.apps_with_web() == ["blog", "blog-a"]
    assert [unit_names.has_web(name) for name in ("blog@12", "blog@7", "blog", "", None)] == [True] + [
        False
    ] * 4


def test_scopes_that_nothing_ends_are_those_without_a_guard_of_exactly_their_own(host: Path) -> None:
    os.makedirs(layout.TRANSIENT_UNITS)
    for name in (
        "app_blog_web.7.100.scope",
        "app_blog_web.7.200.scope",
        "app_blog-a_web.7.100.scope",
        "app_blog_command.1.2.scope",
        "emperor-stack-guard-blog-7-200.service",
        "emperor-stack-guard-blog-a-7-10.service",
    ):
        Path(layout.TRANSIENT_UNITS, name).write_text("")
    assert unit_names.unguarded_scopes() == [
        ("app_blog-a_web.7.100.scope", "blog-a@7"),
        ("app_blog_web.7.100.scope", "blog@7"),
    ]
    # A removal drains first: its guards are none of the units that it stops before that.
    assert unit_names.all_units("blog") == []


def test_leftovers_of_earlier_versions_end_unless_their_vassal_is_there(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(handover, "run", lambda argv, **_: ended.append(argv[-1]))
    os.makedirs(layout.TRANSIENT_UNITS)
    for name in ("app_blog_web.7.100.scope", "app_blog_web.8.200.scope"):
        Path(layout.TRANSIENT_UNITS, name).write_text("")
    Path(lifecycle.vassal_path("a", "blog@8")).write_text("")
    handover.end_leftovers()
    assert ended == ["app_blog_web.7.100.scope"]


def test_a_host_without_the_directory_has_no_units(host: Path) -> None:
    os.rmdir(layout.UNITS)
    assert unit_names.all_units("blog") == []


# The sandbox

OLD_LINES = (
    "User=blog\nGroup=blog\nSlice=apps-blog.slice\nUMask=0027\nReadWritePaths=/srv/apps/blog/shared /x\n"
)


@pytest.mark.parametrize("lines", [f"{app_units.SANDBOX_MARK}\n", OLD_LINES], ids=["this", "an earlier"])
@pytest.mark.parametrize("rest", ["", "\n[Install]\nWantedBy=multi-user.target\n"], ids=["a job", "a worker"])
def test_a_unit_gets_the_sandbox_of_today_whichever_version_has_made_it(lines: str, rest: str) -> None:
    before = "[Unit]\nDescription=User=blog\n\n[Service]\nSyslogIdentifier=blog-jobs\n"
    wanted = "".join(f"{line}\n" for line in app_units.sandbox("blog"))
    assert app_units.in_sandbox(before + lines + rest, "blog") == before + wanted + rest


def test_the_units_of_a_release_are_filled_in_where_they_are_put(
    state: AppState, save: Callable[..., Manifest], systemctl: list[str]
) -> None:
    save(R1)
    os.makedirs(layout.release_units("blog", R1))
    for name in ("app_blog_jobs@.service", "app_blog_nightly.service", "app_blog_nightly.timer"):
        text = f"[Service]\n{OLD_LINES}" if name.endswith("service") else "[Timer]\n"
        Path(layout.release_units("blog", R1), name).write_text(text)
    wanted = ["[Service]", *app_units.sandbox("blog")]
    assert app_units.texts("blog", R1, "blog@7", "jobs")["app_blog_jobs@7.service"].splitlines() == wanted
    app_units.use_timers("blog", R1, ["nightly"])
    assert Path(layout.unit_file("app_blog_nightly.service")).read_text().splitlines() == wanted
    assert Path(layout.unit_file("app_blog_nightly.timer")).read_text() == "[Timer]\n"


# What they said


def test_lines_are_read_from_both_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(app_units, "run", lambda argv, **_: asked.append(argv) or "last\nsaid\n")
    assert app_units.log(["app_blog_jobs@7.service"], 5.7) == "said\nlast"
    assert "--reverse" in asked[0]
    assert asked[0][:5] == [
        "journalctl",
        "--namespace=+apps",
        "--unit",
        "app_blog_jobs@7.service",
        "--since=@5",
    ]


# A web server that is a unit


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def run(argv: list[str], **_: Any) -> str:
        calls.append(" ".join(argv[1:]))
        return ""

    monkeypatch.setattr(app_units, "run", run)
    return calls


@pytest.fixture
def gunicorn(state: AppState, save: Callable[..., Manifest]) -> Manifest:
    manifest = save(R1, server="gunicorn")
    os.makedirs(layout.release_units("blog", R1))
    Path(layout.release_units("blog", R1), "app_blog_web@.service").write_text(
        "run @ACTIVATION@\n[Install]\n"
    )
    return manifest


def test_it_takes_the_place_of_a_vassal(state: AppState, gunicorn: Manifest, systemctl: list[str]) -> None:
    activation = lifecycle.start(state, gunicorn, "a")
    unit, socket = "app_blog_web@1.service", "app_blog_web@1.socket"
    assert systemctl == ["daemon-reload", f"start {socket} {unit}"]
    assert (
        f"\nListenStream={layout.socket('blog', activation)}\n" in Path(layout.unit_file(socket)).read_text()
    )
    assert not os.path.lexists(layout.unit_at_boot(socket))
    assert Path(layout.unit_file(unit)).read_text() == "run blog@1\n[Install]\n"
    assert os.readlink(layout.unit_at_boot(unit)) == layout.unit_file(unit)
    assert os.path.exists(layout.started(activation))
    assert os.listdir(layout.vassals("a")) == []
    assert lifecycle.runner_of(activation) == "systemd"
    assert lifecycle.emperor_of(activation) is None
    assert list(lifecycle.running_activations("blog")) == [("systemd", "blog@1")]
    # After a reboot the mark is gone; a rollback to it while it was warm finds it again.
    os.unlink(layout.started(activation))
    lifecycle.resume(gunicorn, activation)
    assert systemctl[2:] == [f"start {socket} {unit}"]
    assert os.path.exists(layout.started(activation))
    lifecycle.stop(state, activation)
    assert systemctl[3:] == [f"stop {unit} {socket}", f"reset-failed {unit} {socket}", "daemon-reload"]
    assert lifecycle.runner_of(activation) is None
    assert unit_names.all_units("blog") == []
    assert not os.path.lexists(layout.unit_at_boot(unit))
    assert not os.path.exists(layout.started(activation))


def test_the_last_run_of_a_timer_goes_with_it(
    host: Path, systemctl: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that has the name later must not make up for what this one missed."""
    monkeypatch.setattr(layout, "TIMER_STAMPS", str(host))
    gone = ["app_blog_x.service", "app_blog_x.timer"]
    others = ["app_blog-a_x.timer", "app_blog_a@7.service", "apps-blog.slice"]
    for name in [*gone, *others]:
        Path(layout.unit_file(name)).write_text("")
        (host / f"stamp-{name}").write_text("")
    app_units.use_timers("blog", None, [])
    assert systemctl == ["stop app_blog_x.timer", "daemon-reload"]
    assert sorted(os.listdir(layout.UNITS)) == others
    assert not (host / "stamp-app_blog_x.timer").exists()
    assert (host / "stamp-app_blog-a_x.timer").exists()


def test_a_release_from_before_there_were_units_is_a_vassal(
    state: AppState, save: Callable[..., Manifest]
) -> None:
    save(R1)
    with open(state.manifest_path(R1), encoding="utf-8") as file:
        content = json.load(file)
    for name in ("server", "workers", "schedule"):
        del content[name]
    with open(state.manifest_path(R1), "w", encoding="utf-8") as file:
        json.dump(content, file)
    manifest = state.manifest(R1)
    assert manifest is not None
    assert lifecycle.runner_of(lifecycle.start(state, manifest, "b")) == "b"


@pytest.mark.parametrize(
    ("counted", "quiet"),
    [(None, None), (Connections(0, 0), True), (Connections(1, 1), False), (Connections(0, 1), False)],
    ids=["gone", "idle", "a queue", "busy"],
)
def test_it_is_drained_by_its_connections(
    state: AppState,
    gunicorn: Manifest,
    systemctl: list[str],
    monkeypatch: pytest.MonkeyPatch,
    counted: Connections | None,
    quiet: bool | None,
) -> None:
    activation = lifecycle.start(state, gunicorn, "a")
    monkeypatch.setattr(unix_sockets, "connections", lambda _: counted)
    assert lifecycle.is_quiet("blog", activation) is quiet


#: As commit 42dc1c2 wrote them, in short.
OLD_UNITS = {
    process: f"[Unit]\nDescription=@ACTIVATION@\n[Service]\nExecStart={command}\n{OLD_LINES.replace('/x', 'OLD')}"
    for process, command in (
        ("web", "/r/python -m gunicorn --config /r/g.py --bind unix:OLD/@ACTIVATION@.sock"),
        ("jobs", "/usr/bin/python3 -I /r/launch.py process jobs"),
    )
}


@pytest.mark.parametrize("process", OLD_UNITS)
def test_units_of_an_earlier_version_bind_nothing(state: AppState, process: str) -> None:
    old = layout.old_socket_directory("blog")
    os.makedirs(layout.release_units("blog", R1))
    Path(layout.release_units("blog", R1), f"app_blog_{process}@.service").write_text(
        OLD_UNITS[process].replace("OLD", old)
    )
    texts = app_units.texts("blog", R1, "blog@7", process)
    text = texts[f"app_blog_{process}@7.service"]
    assert old not in text.replace(layout.sockets(), "")
    assert text.startswith("[Unit]\nRequires=%N.socket\n") is (process == "web")
    assert (" --config /r/g.py\n" in text) is (process == "web")
    assert ("app_blog_web@7.socket" in texts) is (process == "web")
    # What is written today stays as it is.
    assert app_units.without_bind("blog", text) == text


# The launcher


@pytest.mark.parametrize(
    ("line", "alone"),
    [
        ("python -m blog.jobs", True),
        ("python manage.py qcluster --name='a b' --x=1", True),
        ("python -c 'import x; print(1 | 2)'", True),
        ('python -c "print(1)"', True),
        ('python -c "$HOME"', False),
        ("python a && python b", False),
        ("cd sub; python a", False),
        ("cd sub", False),
        ("python a > log", False),
        ("A=1 python a", False),
        ("python *.py", False),
        ("python $FILE", False),
        ("python a 'unbalanced", False),
        ("exec python a", False),
        ("python a \\; b", False),
    ],
)
def test_one_simple_command_needs_no_shell(line: str, alone: bool) -> None:
    """The shell in between would take the signal to stop."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    found = runpy.run_path(str(LAUNCH))["words"](line, path)
    if not alone:
        assert found == ["/bin/sh", "-ec", line]
    else:
        split = subprocess.run(
            ["/bin/sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
        )
        assert found == split.stdout.split("\0")[:-1]
