"""What the kernel's control groups of this host divide between the apps."""

from __future__ import annotations

import os

TOP = "/sys/fs/cgroup"


def divide_processor() -> bool:
    """Whether slices have a part of the processor of their own. A container may have been given no controller for that."""
    try:
        with open(f"{TOP}/cgroup.controllers", encoding="ascii") as file:
            return "cpu" in file.read().split()
    except FileNotFoundError:
        # The first version, where each controller has a tree of its own.
        return os.path.isdir(f"{TOP}/cpu")
