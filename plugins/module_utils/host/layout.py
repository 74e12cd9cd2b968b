"""Where everything of an app lives on a host. Every path of the bundle is computed here and nowhere else."""

from __future__ import annotations

import re

APPS = "/srv/apps"
RUN = "/run/emperor-stack"
CONFIG = "/etc/emperor-stack"
LIBRARY = "/usr/local/lib/emperor-stack"
#: A link to the standard input of whoever opens it: what uv reads as its user's configuration (`uv_settings`).
UV_CONFIG = f"{LIBRARY}/uv-config/uv/uv.toml"
UNITS = "/etc/systemd/system"
TRANSIENT_UNITS = "/run/systemd/transient"
#: The journal that everything writes to which runs an app, beside the system's own; see role base.
LOG_NAMESPACE = "apps"
#: What the bundle knows of the host itself, certificates included.
HOST_STATE = "/var/lib/emperor-stack"
TIMER_STAMPS = "/var/lib/systemd/timers"
BACKUPS = "/var/backups/emperor-stack"
TMPFILES = "/etc/tmpfiles.d/emperor-stack.conf"

#: Of nginx and of Apache, of which a host may have had both: each app's configuration, what users add to it, its logs.
FRONT_SITES = ("/etc/nginx/emperor-stack/sites", "/etc/apache2/emperor-stack/sites")
FRONT_LOCAL = ("/etc/nginx/emperor-stack/local", "/etc/apache2/emperor-stack/local")
FRONT_LOGS = ("/var/log/nginx", "/var/log/apache2")

#: Their units, in the same order.
FRONT_UNITS = ("nginx.service", "apache2.service")
#: Where nginx keeps answers of apps that want it; Debian's package makes the directory.
FRONT_CACHES = "/var/lib/nginx"

#: A file named as an app stands here while the app is in maintenance. nginx looks at every request.
MAINTENANCE = f"{CONFIG}/maintenance"

#: How many processes each app of the host may have, as the last run computed it.
SIZES = f"{HOST_STATE}/sizes.json"

#: What the host's command `emperor` knows of each app, as the last run wrote it; root only, as secrets are in there.
KNOWN_APPS = f"{HOST_STATE}/apps"

#: Homes of the users that deploy an app over SSH, with their keys: root's, as all that is in there.
LOGINS = f"{HOST_STATE}/logins"

#: Repositories that versions of apps are pushed to; root only.
PUSHED = f"{HOST_STATE}/pushed"

#: The user that nginx runs as on Debian; the group of every socket directory and published file.
FRONT_USER = "www-data"


def known_app(app: str) -> str:
    """What `emperor` knows of *app*."""
    return f"{KNOWN_APPS}/{app}.json"


def login_user(app: str) -> str:
    """Who logs in to deploy *app*. No app is called so: names of apps have no underscore."""
    return f"deploy_{app}"


def login_home(app: str) -> str:
    return f"{LOGINS}/{app}"


def login_keys(app: str) -> str:
    """Who may log in."""
    return f"{login_home(app)}/.ssh/authorized_keys"


def pushed(app: str) -> str:
    """The repository that versions of *app* are pushed to, root's."""
    return f"{PUSHED}/{app}.git"


def pushed_url(app: str) -> str:
    """What `source.git` of an app is that is deployed from pushes."""
    return f"file://{HOST_STATE}/pushed/{app}.git"


def all_current_steps() -> str:
    """Where runs say what they do now. No app is called so: earlier versions had a directory per app beside it."""
    return f"{RUN}/current_steps"


def current_steps(token: str) -> str:
    """What the run *token* is doing now, for its controller."""
    return f"{all_current_steps()}/{token}"


def app_root(app: str) -> str:
    """Everything of *app* that survives a reboot. Mode 0711, owner root: others may pass, not list."""
    return f"{APPS}/{app}"


def active(app: str) -> str:
    """The symlink whose rename is the switch. It points at a directory of `activations`."""
    return f"{app_root(app)}/active"


def active_socket(app: str) -> str:
    """What nginx connects to; resolved anew at every connect."""
    return f"{active(app)}/app.sock"


def active_public(app: str) -> str:
    """Static files of the live release, laid out as the URLs are."""
    return f"{active(app)}/release/public"


def releases(app: str) -> str:
    return f"{app_root(app)}/releases"


def release(app: str, release_id: str) -> str:
    return f"{releases(app)}/{release_id}"


