"""What a single text may be: the exact reasons, and that nothing accepted means anything to a config."""

from __future__ import annotations

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.values import names as app_names
from ansible_collections.emperor.stack.plugins.module_utils.values import texts, urls, versions
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import (
    calendar,
    domains,
    environment,
    logins,
    paths,
    processes,
    sizes,
    sources,
)
from hypothesis import given
from hypothesis import strategies as st

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNjj7Eb4OTDwSxQFUCE28OoLcHVuCFgpzbHLcBSYVF7"
CUT = "the key is damaged or cut: copy the whole line of the .pub file"
COMMENT = "its comment, which the history shows, may have letters, digits, blanks and @ . _ + : / - only"
NO_OPTIONS = "it must begin with the kind of the key: options before it are set by Emperor Stack"
NO_KEY = (
    "it must be a public key, which begins with one of ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256 and others"
)

ACCEPTED = {
    app_names.name: ["blog", "b", "a-1", "a" * 31, "local"],
    domains.domain: [
        "blog.example.com",
        "notes.localhost",
        "intranet",
        "xn--bcher-kva.example",
        "1.example",
        "*.example.com",
        "*.a.localhost",
        "a" * 63 + ".example",
        ".".join(["a" * 60] * 4),
    ],
    paths.relative_path: ["media", "media/", "a/b.c/d_e", ".well-known", "web/img@2x"],
    paths.file_path: ["requirements.txt", "requirements/production.txt"],
    paths.static_url: ["/static/", "/robots.txt", "/.well-known/security.txt", "/a/b~c/"],
    environment.env_name: [
        "SECRET_KEY",
        "a",
        "_X1",
        "LDAP_URL",
        "APP_MODE",
        "LC_ALL",
        "LD_SDK_KEY",
        "PYTHONHASHSEED",
    ],
    environment.env_value: ["", "a\nb", "100% $HOME `x`", "grüße"],
    processes.command: ["python manage.py migrate", "make 'a b' && echo \"$HOME\"", "a\tb"],
    processes.wsgi: ["app:app", "a.b_c.d:application"],
    processes.paste: ["production.ini", "conf/production.ini#main"],
    urls.git_url: [
        "https://git.example.com/team/blog.git",
        "ssh://git@git.example.com:2222/blog.git",
        "git@git.example.com:team/blog.git",
        "/srv/git/blog.git",
        "file:///srv/git/blog.git",
        "ssh://git@[::1]/blog.git",
        "https://user:token@git.example.com/blog.git",
    ],
    logins.public_key: [ED25519, f"{ED25519} ci", f"{ED25519} ann@laptop 2026-12-01"],
    versions.git_version: ["v1.4.0", "main", "feature/x-1", "0123abc", "release_2026-11"],
    sources.archive: [
        "https://example.com/blog-1.0.tar.gz?x=1",
        "http://u:p@127.0.0.1:8080/a.zip",
        "dist/blog.tar.xz",
    ],
    sources.checksum: [f"sha256:{'0a' * 32}"],
    sources.package: [
        "kinto==25.1.0",
        "zope.interface==8.7",
        "kinto[redis,postgresql]==25.1.0",
        "a==1!2.0.post1+local",
    ],
    sources.python: ["3.9", "3.11", "3.13"],
    paths.controller_path: ["examples/django", "/srv/code", "../blog", "with blank"],
    paths.key_path: ["secrets/key", "/root/.ssh/id_ed25519"],
    sources.known_hosts: ["git.example.com ssh-ed25519 AAAA", "# a\n\n[h]:22 ssh-rsa AAAA comment\n"],
    sizes.size: ["1", "512k", "20m", "1024g"],
    paths.health_path: ["/", "/healthz?full=1", "/a%20b"],
    environment.secret_value: ["x", "a\nb", " "],
    processes.process_name: ["jobs", "a-b", "webs", "a" * 31],
    processes.span: ["1s", "15m", "36h", "366d"],
    calendar.calendar: [
        "03:00",
        "03:00:30",
        "daily",
        "hourly UTC",
        "Mon..Fri 18:30",
        "Sat,Sun 04:00 Europe/Berlin",
        "*-*-01 00:00:00",
        "2026-11-22",
        "*:0/15",
        "Mon *-*~07/1 00:00 America/Argentina/Ushuaia",
    ],
}

