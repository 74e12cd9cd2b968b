"""The keys of an app and their defaults, as commit 42dc1c2 had them. Frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Value:
    """A text, a number, a word or a flag."""

    def __init__(self, default: Any = None) -> None:
        self.default = default

    def complete(self, value: Any) -> Any:
        return self.default if value is None else value

    def knows(self, chosen: Any) -> bool:
        """Whether every key in *chosen* was one of that time."""
        return True


class Inside(Value):
    """A path inside the code, kept without a slash at its end."""

    def complete(self, value: Any) -> Any:
        return value.removesuffix("/") if isinstance(value, str) else value


class Several(Value):
    """A list, or a map with free keys."""

    def __init__(self, item: Value, empty: Any) -> None:
        super().__init__(empty)
        self.item = item

    def complete(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.item.complete(one) for name, one in value.items()}
        return [self.item.complete(one) for one in value] if value else self.default.copy()

    def knows(self, chosen: Any) -> bool:
        return all(
            self.item.knows(one) for one in (chosen.values() if isinstance(chosen, Mapping) else chosen)
        )


class Keys(Value):
    """A map with known keys."""

    def __init__(self, **keys: Value) -> None:
        super().__init__()
        self.keys = keys

    def complete(self, value: Any) -> Any:
        return {name: kind.complete((value or {}).get(name)) for name, kind in self.keys.items()}

    def knows(self, chosen: Any) -> bool:
        return all(name in self.keys and self.keys[name].knows(one) for name, one in chosen.items())


def _map(item: Value | None = None) -> Several:
    return Several(item or Value(), {})


def _list(item: Value | None = None) -> Several:
    return Several(item or Value(), [])


_WORKER = Keys(
    command=Value(),
    count=Value(1),
    stop_signal=Value("TERM"),
    stop_timeout=Value(60),
    overlap=Value(True),
)

_SCHEDULED = Keys(command=Value(), at=Value(), every=Value(), missed=Value(), timeout=Value(3600))

_HOOKS = [
    f"{when}_{phase}"
    for phase in ("prepare", "migrate", "start", "switch", "drain")
    for when in ("before", "after")
]

APP = Keys(
    name=Value(),
    state=Value("present"),
    renamed_from=Value(),
    domains=_list(),
    source=Keys(
        git=Value(),
        version=Value(),
        key=Value(),
        known_hosts=Value(),
        path=Value(),
        archive=Value(),
        checksum=Value(),
        package=Value(),
        subdirectory=Inside(),
        submodules=Value(False),
    ),
    wsgi=Value(),
    paste=Value(),
    requirements=Inside(),
    python=Value(),
    files=_map(),
    build=_list(),
    migrate=Value(),
    workers=_map(_WORKER),
    schedule=_map(_SCHEDULED),
    hooks=Keys(**{name: _list() for name in _HOOKS}),
    static=_map(Inside()),
    persistent=_list(Inside()),
    env=_map(),
    secrets=_list(),
    health=Keys(path=Value("/"), status=_list(), answers=Value(3), timeout=Value(60)),
    server=Value("uwsgi"),
    web=Keys(processes=Value(), threads=Value(2), max_requests=Value(1_000_000)),
    on_demand=Value(False),
    idle=Value(300),
    limits=Keys(
        body=Value("20m"),
        request_timeout=Value(60),
        memory=Value(),
        cpu=Value(),
        tasks=Value(512),
        open_files=Value(4096),
    ),
    tls=Keys(
        provider=Value("none"),
        files=Keys(certificate=Value(), key=Value()),
        challenge=Value("http-01"),
        dns_provider=Value(),
        redirect=Value(True),
        hsts=Keys(max_age=Value(), subdomains=Value(False), preload=Value(False)),
    ),
    path=Value("/"),
    redirects=_map(),
    allow=_list(),
    deny=_list(),
    users=_map(),
    rate_limit=Keys(requests=Value(), burst=Value(20), connections=Value()),
    cache=Keys(seconds=Value(), size=Value("64m")),
    headers=_map(),
    static_max_age=Value(300),
    private=_map(Inside()),
    error_pages=_map(Inside()),
    intercept_errors=Value(False),
    maintenance=Keys(allow=_list(), retry_after=Value(300)),
    nginx=Keys(http=Value(), server=Value(), app=Value()),
)
