"""Deploys on a host of one's own."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .playing import Host


@pytest.fixture
def deploys(host: Any, monkeypatch: pytest.MonkeyPatch) -> Host:
    # Nothing here asks what a power cut leaves, and the disk takes most of the time.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return Host(monkeypatch)