IN_A_CONFIG = [
    app_names.name,
    domains.domain,
    paths.relative_path,
    paths.file_path,
    paths.static_url,
    processes.wsgi,
    processes.paste,
    sizes.size,
    processes.process_name,
    processes.span,
]


@pytest.mark.parametrize(
    ("check", "text"), [(check, text) for check, texts in ACCEPTED.items() for text in texts]
)
def test_what_people_write_is_accepted(check: texts.Rule, text: str) -> None:
    assert check(text) is None


TAKEN = "it is reserved for Debian, a package or Emperor Stack, and an app's name becomes its Unix user"
NAME = (
    "it becomes a Unix user and a path: start with a lowercase letter, then use lowercase letters, digits and hyphens, "
    "31 characters at most"
)
PART = "between dots there are 1 to 63 letters, digits or hyphens, with no hyphen at the ends"
PLAIN = "use letters, digits and . _ ~ @ + -"
URL = "write a plain path (no pattern) of letters, digits and . _ ~ @ + -"
WSGI = "it must be module:callable, as in blog.wsgi:application"
ENV = "the name of an environment variable consists of letters, digits and underscores, and does not start with a digit"
OPTION = "it starts with a hyphen, so that git would take it for an option"
HELPER = "git would run a helper program for this kind of URL (as for ext::); use https or ssh"

