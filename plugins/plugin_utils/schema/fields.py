"""The schema of `python_apps`, declared once: checked, completed and documented from here."""

from __future__ import annotations

from dataclasses import replace

from ...module_utils.systemd.unit_names import LONGEST_STOP
from ...module_utils.values import rules as rule
from . import traffic_fields
from .kinds import Choice, Field, Flag, ListOf, MapOf, Number, Path, Section, Text

DEFAULT_REQUEST_TIMEOUT = 60

COMMAND = Text(rule.command, "command, one line", "python manage.py check --deploy", show=False)
CODE_PATH = Path(rule.relative_path, "path inside the code", "staticfiles")
CODE_FILE = Path(rule.file_path, "file inside the code", "requirements.txt")
ENV_NAME = Text(rule.env_name, "name of an environment variable", "SECRET_KEY")

#: In the order in which a deploy passes them.
HOOKS = (
    ("before_prepare", "when code and venv are there, before `build`"),
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
            Text(rule.git_url, "URL that git can clone", "https://git.example.com/team/blog.git", show=False),
            "Repository to take the code from. Needs `version`.",
            "git: https://git.example.com/team/blog.git",
        ),
        Field(
            "version",
            Text(rule.git_version, "tag, branch or commit", "v1.4.0"),
            "What of the repository to deploy. A tag or a commit is the same on every host and every day; "
            "a branch is "
            "not.",
            "version: v1.4.0",
        ),
        Field(
            "key",
            Text(rule.key_path, "file on the controller", "secrets/blog_deploy_key", show=False),
            "Private key for a repository that needs one; the file may be encrypted by ansible-vault. A "
            "relative path "
            "starts at the root of the bundle.",
            "key: secrets/blog_deploy_key",
        ),
        Field(
            "known_hosts",
            Text(
                rule.known_hosts, "lines as in known_hosts", "git.example.com ssh-ed25519 AAAA…", show=False
            ),
            "Host keys of the git server, as `ssh-keyscan` prints them; compare them with what its owner "
            "publishes.",
            "known_hosts: git.example.com ssh-ed25519 AAAA…",
        ),
        Field(
            "path",
            Text(rule.controller_path, "directory on the controller", "examples/django"),
            "Directory on the controller to take the code from. A relative path starts at the root of the "
            "bundle.",
            "path: examples/django",
        ),
        Field(
            "archive",
            Text(rule.archive, "URL, or file on the controller", "dist/blog-1.4.0.tar.gz", show=False),
            "Archive to take the code from (tar with gz, xz or bz2, or zip): a URL that the host fetches, or a file on "
            "the controller. A single directory at its top is left out. Needs `checksum`.",
            "archive: https://example.com/blog-1.4.0.tar.gz",
        ),
        Field(
            "checksum",
            Text(rule.checksum, "sha256:…", f"sha256:{'0' * 64}"),
            "What `sha256sum` says of the archive. It is the revision: another checksum is another release.",
            f"checksum: sha256:{'0' * 64}",
        ),
        Field(
            "package",
            Text(rule.package, "package of the index with its exact version", "kinto==25.1.0"),
            "A package that is installed from the index; the code then holds nothing but `files`. Pin what it depends "
            "on by `requirements`, which may name one of the `files`.",
            "package: kinto==25.1.0",
        ),
        Field(
            "subdirectory",
            CODE_PATH,
            "The directory of a repository, a directory or an archive that is the code; all paths of the app start "
            "there.",
            "subdirectory: services/blog",
        ),
        Field(
            "submodules",
            Flag(),
            "Whether the repository's submodules are fetched too, and theirs, with the same key.",
            "submodules: true",
            default=False,
        ),
    ),
    exactly_one_of=("git", "path", "archive", "package"),
)

PROCESS_NAME = Text(rule.process_name, "small letters, digits and hyphens, a letter first", "jobs")

