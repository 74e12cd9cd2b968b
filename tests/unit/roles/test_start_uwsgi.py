"""What the emperor's wrapper starts in a release's Python, with modules that stand for uWSGI's."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout

ROLES = Path(__file__).resolve().parents[3] / "roles"
ROLE = ROLES / "uwsgi_emperor"
NAME = "blog 20261123T100000-abc"

#: Prints what the app would meet, and the title of the process: of the master, a worker, and a process of that one.
PYUWSGI = """
import os, sys
import titles

def run():
    print("argv", sys.argv[1:])
    print("path", [p for p in sys.path if p.startswith({top!r})])
    print("modules", "setproctitle" in sys.modules)
    print("title", titles.said[-1:], flush=True)
    if os.fork() == 0:
        print("title", titles.said[-1:], flush=True)
        titles.said.clear()
        if os.fork() == 0:
            print("title", titles.said[-1:], flush=True)
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
"""


class Place:
    """A host under *top*, whose own Python runs the tests."""

    def __init__(self, top: Path) -> None:
        self.top, self.library = top, top / "library"
        self.environment = {"EMPEROR_STACK_UWSGI": str(self.library)}
        text = (ROLE / "files/start-uwsgi").read_text()
        own = {
            "/usr/bin/uwsgi": top / "debians",
            "/usr/bin/python3": top / "python3",
            "/run/systemd/journal/stdout": top / "journal",
        }
        for path, instead in own.items():
            assert text.count(f'"{path}"') == 1
            text = text.replace(f'"{path}"', repr(str(instead)))
        (top / "start-uwsgi").write_text(text)
        (top / "python3").symlink_to(sys.executable)
        (top / "debians").write_text('#!/bin/sh\necho debians "$@"\n')
        (top / "debians").chmod(0o755)
        self.library.mkdir()
        (self.library / "setproctitle.py").write_text("from titles import said\nsetproctitle = said.append\n")
        self.packages = top / "packages"
        self.packages.mkdir()
        (self.packages / "titles.py").write_text("said = []\n")
        release = top / "apps/blog/releases/20261123T100000-abc"
        release.mkdir(parents=True)
        (release / "vassal.ini").touch()
        self.ini = top / "blog@7.ini"
        self.ini.symlink_to(release / "vassal.ini")

    def start(self, *words: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, str(self.top / "start-uwsgi"), *words, "--ini", str(self.ini)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PYTHONPATH": str(self.packages), **self.environment},
        )
        assert done.returncode == 0, done.stderr
        return [*done.stdout.splitlines(), *done.stderr.splitlines()]

    def start_logged(self, *words: str) -> list[str]:
        """The same where journald listens; what it got."""
        with socket.socket(socket.AF_UNIX) as journald:
            journald.bind(str(self.top / "journal"))
            journald.listen()
            journald.settimeout(30)
            said = self.start(*words)
            connection, _ = journald.accept()
            with connection, connection.makefile() as lines:
                return said + lines.read().splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_becomes_uwsgi_and_leaves_the_app_nothing_of_ours(place: Place) -> None:
    (place.library / "pyuwsgi.py").write_text(PYUWSGI.format(top=str(place.top)))
    # Of the app, which the host's Python does not serve by.
    (place.packages / "pyuwsgi.py").write_text("def run(): print('the app brought it')\n")
    assert place.start_logged()[7:] == [
        f"argv ['--ini', '{place.ini}', '--binary-path', '{sys.executable}']",
        f"path ['{place.packages}']",
        "modules False",
        f"title ['{NAME} uWSGI master']",
        f"title ['{NAME} uWSGI worker']",
        # Forked by the app.
        "title []",
    ]


def test_a_python_of_the_apps_own_has_its_own(place: Place) -> None:
    (place.top / "python3").unlink()
    (place.top / "python3").symlink_to("/bin/true")
    (place.library / "pyuwsgi.py").write_text("def run(): print('of another Python')\n")
    (place.packages / "pyuwsgi.py").write_text("def run(): print('of the venv')\n")
    assert place.start_logged()[7:] == ["of the venv"]


def of_debian(place: Place, number: int) -> Path:
    """The library of a Debian, where role uwsgi_emperor installs it."""
    made = place.top / f"pyuwsgi-{number}-0a1b2c"
    made.mkdir(exist_ok=True)
    return made


def test_a_release_from_before_an_upgrade_of_debian_has_the_library_of_that_time(place: Place) -> None:
    place.library = of_debian(place, 13)
    place.environment = {"EMPEROR_STACK_UWSGI": str(place.library)}
    (place.top / "python3").unlink()
    (place.top / "python3").symlink_to("/bin/true")
    (place.library / "pyuwsgi.cpython-399-x86_64-linux-gnu.so").touch()
    (of_debian(place, 12) / "pyuwsgi.py").write_text(PYUWSGI.format(top=str(place.top)))
    (of_debian(place, 12) / "setproctitle.py").write_text(
        "from titles import said\nsetproctitle = said.append\n"
    )
    said = place.start_logged()[7:]
    assert said[2:5] == [
        "modules False",
        f"title ['{NAME} uWSGI master']",
        f"title ['{NAME} uWSGI worker']",
    ]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_release_whose_python_has_no_uwsgi_any_more_says_so(place: Place, wanted: bool) -> None:
    place.library = of_debian(place, 13)
    place.environment = {"EMPEROR_STACK_UWSGI": str(place.library)} if wanted else {}
    (place.top / "python3").unlink()
    (place.top / "python3").symlink_to("/bin/true")
    with pytest.raises(AssertionError, match=r"no uWSGI for this Python: .* Deploy the app again"):
        place.start("--no-server")


@pytest.mark.parametrize("why", ["not wanted", "not for this Python"])
def test_it_is_debians_where_there_is_no_such_extension(place: Place, why: str) -> None:
    (place.packages / "pyuwsgi.py").write_text("def run(): print('the app brought it')\n")
    if why == "not wanted":
        place.environment = {}
    said = place.start_logged()[7:]
    notes = [f"{place.library} has no pyuwsgi for this Python, so Debian's uWSGI serves"]
    assert said == [
        *(notes if why == "not for this Python" else []),
        f"debians --plugin python3 --procname-prefix-spaced {NAME} --ini {place.ini}",
    ]


HEAD = ["blog", "", "6", "0", "0", "0", "0"]


@pytest.mark.parametrize("words", [(), ("as-debian",)])
def test_its_output_is_a_stream_of_the_apps_own(place: Place, words: tuple[str, ...]) -> None:
    (place.library / "pyuwsgi.py").write_text(
        "import os, sys\n"
        "def run(): print('out', flush=True), print('err', file=sys.stderr), os.write(2, b'raw\\n')\n"
    )
    ours = ["out", "err", "raw"]
    assert place.start_logged(*words) == [*HEAD, *([f"debians --ini {place.ini}"] if words else ours)]


def test_programs_are_told_of_the_stream(place: Place) -> None:
    """As systemd does where it has connected them; what the emperor was told of its own does not hold here."""
    place.environment["JOURNAL_STREAM"] = "1:2"
    (place.library / "pyuwsgi.py").write_text(
        "import os\n"
        "def run(): print(os.environ['JOURNAL_STREAM'], '%d:%d' % (os.fstat(2).st_dev, os.fstat(2).st_ino), flush=True)\n"
    )
    told, true = place.start_logged()[-1].split()
    assert told == true
    assert place.start("--no-server")[0].split()[0] == "1:2"


@pytest.mark.parametrize("safe", ["", "1"])
def test_the_app_finds_none_of_our_modules(place: Place, safe: str) -> None:
    """And all that Python brings, also where Python itself leaves out the directory of what it runs."""
    place.environment["PYTHONSAFEPATH"] = safe
    (place.library / "pyuwsgi.py").write_text("import sys\ndef run(): print(sys.path)\n")
    path = ast.literal_eval(place.start("--no-server")[0])
    plain = subprocess.run(
        [sys.executable, "-c", "import sys; print(sys.path)"],
        env={**os.environ, "PYTHONPATH": str(place.packages), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert path == ast.literal_eval(plain.stdout)


def test_what_is_only_looked_at_tells_whoever_looks(place: Place) -> None:
    """The deploy shows why a release cannot be loaded; in the journal it would not find it."""
    (place.library / "pyuwsgi.py").write_text("def run(): print('out')\n")
    assert place.start("--no-server") == ["out"]


def test_without_a_journal_its_output_goes_where_the_emperors_does(place: Place) -> None:
    (place.library / "pyuwsgi.py").write_text("def run(): print('out')\n")
    said = place.start()
    assert said[0] == "out"
    assert said[1].startswith(f"blog logs as the emperor does: {place.top / 'journal'}: ")


# The wrapper itself


@pytest.mark.parametrize("vassal", ["", "plugin = python3\n"])
def test_the_wrapper_starts_what_the_release_was_made_for(place: Place, vassal: str) -> None:
    """Releases of earlier versions name Debian's plugin, and are what a rollback may lead to."""
    programs = place.top / "bin"
    programs.mkdir()
    # Its options, up to --, are of no interest here.
    takes = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    shows = '#!/bin/sh\necho "$0" "$@"\n'
    release = place.ini.resolve().parent
    (release / "venv/bin").mkdir(parents=True)
    (programs / "setpriv").write_text(takes)
    (programs / "setpriv").chmod(0o755)
    (release / "vassal.ini").write_text(f"[uwsgi]\n{vassal}")
    (place.top / "cgroup").write_text("0::/apps.slice/apps-blog.slice/x.scope\n")
    script = (ROLE / "templates/enter.j2").read_text().replace("/proc/self/cgroup", str(place.top / "cgroup"))
    (place.top / "python3").unlink()
    (place.top / "python3").write_text(shows)
    (place.top / "python3").chmod(0o755)
    (place.top / "enter").write_text(script.replace("/usr/bin/python3", str(place.top / "python3")))
    done = subprocess.run(
        ["/bin/sh", str(place.top / "enter"), "--ini", place.ini.name],
        cwd=place.top,
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    start = "/usr/local/lib/emperor-stack/start-uwsgi"
    python = place.top / "python3"
    launch = [str(python), *layout.launch(str(release))[1:], "program"]
    started = f"{python} -I {start} as-debian" if vassal else f"{release}/venv/bin/python {start}"
    assert done.stdout == f"{' '.join(launch)} {started} --ini {place.ini}\n"


@pytest.mark.parametrize(("way", "descriptor"), [("9", 3), ("3", 4)])
@pytest.mark.parametrize("room", [True, False])
def test_the_wrapper_hands_the_activations_socket_over(
    place: Place, way: str, descriptor: int, room: bool
) -> None:
    """Not as standard input, over which programs of the app would stumble; and it starts without statistics if need be.

    The release's launch.py has the environment there before its Python starts, and passes on what the emperor says.
    """
    release = place.ini.resolve().parent
    activation = place.top / "apps/blog/activations/blog@7"
    activation.mkdir(parents=True)
    (activation / "vassal.ini").write_text("[uwsgi]\n")
    (activation / "release").symlink_to(f"../../releases/{release.name}")
    place.ini.unlink()
    place.ini.symlink_to(activation / "vassal.ini")
    statistics = place.top / "apps/blog/cache/blog@7.stats"
    if room:
        statistics.parent.mkdir()
        statistics.write_text("left by somebody")
    shows = f"""#!/bin/sh
echo "$@"
readlink /proc/self/fd/0
readlink /proc/$$/fd/{descriptor} | cut -d: -f1
echo "$TZ $UWSGI_EMPEROR_FD $PATH${{OTHER-}}"
pwd
"""
    (release / "code").mkdir()
    (release / "launch.py").write_text((ROLES / "python_apps/files/launch.py").read_text())
    environment = {"TZ": "Asia/Tokyo", "PATH": f"{release}/venv/bin:/usr/bin:/bin"}
    (release / "environment.json").write_text(json.dumps({"environment": environment}))
    (place.top / "bin").mkdir()
    (release / "venv/bin").mkdir(parents=True)
    takes = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    for path, text in ((place.top / "bin/setpriv", takes), (release / "venv/bin/python", shows)):
        path.write_text(text)
        path.chmod(0o755)
    (place.top / "cgroup").write_text("0::/apps.slice/apps-blog.slice/x.scope\n")
    script = (ROLE / "templates/enter.j2").read_text().replace("/proc/self/cgroup", str(place.top / "cgroup"))
    (place.top / "enter").write_text(script.replace("/srv/apps/", f"{place.top}/apps/"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place.top / "s"))
        server.listen()
        done = subprocess.run(
            ["/bin/sh", str(place.top / "enter"), "--ini", place.ini.name],
            cwd=place.top,
            env={"PATH": f"{place.top / 'bin'}:{os.environ['PATH']}", "UWSGI_EMPEROR_FD": way, "OTHER": "x"},
            stdin=server,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    arguments = f"--ini {place.ini} --socket fd://{descriptor}" + (f" --stats {statistics}" if room else "")
    start = "/usr/local/lib/emperor-stack/start-uwsgi"
    assert done.stdout.splitlines() == [
        *(f"{start} {arguments}", "/dev/null", "socket"),
        f"Asia/Tokyo {way} {environment['PATH']}",
        f"{release}/code",
    ]
    assert not statistics.exists()


def test_a_process_has_the_name_of_its_activations_release(place: Place) -> None:
    activation = place.top / "apps/blog/activations/blog@7"
    activation.mkdir(parents=True)
    (activation / "vassal.ini").touch()
    (activation / "release").symlink_to(f"../../releases/{place.ini.resolve().parent.name}")
    place.ini.unlink()
    place.ini.symlink_to(activation / "vassal.ini")
    place.environment = {}
    assert place.start()[0] == f"debians --plugin python3 --procname-prefix-spaced {NAME} --ini {place.ini}"