PROCESS = (
    "it becomes a part of a unit's name: start with a lowercase letter, then use lowercase letters, digits and hyphens, "
    "31 characters at most"
)
CALENDAR = 'it must be a time, as in "03:00", or a calendar expression of systemd, as in "Mon..Fri 18:30"'
LONG = "it has 128 KiB, but an environment variable holds at most 127: render it into a file with `files`"
ARCHIVE = "use https for an archive (or http: the checksum is verified in any case)"
CHECKSUM = "it must be sha256: and 64 hex digits, as `sha256sum FILE` prints them"
PACKAGE = (
    "it must be a package of the index with its exact version, as in kinto==25.1.0, so that every host and every day "
    "gets the same"
)
PYTHON = "it must be a minor version, as in 3.12"
REFUSED = [
    (app_names.name, "root", TAKEN, "root-app"),
    (app_names.name, "www-data", TAKEN, "www-data-app"),
    (app_names.name, "systemd-x", TAKEN, ""),
    (app_names.name, "Blog", NAME, "blog"),
    (app_names.name, "my_blog", NAME, "my-blog"),
    (app_names.name, "1blog", NAME, "blog"),
    (app_names.name, "Root", NAME, ""),
    (app_names.name, "a" * 32, NAME, "a" * 31),
    (app_names.name, "", NAME, ""),
    (app_names.name, "blog\n", NAME, "blog"),
    (app_names.name, "../x", NAME, "x"),
    (domains.domain, "", "it is empty", ""),
    (
        domains.domain,
        "https://Blog.example.com/x",
        "this is a URL; write the host name only",
        "blog.example.com",
    ),
    (
        domains.domain,
        "blog.example.com/x",
        "this has a path; write the host name only",
        "blog.example.com",
    ),
    (
        domains.domain,
        "blog.example.com:8080",
        "this has a port; write the host name only",
        "blog.example.com",
    ),
    (
        domains.domain,
        "www.*.example.com",
        "a wildcard is the whole first part of a name, as in *.example.com",
        "",
    ),
    (domains.domain, "*", "a wildcard is the whole first part of a name, as in *.example.com", ""),
    (
        domains.domain,
        "*.com",
        "a wildcard stands for the names below a domain of yours, such as *.example.com",
        "",
    ),
    (domains.domain, "*.Example.com", "write host names in lowercase", "*.example.com"),
    (
        domains.domain,
        "*.bücher.example",
        "write it in the ASCII form that DNS uses",
        "*.xn--bcher-kva.example",
    ),
    (domains.domain, "bücher.example", "write it in the ASCII form that DNS uses", "xn--bcher-kva.example"),
    (domains.domain, "blog.example.com.", "write it without the dot at the end", "blog.example.com"),
    (
        domains.domain,
        "Blog.Example.com",
        "write host names in lowercase",
        "blog.example.com",
    ),
    (
        domains.domain,
        "my_blog.example.com",
        "a host name has no underscore (certificate authorities and some browsers reject it)",
        "my-blog.example.com",
    ),
    (domains.domain, "a b.example", "the character ' ' is not allowed in a host name", ""),
    (domains.domain, "a.example;", "the character ';' is not allowed in a host name", ""),
    (domains.domain, "a.example\n", "the character '\\n' is not allowed in a host name", ""),
    (domains.domain, "a\u200b.example", "the character '\\u200b' is not allowed in a host name", ""),
    (domains.domain, "$host", "the character '$' is not allowed in a host name", ""),
    (domains.domain, "~^x", "the character '~' is not allowed in a host name", ""),
    (domains.domain, ".".join(["a" * 60] * 5), "it has 304 characters, and DNS allows 253", ""),
    (
        domains.domain,
        "10.0.0.1",
        "this is an address, but nginx chooses the app by host name: write a host name",
        "",
    ),
    (domains.domain, "a..example", f"the part '' is not valid: {PART}", ""),
    (domains.domain, "-a.example", f"the part '-a' is not valid: {PART}", ""),
    (domains.domain, "a" * 64 + ".example", f"the part '{'a' * 64}' is not valid: {PART}", ""),
    (domains.domain, "xn--a.example", "the part 'xn--a' is not valid punycode", ""),
    (paths.relative_path, "", "it is empty", ""),
    (
        paths.relative_path,
        "/media",
        "it must be relative to the app's code, without a slash at the start",
        "media",
    ),
    (paths.relative_path, "/", "it must be relative to the app's code, without a slash at the start", ""),
    (paths.relative_path, "../x", "it leads out of the app's code with '..'", ""),
    (paths.relative_path, "a/../b", "it leads out of the app's code with '..'", ""),
    (paths.relative_path, ".", "this is the whole code: name a part of it", ""),
    (paths.relative_path, "./media", "it has an empty or a '.' part", "media"),
    (paths.relative_path, "a//b", "it has an empty or a '.' part", "a/b"),
    (
        paths.relative_path,
        "a/.git/x",
        ".git cannot be used: it contains the history and possibly credentials",
        "",
    ),
    (paths.relative_path, "a b", f"the character ' ' is not allowed: {PLAIN}", ""),
    (paths.relative_path, "a\nb", f"the character '\\n' is not allowed: {PLAIN}", ""),
    (paths.relative_path, "a;b", f"the character ';' is not allowed: {PLAIN}", ""),
    (paths.relative_path, "a%b", f"the character '%' is not allowed: {PLAIN}", ""),
    (
        paths.relative_path,
        "a/-b",
        "the part '-b' starts with a hyphen, so programs would take it for an option",
        "",
    ),
    (paths.file_path, "a/", "it must be a file, but a trailing slash means a directory", "a"),
    (paths.static_url, "static/", "a URL path starts with a slash", "/static/"),
    (
        paths.static_url,
        "/",
        "this would hide the whole app behind files: use a path such as /static/",
        "",
    ),
    (paths.static_url, "/a/../b", "it has an empty, '.' or '..' part", "/b"),
    (paths.static_url, "/a//", "it has an empty, '.' or '..' part", "/a/"),
    (paths.static_url, "/s {", f"the character ' ' is not allowed: {URL}", ""),
    (paths.static_url, "/s;", f"the character ';' is not allowed: {URL}", ""),
    (paths.static_url, "/s$", f"the character '$' is not allowed: {URL}", ""),
    (paths.static_url, '/"', f"the character '\"' is not allowed: {URL}", ""),
    (paths.static_url, "/a\n", f"the character '\\n' is not allowed: {URL}", ""),
    (paths.static_url, "/.git/", ".git is never served", ""),
    (paths.static_url, "/.well-known/acme-challenge/", "this path is reserved for issuing certificates", ""),
    (environment.env_name, "MY-KEY", ENV, "MY_KEY"),
    (environment.env_name, "1A", ENV, ""),
    (environment.env_name, "A\n", ENV, "A_"),
    (environment.env_name, "PATH", "PATH is set by Emperor Stack, and an app cannot change it", ""),
    (environment.env_value, "a\0b", "it has a NUL character, which an environment cannot contain", ""),
    (environment.env_value, "\ud800", "it has characters that cannot be encoded as UTF-8", ""),
    (environment.secret_value, "", "it is empty", ""),
    (processes.command, " ", "it is empty", ""),
    (
        processes.command,
        "a\nb",
        "it has a line break, but a command is one line: split it, or add a script to the code",
        "",
    ),
    (processes.command, "a\0b", "the character '\\x00' is not allowed in a command", ""),
    (processes.wsgi, "blog/wsgi.py", WSGI, "blog.wsgi:application"),
    (processes.wsgi, "blog.wsgi", WSGI, "blog.wsgi:application"),
    (processes.wsgi, "a:b c", WSGI, ""),
    (processes.wsgi, "a:b\n", WSGI, ""),
    (
        processes.wsgi,
        "app:create_app()",
        "a call is not supported here: call it in a module of the code (application = create_app()) and "
        "name the result",
        "",
    ),
    (processes.paste, "app.py", "it must be a PasteDeploy file ending in .ini, optionally with #section", ""),
    (
        processes.paste,
        "a.ini#b c",
        "the name of a section [app:NAME] must follow the #: letters, digits and . _ -",
        "",
    ),
    (
        processes.paste,
        "/etc/a.ini",
        "it must be relative to the app's code, without a slash at the start",
        "etc/a.ini",
    ),
    (urls.git_url, "", "it is empty", ""),
    (urls.git_url, "--upload-pack=x", OPTION, ""),
    (urls.git_url, "ext::sh -c x", "a URL must not contain blanks", ""),
    (urls.git_url, "ext::sh", HELPER, ""),
    (urls.git_url, "fd::17", HELPER, ""),
    (urls.git_url, "a\nb", "the character '\\n' is not allowed in a URL", ""),
    (
        urls.git_url,
        "ssh://-oProxyCommand=x/y",
        "its host starts with a hyphen, so that ssh would take it for an option",
        "",
    ),
    (urls.git_url, "git@-x:y", "its host starts with a hyphen, so that ssh would take it for an option", ""),
    (urls.git_url, "https://a/$(x)", "it has a character that must be escaped in a URL: write it as %XX", ""),
    (sources.archive, "ftp://example.com/x", ARCHIVE, ""),
    (sources.archive, "file:///etc/x.tar", ARCHIVE, ""),
    (sources.archive, "https://exa mple.com/x", ARCHIVE, ""),
    (sources.archive, "https:///x", "this URL has no host", ""),
    (sources.archive, "", "it is empty", ""),
    (sources.checksum, "0A" * 32, CHECKSUM, f"sha256:{'0a' * 32}"),
    (sources.checksum, "md5:00", CHECKSUM, ""),
    (sources.checksum, f"sha256:{'0' * 63}", CHECKSUM, ""),
    (sources.package, "kinto", PACKAGE, ""),
    (sources.package, "kinto>=25", PACKAGE, ""),
    (sources.package, "kinto==25.*", PACKAGE, ""),
    (sources.package, "kinto == 25.1", PACKAGE, "kinto==25.1"),
    (sources.package, "--index-url=x", PACKAGE, ""),
    (sources.package, "kinto==25.1\n-r x", PACKAGE, ""),
    (sources.package, "kinto @ https://x/y.whl", PACKAGE, ""),
    (sources.python, "python3.12", PYTHON, "3.12"),
    (sources.python, "3.12.4", PYTHON, "3.12"),
    (sources.python, "3", PYTHON, ""),
    (sources.python, "2.7", PYTHON, ""),
    (
        environment.env_value,
        "é" * 65536,
        "it has 128 KiB, but an environment variable holds at most 127: render it into a file with `files`",
        "",
    ),
    (logins.public_key, "", NO_KEY, ""),
    (logins.public_key, f"ssh-dss {ED25519[12:]}", NO_KEY, ""),
    (logins.public_key, f'from="10.0.0.0/8" {ED25519}', NO_OPTIONS, ED25519),
    (logins.public_key, ED25519[:40], CUT, ""),
    (logins.public_key, f"ssh-rsa {ED25519[12:]}", CUT, ""),
    (logins.public_key, "ssh-ed25519 not base64", CUT, ""),
    (logins.public_key, f'{ED25519} a"b', COMMENT, ""),
    (logins.public_key, f"{ED25519} a\nssh-rsa b", COMMENT, ""),
    (
        logins.public_key,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "this is a private key: take the file that ends in .pub, and never show the other one",
        "",
    ),
    (versions.git_version, "", "it is empty", ""),
    (versions.git_version, "-x", OPTION, ""),
    (versions.git_version, "a..b", "it must be one tag, branch or commit, as in v1.4.0", ""),
    (versions.git_version, "a b", "it must be one tag, branch or commit, as in v1.4.0", ""),
    (versions.git_version, "v1:refs", "it must be one tag, branch or commit, as in v1.4.0", ""),
    (paths.controller_path, "", "it is empty", ""),
    (
        paths.controller_path,
        "~/x",
        "~ is not expanded: start with a slash, or with a directory of this repository",
        "",
    ),
    (paths.controller_path, "a\0", "the character '\\x00' is not allowed in a path", ""),
    (
        paths.key_path,
        "-----BEGIN OPENSSH PRIVATE KEY-----\nx",
        "this is the key itself: put it into a file, encrypt the file with ansible-vault, and name the file here",
        "",
    ),
    (
        sources.known_hosts,
        "git.example.com",
        "a line must be 'git.example.com ssh-ed25519 AAAA…', as ssh-keyscan prints it",
        "",
    ),
    (sizes.size, "20MB", "it must be a number with k, m or g, as in 20m", "20m"),
    (sizes.size, "20 m", "it must be a number with k, m or g, as in 20m", "20m"),
    (sizes.size, "20m;", "it must be a number with k, m or g, as in 20m", ""),
    (sizes.size, "20m\n", "it must be a number with k, m or g, as in 20m", "20m"),
    (sizes.size, "0", "0 means no limit in nginx: write the size of the largest upload", ""),
    (sizes.size, "1025g", "it is more than 1024g", ""),
    (processes.process_name, "web", "this name is reserved for another unit of the app", "web-1"),
    (processes.process_name, "run", "this name is reserved for another unit of the app", "run-1"),
    (processes.process_name, "Send_Mail", PROCESS, "send-mail"),
    (processes.process_name, "a@7", PROCESS, "a-7"),
    (processes.process_name, "a" * 32, PROCESS, "a" * 31),
    (processes.process_name, "", PROCESS, ""),
    (processes.span, "15", "it must be a number with s, m, h or d, as in 15m", ""),
    (processes.span, "15 minutes", "it must be a number with s, m, h or d, as in 15m", "15m"),
    (processes.span, "0m", "it must be between 1s and 366d", ""),
    (processes.span, "367d", "it must be between 1s and 366d", ""),
    (calendar.calendar, "15m", "this is an interval; use `every` instead", ""),
    (calendar.calendar, "0 3 * * *", f"this is a cron expression; {CALENDAR}", ""),
    (calendar.calendar, "at 3", CALENDAR, ""),
    (calendar.calendar, "", CALENDAR, ""),
    (calendar.calendar, " 03:00", CALENDAR, ""),
    (calendar.calendar, "03:00\nPersistent=false", CALENDAR, ""),
    (calendar.calendar, "03:00%n", CALENDAR, ""),
    (paths.health_path, "healthz", "a URL path starts with a slash", "/healthz"),
    (paths.health_path, "/a b", "the character ' ' is not allowed in a URL: write it as %XX", ""),
    (paths.health_path, "/a\r\nX: y", "the character '\\r' is not allowed in a URL: write it as %XX", ""),
]