def launch(directory: str) -> list[str]:
    """What begins every process of the release in *directory*; see roles/python_apps/files/launch.py."""
    # Without the modules of others: they take time to find. Whatever locale the host has, values stay byte for byte.
    return ["/usr/bin/python3", "-IS", "-X", "utf8", f"{directory}/launch.py"]


def release_units(app: str, release_id: str) -> str:
    """The release's units; in those of an activation, `@ACTIVATION@` stands for its name."""
    return f"{release(app, release_id)}/units"


def activations(app: str) -> str:
    return f"{app_root(app)}/activations"


def shared(app: str) -> str:
    """The app's persistent files, which outlive releases."""
    return f"{app_root(app)}/shared"


def state(app: str) -> str:
    """Lock, history and counters; root only."""
    return f"{app_root(app)}/state"


def cache(app: str) -> str:
    """The app user's home: package cache and other things that may be deleted."""
    return f"{app_root(app)}/cache"


def activation_mark(app: str, activation: str) -> str:
    """An empty file by whose name a condition of systemd, which compares no links, sees whether `active` leads here."""
    return f"{activations(app)}/{activation}/{activation}"


def activation_vassal(app: str, activation: str) -> str:
    """The vassal's config of one activation: its release's, but for what only an activation can know."""
    return f"{activations(app)}/{activation}/vassal.ini"


def sockets() -> str:
    """Where sockets of all apps are bound, by the emperor or by systemd. Mode 0711, owner root."""
    return f"{RUN}/sockets"


def socket_directory(app: str) -> str:
    """Mode 0750, owner root, group of nginx, which connects.

    The app can put nothing there: no link to the socket of another app in the place of its own, and no file that fills
    /run, in which the host keeps what it needs to start or stop anything.
    """
    return f"{sockets()}/{app}"


def socket(app: str, activation: str) -> str:
    return f"{socket_directory(app)}/{activation}.sock"


def stats_socket(app: str, activation: str) -> str:
    """uWSGI's statistics, bound by the app itself: on its own disk space; untrusted."""
    return f"{cache(app)}/{activation}.stats"


# Earlier versions let each app bind its sockets in a directory of its own below RUN, and the emperor those of sleeping apps
# in another. An activation that they have started is there until it is replaced; see `old_sockets`.


def old_socket_directory(app: str) -> str:
    """Owner *app*: an earlier version's."""
    return f"{RUN}/{app}"


def old_waiting() -> str:
    return f"{RUN}/waiting"


def old_waiting_directory(app: str) -> str:
    """Owner root: an earlier version's, for apps that sleep."""
    return f"{old_waiting()}/{app}"


def old_stats_socket(app: str, activation: str) -> str:
    return f"{old_socket_directory(app)}/{activation}.stats"


def started(activation: str) -> str:
    """Stands while units of *activation* may run although it is not live; gone after a reboot."""
    return f"{RUN}/{activation}.started"


# An app's name has no underscore, so that no unit of app `blog` looks like one of `blog-a`.


def activation_unit(app: str, process: str, activation: str, number: int = 1) -> str:
    """The unit of a process (`web` or a worker) of one activation; *number* counts the copies of a worker."""
    serial = activation.rpartition("@")[2]
    return f"app_{app}_{process}@{serial}{f'-{number}' if number > 1 else ''}.service"


def socket_unit(service: str) -> str:
    """The unit by which systemd binds the socket of web server *service*, which has the name of it but for the kind."""
    return f"{service.removesuffix('.service')}.socket"


def release_unit(app: str, name: str, kind: str) -> str:
    """The `timer` or the `service` of a scheduled command: they follow the live release."""
    return f"app_{app}_{name}.{kind}"


def unit_file(unit: str) -> str:
    return f"{UNITS}/{unit}"


def unit_at_boot(unit: str) -> str:
    """The link by which systemd starts *unit* at boot."""
    target = "timers.target" if unit.endswith(".timer") else "multi-user.target"
    return f"{UNITS}/{target}.wants/{unit}"


def app_slice(app: str) -> str:
    """The systemd slice of everything that runs for *app*, whose limits hold for all of it together.

    A hyphen in a slice's name means "inside of", so those of the app's name are escaped as systemd-escape does.
    """
    escaped = app.replace("-", "\\x2d")
    return f"apps-{escaped}.slice"


def temporary(app: str) -> str:
    """TMPDIR of everything that runs for the app: in /tmp it would meet the other apps."""
    return f"{cache(app)}/tmp"  # noqa: S108


def emperor_stats(emperor: str) -> str:
    """Where an emperor says its statistics."""
    return f"{RUN}/emperor-{emperor}.stats"