WORKER = Section(
    (
        Field(
            "command",
            COMMAND,
            "What runs, in the release's code with the venv's programs on PATH. It is started again whenever it ends.",
            "command: celery --app blog worker",
            required=True,
        ),
        Field("count", Number(1, 64), "How many of it run side by side.", "count: 2", default=1),
        Field(
            "stop_signal",
            Choice(("TERM", "INT", "QUIT", "HUP", "USR1", "USR2")),
            "The signal that makes it finish its work and end.",
            "stop_signal: INT",
            default="TERM",
        ),
        Field(
            "stop_timeout",
            Number(1, LONGEST_STOP, "seconds"),
            "How long it may take to end; it is killed then.",
            "stop_timeout: 60",
            default=60,
        ),
        Field(
            "overlap",
            Flag(),
            "Whether the new release's may run beside the old one's during a deploy. With false the old one has ended "
            "before the new one starts, right after the switch.",
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
            "What runs, in the release's code with the venv's programs on PATH; never twice at once.",
            "command: python -m blog.report",
            required=True,
        ),
        Field(
            "at",
            Text(rule.calendar, "time, or calendar expression of systemd", "03:00"),
            "When: a time of the day, or what `man systemd.time` calls a calendar event, perhaps with a time zone at its "
            "end. Quote it.",
            'at: "Mon..Fri 03:00 Europe/Berlin"',
        ),
        Field(
            "every",
            Text(rule.span, "number with s, m, h or d", "15m"),
            "How long after its last start it starts again; the first time that long after a boot or the first deploy.",
            "every: 15m",
        ),
        Field(
            "missed",
            Choice(("run", "skip")),
            "Whether it runs at once, once, when the host was off at a time of `at`. `run` by default.",
            "missed: skip",
        ),
        Field(
            "timeout",
            Number(1, 604800, "seconds"),
            "How long it may run; it is ended then.",
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
            "Where the certificate comes from. `acme`: a certificate authority, by the role's `tls_acme_*` "
            "variables; until it has answered, and where it does not, the site has a self-signed one. `files`: "
            "from the controller. `self_signed`: made on the host. `none`: plain HTTP, such as behind a proxy "
            "that ends TLS.",
            "provider: acme",
            default="none",
        ),
        Field(
            "files",
            Section(
                (
                    Field(
                        "certificate",
                        Text(rule.controller_path, "file on the controller", "secrets/blog.crt", show=False),
                        "The certificate in PEM, followed by those of its intermediate authorities.",
                        "certificate: secrets/blog.crt",
                    ),
                    Field(
                        "key",
                        Text(rule.key_path, "file on the controller", "secrets/blog.key", show=False),
                        "Its private key in PEM, without a passphrase; the file may be encrypted by "
                        "ansible-vault.",
                        "key: secrets/blog.key",
                    ),
                )
            ),
            "Certificate and key for `provider: files`. Relative paths start at the root of the bundle.",
            "files: {certificate: secrets/blog.crt, key: secrets/blog.key}",
        ),
        Field(
            "challenge",
            Choice(("http-01", "dns-01")),
            "How the authority sees that the domains are yours: by a file that it fetches on port 80, or by a "
            "record in DNS, which works without a port open to it.",
            "challenge: dns-01",
            default="http-01",
        ),
        Field(
            "dns_provider",
            Text(rule.dns_provider, "name that `lego dnshelp` lists", "hetzner"),
            "Who hosts the domains' DNS, for `dns-01`. Its credentials stand in `tls_dns_environment`.",
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
                        "How long a browser that came once refuses plain HTTP and bad certificates. It cannot be "
                        "taken back sooner; 0 takes it back from browsers that come again. Not given: nothing is "
                        "said.",
                        "max_age: 63072000",
                    ),
                    Field(
                        "subdomains",
                        Flag(),
                        "It holds for all names below the domains too, whoever serves them.",
                        "subdomains: true",
                        default=False,
                    ),
                    Field(
                        "preload",
                        Flag(),
                        "Browsers may build it in. Practically for ever.",
                        "preload: true",
                        default=False,
                    ),
                )
            ),
            "Strict-Transport-Security, off unless `max_age` is given. What the app itself sends goes first.",
            "hsts: {max_age: 63072000}",
        ),
    )
)