@pytest.mark.parametrize(("check", "text", "reason", "better"), REFUSED)
def test_refused_with_reason_and_a_better_text(
    check: texts.Rule, text: str, reason: str, better: str
) -> None:
    wrong = check(text)
    assert wrong is not None
    assert (wrong.reason, wrong.better) == (reason, better)


@given(st.sampled_from(list(ACCEPTED)), st.text())
def test_what_is_offered_instead_is_accepted(check: texts.Rule, text: str) -> None:
    wrong = check(text)
    if wrong and wrong.better:
        assert check(wrong.better) is None


_NASTY = st.sampled_from([*"\n\r\0\t ;{}$%\"'`\\#|&<>()*\x7f\x85\u2028\u00a0", "$(", "@(", "..", "//"])


@given(st.sampled_from(IN_A_CONFIG), st.data(), _NASTY)
def test_a_config_never_gets_a_character_that_means_something_there(
    check: texts.Rule, data: st.DataObject, nasty: str
) -> None:
    text = data.draw(st.sampled_from(ACCEPTED[check]))
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + nasty + text[at:]
    if check(changed) is None:
        assert not set(changed) & set("\n\r\0\t ;{}$%\"'`\\|&<>()*\x7f\x85\u2028\u00a0")
        assert ".." not in changed.split("/")
        assert check is processes.paste or "#" not in changed


