"""What a service runs, and sets that a service loads: with a systemctl that is a script."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.file_set import service

#: Of conftest.py.
Host = Any


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ((0, "abc 17\n", ""), service.Answer("abc", 17)),
        ((0, "abc\n", ""), service.Answer("abc")),
        ((0, "\n", ""), service.Answer(error="no answer (0)")),
        ((7, "", "curl: (7) Failed\n"), service.Answer(error="curl: (7) Failed")),
    ],
)
def test_an_answer_is_a_digest_and_perhaps_a_process(
    said: tuple[int, str, str], answer: service.Answer
) -> None:
    assert service.parse_answer(*said) == answer


def test_the_parent_and_the_age_of_a_process() -> None:
    line = "17 (a) b (c) S 4 17 17 0 -1 4194560 5 0 0 0 0 0 0 0 20 0 1 0 2500 7 8"
    assert service.parent_and_age(line, 100.0, 100) == (4, 75.0)


def test_workers_are_those_with_the_same_parent_that_are_not_leaving(tmp_path: Path) -> None:
    for process, parent, title in (
        (4, 1, "master"),
        (5, 4, "worker"),
        (6, 4, "worker is shutting down"),
        (7, 1, "x"),
    ):
        (tmp_path / str(process)).mkdir()
        (tmp_path / f"{process}/stat").write_text(
            f"{process} (x) S {parent} " + " ".join(["0"] * 17) + " 1 7 8"
        )
        (tmp_path / f"{process}/cmdline").write_text(title)
    # What an app calls itself.
    (tmp_path / "8").mkdir()
    (tmp_path / "8/stat").write_bytes(b"8 (caf\xe9) S 4\n) R 1 " + b" ".join([b"0"] * 17) + b" 1 7 8")
    assert list(service.workers(service.Answer("d", 5), str(tmp_path))) == [5]
    assert service.workers(service.Answer("d", 99), str(tmp_path)) == {}


def test_the_youngest_file_of_a_tree(tmp_path: Path) -> None:
    for name, age in (("a", 100), ("sub/b", 50), ("sub/to-come", -1000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert 50 <= service.youngest(str(tmp_path)) < 60


@pytest.mark.parametrize(
    ("answer", "ages", "youngest", "runs"),
    [
        ("d 5", {5: 10.0, 6: 9.0}, 11.0, True),
        ("d 5", {5: 10.0, 6: 12.0}, 11.0, False),
        ("d 5", {5: 11.05}, 11.0, True),
        ("d", {}, 1.0, True),
        ("other 5", {5: 10.0}, 11.0, False),
        ("", {}, 11.0, False),
    ],
)
def test_it_runs_what_is_wanted_when_no_file_is_younger_than_a_worker(
    monkeypatch: pytest.MonkeyPatch, answer: str, ages: dict[int, float], youngest: float, runs: bool
) -> None:
    monkeypatch.setattr(service, "workers", lambda _answer: ages)
    monkeypatch.setattr(service, "youngest", lambda _tree: youngest)
    assert service.Service(lambda _words: (0, answer, ""), "it.service", ["ask"]).runs("d", "/tree") is runs


def test_a_worker_from_before_is_no_proof_of_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PATIENCE", 0.3)
    monkeypatch.setattr(service, "workers", lambda _answer: {5: 1.0})
    one = service.Service(lambda words: (0, "d 5" if words[0] == "ask" else "", ""), "it.service", ["ask"])
    with pytest.raises(service.FileSetError, match="the old processes still answer"):
        one.load("d")


@pytest.fixture
def run(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """`run({"a": "text"})`: each name is a part of the tree; a service loads the tag, unless a file `refuse` says no."""
    # -w below: a digest may have these letters in it.
    programs = host.root / "bin"
    programs.mkdir()
    (host.root / "tree").mkdir()
    (programs / "systemctl").write_text(
        f"""#!/bin/sh
