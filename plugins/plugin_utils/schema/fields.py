"""The schema of `python_apps`, declared once: checked, completed and documented from here."""

from __future__ import annotations

from dataclasses import replace

from ...module_utils.systemd.unit_names import LONGEST_STOP
from ...module_utils.values import names as app_names
from ...module_utils.values import urls
from . import traffic_fields
from .kinds import Choice, Field, Flag, ListOf, MapOf, Number, Path, Section, Text
from .rules import domains, environment, paths, processes, servers, sizes, sources

DEFAULT_REQUEST_TIMEOUT = 60

COMMAND = Text(processes.command, "command, one line", "python manage.py check --deploy", show=False)
CODE_PATH = Path(paths.relative_path, "path inside the code", "staticfiles")
CODE_FILE = Path(paths.file_path, "file inside the code", "requirements.txt")
ENV_NAME = Text(environment.env_name, "name of an environment variable", "SECRET_KEY")

#: In the order in which a deploy passes them.
HOOKS = (
    ("before_prepare", "when code and venv exist, before `build`"),
    ("after_prepare", "after code, venv, build and configuration of the release are ready"),
    ("before_migrate", "before `migrate`"),
    ("after_migrate", "after `migrate`"),
    ("before_start", "before the new activation starts beside the live one"),
    ("after_start", "after the new activation answered its health checks; no visitor sees it yet"),
    ("before_switch", "right before visitors move to the new activation"),
    ("after_switch", "after visitors moved and nginx's answers were checked"),
    ("before_drain", "before the old activation is drained"),
    ("after_drain", "after the old activation has no requests any more; it may be kept warm"),
)

SOURCE = Section(
    (
        Field(
            "git",
            Text(urls.git_url, "URL that git can clone", "https://git.example.com/team/blog.git", show=False),
            "Git repository of the code. Needs `version`.",
            "git: https://git.example.com/team/blog.git",
        ),
        Field(
            "version",
            Text(sources.git_version, "tag, branch or commit", "v1.4.0"),
            "Version to deploy. A tag or a commit is the same on every host and every day; a branch is not.",
            "version: v1.4.0",
        ),
        Field(
            "key",
            Text(paths.key_path, "file on the controller", "secrets/blog_deploy_key", show=False),
            "Private key for the repository; the file may be encrypted by ansible-vault. A relative path starts"
            " at the root of this repository.",
            "key: secrets/blog_deploy_key",
        ),
        Field(
            "known_hosts",
            Text(
                sources.known_hosts,
                "lines as in known_hosts",
                "git.example.com ssh-ed25519 AAAA…",
                show=False,
            ),
            "Host keys of the git server, as `ssh-keyscan` prints them; compare them with the keys that the "
            "server's owner publishes.",
            "known_hosts: git.example.com ssh-ed25519 AAAA…",
        ),
        Field(
            "path",
            Text(paths.controller_path, "directory on the controller", "examples/django"),
            "Directory of the code on the controller. A relative path starts at the root of this repository.",
            "path: examples/django",
        ),
        Field(
            "archive",
            Text(sources.archive, "URL, or file on the controller", "dist/blog-1.4.0.tar.gz", show=False),
            "Archive of the code (tar with gz, xz or bz2, or zip): a URL that the host fetches, or a file on "
            "the controller. A single top-level directory is stripped. Needs `checksum`.",
            "archive: https://example.com/blog-1.4.0.tar.gz",
        ),
        Field(
            "checksum",
            Text(sources.checksum, "sha256:…", f"sha256:{'0' * 64}"),
            "Output of `sha256sum` for the archive. It is the revision: another checksum makes another release.",
            f"checksum: sha256:{'0' * 64}",
        ),
        Field(
            "package",
            Text(sources.package, "package of the index with its exact version", "kinto==25.1.0"),
            "Package to install from the package index; the code then consists of `files` alone. Pin its "
            "dependencies with `requirements`, which may name one of the `files`.",
            "package: kinto==25.1.0",
        ),
        Field(
            "subdirectory",
            CODE_PATH,
            "Directory of the code inside the repository, directory or archive; all paths of the app start "
            "there.",
            "subdirectory: services/blog",
        ),
        Field(
            "submodules",
            Flag(),
            "Whether to fetch the repository's submodules, recursively, with the same key.",
            "submodules: true",
            default=False,
        ),
    ),
    exactly_one_of=("git", "path", "archive", "package"),
)

