from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench import __main__ as bench_main
from bench import compared, hosts, report, written
from bench.report import Bar
from bench.stats import Spread
from tools import figures
from tools.console import Stop


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12345.6, "12,346"),
        (345.6, "346"),
        (34.56, "34.6"),
        (3.456, "3.46"),
        (0.9712, "0.971"),
        (0, "0.000"),
        (-2.5, "-2.50"),
    ],
)
def test_numbers_have_as_many_digits_as_mean_something(value, expected):
    assert report.number(value) == expected


def test_a_table_is_markdown():
    assert (
        report.table(["page", "rate"], [["hello", "1"]]) == "| page | rate |\n| --- | ---: |\n| hello | 1 |"
    )


def test_figures_are_those_that_make_figures_collects():
    assert figures.parse(
        report.figures(
            {
                "deploy_seconds": 5.25,
                "served_rate": 12345.6,
                "burst_failed": 0,
                "served_ratio": Spread(0.95, 0.925, 0.97),
            }
        )
    ) == {
        "served_ratio": "0.950 (0.925 to 0.970)",
        "deploy_seconds": "5.25",
        "served_rate": "12346",
        "burst_failed": "0",
    }


SVG = "{http://www.w3.org/2000/svg}"


def test_the_plot_draws_each_bar_to_scale_with_its_spread():
    text = report.plot(
        "A & B", [Bar("one", Spread(1, 0.9, 1.1)), Bar("half <b>", Spread(0.5, 0.5, 0.5))], aim=0.97
    )
    root = ET.fromstring(text)  # noqa: S314
    one, half = [float(bar.get("width")) for bar in root.findall(f"{SVG}rect")[1:]]
    assert half * 2 == pytest.approx(one, abs=0.2)
    whisker = root.findall(f"{SVG}line")[0]
    assert float(whisker.get("x2")) - float(whisker.get("x1")) == pytest.approx(one * 0.2, abs=0.2)
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert {"A & B", "one", "half <b>", "1.00", "0.500"} <= set(words)
    assert "the aim, 0.970" in words[-1]


def test_the_files_of_a_report_replace_those_of_the_one_before(tmp_path):
    report.write(tmp_path / "report", {"README.md": "old"})
    report.write(tmp_path / "report", {"README.md": "new", "served.svg": "<svg/>"})
    assert (tmp_path / "report" / "README.md").read_text() == "new"
    assert (tmp_path / "report" / "served.svg").exists()


MACHINE = {
    "date": "2026-11-23 04:00 UTC",
    "cores": 2,
    "processor": "A & B",
    "memory_gib": 24,
    "load_before": 0.3,
    "commit": "abc1234",
    "ansible": "2.19",
    "python": "3.11",
    "debian": 13,
    "minutes": 4.2,
}
RATES = {
    "stack": [90.0, 99.0, 95.0],
    "best": [100.0, 100.0, 100.0],
    "best front": [100.0, 99.0, 98.0],
    "equal": [100.0, 110.0, 100.0],
    "gunicorn": [50.0, 50.0, 50.0],
}
LATENCY = {variant: [1.0, 2.0, 3.0] for variant in RATES}
SERVED = {
    **MACHINE,
    "loaded": {
        kind: {"hello": RATES if kind == "rate" else LATENCY} for kind in ("rate", "p50", "p99", "processor")
    },
    "calm": {kind: {"hello": LATENCY} for kind in ("rate", "p50", "p99")},
    "static": {"rate": {name: {"stack": [10.0], "best": [10.0]} for name in ("2.4 kB", "style sheet")}},
    "zero_copy": [1048576, 0],
    "burst": [1999, 1, "{'502': 1}"],
    "sizes": [2, 2],
    "versions": {"nginx": "1.26.3", "kernel": "6.1", "cgroups": "v2"},
}
INSTRUCTIONS = {**MACHINE, "counted": {"best": 29100, "equal": 45000, "stack": 50900, "without_log": 44000}}
DEFAULTS = {
    **MACHINE,
    "rate": {
        "access log": {"before": [100.0], "after": [110.0]},
        "batch policy, hello": {"before": [10.0], "after": [15.0]},
    },
    "p99": {
        "access log": {"before": [5.0], "after": [4.0]},
        "batch policy, hello": {"before": [7.0], "after": [6.0]},
    },
    "spent": {"access log": {"before": [80.0], "after": [70.0]}},
    "burst_failed": {"before": 900, "after": 0},
}
PUSH = {
    **MACHINE,
    "answered": {"push": [2.0, 2.5], "command": [1.6, 2.0], "playbook": [3.0, 3.0]},
    "returned": {"push": [2.0, 2.5], "command": [1.8, 2.0], "playbook": [3.0, 3.5]},
    "spent": {"push": [1.0, 1.0], "command": [2.0, 2.0], "playbook": [3.0, 3.0]},
    "took": [{"fetch": 0.1, "drain": 0.4}, {"fetch": 0.3, "drain": 0.4}],
    "peer": "paas.py, written by hand",
}
CONVERGE = {
    **MACHINE,
    "first": {"stack": [60.0, 66.0], "bare": [50.0, 55.0], "conventional": [120.0, 120.0]},
    "again": {"stack": [3.0, 3.0], "conventional": [12.0, 12.0]},
    "deploy": {"stack": [5.0, 6.0], "conventional": [15.0, 15.0]},
    "nothing": [2.5, 3.0],
    "boot": [1.5, 1.7],
    "commands": [0.5, 0.3],
    "tasks": 17,
}
DENSITY = {
    **MACHINE,
    "idle": {"1": 0.02, "100": 0.01},
    "live": {"1": 20.0, "100": 12.0},
    "no_change": {"1": [3.0, 3.2, 3.1], "100": [5.0]},
    "tasks": {"1": 17, "100": 17},
    "base": 22.5,
}
WAYS = ("ours", "push", "releases", "supervised")


