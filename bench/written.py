"""What the parts of a run measured, as figures and as the pages of bench/report. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from . import compared, stats
from .report import Bar, number, plot, shown, table
from .stats import Spread

Results = Mapping[str, Mapping[str, Any]]

PAGES = {"hello": "hello (bare WSGI)", "flask": "Flask, JSON", "django": "Django, page"}
#: Static files of part `served`, by the name of the figure.
STATIC = {
    "2.4 kB": "static_small_ratio_bare",
    "style sheet": "served_ratio_static_css",
    "1 MiB": "served_ratio_static_mib",
}
VARIANTS = {
    "stack": "this bundle",
    "best": "nginx + uWSGI tuned by hand",
    "best front": "that nginx before this bundle's app",
    "equal": "by hand, with most of its features and isolation",
    "gunicorn": "nginx + gunicorn as documented",
    "uwsgi alone": "uWSGI alone",
    "return 200": "nginx's `return 200`",
    "microcache": "this bundle, with `cache`",
}


def median(values: list[float]) -> float:
    return statistics.median(values)


def figures(results: Results) -> dict[str, float | Spread]:
    """By the names under which `make figures` shows them."""
    found: dict[str, float | Spread] = {}
    if "served" in results:
        loaded = results["served"]["loaded"]
        for page, rates in loaded["rate"].items():
            for other in ("best", "equal", "gunicorn"):
                found[f"served_ratio_{page}_{other}"] = stats.ratio(rates["stack"], rates[other])
            halves = {"nginx": ("stack", "best front"), "app": ("best front", "best")}
            for half, (one, other) in halves.items():
                found[f"served_ratio_{page}_{half}_half"] = stats.ratio(rates[one], rates[other])
            if "microcache" in rates:
                found[f"microcache_ratio_{page}"] = stats.ratio(rates["microcache"], rates["stack"])
            spent = loaded["processor"][page]
            found[f"served_processor_ratio_{page}_best"] = stats.ratio(spent["stack"], spent["best"])
            found[f"served_p99_ms_{page}"] = median(loaded["p99"][page]["stack"])
        for page, rates in results["served"]["static"]["rate"].items():
            found[STATIC[page]] = stats.ratio(rates["stack"], rates["best"])
        found["burst_failed_of_2000"] = results["served"]["burst"][1]
    if "instructions" in results:
        for variant, count in results["instructions"]["counted"].items():
            found[f"nginx_instructions_{variant}"] = count
    if "defaults" in results:
        pairs = results["defaults"]
        for pair, rates in pairs["rate"].items():
            name = pair.replace(", ", "_").replace(" ", "_").replace("-", "_")
            found[f"default_{name}_ratio"] = stats.ratio(rates["after"], rates["before"])
        for state, failed in pairs["burst_failed"].items():
            found[f"burst_failed_of_2000_{state}"] = failed
    if "push" in results:
        found |= compared.push_figures(results["push"])
    if "controller" in results:
        for shape, kinds in results["controller"]["check"].items():
            found[f"check_cpu_seconds_{shape}"] = median(kinds["shared"])
            found[f"check_cpu_seconds_{shape}_own"] = median(kinds["own"])
    if "density" in results:
        density = results["density"]
        if "base" in density:
            found["base_mib"] = density["base"]
        for kind in ("idle", "live"):
            for count, mib in density[kind].items():
                found[f"{kind}_app_mib_of_{count}"] = mib
        for count, seconds in density["no_change"].items():
            found[f"no_change_seconds_{count}_apps"] = median(seconds)
            found[f"no_change_tasks_{count}_apps"] = density["tasks"][count]
        if len(density["no_change"]) > 1:
            medians = {int(count): median(seconds) for count, seconds in density["no_change"].items()}
            found["no_change_seconds_per_app"] = stats.growth(medians)
    if "hosts" in results:
        for count, seconds in results["hosts"]["seconds"].items():
            found[f"no_change_seconds_{count}_hosts"] = median(seconds)
    if "converge" in results:
        runs = results["converge"]
        first = {key: median(values) for key, values in runs["first"].items()}
        found["first_converge_ratio"] = stats.ratio(runs["first"]["stack"], runs["first"]["bare"])
        found["first_converge_seconds"] = first["stack"]
        found["first_converge_ratio_conventional"] = stats.ratio(
            runs["first"]["stack"], runs["first"]["conventional"]
        )
        found["no_change_seconds"] = median(runs["again"]["stack"])
        found["no_change_tasks"] = runs["tasks"]
        found["no_change_ratio_conventional"] = stats.ratio(
            runs["again"]["stack"], runs["again"]["conventional"]
        )
        found["deploy_seconds"] = median(runs["deploy"]["stack"])
        found["deploy_boot_probe_seconds"] = median(runs["boot"])
        found["deploy_commands_seconds"] = median(runs["commands"])
        found["deploy_own_seconds"] = median(own_seconds(runs))
        found["deploy_ratio_conventional"] = stats.ratio(
            runs["deploy"]["stack"], runs["deploy"]["conventional"]
        )
    # Last, for its base_mib has quartiles.
    if "beside" in results:
        found |= compared.peers_figures(results["beside"])
    return found


def own_seconds(runs: Mapping[str, Any]) -> list[float]:
    """Of each deploy what neither the command takes with nothing to deploy, nor the app: its commands, boot and probe."""
    rounds = zip(runs["deploy"]["stack"], runs["nothing"], runs["commands"], runs["boot"], strict=True)
    return [deploy - nothing - commands - boot for deploy, nothing, commands, boot in rounds]


def conditions(part: Mapping[str, Any]) -> str:
    """When, where and under what load a part was measured."""
    return (
        f"Measured {part['date']} at commit {part['commit']}: {part['cores']} cores ({part['processor']}), "
        f"{part['memory_gib']} GiB, Debian {part['debian']} in a container, ansible-core {part['ansible']} on Python "
        f"{part['python']}. Load of the machine before it began: {part['load_before']}. It took "
        f"{number(part['minutes'])} minutes."
    )


def served_page(part: Mapping[str, Any]) -> str:
    loaded, calm, static = part["loaded"], part["calm"], part["static"]
    processes, threads = part["sizes"]
    rounds = len(loaded["rate"]["hello"]["stack"])
    rows = []
    for page, rates in loaded["rate"].items():
        spent = loaded["processor"][page]
        for variant, values in rates.items():
            ratio = "" if variant == "stack" else shown(stats.ratio(rates["stack"], values))
            quiet = (
                [median(calm[kind][page][variant]) for kind in ("p50", "p99")]
                if variant in calm["p50"][page]
                else []
            )
            rows.append(
                [
                    f"{PAGES[page]}: {VARIANTS[variant]}",
                    shown(stats.spread(values)),
                    ratio,
                    f"{number(median(loaded['p50'][page][variant]))} / {number(median(loaded['p99'][page][variant]))}",
                    " / ".join(map(number, quiet)),
                    number(median(spent[variant])) if variant in spent else "",
                ]
            )
    halves = ", ".join(
        f"{PAGES[page]} {shown(stats.ratio(rates['best front'], rates['best']))}"
        for page, rates in loaded["rate"].items()
    )
    files = []
    for page, rates in static["rate"].items():
        files.append(
            [
                page,
                shown(stats.spread(rates["stack"])),
                shown(stats.spread(rates["best"])),
                shown(stats.ratio(rates["stack"], rates["best"])),
            ]
        )
    sent, read = part["zero_copy"]
    right, failed, _ = part["burst"]
    versions = ", ".join(
        f"{key} {value}"
        for key, value in part["versions"].items()
        if key not in ("kernel", "host", "cgroups")
    )
    return "\n".join(
        [
            "## Requests served",
            "",
            conditions(part),
            f"{versions}; kernel {part['versions']['kernel']}, control groups "
            f"{part['versions'].get('cgroups', 'v1')}. Processor time for a request travels best from one machine to "
            "another. How rates compare depends on the kernel, on its control groups and on the client, which here competes "
            "with the servers for the same cores.",
            "",
            f"{rounds} interleaved rounds; a variant's place in the round moves on from one to the next. wrk runs on the "
            "same host with 32 kept connections and takes its part of the processor from each alike. All variants but "
            f"gunicorn have {processes} processes with {threads} threads; gunicorn has the (2 x cores) + 1 of its "
            "documentation. Same code, venvs, users, databases; the answers were compared first. Numbers are medians with "
            "their quartiles; a ratio is that of each round. Processor time is nginx's and the app's. That nginx before "
            "this bundle's app tells the two halves of a difference apart: the bundle over it is nginx's, "
            f"it over the best is the app's ({halves}). The one *with most of its features and isolation* has "
            "the log in JSON, request id, security headers, cleaned headers for the app and a switch for maintenance, and "
            "its app in a slice with a part of the processor of its own, all of it written by hand for this one case.",
            "",
            table(
                [
                    "page",
                    "requests per second",
                    "this bundle is … times that",
                    "p50 / p99 ms, 32 connections",
                    "p50 / p99 ms, 2 connections",
                    "µs of processor a request",
                ],
                rows,
            ),
            "",
            "### Static files",
            "",
            table(["file", "this bundle, per second", "bare site", "ratio"], files),
            "",
            f"Of a file of 1,048,576 bytes nginx let the kernel send {sent:,} and read {read:,} itself.",
            "",
            "### A burst",
            "",
            f"2,000 connections at once, all open before the first answer, to the Django page: {right:,} answered, "
            f"{failed:,} failed.",
        ]
    )


def instructions_page(part: Mapping[str, Any]) -> str:
    counted = part["counted"]
    stack = counted["stack"]
    rows = [[VARIANTS[variant], f"{counted[variant]:,}", ""] for variant in ("stack", "equal", "best")]
    for variant, count in counted.items():
        feature = variant.removeprefix("without_")
        if feature != variant:
            rows.append([f"this bundle, without {FEATURES[feature]}", f"{count:,}", f"{stack - count:,}"])
    return "\n".join(
        [
            "## Instructions for a request",
            "",
            conditions(part),
            "",
            "What nginx executes for a request of hello outside of the kernel, counted by callgrind in one process: "
            "within a percent also on a busy machine. What a feature needs alone is what is less without it; work that "
            "two of them share is in neither's.",
            "",
            table(["nginx", "instructions", "that is less"], rows),
        ]
    )


#: What part `instructions` takes away from the bundle.
FEATURES = {
    "log": "its access log",
    "request_id": "`X-Request-ID`",
    "headers": "its headers for the client",
    "parameters": "its parameters for the app, and with nginx's own",
    "maintenance": "the switch for maintenance",
}

#: The pairs of part `defaults`: what it was, what it is.
CHANGES = {
    "access log": "access log: a write per request → `buffer=16k flush=1s`",
    "max-requests": "`max-requests`: 50000 → 1000000",
    "batch policy": "scheduling policy of an app in its slice: the normal one → `chrt --batch`",
    "server": "uWSGI: Debian's → the one inside of Debian's Python",
    "own share": "a part of the processor of its own (`CPUWeight`): none → each app's",
}


def defaults_page(part: Mapping[str, Any]) -> str:
    rows = []
    for pair, rates in sorted(
        part["rate"].items(), key=lambda item: list(CHANGES).index(item[0].partition(", ")[0])
    ):
        change, _, page = pair.partition(", ")
        before, after = (stats.spread(rates[state]) for state in ("before", "after"))
        p99 = [number(median(part["p99"][pair][state])) for state in ("before", "after")]
        rows.append(
            [
                f"{CHANGES[change]}; {PAGES[page or 'hello']}",
                shown(before),
                shown(after),
                shown(stats.ratio(rates["after"], rates["before"])),
                " → ".join(p99),
            ]
        )
    spent = [number(median(part["spent"]["access log"][state])) for state in ("before", "after")]
    failed = part["burst_failed"]
    return "\n".join(
        [
            "## Defaults that evidence changed",
            "",
            conditions(part),
            "",
            "Each pair differs in that one setting, and was run in interleaved rounds; the vassals behind a bare nginx, "
            "each in a slice of its own and under the batch policy, as apps run.",
            "",
            table(["setting", "before, requests per second", "after", "after / before", "p99 ms"], rows),
            "",
            f"With the buffered access log nginx takes {spent[1]} µs of processor for a request of hello, and {spent[0]} "
            f"without. `listen` of an app, 1024 → 4096: of 2,000 connections at once to the Django page, "
            f"{failed['before']:,} and {failed['after']:,} failed.",
        ]
    )


def density_page(part: Mapping[str, Any]) -> str:
    rows = [
        [
            count,
            f"{part['idle'][count]:.3f}",
            f"{part['live'][count]:.1f}",
            shown(stats.spread(part["no_change"][count])) if count in part["no_change"] else "",
            str(part["tasks"].get(count, "")),
        ]
        for count in part["idle"]
    ]
    return "\n".join(
        [
            "## Density, and growth with apps",
            "",
            conditions(part),
            "",
            "The smallest WSGI app, `on_demand`, one process with two threads. MiB of PSS (what processes share counts "
            "once) of all processes of apps and of the emperor, beyond an emperor without an app. A sleeping app has no "
            "process. Seconds are those of `site.yml` over SSH, when it changes nothing."
            + (
                f" All processes of a host without apps take {part['base']:.1f} MiB."
                if "base" in part
                else ""
            ),
            "",
            table(
                ["apps", "MiB each, asleep", "MiB each, awake", "no-change run, seconds", "its tasks"], rows
            ),
        ]
    )


def hosts_page(part: Mapping[str, Any]) -> str:
    rows = [[count, shown(stats.spread(seconds))] for count, seconds in part["seconds"].items()]
    return "\n".join(
        ["## Growth with hosts", "", conditions(part), "", "One app on each; all hosts are on this machine, and "
         "share its cores.", "", table(["hosts", "no-change run, seconds"], rows)]
    )  # fmt: skip


def converge_page(part: Mapping[str, Any]) -> str:
    first, again, deploy = part["first"], part["again"], part["deploy"]
    rows = [
        [
            "first converge: Debian's packages, three apps",
            *(shown(stats.spread(first[way])) for way in ("stack", "bare", "conventional")),
        ],
        ["no change", shown(stats.spread(again["stack"])), "", shown(stats.spread(again["conventional"]))],
        [
            "deploy of one line of the Django example",
            shown(stats.spread(deploy["stack"])),
            "",
            shown(stats.spread(deploy["conventional"])),
        ],
    ]
    ratios = [
        ["first converge, of the bare installs", shown(stats.ratio(first["stack"], first["bare"]))],
        [
            "first converge, of the conventional role",
            shown(stats.ratio(first["stack"], first["conventional"])),
        ],
        ["no change, of the conventional role", shown(stats.ratio(again["stack"], again["conventional"]))],
        ["deploy, of the conventional role", shown(stats.ratio(deploy["stack"], deploy["conventional"]))],
    ]
    return "\n".join(
        [
            "## Runs of the playbook",
            "",
            conditions(part),
            "",
            "Seconds, over SSH with pipelining, on fresh hosts, in interleaved rounds. *Bare* installs the same packages by "
            "apt and the same venvs by uv in a shell, and starts nothing. *Conventional* is the role of "
            "`bench/conventional`: the usual modules in loops, no probe, no rollback, a restart in place.",
            "",
            table(["run", "this bundle", "bare", "conventional"], rows),
            "",
            table(["ratio of this bundle", "median (quartiles)"], ratios),
            "",
            f"Of a deploy, the same command with nothing to deploy takes {shown(stats.spread(part['nothing']))} s, the "
            f"Django example's own collectstatic and migrate {shown(stats.spread(part['commands']))} s, and its way from "
            f"its start to its third healthy answer {shown(stats.spread(part['boot']))} s. What is left is "
            f"{shown(stats.spread(own_seconds(part)))} s: fetch, venv, publishing, loading it once, switch and drain.",
        ]
    )


def controller_page(part: Mapping[str, Any]) -> str:
    kinds = {"shared": "the same apps on all hosts", "own": "each host with its own"}
    rows = [
        [shape.replace("_", " "), label, shown(stats.spread(part["check"][shape][kind]))]
        for shape in part["check"]
        for kind, label in kinds.items()
    ]
    return "\n".join(
        ["## The controller, with many hosts", "", conditions(part), "", "Processor seconds of `playbooks/check.yml`, which "
         "every playbook begins with and which contacts no host. 200 hosts have five apps each.", "",
         table(["inventory", "apps", "processor seconds"], rows)]
    )  # fmt: skip


def push_page(part: Mapping[str, Any]) -> str:
    return compared.push_page(part, conditions(part))


def beside_page(part: Mapping[str, Any]) -> str:
    return compared.peers_page(part, conditions(part))


PARTS = {
    "served": served_page,
    "instructions": instructions_page,
    "defaults": defaults_page,
    "converge": converge_page,
    "push": push_page,
    "beside": beside_page,
    "density": density_page,
    "hosts": hosts_page,
    "controller": controller_page,
}


def readable(results: Results) -> Results:
    """Without the parts that an earlier bench measured in another way: they are to be measured anew."""
    served, converge, defaults = (results.get(part) for part in ("served", "converge", "defaults"))
    old = set()
    if served and not all("equal" in rates for rates in served["loaded"]["rate"].values()):
        old.add("served")
    if converge and "commands" not in converge:
        old.add("converge")
    # Of vassals outside of a slice, where the policy makes less of a difference.
    if defaults and "batch policy, hello" not in defaults["rate"]:
        old.add("defaults")
    return {part: found for part, found in results.items() if part not in old}


def bars(results: Results) -> list[Bar]:
    rates = results["served"]["loaded"]["rate"]
    return [
        Bar(f"{page}, of {label}", stats.ratio(rates[page]["stack"], rates[page][other]))
        for page in rates
        for other, label in (
            ("best", "the hand-tuned best"),
            ("equal", "by hand with most of it"),
            ("gunicorn", "nginx + gunicorn"),
        )
    ]


def files(results: Results) -> dict[str, str]:
    """The report: README.md, and its plot."""
    pages = [PARTS[part](results[part]) for part in PARTS if part in results]
    pages = [page for page in (compared.aims_page(figures(results)), *pages) if page]
    found: dict[str, str] = {}
    head = (
        "# What was measured\n\nWritten by `make bench`; do not edit. Times and rates are of one machine: ratios travel, "
        "seconds do not.\n"
    )
    if "served" in results:
        found["served.svg"] = plot("Requests per second: this bundle over others", bars(results), aim=0.97)
        head += "\n![Requests per second of this bundle over those of others](served.svg)\n"
    found["README.md"] = head + "\n" + "\n\n".join(pages) + "\n"
    return found
