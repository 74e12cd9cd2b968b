"""How the kernel takes turns between nginx and the apps."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://default-*"]


def test_no_app_interrupts_nginx(host: Host) -> None:
    """Neither one under the emperor nor the one under gunicorn. docs/performance.md has what an interruption costs."""
    for kind in ("uWSGI worker", "gunicorn"):
        workers = host.check_output("pgrep --full %s", f"[{kind[0]}]{kind[1:]}").split()
        assert workers, kind
        for pid in workers:
            assert "SCHED_BATCH" in host.check_output("chrt --pid %s", pid), kind
    assert "SCHED_OTHER" in host.check_output("chrt --pid $(cat /run/nginx.pid)")
