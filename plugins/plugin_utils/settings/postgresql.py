"""Settings of PostgreSQL, computed from the host's memory and the apps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..services import databases


def steady(memory: int) -> int:
    """*memory* in MiB, rounded up to an eighth of the power of two below it or to less.

    A new kernel takes some MiB more or fewer for itself, and PostgreSQL would have to restart for each of them.
    """
    step = max(1, 1 << max(0, memory.bit_length() - 4))
    return -(-memory // step) * step


def settings(apps: Iterable[Mapping[str, Any]], memory: int, percent: int) -> dict[str, str]:
    """For *apps*, entries of `postgresql_apps`, on a host with *memory* MiB, of which PostgreSQL may count on *percent*."""
    connections = databases.connection_count(apps)
    share = max(128, steady(memory) * percent // 100)
    # The usual quarter for its own cache; the kernel caches the files as well.
    buffers = share // 4
    # A query may use it several times, but few connections of web apps work at the same moment.
    work = max(2, (share - buffers) // (connections // 2))
    return {
        "max_connections": str(connections),
        "shared_buffers": f"{buffers}MB",
        "effective_cache_size": f"{share * 3 // 4}MB",
        "maintenance_work_mem": f"{min(1024, max(16, share // 16))}MB",
        "work_mem": f"{min(64, work)}MB",
    }
