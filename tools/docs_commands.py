"""The commands that README and docs tell a reader to type, and where each of them is run as it is typed.

`STORY` is run by scenario `docs`, from its first row to its last, on two hosts of its own. `RUN_BY_CI` is what CI itself
runs, `RUN_ELSEWHERE` what the tests of other scenarios type, and `NOT_RUN` has the rest, each with its reason. A unit test
compares all of them with the documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .project import ROOT

DOCUMENTS = ("README.md", "docs/*.md")
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?:sh|console|bash)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
#: What follows a command in its line. A `#` in a value has no two blanks before it.
_COMMENT = re.compile(r"(?:^|\s{2,})#\s.*$")


@dataclass(frozen=True)
class Command:
    text: str
    document: str
    line: int


def commands(document: Path) -> Iterator[Command]:
    """Each command of *document*, without its comment; lines that end in a backslash are joined."""
    text = document.read_text()
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("text")) + 1
        joined = ""
        for number, line in enumerate(block["text"].splitlines(), first):
            joined += _COMMENT.sub("", line.removeprefix(block["indent"])).strip()
            if joined.endswith("\\"):
                joined = joined[:-1]
            elif joined:
                yield Command(joined, str(document.relative_to(ROOT)), number)
                joined = ""


def all_commands() -> list[Command]:
    found = [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    return [command for document in found for command in commands(document)]


CONTROLLER, WEB1, WEB2 = "controller", "web1", "web2"


@dataclass(frozen=True)
class Row:
    """A command of the story."""

    command: str
    where: str = CONTROLLER
    #: What its output has to show, as a regular expression.
    shows: str = ""
    #: How long its output may be: people read it.
    most_lines: int = 0
    #: Exit statuses that are right.
    codes: tuple[int, ...] = (0,)
    #: Does not end by itself: it is ended after so many seconds, by which it has shown what it has to show.
    seconds: int = 0
    #: What stands for a value of the reader's own: the text, and the name of what the story has in its place.
    given: tuple[tuple[str, str], ...] = ()
    #: What the story does before, by name.
    before: str = ""
    #: What is typed when the command asks.
    typed: str = ""
    #: In a checkout of the app's code.
    in_code: bool = False


def _play(rest: str, shows: str = "", **more: object) -> Row:
    return Row(f"ansible-playbook -i inventories/mine {rest}", shows=shows, **more)  # type: ignore[arg-type]


_TYPED = "planted"
_AS_BEFORE = r"blog: \S+ is live at http://blog\.example\.com/, as before"

STORY: tuple[Row, ...] = (
    # A new controller: README, inventories.md, bring-an-app.md.
    Row("git pull --ff-only", shows="Fast-forward", before="a newer version"),
    Row("make setup"),
    Row(". .venv/bin/activate"),
    Row("cp -r inventories/production inventories/mine"),
    Row("export ANSIBLE_VAULT_PASSWORD_FILE=.vault_password", before="a password of the vault"),
    Row(
        "make app NAME=blog DOMAIN=blog.example.com SOURCE=https://git.example.com/blog.git INVENTORY=inventories/mine",
        shows=r"apps\.yml",
        before="an inventory without apps",
    ),
    Row(
        'printf %s "$(openssl rand -base64 50)" | ansible-vault encrypt_string --stdin-name SECRET_KEY',
        shows="SECRET_KEY: !vault",
    ),
    Row(
        'printf %s "$VALUE" | ansible-vault encrypt_string --vault-id blog@.vault_password_blog --encrypt-vault-id blog '
        "--stdin-name SECRET_KEY",
        shows=r"AES256;blog",
    ),
    Row("ansible-inventory -i inventories/mine --graph", shows=r"web2\.example\.com", before="two hosts and two apps"),
    _play("playbooks/check.yml"),
    Row(".venv/bin/ansible-playbook -i inventories/mine playbooks/check.yml"),
    Row("openssl passwd -6", shows=r"\$6\$", typed=_TYPED),
    # The first run, and what one looks at.
    # A package, a setting, and what would go live.
    _play("site.yml --check --diff", shows=r"fail2ban[\s\S]*sites/blog\.conf[\s\S]*blog", most_lines=700),
    _play("site.yml", shows=r"web2\.example\.com[\s\S]*blog +\S+ +v1\.4"),
    _play("site.yml --check --limit web1.example.com", shows=_AS_BEFORE),
    _play("site.yml --limit web1.example.com", shows=_AS_BEFORE),
    _play("playbooks/status.yml", shows=r"blog +\S+ +@\d+ +v1\.4"),
    _play("playbooks/status.yml -e app=blog -e json=/tmp/status.json"),
    Row("make profile INVENTORY=inventories/mine PLAYBOOK=playbooks/deploy.yml", shows="profile: "),
    Row("make profile", shows="profile: ", before="inventories/local is these hosts"),
    *(
        _play(
            f"playbooks/drain.yml -e host=app2.example.com -e state={state}",
            shows="the group balancers is empty",
            codes=(2,),
            given=(("app2.example.com", "web2.example.com"),),
        )
        for state in ("on", "off")
    ),
    Row("make figures"),
    # Deploys.
    _play("playbooks/deploy.yml", shows="blog"),
    _play("playbooks/deploy.yml -e app=blog"),
    _play("playbooks/deploy.yml -e app=blog -e version=v1.5", shows=r"blog +\S+ +v1\.5 +deployed"),
    _play("playbooks/rollback.yml -e app=blog -e across_migration=true", shows=r"blog +\S+ +v1\.4 +rolled back"),
    _play("playbooks/deploy.yml -e app=blog -e force=true", shows=r"blog +\S+ +v1\.4 +deployed"),
    _play("--vault-id blog@.vault_password_blog playbooks/deploy.yml -e app=blog"),
    _play("playbooks/rollback.yml -e app=blog", shows=r"blog +\S+ +v1\.\d +rolled back"),
    # Releases have a name of their own on each host until they are made together.
    _play(
        "playbooks/rollback.yml -e app=blog -e release=20261121T101500-9f8e7d6",
        shows=r"blog +\S+ +v1\.\d +rolled back",
        given=(("20261121T101500-9f8e7d6", "another release of blog"),),
    ),
    _play(
        "playbooks/rollback.yml -e app=blog -e version=v1.4",
        shows=r"blog +\S+ +v1\.4 +rolled back",
        before="v1.5 is live",
    ),
    # Commands in a release.
    _play("""playbooks/run.yml -e app=blog -e "command='python manage.py migrate --plan'\"""", shows="Planned operations"),
    _play(
        """playbooks/run.yml -e app=blog -e "command='…'" -e everywhere=true -e timeout=600""",
        shows=r"web2\.example\.com",
        given=(("…", "date"),),
    ),
    Row("make run APP=blog COMMAND='python manage.py clearsessions'"),
    _play("""playbooks/run.yml -e app=blog -e "command='python ../entry.py --check'\""""),
    _play("playbooks/maintenance.yml -e app=blog -e state=on"),
    Row("emperor maintenance blog on", WEB1),
    _play("playbooks/maintenance.yml -e app=blog -e state=off"),
    Row("emperor status", WEB1, r"blog +\S+ +@\d+"),
    Row("emperor history blog", WEB1, "rollback"),
    Row("emperor logs blog --follow", WEB1, "works", seconds=3),
    Row("emperor run blog -- python manage.py check", WEB1, "no issues"),
    Row("emperor restart blog", WEB1),
    # Certificates.
    _play("playbooks/certificates.yml"),
    Row("journalctl -u emperor-stack-tls", WEB1),
    _play("playbooks/certificates.yml -e action=backup -e directory=backups"),
    _play("playbooks/certificates.yml -e action=restore -e directory=backups --limit web2.example.com"),
    # Backups.
    _play("playbooks/backup.yml -e action=now", shows="backup of ", before="a repository of backups"),
    _play("playbooks/backup.yml -e action=list", shows=r"Z +[0-9a-f]{8} +blog"),
    _play("playbooks/backup.yml -e action=check"),
    _play("playbooks/backup.yml -e action=test"),
    _play("playbooks/restore.yml -e app=blog", shows="the files of blog are restored"),
    _play(
        "playbooks/restore.yml -e app=blog -e at=2026-11-22T03:00",
        shows="the files of blog are restored",
        given=(("2026-11-22T03:00", "this moment"),),
    ),
    _play(
        "playbooks/restore.yml -e app=blog -e at=2026-11-22T14:03:10",
        shows="the files of blog are restored",
        given=(("2026-11-22T14:03:10", "this moment"),),
    ),
    # Each of the two hosts has a repository of its own.
    _play(
        "playbooks/restore.yml -e app=blog -e from=old.example.com",
        shows="the files of blog are restored",
        given=(("old.example.com", "web1.example.com --limit web1.example.com"),),
    ),
    # Its apps are in use, so that nothing is replaced; scenario data restores a host.
    _play(
        "playbooks/restore.yml -e host=web1.example.com",
        shows="files of blog: restored here at",
        codes=(2,),
    ),
    # On a host: operations.md, deploy.md.
    Row("readlink /srv/apps/blog/active", WEB1, r"activations/blog@\d"),
    Row("readlink /srv/apps/blog/activations/*/release", WEB1, "releases/"),
    Row(
        "curl -sS -o /dev/null -D - -H 'Host: blog.example.com' http://127.0.0.1/healthz",
        WEB1,
        r"200 OK[\s\S]*X-Release: ",
    ),
    Row("systemctl --no-pager status nginx 'emperor@*'", WEB1, r"nginx\.service[\s\S]*emperor@"),
    Row("tail -n 3 /srv/apps/blog/state/history.jsonl", WEB1, '"kind": "restart"'),
    Row("ss -xlH | grep /sockets/blog/", WEB1, r"blog@\d"),
    Row("cat /etc/emperor-stack/emperor", WEB1, codes=(0, 1)),
    Row("systemctl status 'emperor@*'; journalctl --namespace=+apps -u 'emperor@*' -n 50", WEB1, r"emperor@"),
    Row('systemctl start "emperor@$(cat /etc/emperor-stack/emperor 2>/dev/null || echo a)"', WEB1),
    Row("df -h /srv /var; df -i /srv", WEB1, "IUse%"),
    Row("journalctl --vacuum-size=300M; journalctl --namespace=apps --vacuum-size=300M; apt-get clean", WEB1),
    Row("du -xsh /srv/apps/*/cache /srv/apps/*/releases /srv/apps/*/shared /var/log/nginx | sort -h", WEB1, "blog/releases"),
    Row("rm -rf /srv/apps/*/cache/uv", WEB1),
    Row("journalctl --namespace=apps -t blog-jobs -f", WEB1, "works", seconds=3),
    Row("systemctl status 'app_blog_*'", WEB1, r"app_blog_jobs@"),
    Row("systemctl start --no-block app_blog_nightly.service", WEB1),
    Row(
        "setpriv --reuid=blog --regid=blog --clear-groups /usr/bin/python3 -I "
        "\"$(readlink -f /srv/apps/blog/active/release)/launch.py\" command 'python manage.py shell'",
        WEB1,
        "notes.localhost|typed in",
        typed="print('typed', 'in')\n",
    ),
    Row('cat "$REL/release.json"', WEB1, '"failed"', before="a broken version"),
    Row(
        "setpriv --reuid=blog --regid=blog --clear-groups /usr/bin/python3 -I "
        '"$REL/launch.py" program "$REL/venv/bin/python" -B "$REL/entry.py" --check',
        WEB1,
        "raised by the import",
        codes=(1,),
    ),
    Row('journalctl --namespace=apps _UID="$(id -u blog)" --since=-15min', WEB1, "works"),
    Row(
        "ln -s activations/blog@6 /srv/apps/blog/active.by-hand && "
        "mv -T /srv/apps/blog/active.by-hand /srv/apps/blog/active",
        WEB1,
        before="a warm activation",
        given=(("blog@6", "the warm activation"),),
    ),
    Row(
        "systemctl stop emperor-stack-retire-blog-6.timer", WEB1, given=(("blog-6", "the warm activation's timer"),)
    ),
    # Hardening.
    Row("nft list table inet emperor_stack", WEB1, "chain"),
    Row("systemctl disable --now emperor-stack-firewall", WEB1),
    Row("/usr/local/lib/emperor-stack/hardening/hardening start", WEB1),
    Row("fail2ban-client banned", WEB1, "emperor-stack"),
    Row("fail2ban-client unban 192.0.2.7", WEB1),
    Row("fail2ban-regex /var/log/nginx/blog.access.log emperor-stack-scan", WEB1, "Lines:"),
    Row(
        "unattended-upgrade --dry-run --verbose; needrestart -r l; "
        "tail /var/log/unattended-upgrades/*.log",
        WEB1,
    ),
    # A host that is replaced: the data of web1 on a new web2.
    Row("tar -C /srv/apps -czf /root/shared.tgz $(cd /srv/apps && ls -d */shared)", WEB1),
    _play("site.yml --limit web2.example.com --skip-tags deploy", before="a new web2"),
    Row("tar -C /srv/apps -xzpf /root/shared.tgz", WEB2, before="the archive on web2"),
    _play("site.yml --limit web2.example.com", shows=r"blog +\S+ +v1\.4"),
    # The end.
    _play("playbooks/prune.yml", shows="blog", before="an inventory without blog"),
    _play("playbooks/remove.yml -e app=blog --check", shows="/srv/apps/blog"),
    _play("playbooks/remove.yml -e app=blog", shows="blog"),
    _play("playbooks/prune.yml -e confirm=true", shows="shop", before="an inventory without apps"),
    # On the host alone, and by a login: an app that no other host has.
    Row(
        "ansible-runner run /var/lib/jobs/mine --project-dir . --playbook site.yml --inventory inventories/mine",
        shows="main was not pushed yet; the first push deploys it",
        given=(("/var/lib/jobs/mine", "a directory of jobs"),),
        before="web1 alone, and a login",
    ),
    Row("git push deploy_blog@web1.example.com:blog main", shows="remote: .*is live as blog@", in_code=True),
    Row("ssh deploy_blog@web1.example.com status", shows=r"blog +\S+ +@\d+ +main"),
    Row(
        "ssh deploy_blog@web1.example.com deploy v1.5",
        shows=r"blog +\S+ +v1\.5 +deployed",
        before="tags that were pushed",
    ),
    Row("ssh deploy_blog@web1.example.com rollback", shows=r"blog +\S+ +main +rolled back"),
    Row("emperor deploy blog v1.5", WEB1, r"blog +\S+ +v1\.4 +deployed", given=(("v1.5", "v1.4"),)),
    Row("emperor rollback blog", WEB1, "rolled back"),
    Row(
        "emperor rollback blog 20261121T101500-9f8e7d6",
        WEB1,
        "rolled back",
        given=(("20261121T101500-9f8e7d6", "another release of blog"),),
    ),
    _play(
        "playbooks/uninstall.yml -e host=web1.example.com", shows="confirm=true", codes=(2,)
    ),
    _play("playbooks/uninstall.yml -e host=web1.example.com --check", shows="/srv/apps/blog"),
    _play("playbooks/uninstall.yml -e host=web1.example.com -e confirm=true", shows="/var/backups/emperor-stack"),
)  # fmt: skip

