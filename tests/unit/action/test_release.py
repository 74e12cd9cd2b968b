"""What the controller sends, and whom it calls dead."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.emperor.stack.plugins.action import release as action
from ansible_collections.emperor.stack.plugins.module_utils.files import trees
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release.options import Options
from ansible_collections.emperor.stack.plugins.module_utils.release.phases import in_turn
from ansible_collections.emperor.stack.plugins.plugin_utils.controller.native import to_native
from ansible_collections.emperor.stack.plugins.plugin_utils.release import specs as release_specs
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import environment
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.project import ROOT

Git = Callable[..., str]


def tree(top: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return top


def names(directory: Path) -> list[str]:
    return [path.relative_to(directory).as_posix() for path in release_specs.source_files(directory)]


FILES = {"app.py": "a", ".env": "secret", "static/x.css": "x", "debug.log": "l"}


def test_a_plain_directory_is_taken_whole_but_for_caches(tmp_path: Path) -> None:
    source = tree(
        tmp_path, {**FILES, ".venv/x": "", "a/__pycache__/b.pyc": "", "c.pyc": "", "a/.git/config": ""}
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.sock"))
        assert names(source) == [".env", "app.py", "debug.log", "static/x.css"]


def test_a_checkout_honours_what_it_ignores(tmp_path: Path, git: Git) -> None:
    source = tree(tmp_path, {**FILES, ".gitignore": ".env\n*.log\n", "forced.log": "f", "gone.py": ""})
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "add", "-f", "forced.log")
    git(source, "commit", "-qm", "x")
    (source / "gone.py").unlink()
    tree(source, {"new.py": "not added yet"})
    assert names(source) == [".gitignore", "app.py", "forced.log", "new.py", "static/x.css"]


def test_a_part_of_a_checkout(tmp_path: Path, git: Git) -> None:
    tree(
        tmp_path,
        {"examples/django/app.py": "", "other.py": "", ".gitignore": "*.log\n", "examples/django/x.log": ""},
    )
    git(tmp_path, "init", "-q")
    assert names(tmp_path / "examples/django") == ["app.py"]


def test_a_directory_that_the_checkout_around_it_ignores_is_not_empty(tmp_path: Path, git: Git) -> None:
    tree(tmp_path, {"build/app.py": "", ".gitignore": "build/\n"})
    git(tmp_path, "init", "-q")
    assert names(tmp_path / "build") == ["app.py"]


def test_a_checkout_brings_its_submodules(tmp_path: Path, git: Git) -> None:
    """What they ignore is left out as well; one that is not checked out is empty, as git leaves it."""
    part = tree(tmp_path / "part", {"lib.py": "l", ".gitignore": "*.log\n"})
    whole = tree(tmp_path / "whole", {"app.py": "a"})
    for repository in (part, whole):
        git(repository, "init", "-q")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", "x")
    git(whole, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "vendor/part")
    tree(whole / "vendor/part", {"new.py": "n", "debug.log": "d"})
    expected = [".gitmodules", "app.py", "vendor/part/.gitignore", "vendor/part/lib.py", "vendor/part/new.py"]
    assert names(whole) == expected
    before = release_specs.directory_digest(whole)
    tree(whole / "vendor/part", {"new.py": "changed"})
    assert release_specs.directory_digest(whole) != before
    git(whole, "submodule", "--quiet", "deinit", "--force", "vendor/part")
    assert names(whole) == [".gitmodules", "app.py"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user_is_one_all_the_same(tmp_path: Path, git: Git) -> None:
    source = tree(tmp_path / "s", {**FILES, ".gitignore": ".env\n"})
    git(source, "init", "-q")
    marker = tmp_path / "ran"
    git(source, "config", "core.fsmonitor", f"touch {marker};false")
    for directory, _, files in os.walk(source):
        for path in [directory, *(f"{directory}/{name}" for name in files)]:
            os.chown(path, 65534, 65534)
    assert ".env" not in names(source)
    assert not marker.exists()


def test_a_checkout_brings_no_file_from_elsewhere(tmp_path: Path, git: Git) -> None:
    """Neither by a link in the place of a tracked directory, nor by an index that says so, nor by a link as a whole."""
    tree(tmp_path, {"outside/secret.txt": "s", "data/secret.txt": "s"})
    source = tree(tmp_path / "s", {"app.py": "a", "data/secret.txt": "d"})
    git(source, "init", "-q")
    git(source, "add", ".")
    (source / "data/secret.txt").unlink()
    (source / "data").rmdir()
    (source / "data").symlink_to("../outside")
    assert names(source) == ["app.py", "data"]
    assert release_specs._stays(source, "../outside/secret.txt") is False
    assert release_specs._stays(source, "data/secret.txt") is False
    assert release_specs._stays(source, "app.py") is True
    (source / "out").symlink_to("../outside")
    with pytest.raises(ReleaseError, match="leads out of it"):
        release_specs.code_directory({"path": "s", "subdirectory": "out"}, tmp_path)
    assert release_specs.code_directory({"path": "s"}, tmp_path) == source


def test_names_that_are_no_text(tmp_path: Path, git: Git) -> None:
    for in_git in (False, True):
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
        if in_git:
            git(tmp_path, "init", "-q")
        assert len(release_specs.source_files(tmp_path)) == 1
        assert len(release_specs.directory_digest(tmp_path)) == 40


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda top: os.utime(top / "app.py", (1, 1)), False),
        (lambda top: (top / "app.py").chmod(0o640), False),
        (lambda top: (top / "app.py").chmod(0o755), True),
        (lambda top: (top / "app.py").write_text("b"), True),
        (lambda top: (top / "app.py").rename(top / "app2.py"), True),
        (lambda top: (top / "new").write_text(""), True),
        (lambda top: ((top / "link").unlink(), (top / "link").symlink_to("debug.log")), True),
        (lambda top: ((top / "link").unlink(), (top / "link").write_text("a")), True),
        (lambda top: (top / "__pycache__").mkdir(), False),
    ],
    ids=["mtime", "mode", "execute bit", "content", "name", "new", "link target", "link to file", "cache"],
)
def test_what_changes_the_digest(tmp_path: Path, change: Callable[[Path], Any], differs: bool) -> None:
    source = tree(tmp_path, FILES)
    (source / "link").symlink_to("app.py")
    before = release_specs.directory_digest(source)
    change(source)
    assert (release_specs.directory_digest(source) != before) is differs


def test_the_archive_holds_the_source_with_links_as_links(tmp_path: Path) -> None:
    source = tree(tmp_path / "s", {**FILES, ".venv/x": ""})
    (source / "link").symlink_to("/etc/passwd")
    (source / "app.py").chmod(0o755)
    archive = tmp_path / "a.tar.gz"
    release_specs.pack(source, archive)
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [".env", "app.py", "debug.log", "link", "static/x.css"]
        assert tar.getmember("app.py").mode & 0o100
        assert tar.getmember("link").linkname == "/etc/passwd"


@pytest.mark.parametrize("in_git", [False, True], ids=["plain", "git"])
def test_a_source_that_is_nested_too_deep(tmp_path: Path, git: Git, in_git: bool) -> None:
    """As the host would refuse it; a function that calls itself would end the run for all apps at 1,000."""
    source = tree(tmp_path / "s", {"app.py": "", "d/" * 100 + "deep.py": ""})
    if in_git:
        git(source, "init", "-q")
    assert len(names(source)) == 2
    try:
        os.makedirs(f"{source}/{'d/' * 500}")
        os.chdir(f"{source}/{'d/' * 500}")
        for _ in range(1000):
            os.mkdir("d")
            os.chdir("d")
        Path("deeper.py").touch()
        os.chdir("/")
        with pytest.raises(ReleaseError, match=r"s/d.*(d|deeper\.py) lies more than 100 directories"):
            names(source)
    finally:
        # pytest itself cannot.
        os.chdir("/")
        trees.remove(str(source))


def test_any_name_arrives_by_tar(tmp_path: Path) -> None:
    """By the one that hosts have, in their locale."""
    source, code = tmp_path / "s", tmp_path / "code"
    source.mkdir()
    code.mkdir()
    found = [
        os.fsdecode(name) for name in (b"latin-\xe9", b"new\nline", b"-rf", "caf\u00e9".encode(), b"n" * 255)
    ]
    for name in found:
        (source / name).write_text(name, errors="surrogateescape")
    (source / "link").symlink_to(found[0])
    release_specs.pack(source, tmp_path / "a.tar.gz")
    subprocess.run(
        ["tar", "--extract", "--gzip", f"--file={tmp_path}/a.tar.gz", f"--directory={code}"],
        env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
        check=True,
    )
    assert release_specs.directory_digest(code) == release_specs.directory_digest(source)
    assert sorted(os.listdir(code)) == sorted([*found, "link"])


def test_a_source_that_cannot_be_read_fails_its_app_alone(tmp_path: Path) -> None:
    """On the host it is a failure of that app like any other, and nothing of it is sent."""
    error = OSError(13, "Permission denied", os.fsdecode(b"/x/caf\xe9"))
    spec = release_specs.refusal({"name": "blog", "source": {"path": "x"}}, error)
    assert spec["refused"] == "source: /x/caf\\xe9: Permission denied"
    assert action.sent(spec)
    outcome = in_turn(["plan", "prepare"], [spec], Options())
    assert outcome == {"blog": {"error": spec["refused"], "live": None, "version": None, "leads": False}}


def sending(tmp_path: Path, sizes: list[int], as_files: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The specs of apps with sources of these sizes, and the files that were sent."""
    apps = [{"name": f"a{number}", "source": {"path": f"a{number}"}} for number in range(len(sizes))]
    for app, size in zip(apps, sizes, strict=True):
        (tmp_path / app["name"]).mkdir()
        (tmp_path / app["name"] / "noise").write_bytes(random.Random(1).randbytes(size))
    plugin = object.__new__(action.ActionModule)
    sent: list[str] = []
    shell = SimpleNamespace(tmpdir="/tmp/x", join_path=lambda *parts: "/".join(parts))
    plugin._connection = SimpleNamespace(_shell=shell)
    plugin._transfer_file = lambda _local, remote: sent.append(remote)
    specs: list[dict[str, Any]] = [{"source": app["source"]} for app in apps]
    plugin._send_sources(specs, apps, tmp_path, as_files)
    return specs, sent


