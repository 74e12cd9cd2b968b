"""The module itself, on a real directory, as whoever runs the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emperor.stack.plugins.module_utils.file_set import apply as file_set_apply
from ansible_collections.emperor.stack.plugins.module_utils.file_set import swap
from ansible_collections.emperor.stack.plugins.module_utils.files import atomic
from ansible_collections.emperor.stack.plugins.modules import file_set

#: Of conftest.py.
Host = Any


ALL_KINDS: dict[str, Any] = {
    "d": {"directory": True, "mode": "0750"},
    "d/file": {"content": "text\n", "mode": "0600"},
    "d/link": {"link": "file"},
    "d/log": {"touch": True},
}


def test_writes_all_kinds_and_a_second_run_changes_nothing(host: Host) -> None:
    first = host.run(ALL_KINDS)
    assert first["changed"] is True
    assert first["created"] == [host.path(name) for name in ALL_KINDS]
    state = host.state()
    assert state == {
        "d": (False, True, 0o750, ""),
        "d/file": (False, False, 0o600, "text\n"),
        "d/link": (True, False, 0o777, "file"),
        "d/log": (False, False, 0o640, ""),
    }
    second = host.run(ALL_KINDS)
    assert (second["changed"], second["changed_paths"], second["diff"]) == (False, [], [])
    assert set(second["paths"].values()) == {"unchanged"}
    assert host.state() == state


def test_what_the_manifest_vouches_for_is_on_disk_before_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files by their own fsync, names by that of each directory, a new directory by the one above it."""
    synced: list[str] = []
    for module in (swap, atomic):
        monkeypatch.setattr(module, "sync_directory", synced.append)
    host.run(ALL_KINDS)
    (manifest,) = [number for number, path in enumerate(synced) if path == str(host.manifests)][-1:]
    assert {str(host.root), host.path("d")} <= set(synced[:manifest])


def test_check_mode_says_the_same_and_does_nothing(host: Host) -> None:
    checked = host.run(ALL_KINDS, check=True)
    assert host.state() == {}
    assert not host.manifests.exists()
    real = host.run(ALL_KINDS)
    for key in ("changed", "changed_paths", "paths", "diff", "digest"):
        assert checked[key] == real[key]


def test_check_mode_takes_missing_users_and_directories_as_made_by_then(host: Host) -> None:
    files = {"none/file": {"content": "", "owner": "nobody-has-this-name", "group": "nor-this"}}
    assert host.run(files, check=True)["changed"] is True
    refused = host.run(files)
    assert refused["failed"] is True
    assert "its directory" in refused["msg"] and "directory: true}" in refused["msg"]
    (host.root / "none").mkdir()
    assert "there is no user 'nobody-has-this-name' on this host" in host.run(files)["msg"]


def test_a_file_is_replaced_and_not_written_into(host: Host) -> None:
    host.run({"a": "old"})
    with open(host.path("a")) as reader:
        host.run({"a": "new"})
        assert reader.read() == "old"
    assert host.read("a") == "new"


def test_a_link_is_replaced_and_not_followed(host: Host) -> None:
    (host.root / "target").write_text("untouched")
    (host.root / "a").symlink_to("target")
    host.run({"a": "new"})
    assert host.read("target") == "untouched"
    assert not (host.root / "a").is_symlink()


def test_touch_keeps_the_content(host: Host) -> None:
    (host.root / "log").write_text("line\n")
    (host.root / "log").chmod(0o644)
    result = host.run({"log": {"touch": True, "mode": "0640"}})
    assert result["updated"] == [host.path("log")]
    assert host.state()["log"] == (False, False, 0o640, "line\n")


def test_diff_shows_before_and_after_but_nothing_sensitive(host: Host) -> None:
    host.run({"a": "old\n", "s": {"content": "hunter1", "sensitive": True}})
    result = host.run({"a": "new\n", "s": {"content": "hunter2", "sensitive": True}})
    assert [(part.get("before"), part.get("after")) for part in result["diff"]] == [
        ("old\n", "new\n"),
        (None, None),
    ]
    assert "sensitive, not shown" in result["diff"][1]["prepared"]
    assert "hunter" not in json.dumps(result["diff"])


