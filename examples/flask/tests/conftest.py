import sys
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from links import create_app, database


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    path = tmp_path / "links.sqlite3"
    connection = database.connect(path)
    database.migrate(connection)
    connection.close()
    return create_app(SECRET_KEY="tests", DATABASE=path, DIAGNOSTICS=True, TESTING=True)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
