"""What a host remembers, whatever happens while it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.files.atomic import (
    link_atomically,
)
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.release import state as release_state
from ansible_collections.emperor.stack.plugins.module_utils.release.state import (
    HISTORY_LINES,
    AppState,
    Manifest,
    prunable,
)
from hypothesis import given
from hypothesis import strategies as st

R1, R2, R3, R4 = (f"2026112{day}T100000-abcdef{day}" for day in (1, 2, 3, 4))
OWNER = {"token": "boot/ns/1/2", "who": "ann@laptop", "controller": "laptop"}
OTHER = {"token": "boot/ns/3/4", "who": "bob@desk", "controller": "desk"}

Save = Callable[..., Manifest]
Activate = Callable[..., str]


# Manifests


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "null", '"x"', '{"app": "blog"}', b"\xff\xfe"], ids=repr
)
def test_a_release_without_a_whole_manifest_is_none(
    state: AppState, save: Save, content: str | bytes | None
) -> None:
    save(R1)
    path = Path(state.manifest_path(R1))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert state.manifest(R1) is None
    assert state.manifests() == []
    assert state.partial_releases() == [R1]


def test_a_manifest_is_read_as_it_was_written(state: AppState, save: Save) -> None:
    written = save(R1, hooks={"after_switch": ["x"]}, switched=3.5, status="good")
    assert state.manifest(R1) == written


def test_a_manifest_of_a_newer_bundle_is_still_a_release(state: AppState, save: Save) -> None:
    save(R1)
    path = Path(state.manifest_path(R1))
    path.write_text(json.dumps({**json.loads(path.read_text()), "invented_later": 1}))
    found = state.manifest(R1)
    assert found is not None
    assert found.release == R1


def test_the_live_release_is_never_taken_for_a_part(
    state: AppState, save: Save, run_activation: Activate
) -> None:
    save(R1)
    save(R2)
    run_activation(R1, "blog@1", live=True)
    for release in (R1, R2):
        Path(state.manifest_path(release)).write_text("{")
    assert state.partial_releases() == [R2]


def test_what_is_not_named_like_a_release_is_left_alone(state: AppState) -> None:
    os.makedirs(f"{layout.releases('blog')}/notes-of-mine")
    assert state.partial_releases() == []


@pytest.mark.parametrize(
    ("serials", "order"),
    [
        # Made by an earlier version of the bundle: by their names.
        ({R3: 0, R1: 0, R2: 0}, [R1, R2, R3]),
        # The clock was behind when the third was made.
        ({R2: 1, R3: 2, R1: 3}, [R2, R3, R1]),
        # Those of an earlier version are older than all others, whatever the clock said.
        ({R1: 1, R3: 0, R2: 0}, [R2, R3, R1]),
        # Ten comes after nine.
        ({R1: 10, R2: 9}, [R2, R1]),
    ],
    ids=["without serials", "the clock went back", "mixed", "numbers, not texts"],
)
def test_manifests_come_in_the_order_in_which_they_were_made(
    state: AppState, save: Save, serials: dict[str, int], order: list[str]
) -> None:
    for release, serial in serials.items():
        save(release, serial=serial)
    assert [m.release for m in state.manifests()] == order


def test_each_release_gets_a_serial_of_its_own(state: AppState, save: Save, manifest: Save) -> None:
    save(R4)
    for number, release in enumerate((R3, R1, R2), 1):
        os.makedirs(layout.release("blog", release))
        assert state.add(manifest(release)).serial == number
    assert [m.release for m in state.manifests()] == [R4, R3, R1, R2]
    # What becomes of a release changes nothing of when it was made.
    state.mark(R1, status="rolled_back")
    state.mark(R4, status="good")
    assert [m.serial for m in state.manifests()] == [0, 1, 2, 3]


@pytest.mark.parametrize("serial", [None, "", "garbage", "3"], ids=["lost", "empty", "garbage", "set back"])
@pytest.mark.parametrize("known_by", ["manifest", "history"])
def test_a_lost_serial_of_releases_is_given_to_no_other(
    state: AppState, save: Save, manifest: Save, serial: str | None, known_by: str
) -> None:
    save(R1, serial=12)
    if known_by == "history":
        state.remember({"kind": "deploy", "release": R1})
        state.remember({"kind": "deploy", "release": R2})
        Path(state.manifest_path(R1)).unlink()
    if serial is not None:
        Path(layout.state("blog"), "release_serial").write_text(serial)
    os.makedirs(layout.release("blog", R2))
    assert state.add(manifest(R2)).serial == 13


def test_a_serial_is_spent_even_if_the_run_dies(
    state: AppState, manifest: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(layout.release("blog", R1))
    with monkeypatch.context() as dying:
        dying.setattr(AppState, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            state.add(manifest(R1))
    assert state.add(manifest(R1)).serial == 2


def test_removing_begins_with_the_manifest(
    state: AppState, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(R1)
    monkeypatch.setattr(release_state.trees, "remove", lambda *_: None)
    state.remove_release(R1)
    assert state.manifest(R1) is None
    assert os.path.isdir(layout.release("blog", R1))


def test_marking_what_is_gone_makes_nothing(state: AppState) -> None:
    state.mark(R1, status="good")
    assert state.manifests() == []


# Activations


def test_without_a_live_activation(state: AppState) -> None:
    assert (state.live_activation(), state.live_release(), state.release_of("blog@9")) == (None, None, None)


def test_the_live_release_is_that_of_the_live_activation(state: AppState, run_activation: Activate) -> None:
    run_activation(R1, "blog@1", live=True)
    run_activation(R2, "blog@2")
    assert (state.live_activation(), state.live_release()) == ("blog@1", R1)


def test_activation_names_never_repeat(state: AppState, run_activation: Activate) -> None:
    names = [state.next_activation() for _ in range(12)]
    assert names == [f"blog@{number}" for number in range(1, 13)]
    for name in names:
        run_activation(R1, name)
    assert state.activation_names() == names


@pytest.mark.parametrize("serial", [None, "", "garbage", "3"], ids=["lost", "empty", "garbage", "set back"])
@pytest.mark.parametrize("known_by", ["activation", "vassal", "history"])
def test_a_lost_serial_repeats_no_name(
    state: AppState, run_activation: Activate, serial: str | None, known_by: str
) -> None:
    if known_by == "activation":
        run_activation(R1, "blog@12", emperor=None)
    elif known_by == "vassal":
        link_atomically("x", f"{layout.vassals('b')}/blog@12.ini")
        link_atomically("x", f"{layout.vassals('b')}/blog2@77.ini")
    else:
        state.remember({"activation": "blog@12"})
        state.remember({"activation": None})
    if serial is not None:
        Path(layout.state("blog"), "serial").write_text(serial)
    assert state.next_activation() == "blog@13"


def test_a_name_is_spent_even_if_the_run_dies(state: AppState) -> None:
    assert state.next_activation() != AppState("blog").next_activation()


# History


def test_history_is_capped_and_survives_garbage(state: AppState) -> None:
    lines = "".join(json.dumps({"number": number}) + "\n" for number in range(HISTORY_LINES + 50))
    Path(state.history_path).write_text(lines)
    state.remember({"number": "last"})
    kept = Path(state.history_path).read_text().splitlines()
    assert len(kept) == HISTORY_LINES
    assert json.loads(kept[0])["number"] == 51
    Path(state.history_path).write_text('{"number": 1}\n{"numb\n{"number": 2}\n')
    assert [entry["number"] for entry in state.history()] == [1, 2]


def test_history_has_the_last_ones_with_their_time(state: AppState) -> None:
    assert state.history() == []
    for number in range(5):
        state.remember({"number": number})
    assert [entry["number"] for entry in state.history(2)] == [3, 4]
    assert all(entry["time"].endswith("Z") for entry in state.history())


# Where a rollback goes


class Story:
    """Deploys and rollbacks as the phases record them, without anything that runs.

    The clock goes by *clock* from one to the next.
    """

    def __init__(self, state: AppState, save: Save, activate: Activate, clock: int = 1) -> None:
        self.state, self.save, self.activate, self.step = state, save, activate, clock
        self.serial = self.clock = 0

    def deploy(self, release: str, good: bool = True) -> None:
        made = self.save(release, status="prepared" if good else "failed")
        self.state.add(made)
        if good:
            self._switch(release)

    def rollback(self) -> str | None:
        target = self.state.previous_good()
        if target is None:
            return None
        left = self.state.live_release()
        assert left
        self._switch(target.release)
        self.state.mark(left, status="rolled_back")
        return target.release

    def _switch(self, release: str) -> None:
        self.serial, self.clock = self.serial + 1, self.clock + self.step
        self.activate(release, f"blog@{self.serial}", live=True, emperor=None)
        self.state.mark(release, status="good", switched=float(self.clock), live_as=self.serial)


@pytest.mark.parametrize(
    ("steps", "goes_to"),
    [
        (["+A"], None),
        (["+A", "+B"], "A"),
        (["+A", "+B", "+C"], "B"),
        (["+A", "+B", "+C", "<"], "A"),
        (["+A", "+B", "+C", "<", "<"], None),
        (["+A", "!B"], None),
        (["+A", "!B", "+C"], "A"),
        (["+A", "+B", "<", "+C"], "A"),
        (["+A", "+B", "<", "!C", "+D"], "A"),
        (["+A", "+B", "+C", "<", "+D"], "B"),
        (["+A", "+B", "+C", "<", "+D", "<"], "A"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else str(value),
)
@pytest.mark.parametrize(
    ("names", "clock"),
    [((R1, R2, R3, R4), 1), ((R4, R3, R2, R1), -1), ((R2, R2, R2, R2), 0)],
    ids=["the clock goes", "the clock goes back", "the clock stands"],
)
def test_where_a_rollback_goes(
    state: AppState,
    save: Save,
    run_activation: Activate,
    steps: list[str],
    goes_to: str | None,
    names: tuple[str, ...],
    clock: int,
) -> None:
    # Also where the clock stands, no two releases have one name.
    releases = {letter: f"{name[:15]}-{letter.lower()}" for letter, name in zip("ABCD", names, strict=True)}
    story = Story(state, save, run_activation, clock)
    for step in steps:
        story.rollback() if step == "<" else story.deploy(releases[step[1]], good=step[0] == "+")
    found = state.previous_good()
    assert (found.release if found else None) == (releases[goes_to] if goes_to else None)


@pytest.mark.parametrize("before", [0, 2], ids=["all by this version", "two by an earlier version"])
def test_a_release_that_was_rolled_back_is_remembered_when_the_clock_was_behind(
    state: AppState, save: Save, run_activation: Activate, before: int
) -> None:
    """The row that it was: B had an earlier name than A, was rolled back, pruned, and came back with the next run."""
    made = [R2, R3, R4]
    story = Story(state, save, run_activation)
    for release in made:
        story.deploy(release)
    for release in made[:before]:
        state.mark(release, serial=0, live_as=0)
    story.deploy(R1)
    assert story.rollback() == R4
    gone = prunable(state.manifests(), state.live_release(), 2, set())
    assert R1 not in gone
    assert gone == [R2]
    # Held back until something newer is live.
    story.deploy("20261105T000000-e")
    assert R1 in prunable(state.manifests(), state.live_release(), 2, set())


def test_those_that_were_rolled_back_stay_where_the_live_one_has_no_manifest() -> None:
    manifests = [_manifest(1, "rolled_back", 0), _manifest(2, "good", 1)]
    assert prunable(manifests, "20261101T100000-gone", 2, set()) == []


# Pruning

STATUS = ("good", "rolled_back", "failed", "prepared")


@st.composite
def hosts(draw: st.DrawFn) -> tuple[list[dict[str, Any]], int | None, int, set[int]]:
    count = draw(st.integers(0, 9))
    releases = [
        {"status": draw(st.sampled_from(STATUS)), "switched": float(draw(st.integers(0, 9)))}
        for _ in range(count)
    ]
    live = draw(st.none() | st.integers(0, count - 1)) if count else None
    return releases, live, draw(st.integers(0, 4)), draw(st.sets(st.integers(0, 8), max_size=3))


def _manifest(number: int, status: str, switched: float) -> Manifest:
    return Manifest(
        app="blog",
        release=f"2026112{number}T100000-abc",
        revision="",
        version="",
        fingerprint="",
        python="",
        created="",
        health={},
        host="",
        status=status,
        switched=switched,
    )


@given(hosts())
def test_nothing_in_use_is_pruned(drawn: tuple[list[dict[str, Any]], int | None, int, set[int]]) -> None:
    releases, live_number, keep, used = drawn
    manifests = [_manifest(number, **release) for number, release in enumerate(releases)]
    live = manifests[live_number].release if live_number is not None else None
    in_use = {f"2026112{number}T100000-abc" for number in used}
    gone = prunable(manifests, live, keep, in_use)
    assert len(gone) == len(set(gone))
    assert not {*in_use, live} & set(gone)
    previous = release_state.previous(manifests, live)
    assert previous is None or previous.release not in gone
    # What was rolled back after the live release was made would be deployed again, were it forgotten.
    held = {m.release for m in manifests if m.status == "rolled_back" and live and m.release > live}
    assert not held & set(gone)
    stay = [m for m in manifests if m.release not in gone and m.release not in in_use]
    assert len([m for m in stay if m.status == "good"]) <= max(keep, 2) + 2
    assert len([m for m in stay if m.status == "failed" and m.release != live]) <= 1
    assert not [m for m in stay if m.status == "prepared" and m.release != live]


@pytest.mark.parametrize(
    ("statuses", "live", "keep", "gone"),
    [
        ([("good", 1), ("good", 2), ("good", 3), ("good", 4)], 3, 2, [0, 1]),
        ([("good", 1), ("good", 2), ("good", 3), ("good", 4)], 3, 3, [0]),
        ([("failed", 0), ("good", 1), ("failed", 0)], 1, 2, [0]),
        ([("good", 1), ("prepared", 0)], 0, 2, [1]),
        # B rolled back to A: B does not push out the release that the next rollback goes to.
        ([("good", 1), ("good", 4), ("rolled_back", 3)], 1, 2, []),
        ([("rolled_back", 2), ("good", 3), ("good", 4)], 2, 2, [0]),
    ],
)
def test_what_is_pruned(statuses: list[tuple[str, float]], live: int, keep: int, gone: list[int]) -> None:
    manifests = [_manifest(number, *status) for number, status in enumerate(statuses)]
    found = prunable(manifests, manifests[live].release, keep, set())
    assert sorted(found) == [manifests[number].release for number in gone]


@pytest.mark.parametrize(("live", "goes_to"), [(0, None), (1, 0), (2, 1), (3, 1), (None, 2)])
def test_a_rollback_goes_back_in_time_where_it_can(live: int | None, goes_to: int | None) -> None:
    """Also where a rollback died before it marked what it left: then newer good releases than the live one exist."""
    manifests = [_manifest(number, "good", number + 1.0) for number in range(3)]
    manifests.append(_manifest(3, "failed", 2.5))
    found = release_state.previous(manifests, manifests[live].release if live is not None else None)
    if goes_to is None:
        # Nothing is older than the first: better a newer one than none.
        assert found == manifests[2]
    else:
        assert found == manifests[goes_to]
