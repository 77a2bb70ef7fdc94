"""The folder in which fetched weights lie."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Folder of fetched weights: $VML_BENCH_CACHE, else the user's cache folder of the platform."""
    return Path(os.environ.get("VML_BENCH_CACHE") or platformdirs.user_cache_dir("vml-bench"))