def test_the_removal_of_something_sensitive_shows_no_content(host: Host) -> None:
    host.run({"s": {"content": "hunter2", "sensitive": True}})
    result = host.run({}, prune=[{"directory": str(host.root)}])
    assert result["removed"] == [host.path("s")]
    assert "hunter" not in json.dumps(result["diff"])


def test_prune_removes_ours_only_and_reports_the_rest(host: Host) -> None:
    prune = [{"directory": str(host.root), "pattern": "*.conf"}]
    host.run({"app.conf": "1", "app2.conf": "2", "edited.conf": "3", "other.txt": "4"})
    (host.root / "foreign.conf").write_text("5")
    (host.root / "edited.conf").write_text("by hand")
    before = host.state()
    checked = host.run({"app2.conf": "2"}, prune=prune, check=True)
    assert host.state() == before
    result = host.run({"app2.conf": "2"}, prune=prune)
    for one in (checked, result):
        assert one["removed"] == [host.path("app.conf")]
        assert one["foreign"] == [host.path("foreign.conf")]
        assert one["edited"] == [host.path("edited.conf")]
    assert sorted(host.state()) == ["app2.conf", "edited.conf", "foreign.conf", "other.txt"]
    assert host.run({"app2.conf": "2"}, prune=prune)["changed"] is False


def test_a_directory_of_ours_goes_when_it_is_empty(host: Host) -> None:
    files = {"d": {"directory": True}, "d/a": "1"}
    prune = [{"directory": str(host.root), "pattern": "d"}, {"directory": host.path("d")}]
    host.run(files)
    (host.root / "d/theirs").write_text("x")
    kept = host.run({}, prune=prune)
    assert kept["removed"] == [host.path("d/a")]
    assert host.path("d") in kept["foreign"]
    (host.root / "d/theirs").unlink()
    assert host.run({}, prune=prune)["removed"] == [host.path("d")]


def test_a_directory_goes_together_with_what_is_in_it(host: Host) -> None:
    """In one run, and all of it is back where that run fails."""
    files = {"d": {"directory": True}, "d/e": {"directory": True}, "d/e/a": "1", "d/b": "2", "c": "3"}
    host.run(files)
    before = host.state()
    prune = [{"directory": host.path("d"), "below": True}]
    assert host.run({"c": "4"}, prune=prune, verify="false")["failed"]
    assert host.state() == before
    done = host.run({"c": "4"}, prune=prune)
    assert done["removed"] == [host.path(name) for name in ("d/e/a", "d/b", "d/e", "d")]
    assert sorted(host.state()) == ["c"]
    assert host.run({"c": "4"}, prune=prune)["changed"] is False


def test_all_that_was_written_below_a_directory_goes_and_nothing_else(host: Host) -> None:
    """At every depth, hidden names too; a directory with something of others in it stays."""
    files = {
        "d": {"directory": True},
        "d/e": {"directory": True},
        "d/e/.a": "1",
        "d/e/b": "2",
        "d/c": "3",
        "dx": "4",
    }
    prune = [{"directory": host.path("d"), "below": True}]
    host.run(files)
    (host.root / "d/e/theirs").write_text("x")
    (host.root / "d/c").write_text("by hand")
    less = {"d": {"directory": True}, "d/e": {"directory": True}, "d/e/b": "2"}
    kept = host.run(less, prune=prune)
    assert (kept["removed"], kept["edited"]) == ([host.path("d/e/.a")], [host.path("d/c")])
    gone = host.run({}, prune=prune)
    assert gone["removed"] == [host.path("d/e/b")]
    assert sorted(host.state()) == ["d", "d/c", "d/e", "d/e/theirs", "dx"]
    (host.root / "d/e/theirs").unlink()
    assert host.run({}, prune=prune)["removed"] == [host.path("d/e")]


