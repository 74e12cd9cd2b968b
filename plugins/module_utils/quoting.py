"""How a text is written into a config of uWSGI, so that its parser reads the same text back.

What the parser cannot read back is refused. Measured on uWSGI 2.0.21; `tests/unit/schema/test_quoting.py` holds it against
a model of the parser and, where it is installed, against the program.
"""

from __future__ import annotations

from .value_rules import unprintable


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