def test_small_sources_cost_no_exchange_until_together_they_are_large(tmp_path: Path) -> None:
    specs, sent = sending(tmp_path, [1000, action.WITHIN - 10_000, 20_000, 2000], as_files=True)
    assert sent == ["/tmp/x/a2.source"]
    assert ["archive_content" in spec for spec in specs] == [True, True, False, True]
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(specs[0]["archive_content"]))) as tar:
        assert tar.getnames() == ["noise"]
    assert all(action.sent(spec) for spec in specs)


@pytest.mark.parametrize("size", [action.WITHIN + 1, 4 * action.WITHIN + 1])
def test_what_may_not_be_wanted_is_not_sent_as_a_file(tmp_path: Path, size: int) -> None:
    specs, sent = sending(tmp_path, [1000, size], as_files=False)
    assert sent == []
    assert [action.sent(spec) for spec in specs] == [True, False]


@pytest.mark.parametrize(
    ("source", "here"),
    [
        ({"git": "https://git.example.com/a.git"}, False),
        ({"archive": "https://example.com/a.zip"}, False),
        ({"package": "kinto==1"}, False),
        ({"archive": "a.zip"}, True),
        ({"path": "a"}, True),
    ],
)
def test_what_the_host_fetches_itself_is_not_waited_for(source: dict[str, str], here: bool) -> None:
    assert action.comes_from_here(source) is here
    assert action.sent({"source": source}) is not here