def by_way(*values):
    return dict(zip(WAYS, values, strict=True))


BESIDE = {
    **MACHINE,
    "labels": by_way("this bundle", "a push, as piku", "releases", "gunicorn"),
    "first": by_way([30.0, 30.0], [60.0, 60.0], [40.0, 50.0], [50.0, 50.0]),
    "again": {way: [seconds] for way, seconds in by_way(2.0, 0, 8.0, 4.0).items() if seconds},
    "deploys": {
        **PUSH,
        **{
            kind: {**PUSH[kind], "releases": [4.0, 4.0], "supervised": [5.0, 5.0]}
            for kind in ("answered", "returned", "spent")
        },
    },
    "rate": {
        page: by_way([90.0, 99.0], [100.0, 80.0], [60.0, 110.0], [50.0, 50.0])
        for page in ("django", "flask", "hello", "static_small")
    },
    "spent": {
        page: by_way([60.0, 60.0], [50.0, 80.0], [90.0, 40.0], [90.0, 90.0])
        for page in ("django", "flask", "hello", "static_small")
    },
    "lost": {
        kind: by_way([0, 0], [60, 70], [5, 0], [99, 100])
        for kind in ("good_hello", "good_django", "syntax_error")
    },
    "answers": {
        kind: by_way([True, True], [True, False], [True, True], [False, False])
        for kind in ("good_hello", "good_django", "syntax_error")
    },
    "memory": {
        kind: by_way([24.5, 24.0, 23.0], [20.0, 20.0, 20.0], [25.0, 25.0, 25.0], [30.0, 30.0, 30.0])
        for kind in ("base", "one", "ten")
    },
}
HOSTS = {**MACHINE, "seconds": {"1": [3.0], "4": [5.0]}}
RESULTS = {
    "served": SERVED,
    "instructions": INSTRUCTIONS,
    "defaults": DEFAULTS,
    "converge": CONVERGE,
    "push": PUSH,
    "density": DENSITY,
    "hosts": HOSTS,
    "beside": BESIDE,
}


def test_figures_are_medians_of_ratios_and_of_seconds():
    found = written.figures(RESULTS)
    expected = {
        "served_ratio_hello_best": 0.95,
        "served_ratio_hello_gunicorn": 1.9,
        "served_ratio_hello_app_half": 0.99,
        "served_ratio_hello_nginx_half": 95 / 98,
        "burst_failed_of_2000": 1,
        "base_mib": 24.0,
        "served_ratio_hello_peer": (90 / 100 + 99 / 110) / 2,
        "served_processor_ratio_hello_peer": (60 / 50 + 60 / 40) / 2,
        "first_ratio_releases": (30 / 40 + 30 / 50) / 2,
        "memory_ten_ratio_push": 1.2,
        "failed_good_hello_push": 130,
        "failed_good_hello_ours": 0,
        "burst_failed_of_2000_before": 900,
        "default_access_log_ratio": 1.1,
        "no_change_seconds_per_app": 1.9 / 99,
        "first_converge_ratio": 1.2,
        "deploy_seconds": 5.5,
        "deploy_command_ratio_push": 0.85,
        "deploy_playbook_ratio_push": 1.45,
        "deploy_command_ratio_push_answered": 0.8,
        "deploy_playbook_ratio_push_processor": 3.0,
        "default_batch_policy_hello_ratio": 1.5,
        "deploy_boot_probe_seconds": 1.6,
        "deploy_commands_seconds": 0.4,
        "deploy_own_seconds": 0.75,
        "served_ratio_hello_equal": 0.9,
        "nginx_instructions_best": 29100,
        "no_change_seconds_1_apps": 3.1,
        "no_change_seconds_100_apps": 5.0,
        "no_change_tasks_100_apps": 17,
        "no_change_seconds_4_hosts": 5.0,
        "idle_app_mib_of_100": 0.01,
    }
    middle = {
        name: value.median if isinstance(value, Spread) else value
        for name, value in ((name, found[name]) for name in expected)
    }
    assert middle == pytest.approx(expected)


