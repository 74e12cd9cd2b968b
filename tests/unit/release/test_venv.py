"""What fills a venv, when it is what an earlier release's is, and what another Python takes over from it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import dependency_files, venv_links
from ansible_collections.emperor.stack.plugins.module_utils.release import venv as release_venv
from ansible_collections.emperor.stack.plugins.module_utils.release.dependency_files import Wanted


@pytest.mark.parametrize(
    ("requirements", "exact"),
    [
        ("", True),
        ("six==1.17.0\n", True),
        ("# a comment\nsix==1.17.0  # why\n\nDjango[argon2]==5.2.19 ; python_version < '4'\n", True),
        ("six==1.17.0 \\\n    --hash=sha256:00ff \\\n    --hash=sha256:11ee\n", True),
        ("six\n", False),
        ("six>=1.17\n", False),
        ("six==1.*\n", False),
        ("six==1.17.0\n-r more.txt\n", False),
        ("-e .\n", False),
        ("./vendor/six\n", False),
        ("six @ file:///srv/six\n", False),
        ("--index-url https://index.example.com/simple\nsix==1.17.0\n", False),
    ],
)
def test_only_a_file_that_always_gives_the_same_venv_is_exact(requirements: str, exact: bool) -> None:
    assert release_venv.is_exact(requirements) is exact


def test_the_key_follows_everything_that_decides_the_venv(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n")
    key = release_venv.venv_key(str(tmp_path), Wanted(), "3.11", {})
    assert key == release_venv.venv_key(str(tmp_path), Wanted(), "3.11", {})
    assert key != release_venv.venv_key(str(tmp_path), Wanted(), "3.13", {})
    assert key != release_venv.venv_key(
        str(tmp_path), Wanted(), "3.11", {"UV_DEFAULT_INDEX": "https://index.example.com"}
    )
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    assert key != release_venv.venv_key(str(tmp_path), Wanted(), "3.11", {})
    (tmp_path / "uv.lock").write_text("")
    assert release_venv.venv_key(str(tmp_path), Wanted(), "3.11", {}) == ""


def test_a_linked_venv_shares_files_and_names_its_own_path(tmp_path: Path) -> None:
    old, new = tmp_path / "old" / "venv", tmp_path / "new" / "venv"
    (old / "bin").mkdir(parents=True)
    (old / "lib" / "site").mkdir(parents=True)
    (old / "bin" / "tool").write_text(f"#!{old}/bin/python\n")
    (old / "bin" / "tool").chmod(0o750)
    (old / "bin" / "python").symlink_to("/usr/bin/python3")
    (old / "lib64").symlink_to("lib")
    (old / "bin" / "program").write_bytes(str(old).encode() + bytes(venv_links.LARGEST_SCRIPT))
    (old / "lib" / os.fsdecode(b"caf\xe9.py")).write_text("")
    os.mkfifo(old / "lib" / "fifo")
    (old / "lib" / "site" / "six.py").write_text("x = 1\n")
    (old / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (old.parent / venv_links.LOCK).write_text("six==1.16.0\n")
    new.parent.mkdir()
    umask = os.umask(0o077)
    try:
        venv_links.link_venv(str(old.parent), str(new.parent), os.getgid())
    finally:
        os.umask(umask)
    assert (new.parent / venv_links.LOCK).read_text() == "six==1.16.0\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (new, new / "bin", new / "lib")} == {0o750}
    assert (new / "bin" / "tool").read_text() == f"#!{new}/bin/python\n"
    assert (new / "bin" / "program").samefile(old / "bin" / "program")
    assert (new / "lib" / os.fsdecode(b"caf\xe9.py")).exists()
    assert not (new / "lib" / "fifo").exists()
    assert os.access(new / "bin" / "tool", os.X_OK)
    assert (old / "bin" / "tool").read_text() == f"#!{old}/bin/python\n"
    assert (new / "bin" / "python").readlink() == Path("/usr/bin/python3")
    assert (new / "lib64").readlink() == Path("lib")
    assert (new / "lib" / "site" / "six.py").stat().st_ino == (old / "lib" / "site" / "six.py").stat().st_ino
    assert (new / "pyvenv.cfg").read_text() == "home = /usr/bin\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("six==1.16.0\n".encode("utf-16"), r"requirements\.txt is UTF-16: save it as UTF-8"),
        (b"\xfe\xff\0s", r"requirements\.txt is UTF-16: save it as UTF-8"),
        (b"six==1.16.0\n# caf\xe9\n", r"is not UTF-8 \(byte 0xe9 in line 2\): save it as UTF-8"),
        (b"x" * ((8 << 20) + 1), r"requirements\.txt is larger than 8 MiB"),
        (20 << 30, r"requirements\.txt is larger than 8 MiB"),
        ("/etc/hostname", r"requirements\.txt is a link that leads out of the source"),
        ("/dev/zero", r"requirements\.txt is a link that leads out of the source"),
    ],
    ids=["UTF-16", "big-endian", "Latin-1", "large", "sparse", "link out", "endless"],
)
@pytest.mark.parametrize("asked", ["key", "hashes"])
def test_requirements_that_root_does_not_read(tmp_path: Path, content: Any, says: str, asked: str) -> None:
    path = tmp_path / "requirements.txt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.symlink_to(content)
    else:
        with open(path, "wb") as file:
            file.truncate(content)
    with pytest.raises(ReleaseError, match=says):
        if asked == "key":
            release_venv.venv_key(str(tmp_path), Wanted(), "3.11", {})
        else:
            dependency_files.steps(str(tmp_path), "/venv", Wanted("requirements.txt"))


def test_requirements_that_are_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")
    assert release_venv.venv_key(str(tmp_path), Wanted("requirements.txt"), "3.11", {}) == ""
    with pytest.raises(ReleaseError, match=r"the source has no requirements\.txt"):
        dependency_files.steps(str(tmp_path), "/venv", Wanted("requirements.txt"))


def test_requirements_behind_a_link_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod/r.txt").write_text("six==1.16.0\n")
    plain = release_venv.venv_key(str(tmp_path), Wanted("prod/r.txt"), "3.11", {})
    (tmp_path / "requirements.txt").symlink_to("prod/r.txt")
    assert release_venv.venv_key(str(tmp_path), Wanted(), "3.11", {}) == plain != ""


@pytest.mark.parametrize(
    ("line", "exact"),
    [
        ("six==1 ;" + " " * 200_000 + "\t#", False),
        ("six==1" + " --hash=a" * 50_000 + "\t#", False),
        ("six==1" + " --hash=a" * 50_000, True),
        ("a" * 200_000, False),
        ("six==1" + " " * 200_000 + "x", False),
    ],
    ids=["marker", "hashes and more", "hashes", "name", "blanks"],
)
def test_long_lines(line: str, exact: bool) -> None:
    """With an expression that tries again, the first takes hours."""
    assert release_venv.is_exact(line) is exact


# Another Python


class Uv:
    """uv, of which it is only told what it was asked; a build of *broken* pins fails."""

    def __init__(self, broken: set[str], project: str) -> None:
        self.broken, self.project = broken, project
        self.asked: list[list[str]] = []

    def __call__(self, app: str, argv: list[str], **options: Any) -> str:
        self.asked.append(argv[1:])
        if "--constraint" in argv:
            pins = Path(argv[-1]).read_text().split()
            self.asked[-1][-1] = " ".join(pins)
            for pin in pins:
                if pin in self.broken:
                    raise CommandFailed("x", "uv", "exit status 1", f"  x Failed to build `{pin}`")
        if self.project and argv[-1].endswith("/code"):
            raise CommandFailed("x", "uv", "exit status 1", self.project)
        return ""


@pytest.fixture
def built(host: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(dependency_files, "lock_of", lambda tool: f"{host}/lock-tools/{tool}.txt")

    def build(
        pins: dict[str, str],
        broken: set[str] = frozenset(),  # type: ignore[assignment]
        own: bool = False,
        project: str = "",
        locked: bool = False,
        asgi: bool = False,
    ) -> tuple[list[str], list[list[str]]]:
        uv = Uv(broken, project)
        monkeypatch.setattr(release_venv, "run_as", uv)
        code, release = host / "code", host / "release"
        code.mkdir(exist_ok=True)
        release.mkdir(exist_ok=True)
        file = "poetry.lock" if locked else "pyproject.toml" if project else "requirements.txt"
        (code / file).write_text('[project]\nname = "x"\nversion = "1"\n' if project else "six>=1\n")
        warnings = release_venv.build_venv(
            "blog",
            str(code),
            str(release / "venv"),
            Wanted(),
            {},
            "/opt/p",
            pins,
            release_venv.servers(own, asgi),
        )
        assert os.listdir(release) == []
        return warnings, uv.asked

    return build


def test_pins_hold_where_the_requirements_leave_a_choice(built: Any) -> None:
    warnings, asked = built({"six": "1.16.0", "flask": "3.0"})
    assert warnings == []
    assert asked[0][:4] == ["venv", "--quiet", "--python", "/opt/p"]
    assert asked[1][-2:] == ["--constraint", "flask==3.0 six==1.16.0"]
    assert len(asked) == 2


def test_a_pin_without_a_build_is_given_up_alone_and_said(built: Any) -> None:
    warnings, asked = built({"six": "1.16.0", "flask": "3.0"}, {"six==1.16.0"})
    assert warnings == ["six==1.16.0 of the live release has no build for this Python"]
    assert asked[-1][-1] == "flask==3.0"


def test_when_no_pin_is_named_all_are_given_up(built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_venv, "blamed", lambda *_: [])
    warnings, asked = built({"six": "1.16.0", "flask": "3.0"}, {"six==1.16.0"})
    assert len(warnings) == 2
    assert "--constraint" not in asked[-1]


def test_code_that_setuptools_takes_for_several_packages_is_no_package(built: Any) -> None:
    """Its dependencies are installed then; any other failure of a build is one."""
    flat = "error: Multiple top-level packages discovered in a flat-layout: ['b', 'a']."
    warnings, asked = built({}, project=flat)
    assert asked[-1][-1].endswith("/code")
    assert "says 'Multiple top-level packages discovered'. Its dependencies are installed" in warnings[0]
    with pytest.raises(CommandFailed, match="no such backend"):
        built({}, project="no such backend")


def test_a_build_without_a_compiler_says_what_to_install(built: Any) -> None:
    lacking = "error: command 'gcc' failed: No such file or directory"
    with pytest.raises(
        ReleaseError, match=r"(?s)python_apps_packages: \[build-essential, python3-dev\]\n.*gcc"
    ):
        built({}, project=lacking)


def test_a_lock_is_exported_and_its_tool_is_gone_afterwards(built: Any, host: Path) -> None:
    (host / "lock-tools").mkdir()
    with pytest.raises(ReleaseError, match=r"earlier version of Emperor Stack: run site\.yml first"):
        built({"six": "1.16.0"}, locked=True)
    (host / "lock-tools/poetry.txt").write_text("")
    warnings, asked = built({"six": "1.16.0"}, locked=True)
    assert warnings == []
    tool = f"{host}/release/venv/.lock-tool"
    assert asked[1][-1] == tool
    assert asked[2][-1] == f"{host}/lock-tools/poetry.txt" and "--require-hashes" in asked[2]
    assert asked[3][3:6] == [f"{tool}/requirements.txt", f"{tool}/bin/poetry", "export"]
    # A lock has its own pins.
    assert asked[4][-3:] == ["--no-deps", "-r", f"{tool}/requirements.txt"]
    assert asked[5] == ["-rf", "--", tool]


def test_an_export_leaves_out_indexes(tmp_path: Path) -> None:
    said = "-i https://index.example.com\nsix==1\n    --hash=sha256:aa\n--extra-index-url x\n-e .\n"
    done = subprocess.run(
        ["/bin/sh", "-ec", release_venv._EXPORT, "sh", str(tmp_path / "out"), "printf", "%s", said],
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == "six==1\n    --hash=sha256:aa\n-e .\n"
    failing = subprocess.run(
        ["/bin/sh", "-ec", release_venv._EXPORT, "sh", str(tmp_path / "out"), "false"], check=False
    )
    assert failing.returncode != 0


def test_an_app_with_another_python_gets_a_server_of_its_own(built: Any) -> None:
    assert built({}, own=True)[1][-1][-1] == release_venv.OWN_SERVER


def test_an_asgi_app_gets_gunicorn_where_its_requirements_bring_none(
    built: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built({}, own=True, asgi=True)[1][-1][-1] == release_venv.ASGI_SERVER


def test_an_asgi_app_keeps_the_gunicorn_that_its_requirements_bring(
    built: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_venv, "freeze", lambda *_: "gunicorn==28.1\nsix==1.16.0\n")
    assert not any("gunicorn" in word for words in built({}, asgi=True)[1] for word in words)


def test_apps_with_another_python_get_the_same_uwsgi() -> None:
    lock = Path(__file__).resolve().parents[3] / "roles/uwsgi_emperor/files/uwsgi.txt"
    pinned = [line.split()[0] for line in lock.read_text().splitlines() if line.startswith("pyuwsgi==")]
    assert pinned == [release_venv.OWN_SERVER]


def test_what_a_lock_pins() -> None:
    lock = [
        "Zope.Interface==8.7\n",
        "blog @ file:///srv/x\n",
        "-e .\n",
        "pyuwsgi==2.0.30.post1\n",
        "a_b==1!2.0+x\n",
    ]
    assert release_venv.pinned(lock) == {"zope-interface": "8.7", "a-b": "1!2.0+x"}
    assert release_venv.blamed(
        "Because zope.interface==8.7 has no wheels, and x==1", {"zope-interface": "8.7"}
    ) == ["zope-interface"]


def test_a_python_that_the_host_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_venv, "interpreters", lambda named: {"3.13": "/usr/bin/python3", **named})
    assert release_venv.interpreter("blog", "3.11", {"3.11": "/opt/p"}) == "/opt/p"
    with pytest.raises(
        ReleaseError, match=r"blog needs Python 3\.11, but this host has 3\.13 \(/usr/bin/python3\)\."
    ):
        release_venv.interpreter("blog", "3.11", {})


def test_an_interpreter_is_asked_what_it_is(tmp_path: Path) -> None:
    """One that is named wrongly, or that does not run, is not taken at its word."""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = release_venv.interpreters({"3.99": sys.executable, "3.98": str(tmp_path / "nothing")})
    assert found[mine] == sys.executable
    assert not {"3.98", "3.99"} & set(found)
