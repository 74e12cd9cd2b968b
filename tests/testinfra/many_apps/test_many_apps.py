"""A hundred sleeping apps beside ten live ones: what they cost, how they wake, and what a run without changes takes."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from deploying import figure
from many_apps.fleet import LIVE, SLEEPING, Filled, memory_of_apps
from testinfra.host import Host

#: Asks every domain at once with a few threads, and says what came: [domain, status, body, seconds].
ASK = """
import http.client, json, sys, time
from concurrent.futures import ThreadPoolExecutor

def ask(domain):
    began = time.monotonic()
    try:
        client = http.client.HTTPConnection("127.0.0.1", 80, timeout=60)
        client.request("GET", sys.argv[2], headers={"Host": domain})
        answer = client.getresponse()
        return [domain, answer.status, answer.read(200).decode(), time.monotonic() - began]
    except OSError as error:
        return [domain, 0, repr(error), time.monotonic() - began]

with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    print(json.dumps(list(pool.map(ask, sys.argv[3:]))))
"""


def ask(host: Host, domains: list[str], threads: int, path: str = "/") -> list[tuple[str, int, str, float]]:
    said = host.check_output("python3 -c %s %s %s " + " ".join(domains), ASK, str(threads), path)
    return [tuple(one) for one in json.loads(said)]


def awake(host: Host) -> list[str]:
    """Names of the sleeping apps that run now."""
    units = host.check_output("systemctl list-units --plain --no-legend 'app_idle-*.scope'")
    return [line.split()[0].split("_")[1] for line in units.splitlines()]


def processes_of(host: Host, app: str) -> list[str]:
    """Processes of *app*'s user, with command lines; without ended ones that the emperor has not waited for yet."""
    lines = host.run("ps -o stat=,pid=,args= -u %s", app).stdout.splitlines()
    return [line for line in lines if not line.startswith("Z")]


def wait_until_asleep(host: Host) -> None:
    deadline = time.monotonic() + 120
    while awake(host) and time.monotonic() < deadline:
        time.sleep(1)
    assert awake(host) == []


def test_sleeping_apps_take_no_processes_and_hardly_any_memory(filled: Filled) -> None:
    host = filled.stack.host
    wait_until_asleep(host)
    for app in SLEEPING[:3]:
        assert processes_of(host, app["name"]) == []
    more = memory_of_apps(host) - filled.memory_with_live_ones
    figure("idle_app_mib", round(more / len(SLEEPING), 3))
    assert more / len(SLEEPING) < 1


def test_the_first_request_wakes_an_app_and_is_answered(filled: Filled) -> None:
    host = filled.stack.host
    wait_until_asleep(host)
    seconds = []
    for app in SLEEPING[:10]:
        ((_, status, body, took),) = ask(host, [app["domains"][0]], 1)
        assert (status, body) == (200, app["name"])
        seconds.append(took)
    figure("cold_start_seconds", round(statistics.median(seconds), 2))
    assert set(awake(host)) >= {app["name"] for app in SLEEPING[8:10]}


def test_all_apps_answer_rightly_however_they_are_asked(filled: Filled) -> None:
    """From sleep, many at once, and several requests for the same sleeping app at once."""
    host = filled.stack.host
    wait_until_asleep(host)
    wanted = {app["domains"][0]: app["name"] for app in SLEEPING}
    crowd = [domain for app in SLEEPING[:10] for domain in app["domains"] * 5]
    answers = ask(host, [*wanted, *crowd, *wanted], threads=8)
    live = ask(host, [app["domains"][0] for app in LIVE], threads=4)
    live += ask(host, ["kinto.localhost"], 1, "/v1/__heartbeat__")
    wrong = [one for one in answers if (one[1], one[2]) != (200, wanted[one[0]])]
    wrong += [one for one in live if one[1] not in (200, 302, 307)]
    figure("many_apps_requests", len(answers) + len(live))
    figure("many_apps_errors", len(wrong))
    assert wrong == []


def test_a_request_in_the_moment_of_falling_asleep_is_answered(filled: Filled) -> None:
    """Each of five apps after another time without requests, all of them at the same time."""
    host = filled.stack.host

    def wrong(app: dict[str, Any], delay: float) -> list[Any]:
        domain = app["domains"][0]
        ask(host, [domain], 1)
        time.sleep(delay)
        return [one for one in ask(host, [domain] * 4, 4) if one[1] != 200]

    delays = (19.6, 20.2, 20.8, 21.4, 22.0)
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(wrong, SLEEPING[20:25], delays)) == [[]] * len(delays)


def test_a_run_without_changes_hardly_grows_with_the_apps(filled: Filled) -> None:
    for count, seconds in filled.no_change_seconds.items():
        figure(f"no_change_seconds_{count}_app{'s' if count > 1 else ''}", round(seconds, 1))
    one, all_of_them = (filled.no_change_seconds[count] for count in (1, 110))
    figure("no_change_seconds_per_app", round((all_of_them - one) / 109, 3))


def test_a_run_without_changes_is_a_handful_of_tasks_and_exchanges_however_many_apps(filled: Filled) -> None:
    """Counts and not times: what is done once for all apps stays one task, and one exchange with the host."""
    counts = {count: (run.tasks, run.trips) for count, run in filled.no_change.items()}
    tasks, trips = counts[110]
    figure("no_change_tasks", tasks)
    figure("no_change_round_trips", trips)
    assert len(set(counts.values())) == 1, counts
    # A round trip is some 0.3 s of a run, most of it Python that starts on the host. What there is to ask, in the order of
    # the run: what the host is and lacks; what differs from what all roles want, and which app from what is live. Whoever
    # has another question puts it into one of these.
    assert trips <= 2, counts
    # A task costs 0.03 to 0.1 s, passed over or not: a host where nothing differs leaves the play before its roles.
    assert tasks <= 11, counts
    assert max(run.skipped for run in filled.no_change.values()) <= 8


def test_worker_and_timer_of_an_app_run_beside_it(filled: Filled) -> None:
    host = filled.stack.host
    for name in ("worked", "reported"):
        path = f"{layout.shared('victim')}/data/{name}"
        assert host.file(path).exists, name
        assert host.file(path).user == "victim"


def test_a_host_that_is_full_takes_no_further_app(filled: Filled) -> None:
    stack = filled.stack
    before = stack.host.check_output("ls -l --time-style=full-iso /srv/apps /etc/systemd/system")
    outcome = stack.play("site.yml", "--tags", "python_apps", python_apps_process_memory=100_000)
    assert outcome.code != 0
    assert "MiB of memory, but it has only" in outcome.output
    assert "links: 200000 MiB (2 processes of 100000 MiB)" in outcome.output
    assert "100 on demand: not counted" in outcome.output
    assert stack.host.check_output("ls -l --time-style=full-iso /srv/apps /etc/systemd/system") == before
