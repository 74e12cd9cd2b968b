"""What module `drift` asks of a file set: all that a run would do or say, and nothing is touched by it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.file_set.apply import FileSet
from ansible_collections.emperor.stack.plugins.module_utils.file_set.arguments import (
    argument_spec,
    drift_spec,
)
from ansible_collections.emperor.stack.plugins.modules.host_drift import DryRunModule
from ansible_collections.emperor.stack.plugins.plugin_utils.file_set import digests

#: Of conftest.py.
Host = Any

FILES: dict[str, Any] = {
    "d": {"directory": True, "mode": "0750"},
    "d/a.conf": {"content": "text\n", "mode": "0600"},
    "d/link": {"link": "a.conf"},
    # Asked about by its digest alone.
    "d/long.conf": {"content": "a line\n" * 100, "mode": "0600"},
    # Completed on the host.
    "d/digest": {"content": "# a comment\n" * 10 + "@FILE_SET_DIGEST@\n"},
}


def drift(host: Host, files: dict[str, Any] | None = None, **options: Any) -> list[str]:
    def run_command(words: list[str], **_how: Any) -> tuple[int, str, str]:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    items = [{"path": host.path(name), **what} for name, what in (FILES if files is None else files).items()]
    items = digests.without_contents(items)
    arguments = {"name": "test", "files": items, "manifests": str(host.manifests), **options}
    module = DryRunModule(drift_spec(), arguments, run_command)
    return [*FileSet(module).drift(), *module.warnings]


def test_nothing_differs_after_a_run(host: Host) -> None:
    host.run(FILES)
    assert drift(host) == []


def test_everything_differs_before_one_and_nothing_is_made(host: Host) -> None:
    found = drift(host)
    assert [line for name in FILES for line in found if line == f"{host.path(name)} differs"] == [
        f"{host.path(name)} differs" for name in FILES
    ]
    assert host.state() == {} and not host.manifests.exists()


def edit(host: Host) -> None:
    (host.root / "d/a.conf").write_text("other\n")


def edit_long(host: Host) -> None:
    (host.root / "d/long.conf").write_text("a line\n" * 99)


def edit_digest(host: Host) -> None:
    path = host.root / "d/digest"
    path.write_text(path.read_text().replace("comment", "remark", 1))


def link_long(host: Host) -> None:
    """To the very same content."""
    path = host.root / "d/long.conf"
    path.rename(host.root / "d/other")
    path.symlink_to("other")


def open_up(host: Host) -> None:
    (host.root / "d/a.conf").chmod(0o644)


def turn_link(host: Host) -> None:
    (host.root / "d/link").unlink()
    (host.root / "d/link").symlink_to("elsewhere")


def remove(host: Host) -> None:
    (host.root / "d/a.conf").unlink()


def lose_record(host: Host) -> None:
    (host.manifests / "test.json").unlink()


def break_record(host: Host) -> None:
    (host.manifests / "test.json").write_text("{")


@pytest.mark.parametrize(
    "damage", [edit, edit_long, edit_digest, link_long, open_up, turn_link, remove, lose_record, break_record]
)
def test_each_damage_differs_until_a_run_has_put_it_right(host: Host, damage: Callable[[Host], None]) -> None:
    host.run(FILES)
    damage(host)
    before = host.state()
    assert drift(host) != []
    assert host.state() == before
    host.run(FILES)
    assert drift(host) == []


def test_what_is_no_longer_wanted_differs_and_what_others_put_there_is_said(host: Host) -> None:
    prune = [{"directory": host.path("d"), "pattern": "*.conf"}]
    said = [{**prune[0], "warning": "not ours"}]
    wanted = {name: what for name, what in FILES.items() if name != "d/digest"}
    host.run(wanted, prune=prune)
    less = {name: what for name, what in wanted.items() if name != "d/a.conf"}
    assert drift(host, less, prune=prune) == [f"{host.path('d/a.conf')} differs"] + [
        f"{host.manifests}/test.json is from an incomplete run"
    ]
    (host.root / "d/foreign.conf").write_text("")
    assert drift(host, wanted, prune=prune) == []
    found = drift(host, wanted, prune=said)
    assert len(found) == 1 and "not ours" in found[0]


def test_a_service_that_runs_another_set_differs(host: Host) -> None:
    digest = host.run(FILES)["digest"]
    assert drift(host, running=f"echo {digest}") == []
    assert drift(host, running="echo another") == ["it does not run the wanted configuration"]
    assert drift(host, running="false") == ["it does not run the wanted configuration"]


def test_what_others_are_to_have_made_differs_where_it_is_not_there(host: Host) -> None:
    host.run(FILES)
    there, other = host.path("d/a.conf"), host.path("none")
    assert drift(host, present=[there]) == []
    assert drift(host, present=[there, other]) == [f"{other} is missing"]


def test_arguments_that_no_set_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="name"):
        DryRunModule(argument_spec(), {"files": []}, lambda *_a, **_k: (0, "", ""))


def test_a_question_has_no_long_content_and_a_run_takes_no_digest(host: Host) -> None:
    items = [{"path": f"/{name}", **what} for name, what in FILES.items()]
    asked = {one["path"]: one for one in digests.without_contents(items)}
    assert [path for path, one in asked.items() if "sha256" in one] == ["/d/long.conf"]
    assert "content" not in asked["/d/long.conf"] and "content" in asked["/d/digest"]
    (item,) = [one for one in asked.values() if "sha256" in one]
    with pytest.raises(ValueError, match="sha256"):
        DryRunModule(argument_spec(), {"name": "test", "files": [item]}, lambda *_a, **_k: (0, "", ""))
