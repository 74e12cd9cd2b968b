"""How a host is shared out among its apps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import sizing
from ansible_collections.emperor.stack.plugins.module_utils.host.sizing import Host, Overcommitted, shares
from hypothesis import given
from hypothesis import strategies as st


def app(name: str = "blog", **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "web": {"processes": None},
        "limits": {"memory": None},
        "on_demand": False,
    }
    for key, value in changes.items():
        if key in ("processes",):
            made["web"] = {"processes": value}
        elif key == "memory":
            made["limits"] = {"memory": value}
        else:
            made[key] = value
    return made


BIG = Host(cores=2, memory=8000, of_process=80)


def by_name(apps: list[dict[str, Any]], host: Host) -> dict[str, tuple[int, int]]:
    return {share.name: (share.processes, share.memory) for share in shares(apps, host)}


def test_an_app_alone_gets_what_the_cores_can_use() -> None:
    assert by_name([app()], BIG) == {"blog": (2, 240)}
    assert by_name([app()], Host(8, 8000, 80)) == {"blog": (8, 9 * 80)}


def test_memory_bounds_the_processes_where_it_is_short() -> None:
    # 540 MiB for three: each 180, which is a master and one process.
    assert by_name([app("a"), app("b"), app("c")], Host(4, 540, 80)) == {
        "a": (1, 160),
        "b": (1, 160),
        "c": (1, 160),
    }


def test_what_an_app_says_itself_is_kept() -> None:
    assert by_name(
        [app("a", processes=7), app("b", memory="1G"), app("c", memory="512M", processes=9)], BIG
    ) == {
        "a": (7, 640),
        "b": (2, 1024),
        "c": (9, 512),
    }


def test_a_memory_limit_bounds_the_processes_of_its_app() -> None:
    assert by_name([app(memory="240M")], Host(8, 8000, 80))["blog"][0] == 2


def test_workers_count() -> None:
    workers = {"jobs": {"count": 3}, "beat": {}}
    assert by_name([app(processes=1, workers=workers)], BIG) == {"blog": (1, 6 * 80)}


def test_a_hundred_sleeping_apps_count_nothing() -> None:
    asleep = [app(f"a{number}", on_demand=True) for number in range(100)]
    found = by_name([*asleep, app("awake")], Host(2, 500, 80))
    assert found["awake"] == (2, 240)
    assert found["a7"] == (1, 0)


def test_more_than_the_host_has_is_refused_with_the_sum() -> None:
    with pytest.raises(Overcommitted) as error:
        shares([app("a", memory="1G"), app("b", processes=3), app("c", on_demand=True)], Host(2, 1200, 80))
    text = str(error.value)
    assert "want 1344 MiB of memory, but it has only 1200 MiB" in text
    assert "a: 1024 MiB (limits.memory)" in text
    assert "b: 320 MiB (4 processes of 80 MiB)" in text
    assert "1 on demand: not counted" in text


def test_apps_that_do_not_fit_with_one_process_each_are_refused() -> None:
    with pytest.raises(Overcommitted):
        shares([app("a"), app("b")], Host(2, 300, 80))


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 1, 3]), st.sampled_from([None, "128M", "1G"]), st.booleans()),
        max_size=12,
    ),
    st.integers(1, 16),
    st.integers(100, 20000),
)
def test_no_sum_is_above_what_there_is(
    wishes: list[tuple[int | None, str | None, bool]], cores: int, memory: int
) -> None:
    apps = [
        app(f"a{index}", processes=processes, memory=limit, on_demand=asleep)
        for index, (processes, limit, asleep) in enumerate(wishes)
    ]
    host = Host(cores, memory, 80)
    try:
        listed = shares(apps, host)
    except Overcommitted:
        return
    assert [share.name for share in listed] == [one["name"] for one in apps]
    assert sum(share.memory for share in listed) <= memory
    assert all(share.processes >= 1 for share in listed)


def test_a_container_has_the_memory_of_its_limit(tmp_path: Path) -> None:
    meminfo, limit = tmp_path / "meminfo", tmp_path / "limit"
    meminfo.write_text("MemTotal:       8388608 kB\nMemFree: 1 kB\n")
    limit.write_text(f"{512 * 1024 * 1024}\n")
    assert sizing.machine_memory(str(meminfo), [str(tmp_path / "none")]) == 8192
    assert sizing.machine_memory(str(meminfo), [str(tmp_path / "none"), str(limit)]) == 512
    limit.write_text("max\n")
    assert sizing.machine_memory(str(meminfo), [str(limit)]) == 8192
    # v1 without a limit: a number above every machine.
    limit.write_text("9223372036854771712\n")
    assert sizing.machine_memory(str(meminfo), [str(limit)]) == 8192