@given(st.sampled_from(IN_A_CONFIG), st.text())
def test_any_accepted_text_is_printable_ascii(check: texts.Rule, text: str) -> None:
    if check(text) is None:
        assert text.isascii()
        assert text.isprintable()


@given(
    st.from_regex(
        r"[A-Za-z0-9*.,/~: +-]{0,30}[^A-Za-z0-9*.,/~: +-]?[A-Za-z0-9*.,/~: +-]{0,10}", fullmatch=True
    )
)
def test_any_accepted_calendar_is_one_word_of_a_unit(text: str) -> None:
    if calendar.calendar(text) is None:
        assert set(text) <= set("@ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*.,/~: _+-")
        assert text == text.strip()


@pytest.mark.parametrize(
    ("name", "reason", "fix"),
    [
        (
            "PYTHONPATH",
            "Python would look there for modules before it looks into the venv",
            "pythonpath: [src]",
        ),
        ("PYTHONHOME", "Python would load its own modules from there", 'python: "3.12"'),
        (
            "LD_PRELOAD",
            "the system's loader reads it before any program starts",
            "command: env LD_PRELOAD=… celery",
        ),
        ("LD_LIBRARY_PATH", "the system's loader reads it", "command: env LD_LIBRARY_PATH=… celery"),
        (
            "UWSGI_X",
            "uWSGI takes each variable that begins with UWSGI_ for one of its options",
            "use the keys",
        ),
    ],
)
def test_a_variable_that_others_read_is_refused_with_a_reason_and_a_fix(
    name: str, reason: str, fix: str
) -> None:
    wrong = environment.env_name(name)
    assert wrong is not None
    assert wrong.reason.startswith(reason)
    assert wrong.fix.startswith(fix)