# From one exchange to the next


@pytest.mark.parametrize(
    ("before", "names", "left"),
    [
        ({}, ["plan"], ["a", "b", "c"]),
        ({"apps": {"a": {}, "b": {"error": "x"}}}, ["start"], ["a"]),
        ({"apps": {"a": {"action": "none"}, "b": {"action": "deploy", "revision": "r"}}}, ["prepare"], ["b"]),
        ({"apps": {"a": {"done": ["start", "switch"]}, "b": {}}}, ["start"], ["b"]),
        ({"apps": {"a": {"done": ["start", "switch"]}, "b": {}}}, ["start", "switch", "drain"], ["a", "b"]),
        ({"apps": {"a": {}}, "stopped": "MODULE FAILURE"}, ["start"], []),
        ({"skipped": True}, ["start"], []),
    ],
)
def test_who_is_in_an_exchange(before: dict[str, Any], names: list[str], left: list[str]) -> None:
    apps = [{"name": name} for name in "abc"]
    assert [app["name"] for app in action.left_over(apps, before, names)] == left


def test_what_a_phase_is_told_that_works_on_what_the_host_remembers() -> None:
    apps = [{"name": "a", "domains": ["x"], "action": "deploy"}, {"name": "b", "done": ["start"]}]
    assert action.named(apps) == [{"name": "a"}, {"name": "b", "done": ["start"]}]