def emperor_started(emperor: str) -> str:
    """What it was started with: a digest of its unit and its settings."""
    return f"{RUN}/emperor-{emperor}.started"


def vassals(emperor: str) -> str:
    """The directory that emperor *emperor* (`a` or `b`) watches."""
    return f"{CONFIG}/vassals/{emperor}"


#: Certificates, their keys, the accounts at authorities; root only. nginx's master reads it before it gives up root.
TLS = f"{HOST_STATE}/tls"

#: What the last run of site.yml wanted, for the timer; has secrets of DNS providers in it.
TLS_WANTED = f"{TLS}/wanted.json"

#: Held while something in there changes.
TLS_LOCK = f"{TLS}/lock"

#: lego's directory of accounts, one for each authority and address.
TLS_ACCOUNTS = f"{TLS}/accounts"

#: Certificates of the authority's own server, where it is a private one.
TLS_AUTHORITY = f"{CONFIG}/acme-authority.crt"

#: What is served below /.well-known/acme-challenge/ on port 80 of every site that asks an authority.
CHALLENGES = f"{HOST_STATE}/challenges"


def certificates(app: str) -> str:
    """All certificates of *app*, what the last attempts said, and `live`."""
    return f"{TLS}/apps/{app}"


def live_certificate(app: str) -> str:
    """The symlink whose rename changes certificate and key at once."""
    return f"{certificates(app)}/live"


def certificate(app: str) -> str:
    return f"{live_certificate(app)}/certificate.pem"


def certificate_key(app: str) -> str:
    return f"{live_certificate(app)}/key.pem"


# Removal


def leaving(app: str) -> str:
    """What `app_root` is renamed to when its data is in an archive: from then on it only has to be deleted."""
    return f"{APPS}/.leaving-{app}"


def front_sites(app: str) -> dict[str, str]:
    """The app's site by the unit that may serve it. The unit's role removes it, with a check of the whole configuration."""
    return {unit: f"{sites}/{app}.conf" for unit, sites in zip(FRONT_UNITS, FRONT_SITES, strict=True)}


def front_locals(app: str) -> list[str]:
    """The user's own directives for the app. Never removed."""
    return [f"{local}/{app}" for local in FRONT_LOCAL]


def front_cache(app: str) -> str:
    """What nginx keeps of the app's answers; nginx makes it, and gives it to its own user."""
    return f"{FRONT_CACHES}/emperor-stack-{app}"


def maintenance(app: str) -> str:
    """Stands while visitors of *app* get the page of maintenance."""
    return f"{MAINTENANCE}/{app}"


def everything_of(app: str) -> list[tuple[str, str]]:
    """Where exactly this app has something on a host: directories, each with what the whole names of its entries match.

    Whole names, and no globs: those of `blog` match nothing of `blog2`, `my-blog` or `blog-2`, since what follows the name
    of an app is never a letter, a digit or a hyphen. A path that is made for one app anywhere has to be listed here.
    """
    name = re.escape(app)
    unit = rf"app_{name}_[^_]+\.(?:service|socket|timer)"
    number = rf"{name}@[0-9]+"
    # A run that died while it wrote leaves the new file beside the old one.
    half = r"(?:\.new-[0-9]+)?"
    return [
        (UNITS, unit + half),
        (f"{UNITS}/timers.target.wants", unit + half),
        (f"{UNITS}/multi-user.target.wants", unit + half),
        (UNITS, re.escape(app_slice(app))),
        (TIMER_STAMPS, f"stamp-{unit}"),
        (vassals("a"), rf"{number}\.ini(?:\.socket)?{half}"),
        (vassals("b"), rf"{number}\.ini(?:\.socket)?{half}"),
        (RUN, rf"{name}|{number}\.started{half}"),
        (sockets(), name),
        (old_waiting(), name),
        # The one that serves has none any more; a web server that was given up keeps its sites.
        *((sites, rf"{name}\.conf") for sites in FRONT_SITES),
        # Debian's logrotate numbers old logs; with `dateext` they carry their day.
        *((logs, rf"{name}\.(?:access|error)\.log(?:[.-][0-9]+)?(?:\.gz)?") for logs in FRONT_LOGS),
        (f"{TLS}/apps", name),
        (KNOWN_APPS, rf"{name}\.json{half}"),
        (LOGINS, name),
        (PUSHED, rf"{name}\.git"),
        (FRONT_CACHES, f"emperor-stack-{name}"),
        (MAINTENANCE, name),
        (APPS, rf"{name}|\.leaving-{name}"),
    ]