PROCESS_NAME = Text(
    processes.process_name, "lowercase letters, digits and hyphens, starting with a letter", "jobs"
)

WORKER = Section(
    (
        Field(
            "command",
            COMMAND,
            "Command to run in the release's code with the venv's programs on PATH. It is restarted whenever it"
            " ends.",
            "command: celery --app blog worker",
            required=True,
        ),
        Field("count", Number(1, 64), "Number of copies that run side by side.", "count: 2", default=1),
        Field(
            "stop_signal",
            Choice(("TERM", "INT", "QUIT", "HUP", "USR1", "USR2")),
            "Signal that tells the worker to finish its work and end.",
            "stop_signal: INT",
            default="TERM",
        ),
        Field(
            "stop_timeout",
            Number(1, LONGEST_STOP, "seconds"),
            "How long the worker may take to end before it is killed.",
            "stop_timeout: 60",
            default=60,
        ),
        Field(
            "overlap",
            Flag(),
            "Whether workers of the old and the new release may run side by side during a deploy. With false, "
            "the new worker starts right after the switch, when the old one has ended.",
            "overlap: false",
            default=True,
        ),
    )
)

SCHEDULED = Section(
    (
        Field(
            "command",
            COMMAND,
            "Command to run in the release's code with the venv's programs on PATH; never twice at once.",
            "command: python -m blog.report",
            required=True,
        ),
        Field(
            "at",
            Text(processes.calendar, "time, or calendar expression of systemd", "03:00"),
            "Time of day, or a calendar event as in `man systemd.time`, optionally followed by a time zone. "
            "Quote it.",
            'at: "Mon..Fri 03:00 Europe/Berlin"',
        ),
        Field(
            "every",
            Text(processes.span, "number with s, m, h or d", "15m"),
            "Interval between two starts; the first start comes one interval after a boot or the first deploy.",
            "every: 15m",
        ),
        Field(
            "missed",
            Choice(("run", "skip")),
            "What happens when the host was off at a time of `at`: `run` (the default) runs the command once "
            "after the boot, `skip` does not.",
            "missed: skip",
        ),
        Field(
            "timeout",
            Number(1, 604800, "seconds"),
            "How long the command may run before it is ended.",
            "timeout: 3600",
            default=3600,
        ),
    ),
    exactly_one_of=("at", "every"),
)

TLS = Section(
    (
        Field(
            "provider",
            Choice(("acme", "files", "self_signed", "none")),
            "Source of the certificate. `acme`: a certificate authority, configured by the role's `tls_acme_*` "
            "variables; until the authority has answered, the site has a self-signed certificate. `files`: from"
            " the controller. `self_signed`: made on the host. `none`: plain HTTP, for example behind a proxy "
            "that terminates TLS.",
            "provider: acme",
            default="none",
        ),
        Field(
            "files",
            Section(
                (
                    Field(
                        "certificate",
                        Text(paths.controller_path, "file on the controller", "secrets/blog.crt", show=False),
                        "Certificate in PEM, followed by its intermediate certificates.",
                        "certificate: secrets/blog.crt",
                    ),
                    Field(
                        "key",
                        Text(paths.key_path, "file on the controller", "secrets/blog.key", show=False),
                        "Private key in PEM, without a passphrase; the file may be encrypted by ansible-vault.",
                        "key: secrets/blog.key",
                    ),
                )
            ),
            "Certificate and key for `provider: files`. Relative paths start at the root of this repository.",
            "files: {certificate: secrets/blog.crt, key: secrets/blog.key}",
        ),
        Field(
            "challenge",
            Choice(("http-01", "dns-01")),
            "How the authority validates the domains: by a file that it fetches on port 80, or by a DNS record,"
            " which needs no open port.",
            "challenge: dns-01",
            default="http-01",
        ),
        Field(
            "dns_provider",
            Text(servers.dns_provider, "name that `lego dnshelp` lists", "hetzner"),
            "DNS provider of the domains, for `dns-01`. Put its credentials into `tls_dns_environment`.",
            "dns_provider: hetzner",
        ),
        Field(
            "redirect",
            Flag(),
            "Whether plain HTTP redirects to HTTPS.",
            "redirect: false",
            default=True,
        ),
        Field(
            "hsts",
            Section(
                (
                    Field(
                        "max_age",
                        Number(0, 63072000, "seconds"),
                        "How long a browser refuses plain HTTP and invalid certificates after its last visit. "
                        "It cannot be revoked earlier; 0 revokes it for browsers that visit again. Without it, "
                        "no header is sent.",
                        "max_age: 63072000",
                    ),
                    Field(
                        "subdomains",
                        Flag(),
                        "Also cover all names below the domains, including those that other machines serve.",
                        "subdomains: true",
                        default=False,
                    ),
                    Field(
                        "preload",
                        Flag(),
                        "Allow browsers to build it in: practically irrevocable.",
                        "preload: true",
                        default=False,
                    ),
                )
            ),
            "Strict-Transport-Security, off unless `max_age` is given. The app's own header takes precedence.",
            "hsts: {max_age: 63072000}",
        ),
    )
)

