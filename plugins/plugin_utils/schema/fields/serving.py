"""The fields that say how an app serves: its health, its processes, its limits."""

from __future__ import annotations

from ..kinds import Field, Flag, ListOf, Number, Section, Text
from ..rules import paths, sizes

DEFAULT_REQUEST_TIMEOUT = 60
DEFAULT_WEBSOCKET_DRAIN = 30
DEFAULT_CONNECTION_IDLE = 3600

HEALTH = Section(
    (
        Field(
            "path",
            Text(paths.health_path, "URL path, perhaps with a query", "/healthz"),
            "URL path that a new release must answer before it gets traffic.",
            "path: /healthz",
            default="/",
        ),
        Field(
            "status",
            ListOf(Number(100, 599), unique=True),
            "Statuses that count as healthy. Empty: any from 200 to 399.",
            "status: [200]",
            default=(),
        ),
        Field(
            "answers",
            Number(1, 100),
            "Number of consecutive correct answers that are required.",
            "answers: 3",
            default=3,
        ),
        Field(
            "timeout",
            Number(1, 3600, "seconds"),
            "How long a new release may take to become healthy, and before that, how long its import may take in the check.",
            "timeout: 60",
            default=60,
        ),
    )
)

WEB = Section(
    (
        Field(
            "processes",
            Number(1, 256),
            "Worker processes. By default one per core, fewer if the host has too little memory for"
            " all of its apps.",
            "processes: 4",
        ),
        Field("threads", Number(1, 256), "Threads of each process.", "threads: 2", default=2),
        Field(
            "max_requests",
            Number(100, 1_000_000_000),
            "Requests after which a process is replaced; a lower number bounds leaks. Under uWSGI "
            "all processes reach it at about the same time, at most every ten seconds, and requests"
            " wait for a moment.",
            "max_requests: 20000",
            default=1_000_000,
        ),
        Field(
            "preload",
            Flag(),
            "Import the app once and fork the processes then: they share its memory and start fast. With "
            "`false`, each process imports the app itself, as an app needs whose import opens "
            "connections or starts threads: [forking.md](../forking.md). A release of such an app that "
            "lacks `preload: false` is refused.",
            "preload: false",
            default=True,
        ),
    )
)

LIMITS = Section(
    (
        Field(
            "body",
            Text(sizes.size, "number with k, m or g", "20m"),
            "Largest request body, such as an upload.",
            "body: 20m",
            default="20m",
        ),
        Field(
            "request_timeout",
            Number(1, 3600, "seconds"),
            "Maximum duration of a request. All other timeouts follow from it.",
            "request_timeout: 60",
            default=DEFAULT_REQUEST_TIMEOUT,
        ),
        Field(
            "websocket_drain",
            Number(0, 3600, "seconds"),
            "How long open WebSockets and streams of an app with `asgi` may go on once another release is live. Then"
            " they are closed (WebSockets with code 1012), and clients that come back reach the live release.",
            "websocket_drain: 30",
            default=DEFAULT_WEBSOCKET_DRAIN,
        ),
        Field(
            "connection_idle",
            Number(10, 86400, "seconds"),
            "How long a WebSocket or a stream of an app with `asgi` may go without a message. Then it is closed"
            " (a WebSocket with code 1001).",
            "connection_idle: 3600",
            default=DEFAULT_CONNECTION_IDLE,
        ),
        Field(
            "memory",
            Text(sizes.memory, "number with M or G", "512M"),
            "Memory limit for all processes of the app together, builds, hooks and migrations "
            "included. Above it the kernel kills one of these processes, serving processes last. By"
            " default `python_apps_memory_per_app` applies. The sizing of the host counts a web app"
            " with its limit.",
            "memory: 512M",
        ),
        Field(
            "disk",
            Text(sizes.memory, "number with M or G", "2G"),
            "Disk space that the app's user may fill: persistent directories, cache, and releases "
            "while they are built. Needs `/srv/apps` on ext4 or xfs with project quotas (mount "
            "option prjquota); elsewhere the app is refused, and the message says what is missing.",
            "disk: 2G",
        ),
        Field(
            "cpu",
            Number(1, 25600, "percent of one core"),
            "CPU time limit for all processes of the app together. By default an app may use all "
            "idle CPU time, and gets an equal share when other apps want CPU too.",
            "cpu: 150",
        ),
        Field(
            "tasks",
            Number(16, 65536),
            "Maximum number of processes and threads, builds, hooks and migrations included.",
            "tasks: 512",
            default=512,
        ),
        Field(
            "open_files",
            Number(64, 65536),
            "Maximum number of files and connections that one web process may have open.",
            "open_files: 4096",
            default=4096,
        ),
    )
)
