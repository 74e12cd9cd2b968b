"""The schema of `python_apps`, declared once: checked, completed and documented from here."""

from __future__ import annotations

from dataclasses import replace

from ....module_utils.values import names as app_names
from ..kinds import Choice, Field, Flag, ListOf, MapOf, Number, OneOrMore, Section, Text
from ..rules import domains, environment, paths, processes, sources
from . import logins, visitors
from .data import DATABASE
from .fleet import FLEET
from .nginx import NGINX
from .processes import HOOKS_OF_A_DEPLOY, PROCESS_NAME, SCHEDULED, WORKER
from .serving import HEALTH, LIMITS, WEB
from .source import SOURCE
from .texts import CODE_FILE, CODE_PATH, COMMAND, DEPENDENCY_GROUP, ENV_NAME, REQUIREMENTS
from .tls import TLS

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
            "Host names of the app. The first is canonical, the others redirect to it. A wildcard such as "
            "`*.example.com`, quoted and not the first, does not redirect: the app answers for every name below that "
            "no app has by itself. No other app of the inventory may have them, unless at another `path`.",
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
            "asgi",
            Text(processes.asgi, "module:callable", "app.main:app"),
            "The ASGI callable of a FastAPI, Starlette, Django or other asynchronous app. gunicorn's own ASGI worker "
            "serves it, with WebSockets and server-sent events.",
            "asgi: app.main:app",
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
            "pythonpath",
            ListOf(CODE_PATH, unique=True),
            "Directories inside the code from which every process of the app imports modules, besides the code "
            "itself.",
            "pythonpath: [src]",
            default=(),
        ),
        Field(
            "requirements",
            REQUIREMENTS,
            "File that names the dependencies. By default the first of uv.lock, requirements.txt, pylock.toml, "
            "poetry.lock, pdm.lock, Pipfile.lock and pyproject.toml.",
            "requirements: requirements/production.txt",
        ),
        Field(
            "extras",
            ListOf(DEPENDENCY_GROUP, unique=True),
            "Optional dependencies of the project to install. For uv.lock, pylock.toml, poetry.lock, pdm.lock and "
            "pyproject.toml.",
            "extras: [postgres]",
            default=(),
        ),
        Field(
            "groups",
            ListOf(DEPENDENCY_GROUP, unique=True),
            "Dependency groups to install beside the project's own dependencies; of Pipfile.lock its categories. "
            "Groups for development are left out unless named here.",
            "groups: [production]",
            default=(),
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
            "starts; of several hosts, on those that `migrate_on` names.",
            "migrate: python manage.py migrate --noinput",
        ),
        Field(
            "migrate_on",
            Choice(("first", "each")),
            "Where `migrate` and its hooks run when the app is on several hosts: on the `first` one of the inventory, for a "
            "database that the hosts share; or on `each`, one after the other, for a database of the host's own, such as "
            "SQLite in a persistent directory.",
            "migrate_on: each",
            default="first",
        ),
        Field(
            "fleet",
            FLEET,
            "How a deploy goes over several hosts.",
            "fleet: {canary: {hosts: 1}}",
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
            HOOKS_OF_A_DEPLOY,
            "Commands around the phases of a deploy, run as the app's user.",
            "hooks: {after_switch: [./bin/warm-cache]}",
        ),
        Field(
            "static",
            MapOf(Text(paths.static_url, "URL path", "/static/"), OneOrMore(CODE_PATH)),
            "Files that nginx serves itself. A URL with a trailing slash is a directory, any other URL a single"
            " file. A directory may be a list of directories: of files with the same name, the first one is "
            "served.",
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
            "persistent_files",
            ListOf(CODE_FILE, unique=True),
            "Files inside the code that survive releases and that the app may write to, such as a database of "
            "SQLite. Each is a link to a file in a directory of its own, so that SQLite can write its journal.",
            "persistent_files: [db.sqlite3]",
            default=(),
        ),
        Field(
            "env",
            MapOf(
                Text(environment.env_name, "name", "DJANGO_SETTINGS_MODULE"),
                Text(environment.env_value, "text", "blog.settings", show=False),
            ),
            "Environment variables of all processes of the app. Values are strings: quote numbers and yes/no. "
            "`@CODE@` stands for the directory of the release's code, `@SHARED@` for that of the persistent data.",
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
            "database",
            DATABASE,
            "Database of the app, given to all of its processes as `DATABASE_URL`: [databases.md](../databases.md).",
            "database: postgresql",
        ),
        Field(
            "redis",
            Flag(),
            "A user of Redis (Debian 12) or Valkey (Debian 13) for queues, caches and channels, given as `REDIS_URL`. Its "
            "keys and channels begin with `REDIS_PREFIX`, the app's name and a colon: [databases.md](../databases.md).",
            "redis: true",
            default=False,
        ),
        Field(
            "health",
            HEALTH,
            "Health gate that a new release must pass.",
            "health: {path: /healthz, status: [200]}",
        ),
        Field(
            "server",
            Choice(("uwsgi", "gunicorn")),
            "Server that runs the WSGI callable. `gunicorn` comes from the app's own venv, so add it to the "
            "requirements. An app with `asgi` always has gunicorn, which it gets where its requirements bring none.",
            "server: gunicorn",
            default="uwsgi",
        ),
        Field(
            "web",
            WEB,
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
            LIMITS,
            "Limits of one request, and of the app as a whole.",
            "limits: {body: 100m, request_timeout: 120, memory: 512M}",
        ),
        Field(
            "tls",
            TLS,
            "HTTPS for the app's domains.",
            "tls: {provider: acme}",
        ),
        *visitors.FIELDS,
        *logins.FIELDS,
        Field(
            "nginx",
            NGINX,
            "Directives in nginx's own language, for everything without a key. If nginx refuses them, the site "
            "keeps its last working configuration.",
            "nginx: {server: 'location = /ping { return 204; }'}",
        ),
    ),
    exactly_one_of=("wsgi", "asgi", "paste"),
)

#: An app that is to go: its name says which. What else still stands there has to be right, but is not needed.
ABSENT = replace(
    APP,
    fields=tuple(replace(field, required=field.name == "name") for field in APP.fields),
    exactly_one_of=(),
)

#: May depend on the machine, so they may differ where one app runs on several hosts.
PER_HOST = ("env", "web")
