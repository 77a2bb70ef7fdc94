"""What runs leave on disk: written so that any process may stop at any moment and any other go on."""

from vml_bench.store.claims import Claims
from vml_bench.store.parts import read_features, read_rows
from vml_bench.store.store import Store, write_json

__all__ = ["Claims", "Store", "read_features", "read_rows", "write_json"]
