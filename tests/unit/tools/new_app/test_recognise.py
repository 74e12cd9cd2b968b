"""What `make app` recognises in source code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.new_app.recognise import recognise

ROOT = Path(__file__).resolve().parents[4]


def written(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.mark.parametrize(
    ("example", "framework", "keys"),
    [
        (
            "django",
            "Django",
            {
                "wsgi": "notes.wsgi:application",
                "migrate": "python manage.py migrate --noinput",
                "build": ["python manage.py collectstatic --noinput"],
                "static": {"/static/": "staticfiles"},
                "persistent": ["media"],
                "database": "postgresql",
            },
        ),
        ("flask", "WSGI", {"wsgi": "wsgi:application"}),
        ("pyramid", "Pyramid", {"paste": "production.ini"}),
    ],
)
def test_the_examples_are_recognised(example: str, framework: str, keys: dict[str, object]) -> None:
    found = recognise(ROOT / "examples" / example)
    assert found is not None
    assert (found.framework, found.keys, found.secrets) == (framework, keys, ["SECRET_KEY"])


def test_an_asgi_app_of_a_function_is_recognised() -> None:
    found = recognise(ROOT / "examples" / "starlette")
    assert found is not None
    assert (found.framework, found.keys, found.secrets) == ("ASGI", {"asgi": "chat.app:app"}, [])


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        ({"shop/web.py": "from flask import Flask\napp = Flask(__name__)\n"}, {"wsgi": "shop.web:app"}),
        ({"api/__init__.py": "import fastapi\napi = fastapi.FastAPI()\n"}, {"asgi": "api:api"}),
        ({"wsgi.py": "app = create_app()\n", "a.py": "app = Flask()\n"}, {"wsgi": "wsgi:app"}),
        ({"broken.py": "app = (\n", "main.py": "app = Bottle()\n"}, {"wsgi": "main:app"}),
        (
            {"manage.py": "", "site_/asgi.py": "application = 1\n"},
            {"asgi": "site_.asgi:application", "migrate": "python manage.py migrate --noinput"},
        ),
    ],
)  # fmt: skip
def test_other_layouts(tmp_path: Path, files: dict[str, str], keys: dict[str, object]) -> None:
    found = recognise(written(tmp_path, files))
    assert found is not None
    assert found.keys == keys


def test_nothing_is_made_up(tmp_path: Path) -> None:
    files = {"app.py": "print('hello')\n", "tests/test_a.py": "app = Flask()\n", "setup.ini": "[metadata]\n"}
    assert recognise(written(tmp_path, files)) is None


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside", {"app.py": "app = Flask()\n"})
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").symlink_to(outside / "app.py")
    assert recognise(code) is None


def test_secrets_are_the_variables_whose_names_say_so(tmp_path: Path) -> None:
    code = 'import os\napp = Flask()\nA = os.environ["SECRET_KEY"], os.getenv("LOG_LEVEL"), os.environ.get("DATABASE_URL")\n'
    found = recognise(written(tmp_path, {"app.py": code}))
    assert found is not None
    assert found.secrets == ["DATABASE_URL", "SECRET_KEY"]


def test_nothing_but_regular_files_of_a_bounded_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "endless.ini").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.py")
    with (tmp_path / "large.py").open("w") as file:
        file.truncate(2 << 20)
    (tmp_path / "deep.py").write_text("(" * 100_000)
    assert recognise(tmp_path) is None
