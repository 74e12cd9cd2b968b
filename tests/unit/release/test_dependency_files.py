"""Which file fills a venv, by which commands, and what is said of files that nobody reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import dependency_files
from ansible_collections.emperor.stack.plugins.module_utils.release.dependency_files import Wanted

INSTALL = ["pip", "install", "--python", "/venv/bin/python"]
PACKAGE = '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "x"\nversion = "1"\ndependencies = ["six"]\n'
NO_PACKAGE = f"{PACKAGE}[tool.uv]\npackage = false\n"
FROM_GIT = PACKAGE.replace('version = "1"', 'dynamic = ["version"]')
POETRY = '[build-system]\nrequires = ["poetry-core"]\n[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\nsix = "*"\n'
NO_POETRY_PACKAGE = POETRY.replace('name = "x"', "package-mode = false")
SETTINGS = "[tool.ruff]\nline-length = 100\n"


@pytest.fixture
def code(tmp_path: Path) -> Any:
    def write(**files: str) -> str:
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        return str(tmp_path)

    return write


def words(code: str, **wanted: Any) -> list[list[str]]:
    """The commands, with the code's path as {code}; a tool's begin with its name."""
    return [
        [word.replace(code, "{code}") for word in ([step.tool] if step.tool else []) + step.words]
        for step in dependency_files.steps(code, "/venv", Wanted(**wanted))
    ]


# Which file


@pytest.mark.parametrize(
    ("files", "read", "others"),
    [
        ([], None, []),
        (["uv.lock", "requirements.txt", "pyproject.toml"], "uv.lock", ["requirements.txt"]),
        (["requirements.txt", "pyproject.toml"], "requirements.txt", ["pyproject.toml"]),
        (["requirements.txt", "requirements.in", "requirements-dev.txt"], "requirements.txt", []),
        (
            ["requirements.txt", "poetry.lock", "pyproject.toml"],
            "requirements.txt",
            ["poetry.lock", "pyproject.toml"],
        ),
        (["poetry.lock", "pyproject.toml"], "poetry.lock", []),
        (["pdm.lock", "pyproject.toml"], "pdm.lock", []),
        (["pylock.toml", "pdm.lock"], "pylock.toml", ["pdm.lock"]),
        (["Pipfile.lock", "Pipfile"], "Pipfile.lock", []),
        (["Pipfile", "app.py"], None, ["Pipfile"]),
        (["pyproject.toml", "setup.py"], "pyproject.toml", []),
        (["setup.py", "environment.yml"], None, ["setup.py", "environment.yml"]),
        (["requirements-prod.txt", "notes.txt"], None, ["requirements-prod.txt"]),
    ],
)
def test_the_file_that_is_read(tmp_path: Path, files: list[str], read: str | None, others: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text(PACKAGE if name == "pyproject.toml" else "")
    assert dependency_files.chosen(str(tmp_path), Wanted()) == read
    assert dependency_files.unread(str(tmp_path), Wanted()) == others
    (tmp_path / "chosen.txt").write_text("")
    assert dependency_files.unread(str(tmp_path), Wanted(requirements="chosen.txt")) == []


def test_what_is_said_of_files_that_nobody_reads(code: Any) -> None:
    place = code(setup_py="")
    (said,) = dependency_files.notes(place, Wanted())
    assert said.startswith(
        "setup.py: not read, so nothing is installed. Name a file by `requirements:`, or commit one"
    )
    place = code(requirements_txt="")
    (said,) = dependency_files.notes(place, Wanted())
    assert (
        said
        == "setup.py: not read, because requirements.txt is. Choose one by `requirements:`, or delete the others"
    )


@pytest.mark.parametrize(
    ("content", "counts"), [(SETTINGS, False), (PACKAGE, True), (POETRY, True), ("", False)]
)
def test_a_pyproject_that_only_has_settings_is_no_file_of_dependencies(
    code: Any, content: str, counts: bool
) -> None:
    place = code(pyproject_toml=content)
    assert (dependency_files.chosen(place, Wanted()) is not None) is counts
    assert bool(words(place)) is counts


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[project", r"pyproject\.toml: Expected '\]' at the end of a table declaration"),
        ("x = " + "[" * 100_000, r"pyproject\.toml: it is nested too deep"),
        ("# " + "x" * (1 << 18), r"pyproject\.toml is larger than 256 KiB"),
        ("x = " + "1" * 5000, r"pyproject\.toml: Exceeds the limit"),
    ],
)
def test_a_pyproject_that_root_does_not_take(code: Any, content: str, says: str) -> None:
    with pytest.raises(ReleaseError, match=says):
        dependency_files.chosen(code(pyproject_toml=content), Wanted())


def test_a_broken_pyproject_that_is_not_read_stops_nothing(code: Any) -> None:
    place = code(requirements_txt="", pyproject_toml="[project")
    assert dependency_files.unread(place, Wanted()) == ["pyproject.toml"]
    assert words(place) == [[*INSTALL, "-r", "{code}/requirements.txt"]]


@pytest.mark.parametrize("content", ["project = 1", "tool = 2", "[project]\ndynamic = 3", "tool.poetry = []"])
def test_a_pyproject_of_odd_types(code: Any, content: str) -> None:
    place = code(pyproject_toml=content, poetry_lock="")
    assert dependency_files.steps(place, "/venv", Wanted())[0].tool == "poetry"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, ""),
        ("3.13\n", ""),
        ("3.13.1\n", ""),
        ("cpython-3.13.5", ""),
        ("pypy3.10\n", ""),
        ("\n", ""),
        (
            "3.12.4\n",
            '.python-version names Python 3.12, but this release has 3.13. Set `python: "3.12"`, or change the file',
        ),
    ],
)
def test_a_python_version_that_differs_in_its_last_part_alone_is_the_same(
    tmp_path: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / ".python-version").write_text(content)
    assert dependency_files.version_note(str(tmp_path), "3.13") == says


# Commands


def test_a_requirements_file(code: Any) -> None:
    place = code(requirements_txt="six==1\n", deploy__pinned_txt="six==1 --hash=sha256:aa\n")
    assert words(place) == [[*INSTALL, "-r", "{code}/requirements.txt"]]
    path = "deploy/pinned.txt"
    assert words(place, requirements=path) == [
        [*INSTALL, "--require-hashes", "-r", "{code}/deploy/pinned.txt"]
    ]


@pytest.mark.parametrize(
    ("content", "hashes"),
    [
        ("flask==3.0 \\\n    --hash=sha256:aa\n", True),
        ("flask==3.0\n", False),
        ("# made without --hash=…\nflask==3.0  # --hash=x\n", False),
        ("café==1\r\n", False),
    ],
)
def test_hashes_are_required_where_there_are_some(tmp_path: Path, content: str, hashes: bool) -> None:
    (tmp_path / "requirements.txt").write_bytes(content.encode())
    (step,) = words(str(tmp_path), requirements="requirements.txt")
    assert ("--require-hashes" in step) is hashes


@pytest.mark.parametrize("name", ["prod.txt", "poetry.lock", "api/pyproject.toml"])
def test_a_named_file_that_is_not_there(code: Any, name: str) -> None:
    with pytest.raises(ReleaseError, match=rf"the source has no {Path(name).name}\. Correct `requirements:`"):
        words(code(), requirements=name)


def test_uv_lock(code: Any) -> None:
    # With a Python named, uv does not look into .python-version.
    python = ["--python", "/venv/bin/python"]
    sync = ["sync", "--frozen", "--no-dev", "--no-editable", "--active", *python]
    place = code(uv_lock="", pyproject_toml=PACKAGE, api__uv_lock="")
    assert words(place) == [[*sync, "--project", "{code}"]]
    assert words(place, requirements="api/uv.lock") == [[*sync, "--project", "{code}/api"]]
    more = ["--extra", "a", "--group", "b"]
    assert words(place, extras=["a"], groups=["b"]) == [[*sync, *more, "--project", "{code}"]]


def test_a_version_that_git_would_tell_is_the_projects_alone(code: Any) -> None:
    """A dependency that is built would take it for its own version."""
    place = code(pyproject_toml=FROM_GIT)
    found = dependency_files.steps(place, "/venv", Wanted(version="v1.4.0"))
    assert [step.environment.get("SETUPTOOLS_SCM_PRETEND_VERSION") for step in found] == [None, "1.4.0"]
    code(uv_lock="")
    locked = dependency_files.steps(place, "/venv", Wanted(version="v1.4.0"))
    assert "--no-install-project" in locked[0].words
    assert [step.environment.get("SETUPTOOLS_SCM_PRETEND_VERSION") for step in locked] == [None, "1.4.0"]


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("v1.4.0", "1.4.0"),
        ("2.0rc1", "2.0rc1"),
        ("main", "0+main"),
        ("feature/x_1", "0+feature.x.1"),
        ("é", "0+0"),
    ],
)
def test_the_version_of_a_project_that_names_none(code: Any, version: str, known: str) -> None:
    found = dependency_files.steps(code(pyproject_toml=FROM_GIT), "/venv", Wanted(version=version))
    assert found[-1].environment["SETUPTOOLS_SCM_PRETEND_VERSION"] == known


def test_a_source_distribution_says_its_version_itself(code: Any) -> None:
    place = code(pyproject_toml=FROM_GIT)
    (Path(place) / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: x\nVersion: 1.30.9\n\nVersion: 2\n")
    found = dependency_files.steps(place, "/venv", Wanted(version="x-1.30.9.tar.gz"))
    assert found[-1].environment["SETUPTOOLS_SCM_PRETEND_VERSION"] == "1.30.9"
    (Path(place) / "PKG-INFO").write_bytes(b"Version: 2\nAuthor: \xe9\n")
    found = dependency_files.steps(place, "/venv", Wanted(version="v3"))
    assert found[-1].environment["SETUPTOOLS_SCM_PRETEND_VERSION"] == "3"


@pytest.mark.parametrize(
    ("content", "package"),
    [
        (PACKAGE, True),
        (NO_PACKAGE, False),
        (f"{PACKAGE}[tool.poetry]\npackage-mode = false\n", False),
        (f"{PACKAGE}[tool.pdm]\ndistribution = false\n", False),
        (POETRY, True),
    ],
)
def test_a_pyproject_gives_its_dependencies_and_itself_where_it_is_a_package(
    code: Any, content: str, package: bool
) -> None:
    place = code(pyproject_toml=content)
    first = [*INSTALL, "-r", "{code}/pyproject.toml"]
    assert words(place) == [first, [*INSTALL, "--no-deps", "{code}"]][: 1 + package]
    assert dependency_files.steps(place, "/venv", Wanted())[0].chooses


def test_extras_and_groups_of_a_pyproject(code: Any) -> None:
    first, _ = words(code(pyproject_toml=PACKAGE), extras=["a"], groups=["b"])
    group = ["--group", "{code}/pyproject.toml:b"]
    assert first == [*INSTALL, "--extra", "a", *group, "-r", "{code}/pyproject.toml"]


@pytest.mark.parametrize(
    "content", [NO_POETRY_PACKAGE, POETRY.partition("[tool.poetry]")[2].join(["[tool.poetry]", ""])]
)
def test_what_only_poetry_could_read_wants_its_lock(code: Any, content: str) -> None:
    place = code(pyproject_toml=content)
    with pytest.raises(ReleaseError, match=r"commit poetry\.lock, which `poetry lock` writes"):
        words(place)
    code(poetry_lock="")
    assert words(place)[0][0] == "poetry"


@pytest.mark.parametrize(
    ("lock", "plain", "chosen"),
    [
        (
            "poetry_lock",
            "poetry export --no-interaction --format requirements.txt",
            "poetry export --no-interaction --format requirements.txt --extras a --with b",
        ),
        (
            "pdm_lock",
            "pdm export --format requirements --prod",
            "pdm export --format requirements --group a --group b",
        ),
    ],
)
def test_a_lock_is_exported_by_its_tool(code: Any, lock: str, plain: str, chosen: str) -> None:
    place = code(**{lock: "", "pyproject_toml": PACKAGE})
    installs = [*INSTALL, "--no-deps", "-r", "/venv/.lock-tool/requirements.txt"]
    assert words(place) == [plain.split(), installs, [*INSTALL, "--no-deps", "{code}"]]
    assert words(place, extras=["a"], groups=["b"])[0] == chosen.split()
    code(pyproject_toml=NO_PACKAGE)
    assert words(place) == [plain.split(), installs]


def test_a_lock_of_pipenv(code: Any) -> None:
    place = code(Pipfile_lock="{}")
    export = ["pipenv", "requirements", "--hash", "--categories"]
    assert words(place)[0] == [*export, "packages"]
    assert words(place, groups=["b"])[0] == [*export, "packages b"]
    with pytest.raises(ReleaseError, match=r"`extras` has no effect with Pipfile\.lock"):
        words(place, extras=["a"])


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.prod.toml"])
def test_a_pylock(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    (found,) = words(str(tmp_path), requirements=name, extras=["a"])
    assert found == [*INSTALL, "--preview-features", "pylock", "--extra", "a", "-r", f"{{code}}/{name}"]


@pytest.mark.parametrize("key", ["extras", "groups"])
def test_a_requirements_file_has_no_extras(code: Any, key: str) -> None:
    with pytest.raises(ReleaseError, match=rf"`{key}` has no effect with requirements\.txt"):
        words(code(requirements_txt=""), **{key: ["a"]})


def test_a_pipfile_is_no_lock(code: Any) -> None:
    with pytest.raises(ReleaseError, match=r"commit Pipfile\.lock"):
        words(code(Pipfile=""), requirements="Pipfile")


@pytest.mark.parametrize(
    ("requirements", "content", "expected"),
    [
        (None, "", ["kinto==25.1.0"]),
        ("more.txt", "redis==5.0\n", ["kinto==25.1.0", "-r", "{code}/more.txt"]),
        (
            "more.txt",
            "kinto==25.1.0 --hash=sha256:aa\n",
            ["--require-hashes", "-c", "{code}/more.txt", "kinto==25.1.0", "-r", "{code}/more.txt"],
        ),
    ],
)
def test_a_package_of_the_index(
    code: Any, requirements: str | None, content: str, expected: list[str]
) -> None:
    place = code(more_txt=content)
    assert words(place, requirements=requirements, package="kinto==25.1.0") == [[*INSTALL, *expected]]


def test_every_tool_has_a_lock_with_hashes() -> None:
    """A tool that is named here and that the role does not install would fail on the host."""
    role = Path(__file__).resolve().parents[3] / "roles/python_apps/files/lock_tools"
    assert {path.stem for path in role.iterdir()} == set(dependency_files.TOOLS.values())
    for path in role.iterdir():
        lines = [line for line in path.read_text().splitlines() if "==" in line]
        assert any(line.startswith(f"{path.stem}==") for line in lines)
        assert path.read_text().count("--hash=sha256:") >= len(lines)
