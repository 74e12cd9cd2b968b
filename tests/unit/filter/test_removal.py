"""What may be removed by name, and what people read about it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.emperor.stack.plugins.filter.deploy import hosts_with
from ansible_collections.emperor.stack.plugins.filter.removal import known_names, named_apps, removal_report

APPS: list[dict[str, Any]] = [
    {"name": "blog"},
    {"name": "journal", "renamed_from": "diary", "state": "present"},
    {"name": "gone", "state": "absent"},
]


def test_named_apps() -> None:
    assert named_apps("gone, never", APPS) == [{"name": "gone"}, {"name": "never"}]
    # Not before the app that took it over is live.
    assert named_apps("diary", APPS) == [{"name": "diary", "successor": "journal"}]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("blog", "-e app=blog: the inventory still has this app on web1"),
        ("gone,journal", "Give it `state: absent`"),
        ("", "Add -e app=NAME"),
        ("blo*", r"-e app=blo\*: an app cannot have this name"),
        ("../blog", "an app cannot have this name"),
        ("root", "an app cannot have this name"),
    ],
)
def test_what_is_not_removed_by_name(names: str, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        named_apps(names, APPS, "web1")


def test_known_names() -> None:
    assert known_names(APPS) == ["blog", "journal", "gone", "diary"]


def test_an_absent_app_is_on_no_host() -> None:
    with pytest.raises(AnsibleFilterError, match="no host of this run has that app"):
        hosts_with(["web1"], {"web1": {"python_apps": APPS}}, "gone")


def test_the_report() -> None:
    gone = {
        "user": "gone",
        "activations": ["gone@7"],
        "units": ["app_gone_jobs@7.service"],
        "paths": ["/srv/apps/gone"],
        "bytes": 3 * 2**20 + 1,
        "data_bytes": 1,
        "left": ["/tmp/x: owned by uid 7, which a later user may get"],
        "archive": "/var/backups/x.tar.gz",
        "data_archived": True,
        "not_archived": ["what lay deep"],
    }
    nothing = {"user": None, "units": [], "paths": [], "activations": [], "left": []}
    result = {"apps": {"gone": gone, "never": nothing, "busy": {"error": "a deploy is under way"}}}
    assert removal_report(result) == [
        "busy: NOT removed: a deploy is under way",
        "gone: removed: 4 MiB, of which 1 MiB are data; 1 activations, 1 units, 1 paths, its user",
        "  user gone",
        "  unit app_gone_jobs@7.service",
        "  /srv/apps/gone",
        "  its data and its logs of the web server are in /var/backups/x.tar.gz",
        "  not in the archive: what lay deep",
        "  stays: /tmp/x: owned by uid 7, which a later user may get",
        "never: nothing to remove",
    ]
    renamed = {"apps": {"gone": {**gone, "data_archived": False}}}
    assert "  its logs of the web server are in /var/backups/x.tar.gz" in removal_report(renamed)
    assert removal_report(result, would=True)[1].startswith("gone: would be removed: ")
