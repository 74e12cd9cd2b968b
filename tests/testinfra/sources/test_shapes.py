"""Apps of every shape go live by their entry alone, in one run."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import shapes
from deploying import Outcome, figure
from shapes import one_of
from testinfra.host import Host
from vaulted import Vaulted

#: An app that has a table before it can be imported, in a database beside its code, as `startproject` has it.
_KEPT = """import os
import sqlite3
from contextlib import closing

CODE = os.path.dirname(os.path.abspath(__file__))


def database():
    return sqlite3.connect(os.path.join(CODE, "db.sqlite3"))


with closing(database()) as opened:
    opened.execute("SELECT name FROM notes").fetchall()


def application(environ, start_response):
    with closing(database()) as opened:
        if environ["PATH_INFO"] == "/add":
            opened.execute("INSERT INTO notes VALUES ('by a visitor')")
            opened.commit()
        found = [name for (name,) in opened.execute("SELECT name FROM notes")]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [__import__("json").dumps({"notes": found}).encode()]
"""
_KEPT_SETUP = """import sqlite3

with sqlite3.connect("db.sqlite3") as opened:
    opened.execute("CREATE TABLE IF NOT EXISTS notes (name)")
    opened.execute("INSERT INTO notes VALUES ('by the setup')")
"""

#: What each app's venv has to hold, besides what its project is itself; nothing else.
PACKAGES = {
    "poetical": {"six": "1.17.0", "itsdangerous": "2.2.0", "blinker": "1.9.0"},
    "piped": {"six": "1.17.0", "blinker": "1.9.0"},
    "pdmly": {"six": "1.17.0"},
    "pylocked": {"vendored": "1.0"},
    "flat": {"six": "1.17.0", "itsdangerous": "2.2.0", "blinker": "1.9.0"},
    "scmly": {"six": "1.17.0", "scmly": "0+"},
    "below": {"six": "1.17.0"},
    "locked": {"six": "1.17.0"},
}


def apps(directory: Path) -> list[dict[str, Any]]:
    chosen = {"extras": ["signed"], "groups": ["prod"]}
    scmly = shapes.shape(directory, "scmly", "src/scmly/app.py")
    (scmly / "src/scmly/__init__.py").write_text("")
    below = shapes.shape(directory, "below", "src/below/app.py")
    (below / "src/below/helper.py").write_text("")
    (below / "src/below/app.py").write_text(f"import below.helper\n{shapes.ECHO.read_text()}")
    (below / "requirements.txt").write_text("six==1.17.0\n")
    for name, files in {"theme": ["site.css"], "web": ["site.css", "site.js"]}.items():
        (below / name).mkdir()
        for file in files:
            (below / name / file).write_text(f"/* {name} */\n")
    kept = directory / "shape-kept"
    kept.mkdir()
    (kept / "app.py").write_text(_KEPT)
    (kept / "make_tables.py").write_text(_KEPT_SETUP)
    return [
        one_of(
            "below",
            below,
            wsgi="below.app:application",
            pythonpath=["src"],
            env={"DATA": "@SHARED@/data", "TEMPLATES": "@CODE@/templates"},
            static={"/static/": ["theme", "web"]},
            build=['python -c "import below.helper"'],
        ),
        one_of("kept", kept, persistent_files=["db.sqlite3"], hooks={"setup": ["python make_tables.py"]}),
        one_of("poetical", shapes.shape(directory, "poetical"), **chosen),
        one_of("piped", shapes.shape(directory, "piped"), groups=["prod"]),
        one_of("pdmly", shapes.flat(directory, "pdmly")),
        one_of("pylocked", shapes.pylocked(directory)),
        one_of("locked", shapes.uv_locked(directory)),
        one_of("flat", shapes.flat(directory, "flat"), **chosen),
        one_of("scmly", scmly, wsgi="scmly.app:application"),
    ]


@pytest.fixture(scope="module")
def stack(machine: Host, directory: Path) -> Vaulted:
    inventory = Path(os.environ["MOLECULE_INVENTORY_FILE"])
    return Vaulted(machine, inventory, directory, apps(directory), {})


@pytest.fixture(scope="module")
def first(stack: Vaulted) -> Outcome:
    """The run that brings all of them."""
    return stack.good("site.yml")


def told(stack: Vaulted, app: str, path: str) -> dict[str, Any]:
    return dict(json.loads(stack.ask(f"{app}.localhost", path)))


def test_every_file_of_dependencies_fills_the_venv(stack: Vaulted, first: Outcome) -> None:
    wrong = {}
    for app, wanted in PACKAGES.items():
        found = told(stack, app, "/python")["packages"]
        # Of the revision that the directory has; nobody knows it before.
        found = {name: "0+" if version.startswith("0+") else version for name, version in found.items()}
        if found != wanted:
            wrong[app] = found
    figure("dependency_files_read", f"{len(PACKAGES) - len(wrong)}/{len(PACKAGES)}")
    assert not wrong, f"{wrong}\n{first.output[-3000:]}"
    assert stack.host.run("ls -d /srv/apps/*/releases/*/venv/.lock-tool").rc != 0


def test_a_project_that_is_no_package_is_said(first: Outcome) -> None:
    said = " ".join(first.output.split())
    assert "flat: the code itself is not installed as a package" in said
    assert said.count("is not installed as a package") == 1


def test_modules_below_the_code_are_imported_by_every_process(stack: Vaulted, first: Outcome) -> None:
    """Also by what `run.yml` starts. The web server gets paths of the release and of the shared data by its environment."""
    release = stack.host.check_output("readlink -f /srv/apps/below/active/release")
    found = told(stack, "below", "/environment")
    wanted = {
        "PYTHONPATH": f"{release}/code/src",
        "DATA": "/srv/apps/below/shared/data",
        "TEMPLATES": f"{release}/code/templates",
    }
    digests = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in wanted.items()}
    assert {name: found.get(name) for name in wanted} == digests
    assert stack.host.run("ls /srv/apps/below/active/release/code/src").stdout.split() == ["below"]


def test_several_directories_are_served_below_one_url(stack: Vaulted, first: Outcome) -> None:
    """Of two files of one name the first directory's is served."""
    served = [stack.ask("below.localhost", f"/static/{name}").strip() for name in ("site.css", "site.js")]
    assert served == ["/* theme */", "/* web */"]