NGINX = Section(
    tuple(
        Field(
            place,
            Text(servers.nginx_directives, "directives of nginx", example, show=False),
            f"Directives {where}.",
            f"{place}: {example}",
        )
        for place, where, example in (
            (
                "http",
                "before the app's servers, in the `http` block that all apps share, such as zones, maps and "
                "upstreams. Prefix their names with the app's name, because they must be unique",
                "limit_req_zone $binary_remote_addr zone=blog_login:1m rate=5r/m;",
            ),
            (
                "server",
                "in the app's own server, such as further locations",
                "location = /ping { return 204; }",
            ),
            ("app", "in the location that passes requests to the app", "uwsgi_buffering off;"),
        )
    )
)

APP = Section(
    (
        Field(
            "name",
            Text(
                app_names.name,
                "lowercase letters, digits and hyphens, starting with a letter, at most 31 characters",
                "blog",
            ),
            "Name of the app, of its Unix user and of every path. The same name on two hosts means the same "
            "app: only `env` and `web` may differ.",
            "name: blog",
            required=True,
        ),
        Field(
            "state",
            Choice(("present", "absent")),
            "With `absent`, `site.yml` archives the app's data and then removes the app from the host, with its"
            " user and its files. Only `name` is required then, and the domains are free for other apps.",
            "state: absent",
            default="present",
        ),
        Field(
            "renamed_from",
            Text(app_names.name, "name of an app", "diary"),
            "Old name of the app. `site.yml` moves data and history to the new name; the old app keeps serving "
            "until the new one is live, and is then removed. Afterwards you may remove this key.",
            "renamed_from: diary",
        ),
        Field(
            "domains",
            ListOf(Text(domains.domain, "host name in lowercase, IDNA form", "blog.example.com"), 1, True),
            "Host names of the app. The first is canonical, the others redirect to it. No other app of the "
            "inventory may have them, unless at another `path`.",
            "domains: [blog.example.com, www.blog.example.com]",
            required=True,
        ),
        Field(
            "source",
            SOURCE,
            "Where the code comes from.",
            'source: {git: "https://git.example.com/team/blog.git", version: v1.4.0}',
            required=True,
        ),
        Field(
            "wsgi",
            Text(processes.wsgi, "module:callable", "blog.wsgi:application"),
            "The WSGI callable.",
            "wsgi: blog.wsgi:application",
        ),
        Field(
            "paste",
            Text(
                processes.paste,
                "PasteDeploy file inside the code, optionally with #section",
                "production.ini",
            ),
            "PasteDeploy file of the app (as Pyramid uses it); `#name` chooses the section `[app:name]`.",
            "paste: production.ini",
        ),
        Field(
            "requirements",
            CODE_FILE,
            "File with the pinned requirements. By default the first of uv.lock, requirements.txt and "
            "pyproject.toml.",
            "requirements: requirements/production.txt",
        ),
        Field(
            "python",
            Text(sources.python, "minor version", "3.12"),
            "Python of this app; the host must have it in /usr/bin, /usr/local/bin or "
            "`python_apps_interpreters`. By default the Python of the host's uWSGI; with any other the app gets"
            " its own uWSGI from the package index.",
            'python: "3.12"',
        ),
        Field(
            "files",
            MapOf(
                CODE_FILE,
                Text(paths.controller_path, "template on the controller", "templates/blog.ini.j2"),
            ),
            "Templates that the controller renders into the code of each release, with the variables of the "
            "host, `app` and `secrets`. Only the app's user can read them. A relative path starts at the root "
            "of the bundle.",
            "files: {config/blog.ini: templates/blog.ini.j2}",
            default={},
        ),
        Field(
            "build",
            ListOf(COMMAND),
            "Commands that build the release, run in the code with the venv's programs on PATH, before any "
            "process of the release starts.",
            "build: [python manage.py collectstatic --noinput]",
            default=(),
        ),
        Field(
            "migrate",
            COMMAND,
            "Command that migrates the database to this release. Runs in every deploy before the new release "
            "starts, on one host after the other.",
            "migrate: python manage.py migrate --noinput",
        ),
        Field(
            "workers",
            MapOf(PROCESS_NAME, WORKER),
            "Long-running commands beside the web app, such as Celery, RQ or a Django command. They follow the release.",
            "workers: {jobs: {command: celery --app blog worker}}",
            default={},
        ),
        Field(
            "schedule",
            MapOf(PROCESS_NAME, SCHEDULED),
            "Scheduled commands. They follow the release.",
            'schedule: {nightly: {command: python -m blog.report, at: "03:00"}}',
            default={},
        ),
        Field(
            "hooks",
            Section(
                tuple(
                    Field(
                        name,
                        ListOf(COMMAND),
                        f"Commands {when}.",
                        f"{name}: [./bin/notify {name}]",
                        default=(),
                    )
                    for name, when in HOOKS
                )
            ),
            "Commands around the phases of a deploy, run as the app's user.",
            "hooks: {after_switch: [./bin/warm-cache]}",
        ),
        Field(
            "static",
            MapOf(Text(paths.static_url, "URL path", "/static/"), CODE_PATH),
            "Files that nginx serves itself. A URL with a trailing slash is a directory, any other URL a single"
            " file.",
            "static: {/static/: staticfiles, /robots.txt: web/robots.txt}",
            default={},
        ),
        Field(
            "persistent",
            ListOf(CODE_PATH, unique=True),
            "Directories inside the code that survive releases and that the app may write to.",
            "persistent: [media]",
            default=(),
        ),
        Field(
            "env",
            MapOf(
                Text(environment.env_name, "name", "DJANGO_SETTINGS_MODULE"),
                Text(environment.env_value, "text", "blog.settings", show=False),
            ),
            "Environment variables. Values are strings: quote numbers and yes/no.",
            'env: {DJANGO_SETTINGS_MODULE: blog.settings, WORKERS: "4"}',
            default={},
        ),
        Field(
            "secrets",
            ListOf(ENV_NAME, unique=True),
            "Names of additional environment variables, with values in `vault_python_apps_secrets.<app>`.",
            "secrets: [SECRET_KEY, DATABASE_URL]",
            default=(),
        ),
        Field(
            "health",
            Section(
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
                        "How long a new release may take to become healthy.",
                        "timeout: 60",
                        default=60,
                    ),
                )
            ),
            "Health gate that a new release must pass.",
            "health: {path: /healthz, status: [200]}",
        ),
        Field(
            "server",
            Choice(("uwsgi", "gunicorn")),
            "Server that runs the WSGI callable. `gunicorn` comes from the app's own venv, so add it to the "
            "requirements.",
            "server: gunicorn",
            default="uwsgi",
        ),
        Field(
            "web",
            Section(
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
                )
            ),
            "Number of web processes and threads.",
            "web: {processes: 4, threads: 2}",
        ),
        Field(
            "on_demand",
            Flag(),
            "Let an idle app sleep: after `idle` seconds without a request the app ends and takes no memory; "
            "the next request starts it and waits for it.",
            "on_demand: true",
            default=False,
        ),
        Field(
            "idle",
            Number(10, 86400, "seconds"),
            "How long an app with `on_demand` stays awake without a request. Refused without `on_demand`.",
            "idle: 300",
            default=300,
        ),
        Field(
            "limits",
            Section(
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
            ),
            "Limits of one request, and of the app as a whole.",
            "limits: {body: 100m, request_timeout: 120, memory: 512M}",
        ),
        Field(
            "tls",
            TLS,
            "HTTPS for the app's domains.",
            "tls: {provider: acme}",
        ),
        *traffic_fields.FIELDS,
        Field(
            "nginx",
            NGINX,
            "Directives in nginx's own language, for everything without a key. If nginx refuses them, the site "
            "keeps its last working configuration.",
            "nginx: {server: 'location = /ping { return 204; }'}",
        ),
    ),
    exactly_one_of=("wsgi", "paste"),
)

#: An app that is to go: its name says which. What else still stands there has to be right, but is not needed.
ABSENT = replace(
    APP,
    fields=tuple(replace(field, required=field.name == "name") for field in APP.fields),
    exactly_one_of=(),
)

#: May depend on the machine, so they may differ where one app runs on several hosts.
PER_HOST = ("env", "web")
