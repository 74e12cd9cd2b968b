"""A WSGI app that tells what it is made of: digests of its environment, its Python, its files. Never a value."""

import hashlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path

CODE = Path(__file__).resolve().parent


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    about = {"ok": True}
    if path == "/environment":
        about = {os.fsdecode(name): digest(value) for name, value in os.environb.items()}
    elif path == "/code":
        about = {str(file.relative_to(CODE)): digest(file.read_bytes()) for file in CODE.rglob("*.txt")}
    elif path == "/python":
        packages = {one.metadata["Name"]: one.version for one in metadata.distributions()}
        about = {
            "version": f"{sys.version_info.major}.{sys.version_info.minor}",
            "packages": packages,
            "prefix": sys.prefix,
            "executable": sys.executable,
        }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(about).encode()]
