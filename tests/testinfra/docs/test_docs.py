"""Every command of README and docs, as it is typed: from a fresh checkout to a host without Emperor Stack."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import testinfra
from deploying import figure
from documented import Reader
from testinfra.host import Host

from tools.docs_commands import NOT_RUN, RUN_BY_CI, RUN_ELSEWHERE, STORY, WEB1, WEB2, Row

passed: list[str] = []


@pytest.fixture(scope="module")
def hosts() -> dict[str, Host]:
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    names = {WEB1: "docs-debian12", WEB2: "docs-debian13"}
    return {
        web: testinfra.get_hosts([f"ansible://{name}"], ansible_inventory=inventory)[0]
        for web, name in names.items()
    }


@pytest.fixture(scope="module")
def reader(hosts: dict[str, Host], directory: Path) -> Reader:
    return Reader(hosts, directory)


@pytest.mark.parametrize("row", STORY, ids=lambda row: row.command[:90].replace("/", "|"))
def test_a_command_does_what_the_document_says(reader: Reader, row: Row) -> None:
    code, output = reader.run(row)
    assert code in row.codes, output[-6000:]
    assert re.search(row.shows, output), output[-6000:]
    if row.most_lines:
        lines = output.count("\n")
        figure("check_diff_lines_of_fresh_hosts", lines)
        assert lines <= row.most_lines, output
    passed.append(row.command)


def test_all_commands_were_typed() -> None:
    figure("docs_commands_run", f"{len(passed)}/{len(STORY)}")
    figure("docs_commands_run_by_ci_itself", len(RUN_BY_CI))
    figure("docs_commands_run_by_other_scenarios", len(RUN_ELSEWHERE))
    figure("docs_commands_not_run", len(NOT_RUN))
    for command, reason in NOT_RUN.items():
        print(f"not run: {command}: {reason}")
    assert len(passed) == len(STORY)


def test_nothing_is_left_on_a_host_that_it_was_taken_off(hosts: dict[str, Host]) -> None:
    host = hosts[WEB1]
    # Where there is none, some versions of systemd say so by their exit status.
    units = host.run("systemctl list-unit-files --no-legend 'emperor*' 'app_*' 'apps*'").stdout.splitlines()
    assert [line for line in units if not line.startswith("apps.slice")] == []
    assert (
        host.check_output(
            "ls -d /srv/apps /usr/local/lib/emperor-stack /etc/emperor-stack 2>/dev/null || true"
        )
        == ""
    )
    assert host.run("pgrep -f '[u]wsgi'").rc == 1
    assert "blog-" in host.check_output("ls /var/backups/emperor-stack")
    host.check_output(
        "DEBIAN_FRONTEND=noninteractive apt-get install -qq --reinstall -o Dpkg::Options::=--force-confmiss nginx-common"
    )
    assert host.file("/etc/nginx/nginx.conf").exists
