"""What of uv's settings builds may read, and how the rest gets to uv. What uv makes of it is in scenario `sources`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.host import layout
from ansible_collections.emperor.stack.plugins.module_utils.host.release_error import ReleaseError
from ansible_collections.emperor.stack.plugins.module_utils.release import uv_settings


@pytest.mark.parametrize(
    ("environment", "plain", "told"),
    [
        ({}, {}, {}),
        (
            {"UV_DEFAULT_INDEX": "https://h/simple", "A": "b"},
            {"UV_DEFAULT_INDEX": "https://h/simple", "A": "b"},
            {},
        ),
        (
            {"UV_DEFAULT_INDEX": "https://u:p%40@h/simple"},
            {"UV_DEFAULT_INDEX": "https://h/simple"},
            {"index": ["https://u:p%40@h/simple"]},
        ),
        (
            {"UV_INDEX": "https://k/simple mine=https://u:p@h/simple https://t0ken@g/s"},
            {"UV_INDEX": "https://k/simple mine=https://h/simple https://g/s"},
            {"index": ["https://u:p@h/simple", "https://t0ken@g/s"]},
        ),
        (
            {
                "UV_INDEX": "my-own=https://h/simple",
                "UV_INDEX_MY_OWN_USERNAME": "u",
                "UV_INDEX_MY_OWN_PASSWORD": "p@:",
            },
            {"UV_INDEX": "my-own=https://h/simple"},
            {"index": ["https://u:p%40%3A@h/simple"]},
        ),
        (
            {"UV_FIND_LINKS": "https://u:p@h/a,https://u:p@h/b"},
            {"UV_FIND_LINKS": "https://h/a,https://h/b"},
            {"index": ["https://u:p@h/a", "https://u:p@h/b"]},
        ),
        (
            {"HTTPS_PROXY": "http://u:p@proxy:3128", "HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "a.b, c"},
            {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "a.b, c"},
            {"https-proxy": "http://u:p@proxy:3128", "no-proxy": ["a.b", "c"]},
        ),
        (
            {"all_proxy": "u:p@proxy:3128"},
            {},
            {"http-proxy": "http://u:p@proxy:3128", "https-proxy": "http://u:p@proxy:3128"},
        ),
    ],
)
def test_credentials_leave_the_environment(
    environment: dict[str, str], plain: dict[str, str], told: dict[str, Any]
) -> None:
    left, text = uv_settings.split(environment)
    found = tomllib.loads(text)
    indexes = found.pop("index", [])
    assert all(one["explicit"] for one in indexes)
    assert len({one["name"] for one in indexes}) == len(indexes)
    if indexes:
        found["index"] = [one["url"] for one in indexes]
    assert (left, found) == (plain, told)
    assert uv_settings.complaints(environment) == []


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"UV_INDEX_MINE_PASSWORD": "planted"}, "no index in python_apps_uv_environment is called mine"),
        ({"UV_GITHUB_TOKEN": "planted"}, "UV_GITHUB_TOKEN: builds can read"),
        ({"AWS_SECRET_ACCESS_KEY": "planted"}, "AWS_SECRET_ACCESS_KEY: builds can read"),
        ({"NETRC": "/planted"}, "NETRC: builds can read"),
        (
            {"UV_DEFAULT_INDEX": "https://h/simple?token=planted"},
            "UV_DEFAULT_INDEX: this index has a credential",
        ),
        ({"MY_MIRROR": "https://u:planted@h/"}, "MY_MIRROR: this variable has a credential"),
        (
            {"UV_INDEX": "https://u:planted@h/", "UV_CONFIG_FILE": "/etc/uv.toml"},
            "UV_CONFIG_FILE: it would keep",
        ),
        ({"UV_INDEX": f"https://u:{'planted' * 10000}@h/"}, "more than 60000 bytes"),
    ],
)
def test_what_cannot_be_kept_from_builds_is_refused(environment: dict[str, str], says: str) -> None:
    (complaint,) = uv_settings.complaints(environment)
    assert says in complaint
    assert "planted" not in complaint


@pytest.mark.parametrize(
    "name", ["UV_HTTP_TIMEOUT", "UV_KEYRING_PROVIDER", "SSL_CERT_FILE", "UV_CONFIG_FILE"]
)
def test_what_is_no_credential(name: str) -> None:
    assert uv_settings.complaints({name: "x"}) == []


def test_the_pipe_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, as uv does it; whoever comes after finds nothing."""
    monkeypatch.setattr(layout, "UV_CONFIG", str(tmp_path / "uv-config/uv/uv.toml"))
    with pytest.raises(ReleaseError, match=r"run site\.yml first"), uv_settings.told("text", os.getuid()):
        pass
    link = Path(layout.UV_CONFIG)
    link.parent.mkdir(parents=True)
    link.symlink_to("/proc/self/fd/0")
    program = "import os; path = os.environ['XDG_CONFIG_HOME'] + '/uv/uv.toml'; print([open(path).read() for _ in 'ab'])"
    with uv_settings.told("text", os.getuid()) as (more, stdin):
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=stdin,
            env=more,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == "['text', '']\n", done.stderr
    with uv_settings.told("", os.getuid()) as nothing:
        assert nothing == ({}, None)


def test_nobody_else_reads_uv(tmp_path: Path) -> None:
    program = tmp_path / "uv"
    program.write_text("")
    program.chmod(0o755)
    (tmp_path / "link").symlink_to(program)
    uv_settings.close(str(tmp_path / "link"))
    assert oct(program.stat().st_mode)[-3:] == "711"
    uv_settings.close(str(tmp_path / "none"))
