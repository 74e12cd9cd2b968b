"""How the server is asked, and whether it is the right one. Nothing of it runs here."""

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


@pytest.mark.parametrize(
    ("ports", "refused"),
    [
        ({"17": "5432"}, False),
        # Debian was upgraded: the package has made an empty cluster beside the one with the data.
        ({"15": "5432", "17": "5433"}, True),
        ({"15": "5432"}, True),
        # pg_upgradecluster has moved the data, and the old cluster is still there.
        ({"15": "5433", "17": "5432"}, False),
    ],
)
def test_the_data_is_in_the_wanted_version_or_the_run_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ports: dict[str, str], refused: bool
) -> None:
    monkeypatch.setattr(server, "CLUSTERS", str(tmp_path / "etc"))
    monkeypatch.setattr(server, "DATA", str(tmp_path / "data"), raising=False)
    for version, port in ports.items():
        (tmp_path / "data" / version / "main/base").mkdir(parents=True)
        (tmp_path / "etc" / version / "main").mkdir(parents=True)
        text = f"#port = 1\nport = {port}\t\t\t\t# (change requires restart)\n"
        (tmp_path / "etc" / version / "main/postgresql.conf").write_text(text)
    if refused:
        with pytest.raises(server.ServerError, match="this host has a cluster of PostgreSQL 15"):
            server.Server("17").check_version()
    else:
        server.Server("17").check_version()
