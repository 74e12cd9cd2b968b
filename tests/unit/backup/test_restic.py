"""The repository that several hosts share: made once, locked now and then, and not made again where it is gone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.backup import restic
from ansible_collections.emperor.stack.plugins.module_utils.host.command import CommandFailed

GONE = "Fatal: unable to open config file: stat /mnt/backups/config: no such file or directory\nIs there a repository at …"
LOCKED = "unable to create lock in backend: repository is already locked exclusively by PID 31 on web2"


class Restic(restic.Restic):
    """Its commands fail with these texts, one after the other, and then succeed."""

    def __init__(self, **said: list[str]) -> None:
        super().__init__({"repository": "/mnt/backups", "host": "web1"})
        self.said = said
        self.ran: list[str] = []

    def run(self, *words: str, **_: Any) -> str:
        self.ran.append(words[0])
        if left := self.said.get(words[0]):
            raise CommandFailed(f"restic {words[0]}", f"restic {words[0]}", "exit status 1", left.pop(0))
        return ""


@pytest.mark.parametrize(
    ("said", "known", "ran"),
    [
        (GONE, False, ["cat", "init"]),
        (GONE, True, ["cat"]),
        ("Fatal: wrong password or no key found", False, ["cat"]),
    ],
)
def test_only_a_repository_that_was_never_there_is_made(said: str, known: bool, ran: list[str]) -> None:
    one = Restic(cat=[said])
    if ran == ["cat"]:
        with pytest.raises(CommandFailed):
            one.prepare(known)
    else:
        one.prepare(known)
    assert one.ran == ran


def test_a_backup_waits_for_another_host_that_deletes_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(restic.time, "sleep", waited.append)
    one = Restic(backup=[LOCKED, LOCKED], forget=[LOCKED])
    one.save(["/etc"], "tag")
    one.forget({"last": 3}, prune=True)
    assert one.ran == ["backup", "unlock", "backup", "unlock", "backup", "forget", "unlock", "forget"]
    assert waited == [restic.PAUSE] * 3


@pytest.mark.parametrize(("patience", "said"), [(-1, LOCKED), (60, "no space left on device")])
def test_other_failures_and_a_lock_that_stays_end_it(
    patience: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic, "LOCKED", patience)
    one = Restic(backup=[said])
    with pytest.raises(CommandFailed, match=said[:20]):
        one.save(["/etc"], "tag")
    assert one.ran == ["backup"]