#: What `.ci/run` runs: by its own name, or as a part of `make test` and of `molecule test`.
RUN_BY_CI = (
    "make test",
    "make lint",
    "make unit",
    "make examples",
    "make images",
    "make scenario NAME=default",
    "make scenario NAME=walls",
    "molecule converge --scenario-name default",
    "molecule verify --scenario-name default",
    "molecule destroy --scenario-name default",
)

_DATA = "tests/testinfra/data/test_postgresql.py"
_OS = "tests/testinfra/upgrade_os/test_upgrade_os.py"
#: What the tests of another scenario type, which has what the command needs: the file.
RUN_ELSEWHERE = {
    "cd / && runuser -u blog -- pg_restore --clean --if-exists --no-owner --dbname=blog "
    "< /var/backups/emperor-stack/FILE": _DATA,
    "runuser -u postgres -- psql -c 'create role blog_owner nologin' -c 'alter database blog owner to blog_owner'": _DATA,
    "runuser -u postgres -- psql -d blog -c 'reassign owned by OLD_ROLE to blog_owner'": _DATA,
    "systemctl stop postgresql@17-main": _OS,
    "pg_conftool 17 main set port 5433": _OS,
    "pg_conftool 15 main set port 5432": _OS,
    "sed -i s/^manual/auto/ /etc/postgresql/15/main/start.conf": _OS,
    "systemctl start postgresql@15-main": _OS,
}