def test_the_results_of_exchanges_are_one() -> None:
    before = {"changed": True, "apps": {"a": {"action": "deploy"}, "b": {"error": "x"}}, "phases": ["plan"]}
    after = {"changed": False, "apps": {"a": {"release": "r"}}, "phases": ["prepare"]}
    assert action.continued({}, before) == before
    assert action.continued(before, after) == {
        "changed": False,
        "apps": {"a": {"action": "deploy", "release": "r"}, "b": {"error": "x"}},
        "phases": ["plan", "prepare"],
    }


def test_an_exchange_that_came_to_no_end_is_said_beside_what_was_before() -> None:
    before = {"apps": {"a": {"action": "deploy"}, "b": {"error": "x"}}, "phases": ["plan"]}
    broken = action.continued(before, {"failed": True, "msg": "MODULE FAILURE", "module_stderr": "Traceback"})
    assert broken["apps"] == before["apps"]
    assert (broken["phases"], broken["stopped"]) == (["plan"], "Traceback")
    # And in every exchange that comes after it.
    skipped = {"skipped": True, "changed": False, "apps": {}}
    assert action.continued(broken, skipped)["stopped"] == "Traceback"
    failed = {"failed": True, "msg": "a failed", "apps": {"a": {"error": "e"}}, "phases": ["plan"]}
    assert "stopped" not in action.continued({}, failed)


def running(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], fails: str) -> dict[str, Any]:
    """The result of the action with these *arguments*, whose exchange *fails*."""

    def exchange(*_: Any) -> dict[str, Any]:
        raise AnsibleActionFail(fails)

    monkeypatch.setattr(action.ActionWithLocks, "run", lambda *_: {})
    monkeypatch.setattr(action.ActionModule, "_exchange", exchange)
    plugin = object.__new__(action.ActionModule)
    plugin._task = SimpleNamespace(args={"apps": [{"name": "a"}], **arguments})
    return plugin.run(None, {})


def test_a_failure_at_the_controller_loses_nothing_of_the_phases_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {"apps": {"b": {"error": "x"}}, "phases": ["plan"]}
    result = running(monkeypatch, {"phase": "prepare", "after": before}, "no such template")
    assert result == {
        "failed": True,
        "msg": "no such template",
        "apps": before["apps"],
        "phases": ["plan"],
        "stopped": "no such template",
    }
    with pytest.raises(AnsibleActionFail, match="no such template"):
        running(monkeypatch, {"phase": "plan"}, "no such template")


def test_a_phase_that_is_not_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleActionFail, match="there is no phase warm; there are plan, prepare, "):
        running(monkeypatch, {"phase": "plan", "then": ["warm"]}, "")


# Files of an app


@pytest.fixture
def plugin() -> Any:
    loader = DataLoader()
    variables = {"inventory_hostname": "web1", "app": "from -e app=blog", "port": "{{ 70 + 10 }}"}
    role = ROOT / "roles/python_apps"
    return release_specs.Specs(
        Templar(loader=loader), loader, lambda kind, name: str(role / kind / name), variables, Path("/"), 4096
    )