def test_the_report_says_what_was_measured_where_and_how():
    text = written.files(RESULTS)["README.md"]
    assert (
        "| hello (bare WSGI): nginx + uWSGI tuned by hand | 100 (100 to 100) | 0.950 (0.925 to 0.970) |"
        in text
    )
    assert "| 100 (100 to 100) | 110 (110 to 110) | 1.10 (1.10 to 1.10) | 5.00 → 4.00 |" in text
    assert "it over the best is the app's (hello (bare WSGI) 0.990 (0.985 to 0.995))" in text
    assert "What is left is 0.750 (0.625 to 0.875) s" in text
    assert "| this bundle | 50,900 |  |" in text
    assert "| this bundle, without its access log | 44,000 | 6,900 |" in text
    assert "900 and 0 failed" in text
    assert "nginx 1.26.3; kernel 6.1, control groups v2." in text
    assert "the normal one → `chrt --batch`; hello (bare WSGI) | 10.0 (10.0 to 10.0) | 15.0" in text
    assert "the platform is paas.py, written by hand" in text
    assert "| this bundle: `emperor deploy` on the host, by SSH | 1.80 (1.70 to 1.90) | 1.90" in text
    assert "Seconds of the steps of `emperor deploy`: fetch 0.200, drain 0.400." in text
    assert "takes 70.0 µs of processor for a request of hello, and 80.0 without" in text
    assert text.count("2 cores (A & B), 24 GiB") == 8
    assert "| `served_ratio_hello_peer` | 0.900 (0.900 to 0.900) | at least 1.00 | no |" in text
    assert "| `base_mib` | 24.0 (23.5 to 24.2) | at most 24.0 | yes |" in text
    assert "| `static_small_ratio_bare` | 1.00 (1.00 to 1.00) | at least 0.950 | yes |" in text
    assert "|  | this bundle | a push, as piku | releases | gunicorn |" in text
    assert "| seconds of a run without a change | 2.00 |  | 0.250 (0.250 to 0.250) |" in text
    assert (
        "| a good release of hello, at 100 requests a second | 0 0 | 60 70 down | 5 0 | 99 down 100 down |"
        in text
    )
    assert "1,999 answered, 1 failed" in text
    assert "let the kernel send 1,048,576 and read 0 itself" in text
    assert "| 100 | 0.010 | 12.0 | 5.00 (5.00 to 5.00) | 17 |" in text
    assert "Measured 2026-11-23 04:00 UTC at commit abc1234: 2 cores (A & B), 24 GiB" in text
    assert (
        "| deploy of one line of the Django example | 5.50 (5.25 to 5.75) |  | 15.0 (15.0 to 15.0) |" in text
    )


def test_a_part_that_was_not_measured_is_not_in_the_report():
    found = written.files({"hosts": HOSTS})
    assert set(found) == {"README.md"}
    assert "Requests served" not in found["README.md"]


def test_a_part_that_an_earlier_bench_measured_is_left_out():
    old = {**RESULTS, "converge": {key: value for key, value in CONVERGE.items() if key != "commands"}}
    assert set(written.readable(old)) == set(RESULTS) - {"converge"}
    assert "Requests served" in written.files(written.readable(old))["README.md"]
    rates = {variant: values for variant, values in RATES.items() if variant != "equal"}
    old = {"served": {**SERVED, "loaded": {"rate": {"hello": rates}}}, "hosts": HOSTS}
    assert set(written.readable(old)) == {"hosts"}
    rates = {"access log": DEFAULTS["rate"]["access log"], "policy, hello": {"before": [1.0], "after": [1.0]}}
    old = {"defaults": {**DEFAULTS, "rate": rates}, "hosts": HOSTS}
    assert set(written.readable(old)) == {"hosts"}
    assert written.readable(RESULTS) == RESULTS


def test_every_aim_that_a_bench_measures_has_a_figure():
    assert set(compared.AIMS) - {"served_ratio_flask_best", "served_ratio_django_best"} <= set(
        written.figures(RESULTS)
    )


def test_parts_are_chosen_by_name_each_once():
    assert bench_main.chosen(["peers", "converge", "push"]) == ["served", "converge", "beside", "push"]
    assert bench_main.chosen([]) == list(bench_main.PARTS)
    with pytest.raises(Stop, match="there is no part piers"):
        bench_main.chosen(["piers"])


def test_a_recap_is_read_for_each_host():
    output = (
        "PLAY RECAP ****\n"
        "bench-stack                : ok=44   changed=16   unreachable=0    failed=0    skipped=26\n"
        "bench-host-2               : ok=3    changed=0    unreachable=0    failed=0    skipped=1\n"
    )
    assert hosts.recap(output) == (
        {"bench-stack": 44, "bench-host-2": 3},
        {"bench-stack": 16, "bench-host-2": 0},
    )
