"""How a text is written into nginx's configuration, so that nginx reads the same text back.

What nginx cannot read back is refused. Measured on nginx 1.22.1; `tests/unit/front/test_quoting.py` holds it against a model
of the parser and, where nginx is installed, against nginx.
"""

from __future__ import annotations

from ...module_utils.values.texts import unprintable

#: nginx reads its configuration in blocks of this size, and a token has to fit into one.
LONGEST = 4000


def nginx_value(text: str) -> str:
    """*text* as a quoted string of nginx. A literal `$` cannot be written where nginx expands variables."""
    if not isinstance(text, str):
        raise TypeError(f"a value for the nginx config is {type(text).__name__}, but must be a text")
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if found := unprintable(text):
        what = f"the character {found}"
    elif "$" in text:
        what = "$, which nginx takes for a variable"
    elif len(quoted.encode()) > LONGEST:
        what = f"more than {LONGEST} bytes"
    else:
        return quoted
    raise ValueError(f"a value for the nginx config has {what}, and cannot be written there")
