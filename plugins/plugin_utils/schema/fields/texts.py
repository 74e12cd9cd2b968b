"""Kinds of values that several sections of an app have."""

from __future__ import annotations

from ..kinds import Path, Text
from ..rules import environment, paths, processes, sources

COMMAND = Text(processes.command, "command, one line", "python manage.py check --deploy", show=False)
CODE_PATH = Path(paths.relative_path, "path inside the code", "staticfiles")
CODE_FILE = Path(paths.file_path, "file inside the code", "requirements.txt")
ENV_NAME = Text(environment.env_name, "name of an environment variable", "SECRET_KEY")
REQUIREMENTS = Path(paths.requirements, "file inside the code", "requirements.txt")
DEPENDENCY_GROUP = Text(sources.dependency_group, "name of an extra or a group", "postgres")