NGINX = Section(
    tuple(
        Field(
            place,
            Text(rule.nginx_directives, "directives of nginx", example, show=False),
            f"Directives {where}.",
            f"{place}: {example}",
        )
        for place, where, example in (
            (
                "http",
                "before the app's servers, in the `http` block that all apps share, such as zones, maps and upstreams. "
                "Begin their names with the app's, since no two apps may have the same",
                "limit_req_zone $binary_remote_addr zone=blog_login:1m rate=5r/m;",
            ),
            (
                "server",
                "in the app's own server, such as further locations",
                "location = /ping { return 204; }",
            ),
            ("app", "in the location that hands requests to the app", "uwsgi_buffering off;"),
        )
    )
)

APP = Section(
    (
        Field(
            "name",
            Text(rule.name, "small letters, digits and hyphens, a letter first, at most 31", "blog"),
            "Name of the app, of its Unix user and of every path. The same name on two hosts means the "
            "same app on both: "
            "only `env` and `web` may differ between them.",
            "name: blog",
            required=True,
        ),
        Field(
            "state",
            Choice(("present", "absent")),
            "With `absent`, `site.yml` removes the app from the host, with its user and its files, after it has put its "
            "data into an archive. Nothing but `name` is needed then, and its domains are free for other apps.",
            "state: absent",
            default="present",
        ),
        Field(
            "renamed_from",
            Text(rule.name, "name of an app", "diary"),
            "The name that the app had before. `site.yml` takes over the data and the history of that app, which serves on "
            "until this one is live and is removed then. Once that is done the key may go or stay.",
            "renamed_from: diary",
        ),
        Field(
            "domains",
            ListOf(Text(rule.domain, "host name in small letters, IDNA form", "blog.example.com"), 1, True),
            "Host names that reach the app. The first is canonical, the others redirect to it. No other "
            "app of the "
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
            Text(rule.wsgi, "module:callable", "blog.wsgi:application"),
            "The WSGI callable.",
            "wsgi: blog.wsgi:application",
        ),
        Field(
            "paste",
            Text(rule.paste, "PasteDeploy file inside the code, perhaps with #section", "production.ini"),
            "The PasteDeploy file of an app (Pyramid's way); `#name` chooses the section `[app:name]`.",
            "paste: production.ini",
        ),
        Field(
            "requirements",
            CODE_FILE,
            "File with the pinned requirements. By default uv.lock, requirements.txt or pyproject.toml is "
            "looked for.",
            "requirements: requirements/production.txt",
        ),
        Field(
            "python",
            Text(rule.python, "minor version", "3.12"),
            "Python of this app, where the host has it in /usr/bin, /usr/local/bin or `python_apps_interpreters`. By "
            "default that of the host's uWSGI; with any other the app gets a uWSGI of its own from the index.",
            'python: "3.12"',
        ),
        Field(
            "files",
            MapOf(
                CODE_FILE,
                Text(rule.controller_path, "template on the controller", "templates/blog.ini.j2"),
            ),
            "Files rendered into the code of each release, on the controller, with the variables of the host, `app` and "
            "`secrets`. The app's user alone may read them. A relative path starts at the root of the bundle.",
            "files: {config/blog.ini: templates/blog.ini.j2}",
            default={},
        ),
        Field(
            "build",
            ListOf(COMMAND),
            "Commands that make the release ready, run in the code with the venv's programs on PATH, "
            "before anything of it starts.",
            "build: [python manage.py collectstatic --noinput]",
            default=(),
        ),
        Field(
            "migrate",
            COMMAND,
            "Command that brings the database to this release. Runs in every deploy before the new release starts, "
            "on one host after the other.",
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
            "Commands that run at times. They follow the release.",
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
            MapOf(Text(rule.static_url, "URL path", "/static/"), CODE_PATH),
            "Files that nginx serves itself. A URL that ends in a slash is a directory, any other is a "
            "single file.",
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
                Text(rule.env_name, "name", "DJANGO_SETTINGS_MODULE"),
                Text(rule.env_value, "text", "blog.settings", show=False),
            ),
            "Environment variables. Values are texts: quote numbers and yes/no.",
            'env: {DJANGO_SETTINGS_MODULE: blog.settings, WORKERS: "4"}',
            default={},
        ),
        Field(
            "secrets",
            ListOf(ENV_NAME, unique=True),
            "Names of further environment variables, with values in `vault_python_apps_secrets.<app>`.",
            "secrets: [SECRET_KEY, DATABASE_URL]",
            default=(),
        ),
        Field(
            "health",
            Section(
                (
                    Field(
                        "path",
                        Text(rule.health_path, "URL path, perhaps with a query", "/healthz"),
                        "What a new release has to answer before traffic moves to it.",
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
                        "How many good answers in a row are needed.",
                        "answers: 3",
                        default=3,
                    ),
                    Field(
                        "timeout",
                        Number(1, 3600, "seconds"),
                        "How long a new release may take to get there.",
                        "timeout: 60",
                        default=60,
                    ),
                )
            ),
            "The gate that a new release has to pass.",
            "health: {path: /healthz, status: [200]}",
        ),
        Field(
            "server",
            Choice(("uwsgi", "gunicorn")),
            "What runs the WSGI callable. `gunicorn` is taken from the app's own venv, so its requirements name it.",
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
                        "Worker processes. Without a number: one per processor core of the host, fewer where its memory is "
                        "short for all its apps.",
                        "processes: 4",
                    ),
                    Field("threads", Number(1, 256), "Threads of each process.", "threads: 2", default=2),
                    Field(
                        "max_requests",
                        Number(100, 1_000_000_000),
                        "Requests after which a process is renewed: fewer bound what a leaking app takes. Under uWSGI all "
                        "come to it at about the same time, ten seconds after the last time at the earliest, and requests "
                        "wait for a moment.",
                        "max_requests: 20000",
                        default=1_000_000,
                    ),
                )
            ),
            "Size of the app.",
            "web: {processes: 4, threads: 2}",
        ),
        Field(
            "on_demand",
            Flag(),
            "Let the app sleep while nobody asks: without requests for `idle` seconds it ends and takes no memory, and the "
            "next request starts it and waits for it.",
            "on_demand: true",
            default=False,
        ),
        Field(
            "idle",
            Number(10, 86400, "seconds"),
            "How long an app with `on_demand` stays awake without a request. Means nothing without it, and is refused.",
            "idle: 300",
            default=300,
        ),
        Field(
            "limits",
            Section(
                (
                    Field(
                        "body",
                        Text(rule.size, "number with k, m or g", "20m"),
                        "Largest request body, such as an upload.",
                        "body: 20m",
                        default="20m",
                    ),
                    Field(
                        "request_timeout",
                        Number(1, 3600, "seconds"),
                        "Longest time for one request. All other timeouts follow from it.",
                        "request_timeout: 60",
                        default=DEFAULT_REQUEST_TIMEOUT,
                    ),
                    Field(
                        "memory",
                        Text(rule.memory, "number with M or G", "512M"),
                        "Memory that all processes of the app together may take, builds, hooks and migrations included; "
                        "above it the kernel ends one of them, what serves last. "
                        "Without it `python_apps_memory_per_app` holds. A web app with a limit is counted with it when the "
                        "host's memory is shared out.",
                        "memory: 512M",
                    ),
                    Field(
                        "disk",
                        Text(rule.memory, "number with M or G", "2G"),
                        "Disk space that the app's user may fill: its persistent directories, its cache, and its releases "
                        "while they are built. For `/srv/apps` on ext4 or xfs with project quotas (mount option prjquota); "
                        "elsewhere the app is refused, and the message says what is missing.",
                        "disk: 2G",
                    ),
                    Field(
                        "cpu",
                        Number(1, 25600, "percent of one core"),
                        "Processor time that all processes of the app together may take. Without it the app may take what "
                        "others leave, and an equal part when they want it too.",
                        "cpu: 150",
                    ),
                    Field(
                        "tasks",
                        Number(16, 65536),
                        "Processes and threads that the app may have, those of its builds, hooks and migrations included.",
                        "tasks: 512",
                        default=512,
                    ),
                    Field(
                        "open_files",
                        Number(64, 65536),
                        "Files and connections that one web process of the app may have open.",
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
            "Directives in nginx's own language, for what has no key of its own. Where nginx refuses them, the site stays "
            "as it was.",
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