def test_requirements_above_the_code() -> None:
    wrong = paths.requirements("../requirements.txt")
    assert wrong is not None
    assert "let the code begin there" in wrong.reason
    assert "pythonpath: [src]" in wrong.fix
    assert paths.requirements("deploy/pins.txt") is None
    assert paths.requirements("a/../pins.txt") == paths.file_path("a/../pins.txt") is not None


#: What `systemd-analyze calendar` of Debian 13 says of each. It has no zone CET, which other hosts have: they are asked.
CALENDARS = {
    "Monday 03:00": True,
    "mon 03:00": True,
    "MON..friday 1:2:3.5": True,
    "Mon,Tue, 03:00": True,
    "Mon-Fri 3:00": True,
    "*/2:00": False,
    "@1395716396": True,
    "SEMI-annually": True,
    "semiannually": True,
    "Mon": True,
    "*-*~1": True,
    "*-*~3/1": True,
    "2026-1-1  3:00": True,
    " 3:00": False,
    "3": False,
    "*:0/15": True,
    "24:00": False,
    "99-13-1": False,
    "Mon *-*-1..7 18:00": True,
    "1,2..5:00": True,
    "03:00 utc": True,
    "0/8:00": True,
    "8..17/3:5": True,
    "2026-01-01T03:00": False,
    "Thu,Fri 2012-*-1,5 11:12:13": True,
    "Sat..Thu,Mon..Wed,Sat..Sun": False,
    "Fri..Mon 3:00": False,
    "00:00:0/5.5": True,
    "*:*:*": True,
    "tuesday..thursday": True,
    "Mon,": True,
    "03:00:60": False,
    "1970-01-01": True,
    "69-01-01": True,
    "5-32": False,
    "*-1..12-1": True,
    "12..1:00": False,
    "3:00 ": False,
    "weekly UTC": True,
    "Weekly Europe/Berlin": True,
    "bi-annually": True,
    "biannually": True,
    "annually": True,
    "*-*-31/2": False,
    "*-*-* 00:00/0": False,
    "Mon 3:00,4:00": True,
    "1..2..3:00": False,
    "*,1:00": False,
}


