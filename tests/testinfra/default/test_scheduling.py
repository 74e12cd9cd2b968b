"""How the kernel takes turns between nginx and the apps."""

from __future__ import annotations

from testinfra.host import Host


def test_no_app_interrupts_nginx(host: Host) -> None:
    workers = host.check_output("pgrep --full 'uWSGI[ ]worker'").split()
    assert workers
    for pid in workers:
        assert "SCHED_BATCH" in host.check_output("chrt --pid %s", pid)
    assert "SCHED_OTHER" in host.check_output("chrt --pid $(cat /run/nginx.pid)")
