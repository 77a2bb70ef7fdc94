"""The store under any interleaving of processes that commit, merge, look and start again: each image once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vml_bench.store import parts
from vml_bench.store.store import Store

ORDER = tuple("dbeac")
NETWORK = "alex"


class Processes(RuleBasedStateMachine):
    """Three processes on one folder, and what must be found there."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name) / "run"
        self.stores = [self.started() for _ in range(3)]
        self.done: dict[str, bool] = {}
        self.harmed: set[str] = set()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.scratch.cleanup()

    def started(self) -> Store:
        return Store(self.folder, ORDER, (NETWORK,)).open()

    def value(self, image_id: str) -> float:
        return ORDER.index(image_id) / 8

    @rule(
        who=st.integers(0, 2),
        ids=st.lists(st.sampled_from(ORDER), min_size=1, max_size=3, unique=True),
        diverged=st.sets(st.sampled_from(ORDER)),
    )
    def commit(self, who: int, ids: list[str], diverged: set[str]) -> None:
        """A batch is done, by chance one that another process did, too, with the same outcome."""
        store = self.stores[who]
        healthy = {i: self.done.get(i, i not in diverged) for i in ids}
        for image_id in ids:
            store.save_image(image_id, torch.full((3, 1, 1), self.value(image_id)))
        self.harmed -= set(ids)  # their pictures are whole again, with the hash they had
        vectors = {i: np.full(2, self.value(i), np.float32) for i in ids if healthy[i]}
        rows = [{"image_id": i, "psnr": self.value(i), "status": "ok" if healthy[i] else "diverged"} for i in ids]
        store.commit(rows, {NETWORK: vectors} if vectors else {})
        assert not set(store.pending(ORDER)) & set(ids)
        self.done |= healthy

    @rule(who=st.integers(0, 2))
    def merge(self, who: int) -> None:
        self.stores[who].merge()
        assert not parts.part_files(self.folder)

    @rule(who=st.integers(0, 2))
    def look(self, who: int) -> None:
        self.stores[who].refresh()
        assert set(self.stores[who].finished(ORDER)) >= self.done.keys() - self.harmed

    @rule(who=st.integers(0, 2))
    def start_again(self, who: int) -> None:
        """A killed process leaves what it wrote; the next start does again what no longer holds."""
        self.stores[who].close()
        self.stores[who] = self.started()
        for image_id in self.harmed:
            del self.done[image_id]
        self.harmed.clear()
        assert self.stores[who].finished(ORDER) == [i for i in ORDER if i in self.done]
        assert self.stores[who].pending(ORDER) == [i for i in ORDER if i not in self.done]

    @precondition(lambda self: self.done)
    @rule(data=st.data(), kept=st.sampled_from([None, 0, 20]))
    def harm_a_picture(self, data: st.DataObject, kept: int | None) -> None:
        image_id = data.draw(st.sampled_from(sorted(self.done)))
        file = self.stores[0].picture(image_id)
        if kept is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(b"\x89PNG"[:kept])
        self.harmed.add(image_id)

    @rule(name=st.sampled_from(["images.parquet", "features.npz", "parts"]))
    def leave_an_unfinished_file(self, name: str) -> None:
        """What a kill in the middle of a write leaves is no file of the store."""
        self.folder.joinpath("parts").mkdir(exist_ok=True)
        partial = "parts/.000000-00000000.0123abcd.partial.parquet" if name == "parts" else f".{name}.0123abcd.partial"
        (self.folder / partial).write_bytes(b"half")

    @invariant()
    def each_image_is_there_once(self) -> None:
        rows = parts.read_rows(self.folder)
        assert sorted(rows["image_id"]) == sorted(self.done)
        for row in rows.to_dict("records"):
            assert row["psnr"] == self.value(row["image_id"])
            assert row["status"] == ("ok" if self.done[row["image_id"]] else "diverged")
        features = parts.read_features(self.folder).get(NETWORK, {})
        healthy = {image_id for image_id, is_healthy in self.done.items() if is_healthy}
        assert features.keys() == healthy
        assert all((vector == self.value(image_id)).all() for image_id, vector in features.items())
        if parts.table(self.folder).exists():
            merged = parts.read_part(parts.table(self.folder)).rows["image_id"]
            assert list(merged) == sorted(merged, key=ORDER.index)


Processes.TestCase.settings = settings(deadline=None, derandomize=True, max_examples=15, stateful_step_count=14)
TestProcesses = Processes.TestCase

names = st.lists(
    st.text(st.characters(categories=["L", "N"], include_characters=" _-.'"), min_size=1, max_size=8),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(ids=names, cut=st.integers(0, 6), width=st.integers(0, 3), data=st.data())
def test_parts_and_merged_files_say_the_same(ids: list[str], cut: int, width: int, data: st.DataObject) -> None:
    """Whatever the ids, the batches and the features, infinities and gaps among them."""
    numbers = st.floats(width=32, allow_nan=False)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), ids, pictures=".").open()
        vectors = {i: np.array(data.draw(st.lists(numbers, min_size=width, max_size=width)), np.float32) for i in ids}
        gaps = data.draw(st.sets(st.sampled_from(ids)))
        scores = {i: data.draw(st.floats(allow_nan=True)) for i in ids}
        for batch in (ids[:cut], ids[cut:]):
            if batch:
                known = {i: vectors[i] for i in batch if i not in gaps}
                store.commit([{"image_id": i, "psnr": scores[i]} for i in batch], {"a": known} if known else {})
        before = parts.read_rows(store.folder), parts.read_features(store.folder)
        store.merge()
        after = parts.read_rows(store.folder), parts.read_features(store.folder)
        for rows, features in (before, after):
            found = dict(zip(rows["image_id"], rows["psnr"], strict=True))
            np.testing.assert_equal(found, scores)
            assert features.get("a", {}).keys() == set(ids) - gaps
            for image_id, vector in features.get("a", {}).items():
                np.testing.assert_array_equal(vector, vectors[image_id])
        assert list(after[0]["image_id"]) == ids
        store.close()
