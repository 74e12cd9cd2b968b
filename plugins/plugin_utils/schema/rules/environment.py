"""What the environment of an app may hold."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong, words

#: Set by the platform for every app, or a way to swap the interpreter's or the linker's files.
RESERVED_ENV = words(
    """
    APP_NAME APP_RELEASE APP_REVISION PATH HOME USER LOGNAME SHELL LANG PYTHONUTF8 PYTHONPATH PYTHONHOME
    VIRTUAL_ENV
    """
)
RESERVED_ENV_PREFIXES = ("LD_", "UWSGI_")

#: The kernel takes 128 KiB for a variable, its name and two more bytes included.
LONGEST_ENV_VALUE = 127 * 1024


def env_name(text: str) -> Wrong | None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        guess = re.sub(r"[^A-Za-z0-9_]+", "_", text)
        return Wrong(
            "the name of an environment variable consists of letters, digits and underscores, and does "
            "not start with a digit",
            guess if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", guess) and env_name(guess) is None else "",
        )
    if text in RESERVED_ENV or text.startswith(RESERVED_ENV_PREFIXES):
        return Wrong(f"{text} is set by Emperor Stack, and an app cannot change it")
    return None


def env_value(text: str) -> Wrong | None:
    """Newlines are fine: values reach the app by a JSON file, not by a config."""
    if "\0" in text:
        return Wrong("it has a NUL character, which an environment cannot contain")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Wrong("it has characters that cannot be encoded as UTF-8")
    if size > LONGEST_ENV_VALUE:
        return Wrong(
            f"it has {size // 1024} KiB, but an environment variable holds at most 127: render it into a file with `files`"
        )
    return None


def secret_value(text: str) -> Wrong | None:
    return Wrong("it is empty") if not text else env_value(text)