cd {host.root}
echo "$*" >>calls
case "$*" in
*is-enabled*replaced*|*is-active*replaced*) exit 1;;
*is-active*) test -e loaded;;
reload*|start*) if test -e refuse && grep -q "$(cat refuse)" tree/*; then echo "cannot: $(cat refuse)" >>log; exit 0; fi
cp tree/tag loaded;;
esac
"""
    )
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(service, "PATIENCE", 0.3)

    def done(contents: dict[str, str], **options: Any) -> dict[str, Any]:
        files: dict[str, Any] = {"tree/tag": {"content": "@FILE_SET_DIGEST@"}}
        for name, content in contents.items():
            part = "" if name.startswith("common") else name
            files[f"tree/{name}"] = {"content": content, "part": part}
        given = {
            "tree": host.path("tree"),
            "validate": "sh -c 'for f in {stage}/*; do if grep -qw bad $f; then echo no: $f >&2; exit 1; fi; done'",
            "running": f"cat {host.path('loaded')}",
            "prune": [{"directory": host.path("tree"), "warning": "not ours"}],
            "service": {"unit": "it.service", "replaces": ["replaced.service"], "log": host.path("log")},
        }
        return host.run(files, **{**given, **options})

    return done


def calls(host: Host) -> list[str]:
    path = host.root / "calls"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [call for call in found if " is-" not in call]


def test_it_is_started_then_reloaded_and_then_left_alone(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    assert run({"a": "1"})["changed"] is True
    assert calls(host) == ["start it.service"]
    assert run({"a": "2"})["changed"] is True
    assert calls(host) == ["reload it.service"]
    known = os.stat(host.manifests / "test.good.json").st_ino
    assert run({"a": "2"})["changed"] is False
    assert calls(host) == []
    assert os.stat(host.manifests / "test.good.json").st_ino == known
    (host.root / "loaded").write_text("an older one")
    assert run({"a": "2"}, check=True)["pending"] is True
    assert calls(host) == []
    assert run({"a": "2"})["changed"] is True
    assert calls(host) == ["reload it.service"]


def test_a_bad_part_stays_as_it_ran_and_every_run_says_so(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    run({"a": "1", "b": "1"})
    for changed in (True, False, False):
        result = run({"a": "bad", "b": "2"})
        assert result["changed"] is changed
        assert result["held"] == [f"a: it keeps its last working files: no: {host.path('tree/a')}"]
        assert (host.read("tree/a"), host.read("tree/b")) == ("1", "2")
        assert host.read("loaded") == result["digest"]
    result = run({"a": "2", "b": "2"})
    assert (result["held"], host.read("tree/a")) == ([], "2")


def test_what_somebody_broke_is_not_taken_for_what_ran(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    run({"a": "1"})
    (host.root / "tree/a").write_text("bad by hand")
    assert run({"a": "bad"})["held"] != []
    assert host.read("tree/a") == "1"


def test_a_new_part_that_is_bad_is_left_out(host: Host, run: Callable[..., dict[str, Any]]) -> None:
    result = run({"a": "bad", "b": "1"})
    assert "a: it is left out, because it never ran" in result["held"][0]
    assert not (host.root / "tree/a").exists()


def test_a_set_that_did_not_remember_yet_knows_its_files(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    run({"a": "1"})
    (host.manifests / "test.good.json").unlink()
    assert "keeps its last working files" in run({"a": "bad"})["held"][0]
    assert host.read("tree/a") == "1"


def test_a_bad_common_file_is_refused_and_what_ran_is_put_back(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    run({"common": "1", "a": "1"})
    digest = host.read("loaded")
    (host.root / "tree/a").write_text("bad by hand")
    result = run({"common": "bad", "a": "2"})
    assert result["failed"] is True
    assert (
        "nothing was changed" in result["msg"]
        and "The last working configuration is restored" in result["msg"]
    )
    assert (host.read("tree/common"), host.read("tree/a"), host.read("loaded")) == ("1", "1", digest)
    assert "The last working configuration keeps serving" in run({"common": "bad", "a": "2"})["msg"]


def test_a_reload_without_effect_is_noticed_and_taken_back(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    run({"common": "1", "a": "1"})
    (host.root / "refuse").write_text("wanted")
    result = run({"common": "wanted", "a": "2"})
    assert result["failed"] is True
    assert "does not run it" in result["msg"] and "cannot: wanted" in result["msg"]
    assert "The last working configuration keeps serving" in result["msg"]
    assert (host.read("tree/common"), host.read("tree/a")) == ("1", "1")
    assert host.read("tree/tag") == host.read("loaded")


def test_what_ran_is_asked_where_it_answered(host: Host, run: Callable[..., dict[str, Any]]) -> None:
    """A set that changes a port is proven at the new one, and what ran before at the old one."""
    run({"common": "1"})
    (host.root / "refuse").write_text("wanted")
    result = run({"common": "wanted"}, running=f"cat {host.path('elsewhere')}")
    assert "The last working configuration keeps serving" in result["msg"]


def test_a_reload_that_one_part_prevents_is_done_without_it(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    run({"a": "1", "b": "1"})
    (host.root / "refuse").write_text("listen 8099")
    (host.root / "log").write_text("older: bind() to 127.0.0.1:1 failed\n")
    script = host.root / "bin/systemctl"
    script.write_text(
        script.read_text().replace("cannot: $(cat refuse)", "bind() to 0.0.0.0:8099 failed (98)")
    )
    result = run({"a": "listen 8099;", "b": "2"})
    assert "a: it keeps its last working files" in result["held"][0] and "8099 failed" in result["held"][0]
    assert "127.0.0.1:1 " not in result["held"][0]
    assert (host.read("tree/a"), host.read("tree/b")) == ("1", "2")


def test_check_mode_tells_what_would_be_held_back(host: Host, run: Callable[..., dict[str, Any]]) -> None:
    run({"a": "1", "b": "1"})
    calls(host)
    before = host.state()
    result = run({"a": "bad", "b": "2"}, check=True)
    assert result["changed_paths"] == [host.path("tree/b"), host.path("tree/tag")]
    assert "a: it keeps" in result["held"][0]
    assert (host.state().keys(), calls(host)) == (before.keys() - {"calls"}, [])
    assert host.read("tree/b") == "1"


def test_files_of_others_are_named(
    host: Host, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "ansible.module_utils.basic.AnsibleModule.warn", lambda _self, text: said.append(text)
    )
    (host.root / "tree/theirs").write_text("x")
    (host.root / "tree/known.conf").write_text("x")
    prune = [{"directory": host.path("tree"), "warning": "not ours", "known": ["*.conf"]}]
    run({"a": "1"}, prune=prune)
    assert said == [f"{host.path('tree/theirs')}: not ours"]


def test_what_a_check_would_create_is_created_beside_the_copy(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    (host.root / "logs").mkdir()
    log = host.path("logs/x.log")
    validate = """sh -c '. {stage}/a; echo x >"$log" && case $log in {stage}*) exit 1;; esac; test 1 = 1'"""
    result = run({"a": f"log={log}\n"}, validate=validate, aside=[host.path("logs")])
    assert result["validated"] is True and not result.get("failed")
    assert os.listdir(host.root / "logs") == []
    assert host.read("tree/a") == f"log={log}\n"


def test_it_takes_over_from_another_and_gives_back_what_it_cannot_hold(
    host: Host, run: Callable[..., dict[str, Any]]
) -> None:
    script = host.root / "bin/systemctl"
    text = script.read_text().replace("*replaced*) exit 1", "*replaced*) test ! -e over; exit")
    script.write_text(text.replace("reload*|start*", "restart*) exit 1;;\nreload*|start*"))
    result = run({"a": "1"})
    assert "restart it.service failed" in result["msg"]
    assert "So these keep serving: replaced.service. All files were put back" in result["msg"]
    assert calls(host) == [
        "disable --now --quiet replaced.service",
        "restart it.service",
        "--quiet stop it.service",
        "--quiet enable --now replaced.service",
    ]
    script.write_text(text.replace("reload*|start*", "restart*|reload*|start*"))
    result = run({"a": "1"})
    assert "ms without a listener, when it.service replaced replaced.service" in result["notes"][0]
    assert calls(host) == ["disable --now --quiet replaced.service", "restart it.service"]


def test_a_service_needs_a_way_to_be_asked(host: Host) -> None:
    assert "needs tree: and running:" in host.run({"a": "1"}, service={"unit": "x"})["msg"]
    twice = {"service": {"unit": "x"}, "tree": str(host.root), "running": "true", "apply": "true"}
    assert "give only one of them" in host.run({"a": "1"}, **twice)["msg"]
