"""Quoting for nginx: what is written is read back, by a model of the parser and by the parser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.emperor.stack.plugins.plugin_utils.front.quoting import nginx_value
from hypothesis import given
from hypothesis import strategies as st

TRICKY = [
    "plain",
    "100%",
    "%",
    "%%",
    "50% off %n %(x) %d",
    "a = b == c",
    "a ; b # c",
    "\"quoted\" 'single'",
    "a\\b\\n",
    "[uwsgi]",
    "$HOME ${HOME} $ (x)",
    "user@host (x) @ (y)",
    "grüße ✓",
    "; not a comment",
    "x%",
]


def read_nginx(text: str) -> tuple[str, str]:
    """The quoted token at the start of *text* as nginx reads it, and what is left."""
    assert text[0] == '"'
    result, index = "", 1
    while text[index] != '"':
        if text[index] == "\\" and text[index + 1] in "\"'\\":
            index += 1
        elif text[index] == "\\" and text[index + 1] in "trn":
            result, index = result + {"t": "\t", "r": "\r", "n": "\n"}[text[index + 1]], index + 2
            continue
        assert text[index] != "$"
        result += text[index]
        index += 1
    return result, text[index + 1 :]


@given(st.text() | st.text("\\\"'$ntr;{} a", max_size=12))
def test_an_nginx_value_is_read_back_or_refused(text: str) -> None:
    try:
        written = nginx_value(text)
    except ValueError:
        return
    assert read_nginx(f"{written};") == (text, ";")


@pytest.mark.parametrize("text", [text for text in TRICKY if "$" not in text])
def test_what_can_be_written_is_not_refused(text: str) -> None:
    assert read_nginx(nginx_value(text)) == (text, "")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a$b", "$, which nginx takes for a variable"),
        ("a\nb", "the character '\\n'"),
        ("a\0", "the character '\\x00'"),
        ("a\u2028", "the character '\\u2028'"),
        ("x" * 4000, "more than 4000 bytes"),
    ],
)
def test_refused_for_nginx(text: str, what: str) -> None:
    with pytest.raises(ValueError) as error:
        nginx_value(text)
    assert str(error.value) == f"a value for the nginx config has {what}, and cannot be written there"


def test_only_text_is_written() -> None:
    with pytest.raises(TypeError, match="a value for the nginx config is int, but must be a text"):
        nginx_value(5)


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="nginx is not installed")
@pytest.mark.parametrize("text", [text for text in TRICKY if "$" not in text])
def test_nginx_itself_reads_the_values_back(tmp_path: Path, text: str) -> None:
    """A file that is not there is named in the error as nginx understood it."""
    (tmp_path / "nginx.conf").write_text(
        f"events {{}}\nssl_engine {nginx_value('no-such ' + text)};\n", encoding="utf-8"
    )
    command = ["/usr/sbin/nginx", "-t", "-e", "stderr", "-p", str(tmp_path), "-c", "nginx.conf"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert f'ENGINE_by_id("no-such {text}") failed'.encode() in done.stderr
