"""What an app, its neighbours and other users of the host may do to each other: nothing."""

from __future__ import annotations

import json

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from appsite import APPS, App, Site, front, python
from testinfra.host import Host

testinfra_hosts = ["ansible://app_hosts"]

#: A number that no account has: whatever is open to everybody is open to it.
STRANGER = "54321"


def live(host: Host, app: App) -> str:
    """The directory of the live release."""
    path: str = host.check_output("readlink -f %s", f"{layout.active(app.name)}/release")
    return path


def settings(host: Host, release: str) -> str:
    """The settings of the release's server."""
    return next(name for name in ("vassal.ini", "gunicorn.conf.py") if host.file(f"{release}/{name}").exists)


def outsiders(app: App) -> list[str]:
    """All other apps' users, and somebody who is no app at all."""
    return [other.name for other in APPS if other is not app] + [STRANGER]


def connect(host: Host, path: str, user: str) -> str:
    """`connected`, or the name of the error."""
    script = (
        "import errno, socket\n"
        "try:\n"
        f"    socket.socket(socket.AF_UNIX).connect({path!r})\n"
        "    print('connected')\n"
        "except OSError as error:\n"
        "    print(errno.errorcode[error.errno])"
    )
    return python(host, script, user)


def readable(host: Host, paths: list[str], user: str) -> list[str]:
    """Those of *paths* that *user* can read or list."""
    script = (
        "import json, os\n"
        "found = []\n"
        f"for path in {paths!r}:\n"
        "    try:\n"
        "        os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1)\n"
        "        found.append(path)\n"
        "    except PermissionError:\n"
        "        pass\n"
        "print(json.dumps(found))"
    )
    found: list[str] = json.loads(python(host, script, user))
    return found


def test_every_process_of_an_app_is_its_user_without_other_groups(site: Site) -> None:
    uid, gid = (int(site.host.check_output(f"id {option} %s", site.app.name)) for option in ("-u", "-g"))
    identity = site.diagnostics("identity")
    assert (identity["uid"], identity["gid"]) == (uid, gid)
    assert set(identity["groups"]) <= {gid}
    # The processes themselves: the workers, their master, and whatever else runs in that release.
    script = (
        "import glob, json, os\n"
        "found = []\n"
        "for path in glob.glob('/proc/[0-9]*'):\n"
        "    try:\n"
        f"        if os.readlink(path + '/cwd') == {identity['cwd']!r}:\n"
        "            status = dict(line.split(':', 1) for line in open(path + '/status'))\n"
        "            found.append([status[name].split() for name in ('Uid', 'Gid', 'Groups')])\n"
        "    except OSError:\n"
        "        continue\n"
        "print(json.dumps(found))"
    )
    processes = json.loads(python(site.host, script))
    assert len(processes) >= 3, "a master and two workers"
    for uids, gids, groups in processes:
        assert set(uids) == {str(uid)}
        assert set(gids) == {str(gid)}
        assert set(groups) <= {str(gid)}


def test_an_app_runs_in_its_release(site: Site) -> None:
    identity, release = site.diagnostics("identity"), live(site.host, site.app)
    assert identity["cwd"] == f"{release}/code"
    assert identity["prefix"] == f"{release}/venv"
    assert release == layout.release(site.app.name, identity["release"])


def test_only_the_web_server_can_connect_to_the_socket_of_an_app(host: Host, app: App) -> None:
    socket_ = host.check_output("readlink -f %s", layout.active_socket(app.name))
    assert socket_.startswith(layout.socket_directory(app.name))
    assert connect(host, layout.active_socket(app.name), layout.FRONT_USER) == "connected"
    for user in (app.name, *outsiders(app)):
        assert connect(host, socket_, user) == "EACCES", user
        assert connect(host, layout.active_socket(app.name), user) == "EACCES", user


def test_no_app_can_write_anywhere_in_run(host: Host) -> None:
    """It would fill what the whole host needs, or lead visitors of its socket to another's."""
    loose = host.check_output(
        "find /run/emperor-stack ! -type l ! -type s '(' ! -user root -o -perm /0022 ')'"
    )
    assert loose == ""
    assert host.check_output("find /run/emperor-stack/sockets -type s ! -user root") == ""


def test_statistics_of_an_app_are_not_for_its_neighbours(host: Host, app: App) -> None:
    directory = layout.cache(app.name)
    if settings(host, live(host, app)) != "vassal.ini":
        pytest.skip("only uWSGI has statistics")
    found = [name for name in host.file(directory).listdir() if name.endswith(".stats")]
    assert found
    for name in found:
        for user in outsiders(app):
            assert connect(host, f"{directory}/{name}", user) == "EACCES", user


