import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.update(
    DJANGO_SETTINGS_MODULE="notes.settings",
    DJANGO_DEBUG="1",  # static files without a collected manifest
    DJANGO_ALLOWED_HOSTS="testserver",
    SECRET_KEY="tests",
    EXAMPLE_DIAGNOSTICS="1",
)

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import override_settings, setup_test_environment  # noqa: E402

setup_test_environment(debug=False)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A browser on an empty, migrated database and an empty media directory."""
    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = str(tmp_path / "notes.sqlite3")
    call_command("migrate", verbosity=0)
    with override_settings(MEDIA_ROOT=str(tmp_path / "media")):
        yield Client()
    connection.close()
