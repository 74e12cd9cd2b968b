"""What hostile repositories and builds bring, and what is right then. Each stands beside an app that goes live."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from walls.ground import WALLS
from walls.repository import TREE, Link, Repository, Submodule

#: Passwords and tokens that nobody but their server may come to know.
GIT = "planted-git-7d1f0c"
INDEX = "planted-index-9b2e4a"
TOKEN = "planted-token-55aa10"
SERVER = "127.0.0.1:8420"

#: Where a repository would have its files, if root followed it.
OUTSIDE = "/srv/outside"

APP = b"""import os


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["APP_NAME"].encode()]
"""

ENDLESS = b"""def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    while True:
        yield b"x" * 65536
"""

HEADERS = b"""def application(environ, start_response):
    start_response("200 OK", [(f"X-Much-{n}", "x" * 30) for n in range(90)] + [("Content-Length", "9" * 40)])
    return [b"x"]
"""

ESCAPING = b"""def application(environ, start_response):
    start_response("500 \\x1b[2J", [("Content-Type", "text/plain")])
    return ["\\x1b]0;TITLE\\x07\\x1b[31mRED\\x9b31m".encode()]
"""

#: Holds standard output open for longer than anybody waits.
AT_IMPORT = b"""import subprocess
subprocess.Popen(["sleep", "302"], start_new_session=True)
"""


@dataclass(frozen=True)
class Content:
    """An app whose contents are hostile. Its name is also the version that its repository has."""

    name: str
    row: int
    #: What it brings, as the table says it.
    what: str
    #: `fails`, `serves`, or `either`: both are in order.
    ends: str
    files: Mapping[str | bytes, bytes | Link | Submodule] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: What its failure has to name: a regular expression.
    says: str = ""
    #: Ended everybody's run once: gets a run of its own too.
    alone: bool = False
    #: Where it is tried: where Debian or the server matters, on both.
    both: bool = False
    #: Writes the tree by itself, where no list of files can be it.
    tree: Callable[[Repository, Mapping[str | bytes, Any]], str] | None = None


def build(*words: object, **settings: Any) -> dict[str, Any]:
    return {"build": [f"python bad.py {' '.join(map(str, words))}"], **settings}


def _leaving(repository: Repository, files: Mapping[str | bytes, Any]) -> str:
    """A submodule whose place is above the code."""
    path = f"{'../' * 12}{OUTSIDE.lstrip('/')}"
    top = {**files, ".gitmodules": _modules(path)}
    inner = repository.tree(repository.entry(OUTSIDE.rpartition("/")[2].encode(), _planted(repository)))
    inner = repository.tree((TREE, b"srv", inner))
    for _ in range(11):
        inner = repository.tree((TREE, b"..", inner))
    entries = [repository.entry(str(name).encode(), content) for name, content in top.items()]
    return repository.tree((TREE, b"..", inner), *entries)


def _twice(repository: Repository, files: Mapping[str | bytes, Any]) -> str:
    """One name twice: a link to a directory of the host, and the directory above a submodule."""
    above = repository.tree(repository.entry(b"planted", _planted(repository)))
    top = {**files, ".gitmodules": _modules("place/planted")}
    entries = [repository.entry(str(name).encode(), content) for name, content in top.items()]
    # In this order git's index keeps the link, and the submodule of a name that begins with its.
    return repository.tree((TREE, b"place", above), repository.entry(b"place", Link("/srv")), *entries)


def _modules(path: str) -> bytes:
    return f'[submodule "planted"]\n\tpath = {path}\n\turl = file:///srv/git/contents.git\n'.encode()


def _planted(repository: Repository) -> Submodule:
    return Submodule(repository.commit(repository.directory({"planted.txt": b"planted\n"})))


#: For those that will never be healthy.
SOON = {"health": {"answers": 1, "timeout": 6}}

SUBMODULES = {"submodules": True}
DEEP_700 = {"/".join(["d"] * 700 + ["file.py"]): b"x = 1\n"}
DEEP_1500 = {"/".join(["d"] * 1500 + ["file.py"]): b"x = 1\n"}
WRONG_HASH = f"planted==1.0 --hash=sha256:{'0' * 64}\n".encode()

CONTENTS = (
    # First, so that they watch what all others bring.
    Content("watches", 11, "a build that reads every process's arguments and environment", "serves",
            settings=build("watches", 12), both=True),
    Content("private", 11, "a repository whose URL has a password", "serves",
            settings={"source": {"git": f"http://user:{GIT}@{SERVER}/git/private.git", "version": "private"}}),
    Content("refused", 11, "a URL with a password that leads nowhere", "fails", says="127.0.0.1",
            settings={"source": {"git": f"http://user:{GIT}@{SERVER}/git/none.git", "version": "none"}}),
    Content("tokened", 11, "an archive whose URL has a token", "serves",
            settings={"source": {"archive": f"http://{SERVER}/files/source.tar.gz?token={TOKEN}"}}),
    Content("backend", 11, "a build backend that looks for the index's password", "serves",
            {"requirements.txt": b"./taker\n", "taker/pyproject.toml": b'[build-system]\nrequires = []\n'
             b'build-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "taker"\nversion = "1.0"\n',
             "taker/backend.py": (WALLS / "backend.py").read_bytes()}, both=True),
    Content("utf16", 7, "requirements.txt in UTF-16", "fails", {"requirements.txt": "six==1.17.0\n".encode("utf-16")},
            says="requirements.txt", alone=True, both=True),
    Content("latin", 7, "file names that are no UTF-8", "either", {b"migrations/\xff\xfe.py": b"x = 1\n"},
            alone=True, both=True),
    Content("newline", 7, "a submodule's name with a line break", "fails",
            {"a\nb": Submodule("1" * 40)}, {"source": SUBMODULES}),
    Content("deep-700", 7, "directories 700 deep", "either", DEEP_700, alone=True, both=True),
    Content("deep-1500", 7, "directories 1500 deep", "either", DEEP_1500, alone=True, both=True),
    Content("deep-built", 8, "a build that makes directories 3000 deep", "either", settings=build("deep", 3000),
            both=True),
    Content("names", 7, "a build that leaves names with line breaks and escapes", "either",
            settings=build("names", static={"/static/": "static"})),
    Content("pipes", 7, "a build that leaves pipes and sockets where files are read", "either",
            settings=build("pipes", static={"/static/": "static"}, migrate="true")),
    Content("modes", 7, "a build that leaves setuid bits and open directories", "serves", settings=build("modes")),
    Content("zero", 10, "requirements.txt that is a link to /dev/zero", "fails", {"requirements.txt": Link("/dev/zero")},
            says="requirements.txt"),
    Content("of-shadow", 10, "requirements.txt that is a link to /etc/shadow", "fails",
            {"requirements.txt": Link("/etc/shadow")}),
    Content("sparse", 10, "a migration file of 4 GB without content", "either", settings=build("sparse", 4), both=True),
    Content("prints", 10, "a build that prints 2 GB", "serves", settings=build("prints", 2000), both=True),
    Content("one-line", 10, "a failing build that prints one line of 30 MB", "fails", settings=build("one_line", 30)),
    Content("endless", 10, "a health answer without an end", "either", {"app.py": ENDLESS}, SOON, both=True),
    Content("headers", 10, "a health answer of lies in its head", "either", {"app.py": HEADERS}, SOON),
    Content("threads", 14, "a build that starts 8,000 threads", "fails", settings=build("threads", 8000),
            says="threads: ", both=True),
    Content("memory", 14, "a build that takes 1 GB of memory", "fails",
            settings=build("memory", 1000, limits={"memory": "200M", "request_timeout": 5})),
    Content("writes", 14, "a build that writes wherever it can", "serves", settings=build("writes"), both=True),
    Content("daemons", 15, "a build that leaves a daemon that ignores SIGTERM", "serves", settings=build("daemon", 0)),
    Content("output", 15, "a build that leaves a daemon which holds its output", "serves", settings=build("daemon", 1),
            both=True),
    Content("hook", 15, "a hook that ends in `&`", "serves",
            settings={"hooks": {"after_switch": ["sleep 303 & echo started"], "after_start": ["sleep 304 & echo started"]}}),
    Content("import", 15, "a daemon at import that keeps standard output open", "serves", {"app.py": AT_IMPORT + APP},
            both=True),
    Content("escapes", 16, "a failing build that prints terminal escapes", "fails", settings=build("escapes"),
            says="before"),
    Content("answer", 16, "a health answer with terminal escapes", "fails", {"app.py": ESCAPING}, SOON, says="500"),
    Content("leaves", 3, "a tree with entries named `..` and a submodule behind them", "fails",
            settings={"source": SUBMODULES}, tree=_leaving),
    Content("twice", 3, "a tree with one name twice: a link, and the directory of a submodule", "fails",
            settings={"source": SUBMODULES}, tree=_twice),
    Content("behind", 3, "`subdirectory` that is a link out of the repository", "fails", {"inside": Link("/etc")},
            {"source": {"subdirectory": "inside"}}, says="inside"),
    Content("tar-link", 3, "an archive with a link that leads out", "fails"),
    Content("tar-device", 3, "an archive with a device", "fails"),
    Content("tar-bomb", 10, "an archive of 300 KB that unpacks to 300 MB and promises 300 GB", "fails"),
    Content("zip-lies", 10, "a zip whose members are larger than they say", "fails"),
    Content("etc", 7, "a build that makes the static directory a link to /etc", "fails",
            settings=build("links_static", static={"/static/": "static"}), says="static"),
    Content("hashes", 7, "requirements whose hashes are wrong", "fails", {"requirements.txt": WRONG_HASH},
            says="planted"),
    Content("huge", 7, "an environment of 3 MB", "either",
            settings={"env": {f"MUCH_{number}": "x" * 120_000 for number in range(25)}}),
    Content("syntax", 7, "a syntax error", "fails", {"app.py": b"def application(\n"}, says="prepare: .*SyntaxError"),
    Content("hangs", 7, "a module that hangs at import", "fails", {"app.py": b"import time\ntime.sleep(305)\n"},
            SOON, both=True),
    Content("kills", 7, "a module that kills every process it may at import", "fails",
            {"app.py": b"import os\nos.kill(-1, 9)\n"}, SOON, both=True),
    Content("exits", 7, "a module that ends its process with success at import", "fails",
            {"app.py": b"import os\nos._exit(0)\n"}, SOON),
    Content("grouped", 20, "a group of the app's name that is somebody else's", "fails", says="group"),
)  # fmt: skip

#: Of the whole fleet of them: where somebody must have been to do harm.
MARKS = (b"sleep\x00301", b"sleep\x00302", b"sleep\x00303", b"sleep\x00304")


def entry(content: Content, archives: Path) -> dict[str, Any]:
    """The entry of *content* in `python_apps`."""
    settings = dict(content.settings)
    source = {"git": "file:///srv/git/contents.git", "version": content.name}
    if content.name.startswith(("tar-", "zip-", "tokened")):
        path = archives / ("source.tar.gz" if content.name == "tokened" else content.name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        source = {"archive": str(path), "checksum": f"sha256:{digest}"}
    chosen = settings.pop("source", {})
    source = {**source, **chosen} if "git" not in chosen else chosen
    return {
        "name": content.name,
        "domains": [f"{content.name}.localhost"],
        "source": source,
        "wsgi": "app:application",
        "health": {"answers": 1, "timeout": 30},
        "web": {"processes": 1, "threads": 1},
        "limits": {"tasks": 64, "request_timeout": 5},
        **settings,
    }


def make(directory: Path) -> None:
    """Everything that the contents come from: repositories in `git` and `planted`, archives in `archives`."""
    repository = Repository(directory / "git" / "contents.git")
    files: dict[str | bytes, Any] = {"app.py": APP, "bad.py": (WALLS / "bad.py").read_bytes()}
    for content in CONTENTS:
        mine = {**files, **content.files}
        made = content.tree(repository, mine) if content.tree else repository.directory(mine)
        repository.tag(content.name, made)
    planted = directory / "planted"
    private = Repository(planted / "git" / "private.git")
    private.tag("private", private.directory(files))
    # What a server that knows nothing of git needs to be one.
    subprocess.run(["git", "update-server-info"], cwd=private.path, check=True)
    simple = planted / "simple" / "planted"
    simple.mkdir(parents=True)
    _wheel(simple / "planted-1.0-py3-none-any.whl")
    (simple / "index.html").write_text(
        '<a href="planted-1.0-py3-none-any.whl">planted-1.0-py3-none-any.whl</a>\n'
    )
    archives = directory / "archives"
    archives.mkdir()
    _archives(archives)
    (planted / "files").mkdir()
    os.link(archives / "source.tar.gz", planted / "files" / "source.tar.gz")


def _wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("planted.py", "")
        made.writestr(
            "planted-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n"
        )
        made.writestr(
            "planted-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("planted-1.0.dist-info/RECORD", "")


def _archives(directory: Path) -> None:
    def tar(name: str, *more: tarfile.TarInfo) -> None:
        with tarfile.open(directory / name, "w:gz") as made:
            info = tarfile.TarInfo("app.py")
            info.size = len(APP)
            made.addfile(info, io.BytesIO(APP))
            for one in more:
                made.addfile(one)

    link = tarfile.TarInfo("out")
    link.type, link.linkname = tarfile.SYMTYPE, "../../../etc"
    device = tarfile.TarInfo("device")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
    tar("source.tar.gz")
    tar("tar-link", link)
    tar("tar-device", device)
    bomb = tarfile.TarInfo("zeros")
    bomb.size = 300 * 2**30
    with gzip.open(directory / "tar-bomb", "wb", 9) as file:
        file.write(bomb.tobuf(tarfile.GNU_FORMAT))
        for _ in range(300):
            file.write(bytes(2**20))
    # A member of 300 MB that its directory calls one of ten bytes.
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("app.py", APP)
        made.writestr("zeros.py", bytes(300 * 2**20))
    size = (300 * 2**20).to_bytes(4, "little")
    (directory / "zip-lies").write_bytes(whole.getvalue().replace(size, (10).to_bytes(4, "little")))