def test_nothing_is_removed_without_a_readable_manifest(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(file_set.AnsibleModule, "warn", lambda _module, text: said.append(text))
    prune = [{"directory": str(host.root), "pattern": "*.conf"}]
    host.run({"a.conf": "1"})
    (host.manifests / "test.json").write_text("{")
    result = host.run({}, prune=prune)
    assert (result["removed"], result["foreign"]) == ([], [host.path("a.conf")])
    assert len(said) == 1
    assert str(host.manifests / "test.json") in said[0] and "this run removes nothing" in said[0]


def tree(host: Host) -> dict[str, Any]:
    return {
        "tree": host.path("tree"),
        "validate": "sh -c '! grep -rh broken {stage} >&2 && test -e {stage}/kept && test ! -e {stage}/gone'",
        "prune": [{"directory": host.path("tree"), "pattern": "gone"}],
    }


def test_a_tree_is_swapped_in_only_when_its_copy_passes(host: Host) -> None:
    (host.root / "tree").mkdir()
    (host.root / "tree/kept").write_text("theirs")
    host.run({"tree/a": "1", "tree/gone": "x", "outside": "1"})
    before = host.state()
    for check in (True, False):
        refused = host.run({"tree/a": "broken here", "outside": "2"}, check=check, **tree(host))
        assert refused["failed"] is True
        assert refused["msg"].endswith("It says:\nbroken here")
        assert host.state() == before
    passed = host.run({"tree/a": "2", "outside": "2"}, **tree(host))
    assert passed["validated"] is True
    assert (host.read("tree/a"), host.read("outside")) == ("2", "2")
    assert not (host.root / "tree/gone").exists()


def test_validate_sees_what_others_put_into_the_tree(host: Host) -> None:
    (host.root / "tree/sub").mkdir(parents=True)
    (host.root / "tree/kept").write_text("")
    (host.root / "tree/sub/theirs").write_text("broken too")
    refused = host.run({"tree/a": "1"}, **tree(host))
    assert "broken too" in refused["msg"]


def test_validate_is_not_run_when_nothing_in_the_tree_changes(host: Host) -> None:
    (host.root / "tree").mkdir()
    (host.root / "tree/kept").write_text("")
    host.run({"tree/a": "1"}, **tree(host))
    result = host.run({"tree/a": "1", "outside": "1"}, **tree(host))
    assert (result["changed"], result["validated"]) == (True, False)


def test_a_program_that_is_not_there_yet_is_skipped_in_check_mode_only(host: Host) -> None:
    (host.root / "tree").mkdir()
    options = {"tree": host.path("tree"), "validate": "no-such-program {stage}"}
    assert host.run({"tree/a": "1"}, check=True, **options)["changed"] is True
    assert "no-such-program is not on this host" in host.run({"tree/a": "1"}, **options)["msg"]
    assert host.state() == {"tree": (False, True, host.state()["tree"][2], "")}


def test_validate_without_the_copy_is_refused(host: Host) -> None:
    assert "{stage}" in host.run({"a": "1"}, validate="true", tree=str(host.root))["msg"]
    assert "needs tree:" in host.run({"a": "1"}, validate="true {stage}")["msg"]


def test_everything_is_put_back_when_the_last_step_fails(host: Host) -> None:
    host.run({"a": "1", "gone": "x", "l": {"link": "a"}, "m": {"content": "m", "mode": "0600"}})
    inode = os.stat(host.path("a")).st_ino
    before = host.state()
    result = host.run(
        {
            "a": "2",
            "new": {"directory": True},
            "new/file": "3",
            "l": {"link": "b"},
            "m": {"content": "m", "mode": "0644"},
        },
        prune=[{"directory": str(host.root), "pattern": "gone"}],
        verify="sh -c 'echo no good >&2; exit 1'",
    )
    assert result["failed"] is True
    assert "no good. All files were put back" in result["msg"]
    assert host.state() == before
    assert os.stat(host.path("a")).st_ino == inode


@pytest.mark.parametrize("after", range(1, 4))
def test_everything_is_put_back_when_a_rename_fails(
    host: Host, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    host.run({"a": "1", "b": "1", "c": "1"})
    before = host.state()
    rename, seen = os.rename, []

    def fails(source: str, target: str) -> None:
        if source.endswith("file_set-new.dpkg-tmp"):
            seen.append(source)
            if len(seen) == after:
                raise OSError(28, "No space left on device", target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails)
    result = host.run({"a": "2", "b": "2", "c": "2"})
    assert "No space left" in result["msg"]
    assert host.state() == before


def test_what_a_dead_run_left_is_cleaned_up_and_its_files_are_known_as_ours(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dies(_path: str) -> None:
        raise Killed

    host.run({"a.conf": "1"})
    with monkeypatch.context() as patch:
        patch.setattr(swap, "sync_directory", lambda path: dies(path) if path == str(host.root) else None)
        arguments = {
            "name": "test",
            "files": [{"path": host.path(name), "content": "2"} for name in ("a.conf", "b.conf")],
            "manifests": str(host.manifests),
        }
        with patch_module_args(arguments), pytest.raises(Killed):
            file_set.main()
    assert any(name.endswith(".dpkg-tmp") for name in host.state())
    host.run({"a.conf": "2"})
    result = host.run({"a.conf": "2"}, prune=[{"directory": str(host.root), "pattern": "*.conf"}])
    # b.conf went in the run before or in this one; in any case it is ours and not foreign.
    assert result["foreign"] == []
    assert sorted(host.state()) == ["a.conf"]


def test_pending_until_the_service_says_the_digest(host: Host) -> None:
    running = f"cat {host.path('loaded')}"
    first = host.run({"a": "@FILE_SET_DIGEST@"}, running=running)
    assert (first["changed"], first["pending"]) == (True, True)
    assert host.read("a") == first["digest"]
    lost = host.run({"a": "@FILE_SET_DIGEST@"}, running=running)
    assert (lost["changed"], lost["changed_paths"], lost["pending"]) == (True, [], True)
    (host.root / "loaded").write_text(first["digest"] + "\n")
    assert host.run({"a": "@FILE_SET_DIGEST@"}, running=running)["changed"] is False
    (host.root / "loaded").write_text("an older one\n")
    assert host.run({"a": "@FILE_SET_DIGEST@"}, running=running, check=True)["pending"] is True
    assert host.run({"a": "@FILE_SET_DIGEST@"}, running="no-such-program")["pending"] is True


def test_files_take_effect_when_anything_differs(host: Host) -> None:
    """The command is run for a change, an older answer and a missing path; and not in check mode, or without a reason."""
    ran, made = Path(host.path("ran")), Path(host.path("made"))
    command = f"sh -c 'cat {host.path('a')} >>{ran}; touch {made}; echo done'"
    wanted = {"running": f"cat {ran}", "present": [str(made)], "apply": command}
    text = "@FILE_SET_DIGEST@"
    first = host.run({"a": text}, **wanted, check=True)
    assert (first["changed"], first["applied"], host.state()) == (True, "", {})
    first = host.run({"a": text}, **wanted)
    assert (first["changed"], first["applied"], first["pending"], first["missing"]) == (
        True,
        "done\n",
        False,
        [],
    )
    assert ran.read_text() == first["digest"]
    again = host.run({"a": text}, **wanted)
    assert (again["changed"], again["applied"]) == (False, "")
    made.unlink()
    ran.write_text("")
    assert host.run({"a": text}, **{**wanted, "running": None})["applied"] == "done\n"
    ran.write_text("")
    assert host.run({"a": text}, **wanted)["applied"] == "done\n"
    ran.write_text("")
    changed = host.run({"a": f"{text} more"}, **wanted)
    assert (changed["changed"], changed["changed_paths"], changed["applied"]) == (
        True,
        [host.path("a")],
        "done\n",
    )


def test_files_stay_where_they_do_not_take_effect_and_the_next_run_tries_again(host: Host) -> None:
    made = host.path("made")
    result = host.run({"a": "1"}, present=[made], apply="sh -c 'echo no good >&2; exit 1'")
    assert result["failed"]
    assert "did not take effect (sh -c" in result["msg"]
    assert "no good" in result["msg"]
    assert host.read("a") == "1"
    assert "no-such-program" in host.run({"a": "1"}, present=[made], apply="no-such-program")["msg"]
    assert host.run({"a": "1"}, present=[made], apply=f"touch {made}")["changed"]
    assert not host.run({"a": "1"}, present=[made], apply="false")["changed"]


def test_a_command_that_nothing_would_run_again_is_refused(host: Host) -> None:
    """After a run that died before it, no path differs any more."""
    refused = host.run({"a": "1"}, apply="true")
    assert "apply: needs running:, present: or units:" in refused["msg"]
    assert host.state() == {}


def test_a_program_that_another_role_brings_is_said_to_be_missing(host: Host) -> None:
    said = host.run({"a": "1"}, present=[host.path("made")], apply="/no/such/program x")["msg"]
    assert "/no/such/program" in said and "Run site.yml without --tags to install it" in said


def test_systemd_reads_units_again_when_one_changed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_set_apply, "UNITS", host.path("units/"))
    programs = host.root.parent / "programs"
    programs.mkdir()
    asked = host.root.parent / "asked"
    (programs / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >>{asked}; exit "$(cat {asked}.code || echo 0)"'
    )
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    files = {"a": "1", "units": {"directory": True}, "units/x.slice": "1"}
    host.run({"a": "1"})
    assert not asked.exists()
    host.run(files)
    assert asked.read_text() == "daemon-reload\n"
    host.run({**files, "a": "2"})
    assert asked.read_text() == "daemon-reload\n"
    Path(f"{asked}.code").write_text("1")
    assert "systemctl daemon-reload" in host.run({**files, "units/x.slice": "2"})["msg"]
    assert host.read("units/x.slice") == "1"
    # A run that died between its files and systemd: they are in place, and the manifest is not of a whole run.
    Path(f"{asked}.code").write_text("0")
    asked.unlink()
    host.run({**files, "a": "2"})
    assert asked.read_text() == "daemon-reload\n"
    asked.unlink()
    host.run(files)
    assert not asked.exists()
    manifest = next(host.manifests.glob("*.json"))
    known = json.loads(manifest.read_text())
    known["files"][host.path("units/x.slice")].insert(0, "of the one before")
    manifest.write_text(json.dumps(known))
    # The same where something else differs by now.
    host.run({**files, "a": "3"})
    assert asked.read_text() == "daemon-reload\n"
    host.run({**files, "a": "4"})
    assert asked.read_text() == "daemon-reload\n"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "files": known["files"]}))
    host.run({**files, "a": "4"})
    assert asked.read_text() == "daemon-reload\ndaemon-reload\n"


