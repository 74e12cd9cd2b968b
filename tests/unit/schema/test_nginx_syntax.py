"""Where directives and blocks of nginx end, by our model of its reader and, where it is installed, by nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.schema.rules import nginx_syntax

FINE = [
    "gzip off;",
    "location = /a { return 204; }",
    "location /a {\n    # a } in a comment\n    return 200 '}';\n}",
    'if ($uri = "/x") { return 204; }',
    "set $x ${uri}y;",
    r"location ~ '^/a{2}$' { return 204; }",
    r"add_header A \";",
    'add_header A "a \\" b";',
    "gzip off;gzip_vary on;",
    "# nothing",
    "add_header A a}b;",
    "add_header A 'it is\nlong';",
]
BROKEN = [
    ("gzip", 1, "the directive gzip does not end with a ;"),
    ("gzip on;\ngzip off", 2, "the directive gzip does not end with a ;"),
    ("location / {\n gzip on;\n", 1, "the block of location is not closed by a }"),
    ("gzip on;\n}\nserver {", 2, "this } has no opening {"),
    ("location / { gzip on }", 1, "the directive gzip does not end with a ; before the }"),
    ("\nadd_header A 'x;", 2, "the ' here is not closed"),
    ("add_header A 'x'y;", 1, "after the closing ' a blank, a ; or a { must follow"),
    ("gzip on;;", 1, "a ; without a directive before it"),
    ("{ }", 1, "a { without a directive before it"),
]


@pytest.mark.parametrize("text", FINE)
def test_whole_directives_are_fine(text: str) -> None:
    assert nginx_syntax.problem(text) is None


@pytest.mark.parametrize(("text", "line", "reason"), BROKEN)
def test_the_place_and_the_reason_are_told(text: str, line: int, reason: str) -> None:
    found = nginx_syntax.problem(text)
    assert found is not None
    assert (found.line, found.reason) == (line, reason)


def test_another_language_inside_is_refused() -> None:
    found = nginx_syntax.problem("content_by_lua_block { ngx.say('}') }")
    assert (
        found is not None
        and found.reason == "content_by_lua_block contains another language: use content_by_lua_file"
    )


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="nginx is not installed")
@pytest.mark.parametrize("text", [*FINE, *(text for text, _, _ in BROKEN)])
def test_nginx_itself_agrees(tmp_path: Path, text: str) -> None:
    (tmp_path / "snippet").write_text(f"{text}\n")
    (tmp_path / "nginx.conf").write_text(
        "error_log stderr; pid nginx.pid; events {} http { access_log off; server { listen 127.0.0.1:9; "
        "include snippet; } }"
    )
    command = ["/usr/sbin/nginx", "-t", "-e", "stderr", "-p", str(tmp_path), "-c", "nginx.conf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    syntax = re.search(r"unexpected|expecting|unknown directive", done.stderr)
    assert bool(syntax) == bool(nginx_syntax.problem(text)), done.stderr
