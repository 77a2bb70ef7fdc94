import numpy as np
import pandas as pd
import pytest
import torch

from vml_bench.errors import InputError
from vml_bench.runner.store import FeatureFile, RunStore

ORDER = ("c", "a", "b")


def finish(store, image_id, value):
    store.save_image(image_id, torch.full((3, 4, 4), value))
    store.features.add([image_id], {"alex": np.full((1, 2), value)})
    store.commit([{"image_id": image_id, "psnr": value}])


def test_rows_are_kept_in_the_data_sets_order_across_restarts(tmp_path):
    finish(RunStore(tmp_path, ORDER), "b", 0.25)
    store = RunStore(tmp_path, ORDER)
    assert store.pending(ORDER) == ["c", "a"]
    finish(store, "c", 0.5)
    assert pd.read_parquet(tmp_path / "images.parquet").image_id.tolist() == ["c", "b"]
    with np.load(tmp_path / "features.npz") as features:
        assert features["ids"].tolist() == ["c", "b"]
        assert features["alex"].tolist() == [[0.5, 0.5], [0.25, 0.25]]


def test_an_image_without_a_row_is_pending_whatever_else_is_on_disk(tmp_path):
    store = RunStore(tmp_path, ORDER)
    store.save_image("a", torch.zeros(3, 4, 4))
    assert RunStore(tmp_path, ORDER).pending(ORDER) == list(ORDER)


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "images.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match=r"images.parquet cannot be read"):
        RunStore(tmp_path, ORDER)


def test_features_of_no_image_leave_no_file(tmp_path):
    FeatureFile(tmp_path / "features.npz").write(ORDER)
    assert not (tmp_path / "features.npz").exists()
