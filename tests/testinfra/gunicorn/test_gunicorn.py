"""That the tests of behaviour beside this have asked gunicorn."""

from __future__ import annotations

import json

from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]


def main_process(host: Host) -> str:
    activation = host.check_output("readlink %s", layout.active("links")).rpartition("/")[2]
    unit = layout.activation_unit("links", "web", activation)
    return host.check_output("systemctl show --property=MainPID --value %s", unit)


def test_gunicorn_serves_links_and_uwsgi_the_others(host: Host) -> None:
    assert "gunicorn" in host.check_output("tr '\\0' ' ' </proc/%s/cmdline", main_process(host))
    owners = host.check_output("ps -eo user=,args= | awk '/uWSGI worker$/ {print $1}' | sort -u").split()
    assert {"notes", "polls"} <= set(owners)
    assert "links" not in owners


#: What a process is told of itself, by systemd and gunicorn.
OWN = ("INVOCATION_ID", "JOURNAL_STREAM", "LOG_NAMESPACE", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_", "LISTEN_")


def test_links_begins_with_the_environment_of_its_release(host: Host) -> None:
    """And with nothing else of the host's; what is in that, scenario `processes` compares."""
    release = host.check_output("readlink -f %s/release", layout.active("links"))
    wanted = json.loads(host.file(f"{release}/environment.json").content_string)["environment"]
    lines = host.check_output("tr '\\0' '\\n' </proc/%s/environ", main_process(host)).splitlines()
    began = dict(line.partition("=")[::2] for line in lines)
    assert {name: value for name, value in began.items() if not name.startswith(OWN)} == wanted
