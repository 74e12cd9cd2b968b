"""Public apps that nobody here wrote, each with its entry, two of its versions, and what a visitor does with it.

The locks of pypiserver (by pipenv) and of the Shiny app (by uv, in the test) were made for these tests: their packages
have none. Those of pySHACL and Fava are what their source distributions bring.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploying import HERE
from visitor import Visitor

FILES = HERE / "real_apps" / "files"
PASSWORD = "planted-p:ss"
SECRET = "planted-" + "k" * 40

#: A name for what is made in one stage, and what was made in the stages before.
Use = Callable[[Visitor, str, list[str]], None]


@dataclass(frozen=True)
class Public:
    """An app, and what is special about it."""

    name: str
    shape: str
    #: Its name in the package index, and two versions of it.
    package: str
    versions: tuple[str, str]
    use: Use
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    #: Its code is its source distribution, its package, or what `code` makes.
    sdist: bool = False
    code: Callable[[Path, str], Path] | None = None

    def entry(self, directory: Path, version: str) -> dict[str, Any]:
        if self.code:
            source = {"path": str(self.code(directory / f"{self.name}-{version}", version))}
        elif self.sdist:
            path = sdist_path(directory, self.package, version)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            source = {"archive": str(path), "checksum": f"sha256:{digest}"}
        else:
            extras = "[server]" if self.package == "ara" else ""
            source = {"package": f"{self.package}{extras}=={version}"}
        common = {"web": {"processes": 1, "threads": 2}, "health": {"timeout": 60}}
        if "asgi" in self.settings:
            common["web"] = {"processes": 1}
        own = {"name": self.name, "domains": [f"{self.name}.localhost"], "source": source}
        return {**common, **own, "secrets": list(self.secrets), **self.settings}


def sdist_path(directory: Path, package: str, version: str) -> Path:
    return directory / "sdists" / f"{package}-{version}.tar.gz"


def fetch_sdists(directory: Path) -> None:
    """The source distributions of all apps that are deployed from these, from the package index."""
    wanted = [(app.package, version) for app in APPS if app.sdist for version in app.versions]
    (directory / "sdists").mkdir()
    uvx = [str(Path(sys.executable).with_name("uv")), "tool", "run", "--from", "pip", "pip"]

    def fetch(one: tuple[str, str]) -> None:
        command = [*uvx, "download", "--quiet", "--no-deps", f"--no-binary={one[0]}", "==".join(one)]
        environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
        done = subprocess.run(
            command, cwd=directory / "sdists", env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert sdist_path(directory, *one).is_file(), list((directory / "sdists").iterdir())

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(fetch, wanted))


# Code


def pypiserver_code(code: Path, version: str) -> Path:
    code.mkdir()
    shutil.copy2(FILES / "pypiserver" / "serve.py", code)
    shutil.copy2(FILES / "pypiserver" / f"Pipfile-{version}.lock", code / "Pipfile.lock")
    return code


def greeter_code(code: Path, version: str) -> Path:
    (code / "src").mkdir(parents=True)
    shutil.copy2(FILES / "greeter.py", code / "src")
    (code / "pyproject.toml").write_text(
        '[project]\nname = "greeter"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f'dependencies = ["shiny=={version}"]\n'
    )
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "lock", "--quiet", "--python", sys.executable]
    subprocess.run(command, cwd=code, check=True, env={**os.environ, "UV_SYSTEM_CERTS": "1"})
    return code


# What a visitor does. Each function makes something called *made*, and finds it and all of *before* again.


def calendar(visitor: Visitor, made: str, before: list[str]) -> None:
    assert visitor.ask("PROPFIND", "/ann/").status == 401
    visitor.log_in("ann", "wrong")
    assert visitor.ask("PROPFIND", "/ann/").status == 401
    visitor.log_in("ann", PASSWORD)
    if not before:
        visitor.good("MKCALENDAR", "/ann/team/")
    event = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:tests\r\nBEGIN:VEVENT\r\n"
        f"UID:{made}\r\nDTSTAMP:20261201T000000Z\r\nDTSTART:20261201T090000Z\r\nSUMMARY:about {made}\r\n"
        "END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    visitor.good("PUT", f"/ann/team/{made}.ics", event, headers={"Content-Type": "text/calendar"})
    whole = visitor.good("GET", "/ann/team/").text
    assert [f"SUMMARY:about {name}" in whole for name in [*before, made]].count(False) == 0, whole


def records(visitor: Visitor, made: str, before: list[str]) -> None:
    """Its data is in memory, so another release has its own."""
    assert re.fullmatch(r"kinto on [\w.-]+", visitor.good("GET", "/v1/").json()["project_name"])
    visitor.log_in("ann", PASSWORD)
    visitor.good("PUT", "/v1/buckets/tests")
    visitor.good("PUT", "/v1/buckets/tests/collections/notes")
    sent = visitor.good(
        "POST", "/v1/buckets/tests/collections/notes/records", data={"data": {"text": made}}
    ).json()
    found = visitor.good("GET", f"/v1/buckets/tests/collections/notes/records/{sent['data']['id']}").json()
    assert found["data"]["text"] == made
    other = Visitor.__new__(Visitor)
    other.__dict__.update(visitor.__dict__, headers={})
    assert other.ask("GET", "/v1/buckets/tests").status == 401


def packages(visitor: Visitor, made: str, before: list[str]) -> None:
    name = f"notes-1.{len(before)}.tar.gz"
    content = f"about {made}"
    border = "tests-border"
    upload = (
        f'--{border}\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n'
        f'--{border}\r\nContent-Disposition: form-data; name="content"; filename="{name}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n{content}\r\n--{border}--\r\n"
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={border}"}
    assert visitor.ask("POST", "/", upload, headers=kind).status in (401, 403)
    visitor.log_in("ann", PASSWORD)
    visitor.good("POST", "/", upload, headers=kind)
    listed = visitor.good("GET", "/simple/notes/").text
    assert all(f"notes-1.{number}.tar.gz" in listed for number in range(len(before) + 1)), listed
    assert visitor.good("GET", f"/packages/{name}").text == content


def tables(visitor: Visitor, made: str, before: list[str]) -> None:
    assert visitor.ask("POST", "/login/", form={"password": "wrong"}).status == 200
    assert visitor.ask("GET", "/query/").status == 302
    assert visitor.ask("POST", "/login/", form={"password": PASSWORD}).status == 302
    if not before:
        visitor.good("POST", "/query/", form={"sql": "create table notes (id integer primary key, text)"})
    visitor.good("POST", "/notes/insert/", form={"text": f"about {made}"})
    content = visitor.good("GET", "/notes/content/").text
    assert all(f"about {name}" in content for name in [*before, made]), content


def runs(visitor: Visitor, made: str, before: list[str]) -> None:
    run = {"ansible_version": "2.20", "status": "running", "started": "2026-12-01T00:00:00Z"}
    visitor.good("POST", "/api/v1/playbooks", data={**run, "path": f"/{made}.yml"})
    found = visitor.good("GET", "/api/v1/playbooks").json()["results"]
    assert {one["path"] for one in found} == {f"/{name}.yml" for name in [*before, made]}
    assert f"{made}.yml" in visitor.good("GET", "/").text
    assert visitor.good("GET", "/static/css/bootstrap.min.css").headers["content-type"].startswith("text/css")


def ledger(visitor: Visitor, made: str, before: list[str]) -> None:
    """Its process watches the file of the ledger by a thread of its own."""
    place = visitor.good("GET", "/").headers["location"].split("/")[1]
    amounts = [("Expenses:Food", "2.50 EUR"), ("Assets:Cash", "")]
    entry = {"t": "Transaction", "date": "2026-12-01", "flag": "*", "payee": "baker", "narration": made}
    entry |= {"tags": [], "links": [], "meta": {}}
    entry["postings"] = [{"account": account, "amount": amount} for account, amount in amounts]
    visitor.good("PUT", f"/{place}/api/add_entries", data={"entries": [entry]})
    query = f"/{place}/api/query?query_string=select+narration+where+account+~+'Food'"
    deadline = time.monotonic() + 30
    while True:
        rows = visitor.good("GET", query).json()["data"]["rows"]
        if sorted(row[0] for row in rows) == sorted([*before, made]):
            break
        assert time.monotonic() < deadline, rows
        visitor.good("GET", f"/{place}/api/changed")
        time.sleep(0.5)
    assert visitor.good("GET", "/static/app.css").headers["content-type"].startswith("text/css")


def bills(visitor: Visitor, made: str, before: list[str]) -> None:
    if not before:
        project = {"name": "Trip", "id": "trip", "password": PASSWORD, "default_currency": "XXX"}
        visitor.good("POST", "/api/projects", form={**project, "contact_email": "ann@example.com"})
    assert visitor.ask("GET", "/api/projects/trip").status == 401
    visitor.log_in("trip", PASSWORD)
    if not before:
        for name in ("ann", "bob"):
            visitor.good("POST", "/api/projects/trip/members", form={"name": name})
    bill = {"date": "2026-12-01", "what": made, "payer": 1, "payed_for": [1, 2], "amount": "12.5"}
    visitor.good("POST", "/api/projects/trip/bills", form=bill)
    found = visitor.good("GET", "/api/projects/trip/bills").json()
    assert sorted(one["what"] for one in found) == sorted([*before, made])
    shares = visitor.good("GET", "/api/projects/trip/statistics").json()
    assert shares[1]["balance"] == -6.25 * (len(before) + 1)


def issues(visitor: Visitor, made: str, before: list[str]) -> None:
    page = visitor.good("GET", "/").text
    token = page.partition('name="@csrf"')[2].partition('value="')[2].partition('"')[0]
    form = {"@action": "Login", "@csrf": token, "__login_name": "admin", "__login_password": PASSWORD}
    referer = {"Referer": "http://roundup.localhost/", "Origin": "http://roundup.localhost"}
    visitor.good("POST", "/", form=form, headers=referer)
    assert "Logout" in visitor.good("GET", "/").text
    visitor.cookies.clear()
    visitor.log_in("admin", PASSWORD)
    rest = {**referer, "X-Requested-With": "rest"}
    sent = visitor.good("POST", "/rest/data/issue", data={"title": made}, headers=rest).json()["data"]
    found = visitor.good("GET", f"/rest/data/issue/{sent['id']}", headers=rest).json()["data"]
    assert found["attributes"]["title"] == made
    listed = visitor.good("GET", "/rest/data/issue?@fields=title", headers=rest).json()["data"]["collection"]
    assert [one["title"] for one in listed] == [*before, made]


def greetings(visitor: Visitor, made: str, before: list[str]) -> None:
    """The page, its script, and values through its WebSocket."""
    page = visitor.good("GET", "/").text
    assert 'id="greeting"' in page
    with visitor.websocket("/websocket/") as opened:

        def answered() -> str:
            while True:
                if found := opened.receive().get("values"):
                    return str(found["greeting"])

        opened.send({"method": "init", "data": {"name": "Ann", ".clientdata_output_greeting_hidden": False}})
        assert answered() == "Hello Ann"
        for name in [*before, made]:
            opened.send({"method": "update", "data": {"name": name}})
            assert answered() == f"Hello {name}"


def shapes(visitor: Visitor, made: str, before: list[str]) -> None:
    prefix = "@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix e: <http://example.com/> .\n"
    rule = f"{prefix}e:Rule a sh:NodeShape ; sh:targetClass e:Note ; sh:property [ sh:path e:text ; sh:minCount 1 ] ."

    def conforms(graph: str) -> bool:
        body = {"data_graph": prefix + graph, "data_graph_format": "turtle"}
        body |= {"shapes_graph": rule, "shapes_graph_format": "turtle"}
        asked = visitor.good("POST", "/validate", data=body, headers={"Accept": "application/json"}).json()
        assert not asked["validation_failures"], asked
        return bool(asked["conforms"])

    assert conforms(f'e:one a e:Note ; e:text "{made}" .')
    assert not conforms("e:one a e:Note .")


def notes(visitor: Visitor, made: str, before: list[str]) -> None:
    visitor.good("POST", "/notes/add?_json=1", form={"text": made}, headers={"Accept": "application/json"})
    found = visitor.good("GET", "/notes/notes.json?_shape=array").json()
    assert [one["text"] for one in found] == [*before, made]


def template(name: str) -> str:
    return str(FILES / f"{name}.j2")


_LEDGER = r"1970-01-01 open Assets:Cash\n1970-01-01 open Expenses:Food\n"
_TABLE = "import sqlite3; sqlite3.connect('data/notes.db').execute('create table if not exists notes (text)')"
_TRACKER = "tracker_web=http://roundup.localhost/,mail_domain=localhost,mail_host=localhost"

APPS = (
    Public(
        "radicale", "a package, configured by files", "radicale", ("3.8.3", "3.9.0"), calendar,
        {"wsgi": "radicale:application", "env": {"RADICALE_CONFIG": "radicale.ini"}, "persistent": ["data"],
         "files": {"radicale.ini": template("radicale.ini"), "users": template("users")}},
        {"PASSWORD": PASSWORD},
    ),
    Public(
        "kinto", "Pyramid by paste", "kinto", ("26.4.0", "26.5.0"), records,
        {"paste": "kinto.ini", "files": {"kinto.ini": template("kinto.ini")},
         "health": {"path": "/v1/__lbheartbeat__", "timeout": 60}},
        {"HMAC": SECRET},
    ),
    Public(
        "pypiserver", "a factory, Pipfile.lock", "pypiserver", ("2.4.1", "2.4.2"), packages,
        {"wsgi": "serve:application", "persistent": ["packages"]}, {"PASSWORD": PASSWORD}, code=pypiserver_code,
    ),
    Public(
        "sqliteweb", "an app that looks into its database at import", "sqlite-web", ("0.8.1", "0.8.2"), tables,
        {"wsgi": "serve:application", "persistent": ["data"], "files": {"serve.py": template("sqlite_web.py")}},
        {"PASSWORD": PASSWORD, "SECRET_KEY": SECRET},
    ),
    Public(
        "ara", "Django, a package with a CLI", "ara", ("1.7.5", "1.8.0"), runs,
        {"wsgi": "ara.server.wsgi:application", "migrate": "ara-manage migrate",
         "build": ["ARA_BASE_DIR=. ara-manage collectstatic --noinput"], "static": {"/static/": "www/static"},
         "persistent": ["data"], "env": {"ARA_BASE_DIR": "@SHARED@/data", "ARA_ALLOWED_HOSTS": '["ara.localhost"]'}},
        {"ARA_SECRET_KEY": SECRET},
    ),
    Public(
        "fava", "src layout, its own uv.lock, setuptools-scm", "fava", ("1.30.8", "1.30.9"), ledger,
        {"wsgi": "serve:application", "files": {"serve.py": template("fava.py")}, "persistent": ["data"],
         "hooks": {"setup": [f"printf '{_LEDGER}' > data/ledger.beancount"]}, "static": {"/static/": "src/fava/static"}},
        sdist=True,
    ),
    Public(
        "ihatemoney", "flat pyproject, a database connection at import, and migrations at import", "ihatemoney",
        ("7.2.0", "7.2.1"), bills,
        {"wsgi": "ihatemoney.wsgi:application", "env": {"IHATEMONEY_SETTINGS_FILE_PATH": "@CODE@/ihatemoney.cfg"},
         "files": {"ihatemoney.cfg": template("ihatemoney.cfg")}, "persistent": ["data"],
         "web": {"processes": 1, "threads": 2, "preload": False}},
        {"SECRET_KEY": SECRET}, sdist=True,
    ),
    Public(
        "roundup", "an app with its data at import, made by its CLI", "roundup", ("2.5.0", "2.6.0"), issues,
        {"wsgi": "serve:application", "files": {"serve.py": template("roundup.py")}, "persistent": ["tracker"],
         "hooks": {"setup": [f"roundup-admin -i tracker install classic sqlite {_TRACKER}",
                             'roundup-admin -i tracker initialise "$PASSWORD"']}},
        {"PASSWORD": PASSWORD},
    ),
    Public(
        "shiny", "ASGI with a WebSocket, src layout, uv.lock", "shiny", ("1.7.0", "1.8.0"), greetings,
        {"asgi": "greeter:app", "pythonpath": ["src"]}, code=greeter_code,
    ),
    Public(
        "pyshacl", "ASGI by Sanic, a factory, several packages side by side, poetry.lock", "pyshacl", ("0.30.1", "0.31.0"),
        shapes,
        {"asgi": "serve:app", "extras": ["http"], "files": {"serve.py": template("pyshacl.py")},
         "health": {"path": "/docs", "timeout": 60}}, sdist=True,
    ),
    Public(
        "datasette", "ASGI, a factory, an app with its data at import", "datasette", ("0.65.4", "0.65.5"), notes,
        {"asgi": "serve:app", "files": {"serve.py": template("datasette.py")}, "persistent": ["data"],
         "hooks": {"setup": [f'python -c "{_TABLE}"']}},
    ),
)  # fmt: skip