@pytest.mark.parametrize("text", CALENDARS)
def test_a_calendar_expression_is_judged_as_by_systemd(text: str) -> None:
    assert (calendar.calendar(text) is None) is CALENDARS[text]


@pytest.mark.parametrize(
    "text", ["03:00 CET", "Mon 03:00 Nowhere", "daily America/Argentina/Ushuaia", "1:00 Etc/GMT+5"]
)
def test_the_host_judges_time_zones(text: str) -> None:
    assert calendar.calendar(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("24:00", "24 is not within 0 and 23"),
        ("Fri..Mon 03:00", "fri..mon is not a range from one day of the week to a later one"),
        ("*/2:00", "*/2 is not a number, a range as in 1..5, or a repetition as in 0/15"),
        ("*-*-31/2", "31/2 repeats nothing"),
    ],
)
def test_what_is_wrong_with_a_calendar_expression(text: str, reason: str) -> None:
    found = calendar.calendar(text)
    assert found is not None and found.reason == f"{reason}; {CALENDAR}"


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("straße.de", "xn--strae-oqa.de"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("日本語.jp", "xn--wgv71a119e.jp"),
        ("\u200d.example", ""),
    ],
)
def test_an_international_name_is_told_as_browsers_look_it_up(text: str, better: str) -> None:
    """By IDNA 2008: with Python's own codec, straße.de is strasse.de, which belongs to somebody else."""
    wrong = domains.domain(text)
    assert wrong is not None
    assert wrong.better == better
    assert not better or domains.domain(better) is None