SECRETS = {"S": "{{ 7 * 7 }} {# x #}\n%"}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("[{{ app.name }}]\nhost = {{ inventory_hostname }}\n", "[blog]\nhost = web1\n"),
        ("s = {{ secrets.S }}\n", "s = {{ 7 * 7 }} {# x #}\n%\n"),
        ("{% for s in secrets %}\n{{ s }}\n{% endfor %}\nend\n", "S\nend\n"),
        ("{{ 7 }}", "7"),
        ("{{ secrets }}", "{'S': '{{ 7 * 7 }} {# x #}\\n%'}"),
        ("", ""),
        ("no newline at the end", "no newline at the end"),
        (r"back\slash \n", r"back\slash \n"),
    ],
)
def test_files_are_rendered_as_templates_are(
    plugin: Any, tmp_path: Path, template: str, rendered: str
) -> None:
    path = tmp_path / "x.j2"
    path.write_text(template)
    assert plugin._render_file({"name": "blog"}, "x", path, SECRETS) == rendered


@pytest.mark.parametrize(
    ("template", "line", "says"),
    [
        ("one\n{{ nothing_there }}\n", 2, "'nothing_there' is undefined"),
        ("one\ntwo\n{{ secrets.LACKING }}\n", 3, "has no attribute 'LACKING'"),
        ("one\n{% if %}\n", 2, "Expected an expression"),
    ],
)
def test_a_template_that_fails_says_where(
    plugin: Any, tmp_path: Path, template: str, line: int, says: str
) -> None:
    path = tmp_path / "x.j2"
    path.write_text(template)
    with pytest.raises(AnsibleActionFail) as caught:
        plugin._render_file({"name": "blog"}, "conf/x", path, {"S": "valuevalue"})
    assert str(caught.value).startswith(f"blog: files: conf/x: {path}, line {line}: ")
    assert says in str(caught.value)
    assert "valuevalue" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "digest"),
    [
        ({"archive": "x", "checksum": f"sha256:{'ab' * 32}"}, "ab" * 20),
        ({"package": "kinto==25.1.0"}, "2a8b540abf2943c161a3d22520d653d1fde9de3d"),
        ({"git": "x", "version": "v1"}, ""),
    ],
)
def test_the_revision_of_a_source(source: dict[str, str], digest: str) -> None:
    assert release_specs.source_digest(source, Path("/")) == digest


def test_a_subdirectory_is_all_of_a_directory_source(tmp_path: Path) -> None:
    tree(tmp_path, {"inner/app.py": "a", "outer.py": "o"})
    inner = {"path": str(tmp_path), "subdirectory": "inner"}
    before = release_specs.source_digest(inner, Path("/"))
    (tmp_path / "outer.py").write_text("changed")
    assert release_specs.source_digest(inner, Path("/")) == before
    (tmp_path / "inner/app.py").write_text("changed")
    assert release_specs.source_digest(inner, Path("/")) != before


# Secrets


@given(st.dictionaries(st.from_regex("[A-Z][A-Z_]{0,9}", fullmatch=True), st.text(min_size=1), min_size=1))
@settings(max_examples=300, deadline=None)
def test_any_text_reaches_the_environment_unchanged(values: dict[str, str]) -> None:
    """What the check lets through: by the variables' templar, the module's arguments and environment.json to os.environ."""
    good = {name: text for name, text in values.items() if environment.secret_value(text) is None}
    variables = {"vault": {name: str(text) for name, text in good.items()}}
    templar = Templar(loader=DataLoader(), variables=variables)
    sent = json.loads(json.dumps(to_native(templar.template(trust_as_template("{{ vault }}")))))
    written = json.dumps({"environment": sent}, indent=1).encode("utf-8")
    read = json.loads(written.decode("utf-8"))["environment"]
    assert {name: os.fsencode(value) for name, value in read.items()} == {
        name: text.encode() for name, text in good.items()
    }
    refused = set(values) - set(good)
    assert all("\0" in values[n] or any("\ud800" <= c <= "\udfff" for c in values[n]) for n in refused)
