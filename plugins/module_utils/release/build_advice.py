"""What to do where the requirements of an app cannot be built on a host that has no compiler."""

from __future__ import annotations

import re

#: What the output of a failed build says, and the packages of Debian that help.
_LACKING = (
    (
        re.compile(
            r"you need a C compiler|unable to execute '?\S{0,80}(?:gcc|g\+\+|cc)\b|Unknown compiler"
            r"|No such file or directory: '\S{0,80}(?:gcc|g\+\+|cc|clang)'"
            r"|\b(?:gcc|g\+\+|cc|make|cmake)'? failed: No such file|\b(?:gcc|g\+\+|cc|make|cmake): (?:command )?not found"
            r"|No CMAKE_C(?:XX)?_COMPILER could be found|linker `cc` not found"
        ),
        "build-essential, python3-dev",
    ),
    (re.compile(r"Python\.h: No such file"), "build-essential, python3-dev"),
    (
        re.compile(r"pg_config executable not found|libpq-fe\.h: No such file"),
        "build-essential, python3-dev, libpq-dev",
    ),
    (
        re.compile(r"mysql_config\b|Can not find valid pkg-config name"),
        "build-essential, python3-dev, pkg-config, default-libmysqlclient-dev",
    ),
    (
        re.compile(
            r"\b(?:cargo|rustc)\b.{0,80}(?:not found|not installed|No such file)|can't find Rust compiler"
        ),
        "rustc, cargo",
    ),
)

_HEADER = re.compile(r"fatal error: (\S{1,80}\.h(?:pp)?): No such file")


def advice(output: str) -> str:
    """What a failed installation, which has said *output*, lacks on the host; empty where that is nothing of a compiler."""
    if "you need a C compiler to build uWSGI" in output:
        return (
            "uwsgi has no wheel, so it needs a compiler, and the app does not need it: the host's uWSGI serves. Remove "
            "uwsgi from the requirements (a program that imports it can use pyuwsgi, which has wheels)"
        )
    packages = next((names for said, names in _LACKING if said.search(output)), "")
    if not packages and (header := _HEADER.search(output)):
        return (
            f"a package of the requirements has no wheel for this Python, and its build lacks {header[1]}: add the package "
            "of Debian that has this file (its name ends in -dev) to python_apps_packages and run site.yml, or choose a "
            "version with a wheel"
        )
    if not packages:
        return ""
    return (
        "a package of the requirements has no wheel for this Python, and the host has no compiler for it. Choose a version "
        f"with a wheel (psycopg[binary], for example), or add to the inventory and run site.yml: "
        f"python_apps_packages: [{packages}]"
    )
