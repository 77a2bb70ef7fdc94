"""The cache folder for fetched weights."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """$VML_BENCH_CACHE, else the platform's cache folder for the user."""
    return Path(os.environ.get("VML_BENCH_CACHE") or platformdirs.user_cache_dir("vml-bench"))
