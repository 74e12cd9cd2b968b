"""That the tests of behaviour beside this have asked gunicorn."""

from __future__ import annotations

from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]


def test_gunicorn_serves_links_and_uwsgi_the_others(host: Host) -> None:
    activation = host.check_output("readlink %s", layout.active("links")).rpartition("/")[2]
    unit = layout.activation_unit("links", "web", activation)
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    assert "gunicorn" in host.check_output("tr '\\0' ' ' </proc/%s/cmdline", pid)
    owners = host.check_output("ps -eo user=,args= | awk '/uWSGI worker$/ {print $1}' | sort -u").split()
    assert {"notes", "polls"} <= set(owners)
    assert "links" not in owners