def test_two_sets_do_not_know_each_others_files(host: Host) -> None:
    host.run({"a.conf": "1"}, name="one")
    result = host.run({}, name="two", prune=[{"directory": str(host.root), "pattern": "*.conf"}])
    assert (result["removed"], result["foreign"]) == ([], [host.path("a.conf")])


def test_a_name_that_leaves_the_directory_is_refused(host: Host) -> None:
    assert "it names a file" in host.run({"a": "1"}, name="../x")["msg"]


def test_says_what_others_have_not_made(host: Host) -> None:
    (host.root / "there").mkdir()
    (host.root / "broken").symlink_to("nowhere")
    paths = [host.path(name) for name in ("there", "broken", "not there")]
    found = host.run({"file": "text\n"}, present=paths)
    assert found["missing"] == [host.path("not there")]
    assert host.run({"file": "text\n"}, present=paths)["changed"] is False


def test_says_which_units_do_not_run(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_command(_module: Any, command: list[str], **_: Any) -> tuple[int, str, str]:
        asked.append(command)
        states = [("active", "enabled"), ("active", "disabled"), ("failed", "enabled")]
        paragraphs = [f"Id={n}\nActiveState={a}\nUnitFileState={f}\n" for n, (a, f) in enumerate(states)]
        return 0, "\n".join(paragraphs), ""

    monkeypatch.setattr(file_set.AnsibleModule, "run_command", run_command)
    units = ["good.service", "off.timer", "dead.service", "unheard-of.service"]
    assert host.run({"file": "text\n"}, units=units)["idle"] == units[1:]
    assert asked[0][-4:] == units
    assert host.run({"file": "text\n"})["idle"] == []
