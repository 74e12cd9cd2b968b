"""What the environment of an app may hold."""

from __future__ import annotations

import re

from ....module_utils.values.texts import Wrong, words

#: Set by the platform for every process of an app.
RESERVED_ENV = words(
    """
    APP_NAME APP_RELEASE APP_REVISION PATH HOME USER LOGNAME SHELL LANG PYTHONUTF8 VIRTUAL_ENV
    """
)

#: What the dynamic loader reads (ld.so(8)): each lets a process run with other files, or print in place of running.
LOADER = words(
    """
    LD_ASSUME_KERNEL LD_AUDIT LD_BIND_NOT LD_BIND_NOW LD_DEBUG LD_DEBUG_OUTPUT LD_DYNAMIC_WEAK LD_HWCAP_MASK
    LD_LIBRARY_PATH LD_ORIGIN_PATH LD_PREFER_MAP_32BIT_EXEC LD_PRELOAD LD_PROFILE LD_PROFILE_OUTPUT LD_SHOW_AUXV
    LD_TRACE_LOADED_OBJECTS LD_USE_LOAD_BIAS LD_VERBOSE LD_WARN
    """
)

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
    if text in RESERVED_ENV:
        return Wrong(f"{text} is set by Emperor Stack, and an app cannot change it")
    if text == "PYTHONPATH":
        return Wrong(
            "Python would look there for modules before it looks into the venv, in the web server too, and the path of a "
            "release is another one after each deploy",
            fix="pythonpath: [src]    # directories of the code, at the level of `env`",
        )
    if text == "PYTHONHOME":
        return Wrong(
            "Python would load its own modules from there, and not from the interpreter that the venv was made with",
            fix='python: "3.12"    # at the level of `env`: the Python of the app',
        )
    if text in LOADER:
        return Wrong(
            "the system's loader reads it before any program starts, so it would load other libraries into the web server "
            "as well",
            fix=f"command: env {text}=… celery    # for one command; python_apps_packages installs libraries of Debian",
        )
    if text.startswith("UWSGI_"):
        return Wrong(
            "uWSGI takes each variable that begins with UWSGI_ for one of its options",
            fix="use the keys of the app (web, limits), and another name for a variable of your own",
        )
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
