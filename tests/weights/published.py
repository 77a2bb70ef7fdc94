"""Stand-ins for published weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vml_bench.files import sha256
from vml_bench.weights import catalogue
from vml_bench.weights.cache import cache_dir


def take_for_published(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the file in the cache pass for the published one whose name it has."""
    entry = catalogue.find(name)
    standing_in = replace(entry, sha256=sha256(entry.found(cache_dir())))
    entries = tuple(standing_in if other is entry else other for other in catalogue.FETCHABLE)
    monkeypatch.setattr(catalogue, "FETCHABLE", entries)
