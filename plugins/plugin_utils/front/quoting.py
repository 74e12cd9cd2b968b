"""How a text is written into the configs of nginx and uWSGI, so that their parsers read the same text back.

What a parser cannot read back is refused. Measured on uWSGI 2.0.21 and nginx 1.22.1;
`tests/unit/schema/test_quoting.py` holds both against models of the parsers and, where they are installed,
against the programs.
"""

from __future__ import annotations

from ...module_utils.values.rules import unprintable

#: nginx reads a config in blocks of this size, and a token has to fit into one.
NGINX_LONGEST = 4000


def ini_value(text: str) -> str:
    """*text* as the value of a uWSGI ini option. `%` begins a placeholder there, and quotes mean nothing."""
    refuse = _refusal("uWSGI ini", text)
    if not text:
        raise refuse("an empty value")
    if text != text.strip(" "):
        raise refuse("a blank at its start or end, which uWSGI drops")
    for opening, meaning in (("$(", "an environment variable"), ("@(", "the content of a file")):
        if opening in text:
            raise refuse(f"{opening}, which uWSGI replaces by {meaning}")
    if text.endswith("\\"):
        raise refuse("a backslash at its end")
    return text.replace("%", "%%")


def nginx_value(text: str) -> str:
    """*text* as a quoted string of nginx. A literal `$` cannot be written where nginx expands variables."""
    refuse = _refusal("nginx config", text)
    if "$" in text:
        raise refuse("$, which nginx takes for a variable")
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if len(quoted.encode()) > NGINX_LONGEST:
        raise refuse(f"more than {NGINX_LONGEST} bytes")
    return quoted


class _Refusal:
    def __init__(self, where: str, text: str) -> None:
        self.where, self.text = where, text

    def __call__(self, what: str) -> ValueError:
        return ValueError(f"a value for the {self.where} has {what}, and cannot be written there")


def _refusal(where: str, text: str) -> _Refusal:
    refuse = _Refusal(where, text)
    if not isinstance(text, str):
        raise TypeError(f"a value for the {where} is {type(text).__name__}, and has to be a text")
    if found := unprintable(text):
        raise refuse(f"the character {found}")
    return refuse