def data(host: Host, app: App) -> list[str]:
    """The app's database and its directory, unless PostgreSQL has it, which scenario data asks."""
    environment = json.loads(host.file(f"{live(host, app)}/environment.json").content_string)
    if "postgresql:" in json.dumps(environment):
        return []
    directory = f"{layout.shared(app.name)}/data"
    return [directory, f"{directory}/{app.name}.sqlite3"]


def test_nobody_else_reads_code_settings_data_or_dependencies(host: Host, app: App) -> None:
    release = live(host, app)
    paths = [
        f"{release}/code",
        f"{release}/code/{app.secret_file}",
        f"{release}/venv",
        f"{release}/venv/bin",
        f"{release}/environment.json",
        f"{release}/{settings(host, release)}",
        f"{release}/release.json",
        *data(host, app),
        layout.releases(app.name),
        layout.state(app.name),
        layout.cache(app.name),
        layout.socket_directory(app.name),
    ]
    missing = [path for path in paths if not host.file(path).exists]
    assert not missing, "the test has to ask for what is there"
    for user in outsiders(app):
        assert readable(host, paths, user) == [], user
    # The web server reads what is public and no more.
    assert f"{release}/public" in readable(host, [f"{release}/public"], layout.FRONT_USER)
    private = [path for path in paths if path != layout.socket_directory(app.name)]
    assert readable(host, private, layout.FRONT_USER) == []


def test_an_app_cannot_change_what_it_runs(host: Host, app: App) -> None:
    release = live(host, app)
    directories = [
        release,
        f"{release}/code",
        f"{release}/venv",
        f"{release}/venv/bin",
        f"{release}/public",
        layout.app_root(app.name),
        layout.releases(app.name),
        layout.activations(app.name),
        host.check_output("readlink -f %s", layout.active(app.name)),
        layout.shared(app.name),
        layout.vassals("a"),
        layout.vassals("b"),
        layout.CONFIG,
        front(host).configuration,
    ]
    files = [
        f"{release}/code/{app.secret_file}",
        f"{release}/{settings(host, release)}",
        f"{release}/environment.json",
        f"{release}/entry.py",
        host.check_output("readlink -f %s", f"{release}/venv/bin/python"),
    ]
    missing = [path for path in directories + files if not host.file(path).exists]
    assert not missing, "the test has to ask for what is there"
    script = (
        "import json, os\n"
        "done = []\n"
        "def create(path):\n"
        "    os.close(os.open(path + '/new', os.O_CREAT | os.O_EXCL))\n"
        "    os.unlink(path + '/new')\n"
        "def write(path):\n"
        "    os.close(os.open(path, os.O_WRONLY))\n"
        "def chmod(path):\n"
        "    os.chmod(path, os.stat(path).st_mode & 0o7777)\n"
        "def rename(path):\n"
        "    os.rename(path, path + '.gone')\n"
        "    os.rename(path + '.gone', path)\n"
        f"attempts = [(create, path) for path in {directories!r}]\n"
        f"attempts += [(action, path) for path in {files!r} for action in (write, chmod, rename)]\n"
        "for action, path in attempts:\n"
        "    try:\n"
        "        action(path)\n"
        "        done.append(action.__name__ + ' ' + path)\n"
        "    except OSError:\n"
        "        pass\n"
        "print(json.dumps(done))"
    )
    assert json.loads(python(host, script, app.name)) == []


def test_an_app_can_write_where_it_was_promised_to(host: Host, app: App) -> None:
    release = live(host, app)
    for path in [f"{release}/code/{'media' if app.name == 'notes' else 'data'}"]:
        python(host, f"import tempfile; tempfile.TemporaryFile(dir={path!r}).write(b'x')", app.name)
        assert host.check_output("readlink -f %s", path).startswith(layout.shared(app.name) + "/")


def test_an_app_cannot_stop_a_neighbour(host: Host) -> None:
    """Signals go by user: the master of one app is out of reach of the others."""
    pids = {app.name: Site(host, app).diagnostics("identity")["pid"] for app in APPS}
    for app in APPS:
        for other in outsiders(app):
            script = (
                "import os\n"
                "try:\n"
                f"    os.kill({pids[app.name]}, 0)\n"
                "    print('reached')\n"
                "except PermissionError:\n"
                "    print('refused')"
            )
            assert python(host, script, other) == "refused"


@pytest.mark.parametrize("user", [app.name for app in APPS])
def test_nobody_can_log_in_as_an_app(host: Host, user: str) -> None:
    account = host.user(user)
    assert account.shell in ("/usr/sbin/nologin", "/bin/false")
    assert account.password[:1] in ("!", "*")
