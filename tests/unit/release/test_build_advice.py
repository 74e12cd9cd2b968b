"""What is said where the requirements of an app need a compiler that the host lacks."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.release.build_advice import advice


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("Exception: you need a C compiler to build uWSGI", "Remove uwsgi from the requirements"),
        ("error: command 'gcc' failed: No such file or directory", "[build-essential, python3-dev]"),
        (
            "unable to execute 'x86_64-linux-gnu-gcc': No such file or directory",
            "[build-essential, python3-dev]",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'gcc'", "[build-essential, python3-dev]"),
        ("/bin/sh: 1: gcc: not found", "[build-essential, python3-dev]"),
        ("ERROR: Unknown compiler(s): [['cc'], ['gcc']]", "[build-essential, python3-dev]"),
        ("x.c:1:10: fatal error: Python.h: No such file or directory", "[build-essential, python3-dev]"),
        ("Error: pg_config executable not found.", "[build-essential, python3-dev, libpq-dev]"),
        ("Exception: Can not find valid pkg-config name.", "default-libmysqlclient-dev]"),
        ("error: can't find Rust compiler", "[rustc, cargo]"),
        ("fatal error: ldap.h: No such file or directory", "its build lacks ldap.h"),
    ],
)
def test_a_missing_compiler_is_told_with_the_packages_that_help(output: str, says: str) -> None:
    said = advice(f"  Building x==1\n{output}\n")
    assert says in said
    assert "wheel" in said


@pytest.mark.parametrize(
    "output",
    [
        "error: Failed to fetch",
        "No solution found when resolving dependencies",
        "SyntaxError: invalid syntax",
        "x" * 100_000,
    ],
)
def test_other_failures_are_left_alone(output: str) -> None:
    assert advice(output) == ""
