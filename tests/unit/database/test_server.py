"""How the server is asked. Nothing of it runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.emperor.stack.plugins.module_utils.database import server


@pytest.mark.parametrize("version", ["15", "17"])
def test_what_an_app_sets_for_its_database_does_not_count_for_the_superuser(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    """The owner of a database may `alter database blog set …`, and PostgreSQL asks no superuser whether that suits him."""
    options: list[str] = []

    def run(_argv: list[str], *, env: dict[str, str] | None = None, **_: Any) -> str:
        options.extend([env["PGOPTIONS"]] if env else [])
        return ""

    monkeypatch.setattr(server, "run", run)
    asked = server.Server(version)
    asked.sql("select 1", "blog")
    asked.dump("blog", str(tmp_path / "dump"))
    assert len(options) == 2
    for text in options:
        assert "-c role=none" in text and "-c local_preload_libraries= " in text
        assert "-c statement_timeout=0" in text and "-c default_transaction_read_only=off" in text
        assert "-c search_path=pg_catalog" in text
        # A server refuses a client whose options it does not know.
        assert ("transaction_timeout=0" in text.replace("in_transaction", "")) is (version == "17")
