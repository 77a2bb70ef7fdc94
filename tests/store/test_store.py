import os

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

from vml_bench.store import store as store_module
from vml_bench.store.parts import part_files, read_features, read_rows
from vml_bench.store.store import Store

ORDER = ("c", "a", "b")


def opened(folder):
    return Store(folder, ORDER, ["alex"]).open()


def finish(store, image_id, value, status="ok"):
    store.save_image(image_id, torch.full((3, 4, 4), value))
    features = {"alex": {image_id: np.full(2, value, np.float32)}} if status == "ok" else {}
    store.commit([{"image_id": image_id, "psnr": value, "status": status}], features)


@pytest.fixture
def three(tmp_path):
    store = opened(tmp_path)
    for image_id, value in (("b", 0.25), ("c", 0.5), ("a", 0.75)):
        finish(store, image_id, value)
    store.merge()
    return tmp_path


def test_rows_are_kept_in_the_data_sets_order_across_restarts(tmp_path):
    finish(opened(tmp_path), "b", 0.25)
    store = opened(tmp_path)
    assert store.pending(ORDER) == ["c", "a"]
    finish(store, "c", 0.5)
    store.merge()
    assert pd.read_parquet(tmp_path / "images.parquet").image_id.tolist() == ["c", "b"]
    with np.load(tmp_path / "features.npz") as features:
        assert features["ids"].tolist() == ["c", "b"]
        assert features["alex"].tolist() == [[0.5, 0.5], [0.25, 0.25]]
    assert not part_files(tmp_path)


def test_an_image_without_a_row_is_pending_whatever_else_is_on_disk(tmp_path):
    opened(tmp_path).save_image("a", torch.zeros(3, 4, 4))
    assert opened(tmp_path).pending(ORDER) == list(ORDER)


def test_a_batch_is_read_before_it_is_merged_and_is_the_same_afterwards(tmp_path):
    store = opened(tmp_path)
    finish(store, "a", 0.5)
    finish(store, "b", float("nan"), "diverged")
    before, vectors = read_rows(tmp_path), read_features(tmp_path)
    assert not (tmp_path / "images.parquet").exists()
    store.merge()
    pd.testing.assert_frame_equal(read_rows(tmp_path), before)
    assert vectors["alex"].keys() == read_features(tmp_path)["alex"].keys() == {"a"}
    assert np.array_equal(vectors["alex"]["a"], read_features(tmp_path)["alex"]["a"])


def test_an_image_in_two_parts_and_in_the_table_counts_once(three):
    store = Store(three, ORDER, ["alex"])
    finish(store, "a", 0.75)
    store.commit(
        [{"image_id": i, "psnr": 0.75, "status": "ok"} for i in "ab"], {"alex": dict.fromkeys("ab", np.ones(2))}
    )
    assert sorted(read_rows(three).image_id) == ["a", "b", "c"]
    store.merge()
    assert pd.read_parquet(three / "images.parquet").image_id.tolist() == list(ORDER)


def test_features_of_a_second_network_join_those_of_the_first(tmp_path):
    store = Store(tmp_path, ORDER, pictures=".").open()
    store.commit([{"image_id": "a"}, {"image_id": "b"}], {"alex": dict.fromkeys("ab", np.ones(2))})
    store.merge()
    assert store.pending(ORDER, ["alex", "vgg"]) == list(ORDER)
    store.commit([{"image_id": "b"}], {"alex": {"b": np.ones(2)}, "vgg": {"b": np.zeros(3)}})
    store.merge()
    assert (
        store.finished(ORDER, ["alex", "vgg"])
        == Store(tmp_path, ORDER).open().finished(ORDER, ["alex", "vgg"])
        == ["b"]
    )
    assert {network: set(of) for network, of in read_features(tmp_path).items()} == {"alex": {"a", "b"}, "vgg": {"b"}}


def test_features_of_no_length_are_features(tmp_path):
    store = Store(tmp_path, ORDER, ["asked"]).open()
    store.commit([{"image_id": "a", "status": "ok"}], {"asked": {"a": np.empty(0)}})
    store.merge()
    assert Store(tmp_path, ORDER, ["asked"]).open().finished(ORDER, ["asked"]) == ["a"]


def test_features_of_no_image_leave_no_file(tmp_path):
    store = opened(tmp_path)
    finish(store, "a", 1.0, "diverged")
    store.merge()
    assert not (tmp_path / "features.npz").exists()
    assert opened(tmp_path).finished(ORDER) == ["a"]


@pytest.mark.parametrize("file", ["images.parquet", "features.npz"])
@pytest.mark.parametrize("damage", ["truncated", "overwritten", "emptied"])
def test_a_damaged_file_is_set_aside_and_its_images_are_done_again(three, file, damage, capsys):
    data = (three / file).read_bytes()
    spoiled = {"truncated": data[: len(data) // 2], "overwritten": b"PAR1 not really", "emptied": b""}[damage]
    (three / file).write_bytes(spoiled)
    assert opened(three).pending(ORDER) == list(ORDER)
    assert (three / f"{file}.damaged").read_bytes() == spoiled
    assert f"{file} is damaged" in capsys.readouterr().err


def test_a_damaged_part_costs_its_own_images_only(tmp_path, capsys):
    store = opened(tmp_path)
    finish(store, "a", 0.5)
    (first,) = part_files(tmp_path)
    finish(store, "b", 0.5)
    first.write_bytes(first.read_bytes()[:-9])
    assert opened(tmp_path).pending(ORDER) == ["c", "a"]
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["truncated", "removed", "another's"])
def test_a_picture_that_is_not_what_its_row_says_is_done_again(three, harm, capsys):
    picture = three / "recon" / "a.png"
    if harm == "removed":
        picture.unlink()
    else:
        picture.write_bytes((three / "recon" / "b.png").read_bytes() if harm == "another's" else b"\x89PNG")
    store = opened(three)
    assert store.pending(ORDER) == ["a"]
    assert "1 images do not hold" in capsys.readouterr().err
    finish(store, "a", 0.75)
    assert opened(three).pending(ORDER) == []


def test_rows_of_older_runs_have_no_hash_and_count(three):
    table = pd.read_parquet(three / "images.parquet").drop(columns="sha256")
    table.to_parquet(three / "images.parquet", index=False)
    (three / "recon" / "a.png").unlink()
    assert opened(three).pending(ORDER) == []


def test_what_another_process_merges_is_learnt_whatever_its_clock_says(three, tmp_path):
    late = Store(three, ORDER, ["alex"])
    late.refresh()
    table = pd.read_parquet(three / "images.parquet")
    table.iloc[:0].to_parquet(three / "images.parquet", index=False)
    early = Store(three, ORDER, ["alex"])
    early.refresh()
    assert early.pending(ORDER) == list(ORDER)
    table.to_parquet(three / "images.parquet", index=False)
    os.utime(three / "images.parquet", (0, 0))
    early.refresh()
    assert early.finished(ORDER) == late.finished(ORDER) == list(ORDER)


def test_many_parts_are_merged_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "MERGE_AT", 2)
    store = opened(tmp_path)
    for image_id in ORDER:
        finish(store, image_id, 0.5)
    assert len(part_files(tmp_path)) == 1
    assert len(pd.read_parquet(tmp_path / "images.parquet")) == 2
    assert store.pending(ORDER) == []


def test_the_lock_lets_one_process_merge_at_a_time(tmp_path):
    with opened(tmp_path).alone(), pytest.raises(TimeoutError):
        FileLock(tmp_path / ".lock").acquire(timeout=0.05)
