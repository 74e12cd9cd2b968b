from pathlib import Path
from typing import Any

import pytest
from polls import database, main
from webtest import TestApp

SETTINGS: dict[str, Any] = {"polls.secret": "tests", "polls.diagnostics": True, "polls.redis": None}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "polls.sqlite3"
    connection = database.connect(path)
    database.migrate(connection)
    connection.close()
    return SETTINGS | {"polls.database": str(path)}


@pytest.fixture
def app(settings: dict[str, Any]) -> TestApp:
    """A browser, with cookies."""
    return TestApp(main({}, **settings))