_UPGRADE = (
    "scenario `fleet` upgrades all hosts and reboots them; here it would take minutes and prove nothing more"
)
_IMAGES = (
    "it needs podman and a registry of images; scenario `gunicorn` and this one run a job without a container"
)
_TWO_DEBIANS = "it needs a host that was upgraded from one Debian to the next"
#: What no test runs, with the reason.
NOT_RUN = {
    "make up": "it publishes ports of this machine, and would take the place of a host that its user has up",
    ".venv/bin/python tests/broken_inputs/run.py --inventory inventories/local --host local --container "
    "emperor-stack-local": "it needs the host of `make up`, and takes minutes",
    "make bench": "it takes an hour, and measures an idle machine",
    "make nightly": "it takes longer than all other tests",
    "WALLS_ALONE=1 make scenario NAME=walls": "the scenario itself is run; this form of it takes half an hour",
    "molecule login --scenario-name default --host default-debian13": "it is a shell for a person",
    "ansible-playbook -i inventories/mine playbooks/upgrade.yml": _UPGRADE,
    "ansible-playbook -i inventories/mine playbooks/upgrade.yml -e reboot=always": _UPGRADE,
    "ansible-builder build -f requirements/execution-environment.yml -t registry.example.com/emperor-stack-ee": _IMAGES,
    "ansible-runner run /var/lib/jobs/mine --project-dir . --playbook site.yml --inventory inventories/mine "
    "--process-isolation --process-isolation-executable podman --container-image "
    "registry.example.com/emperor-stack-ee": _IMAGES,
    "ansible-playbook -i inventories/mine playbooks/upgrade.yml --limit web1.example.com": _UPGRADE,
    "ansible-playbook -i inventories/mine playbooks/upgrade_os.yml --limit web1.example.com -e reboot=never": "it takes "
    "as long as ten scenarios; `make nightly` upgrades a host under load",
    "ansible-playbook -i inventories/mine playbooks/upgrade_postgresql.yml -e host=db1.example.com": _TWO_DEBIANS
    + "; `make nightly` moves one",
}
