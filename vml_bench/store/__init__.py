"""What runs leave on disk, and the one reader of it; written so that any process may stop and any other go on."""

from vml_bench.store.claims import Claims
from vml_bench.store.parts import read_features, read_rows
from vml_bench.store.store import Store

__all__ = ["Claims", "Store", "read_features", "read_rows"]