def test_a_database_beside_the_code_outlives_releases_and_is_set_up_once(
    stack: Vaulted, first: Outcome
) -> None:
    assert told(stack, "kept", "/")["notes"] == ["by the setup"]
    assert told(stack, "kept", "/add")["notes"] == ["by the setup", "by a visitor"]
    before = stack.host.check_output("readlink -f /srv/apps/kept/active/release")
    again = stack.play("playbooks/deploy.yml", app="kept", force=True)
    assert again.code == 0, again.output[-3000:]
    after = stack.host.check_output("readlink -f /srv/apps/kept/active/release")
    assert before != after
    notes = told(stack, "kept", "/")["notes"]
    figure("setups_of_two_deploys", notes.count("by the setup"))
    assert notes == ["by the setup", "by a visitor"]
    assert stack.host.file("/srv/apps/kept/shared/db.sqlite3/db.sqlite3").user == "kept"


def test_files_that_nobody_reads_are_named(stack: Vaulted, directory: Path, first: Outcome) -> None:
    code = directory / "shape-piped"
    (code / "requirements.txt").write_text("six==1.16.0\n")
    outcome = stack.play("playbooks/deploy.yml", app="piped")
    said = " ".join(outcome.output.split())
    assert "piped: Pipfile.lock: not read, because requirements.txt is" in said, outcome.output[-3000:]
    (code / "requirements.txt").unlink()
    (code / "Pipfile.lock").unlink()
    (code / "app.py").write_text("import six\n")
    outcome = stack.play("playbooks/deploy.yml", app="piped")
    assert outcome.code != 0
    said = " ".join(outcome.output.split())
    nothing, missing = (
        said.find("nothing was installed, because the code has no file"),
        said.find("No module named"),
    )
    assert 0 < nothing < missing, outcome.output[-3000:]


def refused(stack: Vaulted, app: str) -> str:
    """What is said of *app*, whose release is refused while the one before serves on."""
    before = stack.host.check_output("readlink -f /srv/apps/%s/active/release", app)
    outcome = stack.play("playbooks/deploy.yml", app=app)
    assert outcome.code != 0, outcome.output[-3000:]
    assert stack.host.check_output("readlink -f /srv/apps/%s/active/release", app) == before
    return " ".join(outcome.output.split())


def test_pointers_of_git_lfs_do_not_go_live(stack: Vaulted, directory: Path, first: Outcome) -> None:
    logo = directory / "shape-below/web/logo.png"
    logo.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n")
    said = refused(stack, "below")
    logo.unlink()
    assert "web/logo.png: pointers of Git LFS, not the files themselves. Run `git lfs pull`" in said


def test_uwsgi_in_the_requirements_is_told_to_be_left_out(
    stack: Vaulted, directory: Path, first: Outcome
) -> None:
    requirements = directory / "shape-below/requirements.txt"
    requirements.write_text("six==1.17.0\nuwsgi==2.0.31\n")
    said = refused(stack, "below")
    requirements.write_text("six==1.17.0\n")
    assert "uwsgi has no wheel, so it needs a compiler, and the app does not need it" in said
