import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from notes.forms import parse_tags
from notes.models import Attachment, Note, Tag

ROOT = Path(__file__).resolve().parent.parent


def write(client: Client, title: str, **fields: object) -> Note:
    answer = client.post("/new", {"title": title, **fields})
    assert answer.status_code == 302, answer.content.decode()
    return Note.objects.get(title=title)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" , ,", []),
        ("Garden", ["garden"]),
        ("b, a,B ,  c  d", ["b", "a", "c d"]),
    ],
)
def test_tags_are_parsed(text: str, names: list[str]) -> None:
    assert parse_tags(text) == names


def test_a_written_note_is_shown_and_listed(client: Client) -> None:
    assert "No notes yet" in client.get("/").content.decode()
    answer = client.post("/new", {"title": "Grüße", "body": "<b>not markup</b>", "tags": "a, b"}, follow=True)
    page = answer.content.decode()
    assert answer.redirect_chain == [(Note.objects.get().get_absolute_url(), 302)]
    assert "Saved “Grüße”" in page
    assert "&lt;b&gt;not markup&lt;/b&gt;" in page
    assert "Grüße" in client.get("/").content.decode()


def test_a_note_without_title_is_refused(client: Client) -> None:
    answer = client.post("/new", {"title": "", "body": "lost?"})
    assert answer.status_code == 422
    assert "lost?" in answer.content.decode(), "what was typed stays in the form"
    assert not Note.objects.exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("leeks", {"Garden"}),
        ("LEEKS garden", {"Garden"}),
        ("spring", {"Garden", "Cleaning"}),
        ("spring leeks", {"Garden"}),
        ("leeks cleaning", set()),
        ("", {"Garden", "Cleaning"}),
    ],
)
def test_search_finds_notes_with_every_word(client: Client, words: str, found: set[str]) -> None:
    write(client, "Garden", body="Sow leeks", tags="spring, spring garden")
    write(client, "Cleaning", tags="spring")
    titles = [note.title for note in client.get("/", {"q": words}).context["page"]]
    assert set(titles) == found
    assert len(titles) == len(found), "no note twice"


def test_an_edit_changes_tags_and_drops_unused_ones(client: Client) -> None:
    note = write(client, "Garden", tags="spring, leeks")
    assert 'value="leeks, spring"' in client.get(f"/{note.pk}/edit").content.decode()
    client.post(f"/{note.pk}/edit", {"title": "Garden", "tags": "autumn"})
    assert [tag.name for tag in Tag.objects.all()] == ["autumn"]
    assert list(client.get("/", {"tag": "autumn"}).context["page"]) == [note]


def test_an_attachment_is_kept_and_goes_with_its_note(client: Client) -> None:
    note = write(client, "Plan", attachment=SimpleUploadedFile("plan.pdf", b"%PDF-1"))
    stored = Path(Attachment.objects.get().file.path)
    assert stored.read_bytes() == b"%PDF-1"
    assert f'href="/media/{note.pk}/plan.pdf"' in client.get(note.get_absolute_url()).content.decode()
    connection.commit()
    assert client.get(f"/{note.pk}/delete").status_code == 405
    client.post(f"/{note.pk}/delete")
    assert not Note.objects.exists()
    assert not stored.exists()


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "run.js", "noextension"])
def test_an_attachment_that_a_browser_would_run_is_refused(client: Client, name: str) -> None:
    answer = client.post("/new", {"title": "x", "attachment": SimpleUploadedFile(name, b"<script>")})
    assert answer.status_code == 422
    assert not Note.objects.exists()


def test_a_form_without_token_is_refused(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/new", {"title": "x"}).status_code == 403
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', strict.get("/new").content.decode())
    assert token
    assert strict.post("/new", {"title": "x", "csrfmiddlewaretoken": token[1]}).status_code == 302


def test_pages_keep_the_search(client: Client) -> None:
    Note.objects.bulk_create(Note(title=f"leek {number}") for number in range(25))
    page = client.get("/", {"q": "leek"}).content.decode()
    assert "Page 1 of 2" in page
    assert "?page=2&amp;q=leek" in page


def test_health_is_the_state_of_the_database(client: Client) -> None:
    assert client.get("/healthz").content == b"ok"
    call_command("migrate", "notes", "zero", verbosity=0)
    answer = client.get("/healthz")
    assert (answer.status_code, b"notes_note" in answer.content) == (503, True)


def test_the_admin_works(client: Client) -> None:
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_superuser("editor"))
    note = write(client, "Garden", tags="spring")
    assert "Garden" in client.get("/admin/notes/note/?q=gard").content.decode()
    assert client.get(f"/admin/notes/note/{note.pk}/change/").status_code == 200


def test_models_and_migrations_agree(client: Client) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_echo_reports_a_large_body(client: Client) -> None:
    body = os.urandom(3_000_000)
    answer = client.post("/diagnostics/echo", body, content_type="application/octet-stream").json()
    assert answer == {
        "length": 3_000_000,
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_length": "3000000",
        "transfer_encoding": None,
    }


def test_diagnostics_tell_about_headers_output_and_process(
    client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_RELEASE", "r1")
    assert client.get("/diagnostics/headers", headers={"X-Probe": "7"}).json()["X-Probe"] == "7"
    client.get("/diagnostics/print?token=t1")
    printed = capsys.readouterr()
    assert printed.out == "stdout: Grüße aus Zürich — ✓ t1\n"
    assert printed.err == "stderr: Grüße aus Zürich — ✓ t1\n"
    identity = client.get("/diagnostics/identity").json()
    assert (identity["pid"], identity["release"], identity["prefix"]) == (os.getpid(), "r1", sys.prefix)
    assert client.get("/diagnostics/slow?seconds=0").content == b"slept 0 s"


def test_in_production_pages_use_hashed_files_and_diagnostics_are_off(tmp_path: Path) -> None:
    """In a process of its own: settings and routes are read once."""
    script = f"""
import json, django
from django.conf import settings
django.setup()
settings.STATIC_ROOT = {str(tmp_path / "static")!r}
settings.DATABASES["default"]["NAME"] = {str(tmp_path / "db")!r}
from django.core.management import call_command
call_command("collectstatic", "--noinput", verbosity=0)
call_command("migrate", verbosity=0)
from django.test import Client
client = Client(SERVER_NAME="notes.test")
print(json.dumps({{
    "page": client.get("/").content.decode(),
    "diagnostics": client.get("/diagnostics/identity").status_code,
    "stranger": Client(SERVER_NAME="else.test").get("/").status_code,
}}))
"""
    environment = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "notes.settings"}
    environment |= {"SECRET_KEY": "x", "DJANGO_ALLOWED_HOSTS": "notes.test"}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    answer = json.loads(result.stdout)
    assert re.search(r'href="/static/notes/style\.[0-9a-f]{12}\.css"', answer["page"])
    assert (answer["diagnostics"], answer["stranger"]) == (404, 400)
