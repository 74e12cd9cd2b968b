from __future__ import annotations

import configparser
import os
import subprocess
import sys
import time

import pytest
import yaml

from tools import scenarios
from tools.console import Stop
from tools.project import ROOT

GREEN = "  │ ====== \x1b[32m12 passed\x1b[0m, 1 warning in 3.20s ======\n"
RED = "====== 2 failed, 10 passed, 1 error in 61.00s (0:01:01) ======\n"


@pytest.mark.parametrize(
    ("code", "output", "closing", "passed", "failed"),
    [
        pytest.param(0, GREEN, "12 passed, 1 warning", 12, 0, id="green"),
        pytest.param(1, RED, "2 failed, 10 passed, 1 error", 10, 3, id="failed tests and errors"),
        pytest.param(1, GREEN, "12 passed, 1 warning", 12, 1, id="failed after green tests"),
        pytest.param(1, "TASK [x] fatal", "no test ran", 0, 1, id="failed before any test"),
        pytest.param(0, "nothing", "no test ran", 0, 1, id="a scenario without tests proves nothing"),
        pytest.param(0, "=== 3 skipped in 0.10s ===", "3 skipped", 0, 1, id="all skipped"),
        pytest.param(0, RED + GREEN, "12 passed, 1 warning", 12, 0, id="the last summary counts"),
    ],
)
def test_a_run_is_judged_by_its_tests_and_its_exit_code(code, output, closing, passed, failed):
    result = scenarios.judge("x", code, 1.0, output)
    assert (result.closing, result.passed, result.failed) == (closing, passed, failed)
    assert result.good is (failed == 0)


@pytest.mark.parametrize(
    ("megabytes", "count", "expected"),
    [(24000, 5, 3), (5999, 5, 1), (6000, 5, 2), (100, 5, 1), (24000, 1, 1)],
)
def test_scenarios_run_side_by_side_as_memory_allows(megabytes, count, expected):
    assert scenarios.side_by_side(megabytes, count) == expected


def test_the_last_line_of_the_summary_counts_all_tests():
    results = [scenarios.judge("a", 0, 1.0, GREEN), scenarios.judge("longer", 1, 1.0, RED)]
    lines = scenarios.summary(results).splitlines()
    assert lines[0].startswith("ok    a       12 passed, 1 warning (1 s")
    assert lines[1].startswith("FAIL  longer  2 failed, 10 passed, 1 error (1 s")
    assert lines[-1] == "22 passed, 3 failed"


def test_the_summary_says_why_a_test_failed():
    output = (
        "____________ test_pages[docker://a] ____________\n"
        "    def test_pages(site):\n>       assert 1 == 2\n"
        "\x1b[31mE       assert 1 == 2\x1b[0m\n"
        + "".join(f"E        +  line {n}\n" for n in range(20))
        + "_____ ERROR at setup of test_other _____\nE   RuntimeError: no host\n"
        "E is a letter\n" + RED
    )
    lines = scenarios.summary([scenarios.judge("a", 1, 1.0, output)]).splitlines()
    at = lines.index("a:")
    assert lines[at + 1 : at + 3] == ["  test_pages[docker://a]", "    assert 1 == 2"]
    assert lines[at + 1 + 1 + scenarios.REASONS_PER_TEST] == "  ERROR at setup of test_other"
    assert lines[-2] == "    RuntimeError: no host"


def test_the_longest_scenarios_begin_first_and_none_is_left_out():
    found = scenarios.names()
    assert tuple(found[: len(scenarios.LONGEST)]) == scenarios.LONGEST
    assert sorted(found) == sorted(
        path.name for path in scenarios.MOLECULE.iterdir() if path.name != "shared"
    )


def test_an_unknown_scenario_is_refused_with_those_there_are():
    with pytest.raises(Stop, match=r"no scenario nope\. Choose from: .*default"):
        scenarios.main(["nope"])


@pytest.fixture
def quiet_engine(fake, monkeypatch, tmp_path, state):
    fake("docker", "case $1 in container) echo left-over;; *) echo ok;; esac")
    monkeypatch.setattr(scenarios, "LOGS", tmp_path)
    removed: list[str] = []
    monkeypatch.setattr(scenarios.container, "remove", removed.append)
    monkeypatch.setattr(scenarios, "environment", lambda: dict(os.environ))
    return removed


def test_output_goes_to_the_log_and_hosts_are_removed_even_after_a_crash(
    fake, quiet_engine, tmp_path, capsys
):
    fake("molecule", "echo hello; kill -9 $$")
    result = scenarios.Runner(prefixed=True).run("one")
    assert not result.good
    assert "hello" in (tmp_path / "one.log").read_text()
    assert capsys.readouterr().out == "[one] hello\n"
    assert quiet_engine == ["left-over", "left-over"]  # before the run, and after it


def test_an_interrupted_run_stops_its_children_and_starts_no_more(fake, quiet_engine, tmp_path):
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from tools import scenarios\n"
        "scenarios.LOGS = pathlib.Path(sys.argv[2]); scenarios.clean_up = lambda name: None\n"
        "import os; scenarios.environment = lambda: dict(os.environ)\n"
        "print(scenarios.summary(scenarios.run_all(['one', 'two'], 1)))\n"
    )
    fake("molecule", "echo started; exec sleep 60")
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(ROOT), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "[one] started\n"
    began = time.monotonic()
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert "not run" in output
    assert output.splitlines()[-1] == "0 passed, 2 failed"


@pytest.mark.parametrize(
    ("chosen", "bare", "with_packages"),
    [(["default"], [12, 13], []), (["front"], [], [12]), (["default", "front", "deploy"], [], [12, 13])],
)
def test_every_scenario_gets_the_images_that_its_platforms_name(monkeypatch, chosen, bare, with_packages):
    built = {"bare": [], "stocked": []}
    monkeypatch.setattr(scenarios.image, "ensure", built["bare"].append)
    # It builds on the bare one.
    monkeypatch.setattr(scenarios.stocked, "ensure", built["stocked"].append)
    scenarios.ensure_images(chosen)
    assert built == {"bare": bare, "stocked": with_packages}


def test_molecule_and_ansible_agree_on_the_settings_that_change_what_a_playbook_does():
    config = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())
    molecule = config["provisioner"]["config_options"]["defaults"]
    parser = configparser.ConfigParser()
    parser.read(ROOT / "ansible.cfg")
    ours = parser["defaults"]
    for name in ("interpreter_python", "gathering", "inject_facts_as_vars"):
        assert str(molecule[name]).lower() == ours[name].lower(), name


def test_options_of_the_verifier_are_texts_or_flags():
    """Molecule puts them into a command line as they are, and breaks on a number when its tests should begin."""
    files = [ROOT / ".config/molecule/config.yml", *ROOT.glob("molecule/*/molecule.yml")]
    options = [
        (yaml.safe_load(path.read_text()).get("verifier") or {}).get("options") or {} for path in files
    ]
    assert {type(value) for option in options for value in option.values()} <= {str, bool}
