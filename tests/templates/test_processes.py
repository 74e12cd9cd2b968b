"""Units and gunicorn's configuration as the controller renders them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release.build import fill
from ansible_collections.emperor.stack.plugins.module_utils.systemd import app_units
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.apps import complete, unit_files

ROLES = Path(__file__).resolve().parents[2] / "roles"
TEMPLATES = ROLES / "python_apps/templates"
RELEASE = "20261122T193000-ab12cd3"
DIRECTORY = f"/srv/apps/blog/releases/{RELEASE}"
COMMAND = "python -m blog.jobs --password hunter2"


def rendered(**app: Any) -> dict[str, str]:
    """The unit files of an app, as they are put into place."""
    entry = complete(
        {
            "name": "blog",
            "domains": ["blog.example.com"],
            "source": {"path": "x"},
            "wsgi": "app:application",
            **app,
        }
    )
    found = {}
    common = {"app": entry, "listen": 77}
    for file, template, variables in [*unit_files(entry), ("gunicorn.conf.py", "gunicorn.conf.py.j2", {})]:
        templar = Templar(loader=DataLoader(), variables={**common, **variables})
        text = fill(
            str(templar.template(trust_as_template((TEMPLATES / template).read_text()))), "blog", RELEASE
        )
        assert file.endswith(".service") == (app_units.SANDBOX_MARK in text), file
        found[file] = app_units.in_sandbox(text, "blog")
    return found


EVERYTHING: dict[str, Any] = {
    "server": "gunicorn",
    "workers": {
        "jobs": {"command": COMMAND, "stop_signal": "INT", "stop_timeout": 90},
        "plain": {"command": COMMAND},
    },
    "schedule": {
        "nightly": {"command": COMMAND, "at": "Mon..Fri 03:00 Europe/Berlin"},
        "missed": {"command": COMMAND, "at": "03:00", "missed": "skip", "timeout": 5},
        "often": {"command": COMMAND, "every": "15m"},
    },
    "web": {"processes": 5, "threads": 3, "max_requests": 2000},
    "limits": {"request_timeout": 100},
}


def options(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line and line[0] != "#")


def test_an_asgi_app_has_gunicorns_asgi_worker() -> None:
    found = rendered(wsgi=None, asgi="chat:app")
    assert "app_blog_web@.service" in found
    text = found["gunicorn.conf.py"]
    compile(text, "gunicorn.conf.py", "exec")
    settings = options(text)
    assert settings["protocol "] == ' "http"'
    assert settings["wsgi_app "] == ' "emperor_stack_entry:site"'
    assert settings["worker_class "].endswith('["emperor_stack_asgi"].worker_class()')
    assert "threads " not in settings
    plain = options(rendered()["gunicorn.conf.py"])
    assert (plain["protocol "], plain["threads "]) == (' "uwsgi"', " 2")
    assert "worker_class " not in plain


def test_an_app_without_them_has_no_units() -> None:
    assert set(rendered()) == {"gunicorn.conf.py"}


def test_which_units_there_are() -> None:
    names = {f"app_blog_{name}@.service" for name in ("web", "jobs", "plain")}
    names |= {
        f"app_blog_{name}.{kind}" for name in ("nightly", "missed", "often") for kind in ("service", "timer")
    }
    assert set(rendered(**EVERYTHING)) == {*names, "gunicorn.conf.py"}


def test_no_unit_has_the_command() -> None:
    """Units can be read by everybody; a command may have a password in it."""
    assert not [name for name, text in rendered(**EVERYTHING).items() if "hunter2" in text]


def test_every_service_is_in_the_sandbox() -> None:
    for name, text in rendered(**EVERYTHING).items():
        if name.endswith(".service"):
            assert set(app_units.sandbox("blog")) < set(text.splitlines()), name
            assert options(text)["WorkingDirectory"] == f"{DIRECTORY}/code"


def test_a_worker() -> None:
    found = options(rendered(**EVERYTHING)["app_blog_jobs@.service"])
    wanted = {
        "ExecStart": f"/usr/bin/python3 -IS -X utf8 {DIRECTORY}/launch.py process jobs",
        "Restart": "always",
        "StartLimitIntervalSec": "0",
        "KillSignal": "SIGINT",
        "TimeoutStopSec": "90",
        "WantedBy": "multi-user.target",
        "ExecCondition": "/usr/bin/test /srv/apps/blog/active -ef /srv/apps/blog/activations/@ACTIVATION@ "
        "-o -e /run/emperor-stack/@ACTIVATION@.started",
    }
    assert found.items() >= wanted.items()
    plain = options(rendered(**EVERYTHING)["app_blog_plain@.service"])
    assert (plain["KillSignal"], plain["TimeoutStopSec"]) == ("SIGTERM", "60")


@pytest.mark.parametrize(
    ("name", "timer", "timeout"),
    [
        ("nightly", {"OnCalendar": "Mon..Fri 03:00 Europe/Berlin", "Persistent": "true"}, "3600"),
        ("missed", {"OnCalendar": "03:00", "Persistent": "false"}, "5"),
        ("often", {"OnActiveSec": "15m", "OnUnitActiveSec": "15m"}, "3600"),
    ],
)
def test_a_scheduled_command(name: str, timer: dict[str, str], timeout: str) -> None:
    found = rendered(**EVERYTHING)
    given = options(found[f"app_blog_{name}.timer"])
    assert {key: given[key] for key in given if key.startswith(("On", "Persistent"))} == timer
    service = options(found[f"app_blog_{name}.service"])
    assert (service["Type"], service["TimeoutStartSec"]) == ("oneshot", timeout)
    assert "Restart" not in service
    assert "WantedBy" not in service
    # A deploy restarts a timer whose file differs: the release must not be in it.
    assert RELEASE not in found[f"app_blog_{name}.timer"]


def test_gunicorn() -> None:
    found = rendered(**EVERYTHING)
    unit = options(found["app_blog_web@.service"])
    # By its own name a unit names that of its socket.
    assert unit["Requires"] == "%N.socket"
    assert "bind" not in unit["ExecStart"]
    assert unit["TimeoutStopSec"] == "120"
    settings = dict(re.findall(r"(?m)^(\w+) = (.*)$", found["gunicorn.conf.py"]))
    wanted = {
        "protocol": '"uwsgi"',
        "workers": "5",
        "threads": "3",
        "max_requests": "2000",
        "max_requests_jitter": "200",
        "timeout": "100",
        "backlog": "77",
    }
    assert (
        settings.items() >= {**wanted, "graceful_timeout": "105", "umask": "0o022", "keepalive": "0"}.items()
    )


def test_nothing_is_left_to_fill_in_but_the_activation() -> None:
    for text in rendered(**EVERYTHING).values():
        assert set(re.findall(r"@[A-Z_]+@", text)) <= {"@ACTIVATION@"}
        assert not re.search(r"\{\{|\{%", text)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
def test_systemd_takes_them(tmp_path: Path) -> None:
    for name, unit in rendered(**EVERYTHING).items():
        text = re.sub(
            r"(?m)^(ExecStart|ExecCondition)=.*$", r"\1=/bin/true", unit.replace("@ACTIVATION@", "blog@7")
        )
        (tmp_path / name.replace("@.", "@7.")).write_text(text)
    units = [str(path) for path in tmp_path.iterdir() if path.suffix in (".service", ".timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert not re.search(r"Unknown|Failed to parse|Invalid", done.stderr), done.stderr


def test_gunicorn_gets_the_hosts_size_where_nobody_gave_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sizes.json").write_text('{"blog": 6}')
    monkeypatch.setattr(layout, "SIZES", str(tmp_path / "sizes.json"))
    for given, wanted in ({}, "6"), ({"web": {"processes": 5}}, "5"):
        text = rendered(server="gunicorn", **given)["gunicorn.conf.py"]
        compile(text, "gunicorn.conf.py", "exec")
        assert f"\nworkers = {wanted}\n" in text


#: Of systemd's, open to everybody.
SOCKETS = ("notify", "userdb", "io.systemd.Hostname", "io.systemd.Credentials", "io.systemd.ManagedOOM")


def hidden(lines: list[str]) -> set[str]:
    values = [line.partition("=")[2] for line in lines if line.startswith("InaccessiblePaths=")]
    return {path.removeprefix("-") for value in values for path in value.split()}


def test_no_process_of_an_app_reaches_the_sockets_of_systemd(render: Callable[..., str]) -> None:
    """Neither a unit's nor a vassal's, which has what the emperor's unit has; that cannot be `notify` then."""
    emperor = render("uwsgi_emperor", "emperor@.service.j2", __uwsgi_emperor_server="/x").splitlines()
    wanted = {"/run/dbus", *(f"/run/systemd/{name}" for name in SOCKETS)}
    assert hidden(emperor) == wanted
    assert "Type=exec" in emperor
    assert hidden(app_units.sandbox("blog")) == wanted | set(app_units.JOURNAL_SOCKETS)


def test_what_answers_requests_interrupts_nothing_and_the_rest_is_scheduled_as_usual(
    render: Callable[..., str],
) -> None:
    emperor = render("uwsgi_emperor", "emperor@.service.j2", __uwsgi_emperor_server="/x").splitlines()
    assert "CPUSchedulingPolicy=batch" in emperor
    found = {name: "CPUSchedulingPolicy=batch\n" in text for name, text in rendered(**EVERYTHING).items()}
    assert found.pop("app_blog_web@.service")
    assert found and not any(found.values())
