"""Many runs: parts count as what they will be merged into, kept rows as fresh ones, and memory stays flat."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from tests.run_folders import originals, write_reference, write_run
from vml_bench.analysis.leaderboard import build, cache, format_table, intervals, write
from vml_bench.analysis.leaderboard.aggregate import leaderboard_row
from vml_bench.analysis.leaderboard.intervals import bootstrap_interval, bootstrap_intervals
from vml_bench.figures.pictures import MOST, write_figures
from vml_bench.store import parts
from vml_bench.store.features import Features
from vml_bench.store.runs import Run, each, read_run, select_runs

IDS = [f"i{k:02d}" for k in range(20)]


def scored(rng: np.random.Generator, diverged: int = 3) -> dict:
    """Scores and features of the images `IDS`, of which one diverged."""
    lists = {"ids": IDS, "psnr": rng.normal(25, 3, 20), "lpips": rng.gamma(4, 0.04, 20)}
    return {**lists, "features": rng.normal(size=(20, 4)), "diverged": [IDS[diverged]]}


def in_parts(folder: Path, batches: list[list[str]]) -> None:
    """Turn a run's merged files into parts."""
    rows, features = parts.read_rows(folder), parts.read_features(folder)
    parts.table(folder).unlink()
    parts.features_file(folder).unlink()
    for number, batch in enumerate(batches):
        mine = rows[rows["image_id"].isin(batch)]
        vectors = {name: {i: v for i, v in known.items() if i in batch} for name, known in features.items()}
        parts.write_part(folder / "parts" / f"{number:06d}.parquet", mine.to_dict("records"), vectors)


def two_alike(tmp_path: Path) -> tuple[Path, Path]:
    """Two results folders with the same run, and features of the originals; the run's own folders."""
    folders = []
    for name in ("merged", "pooled"):
        rng = np.random.default_rng(0)
        folders.append(write_run(tmp_path / name, **scored(rng)))
        write_reference(tmp_path / name, IDS, rng.normal(size=(20, 4)) + 1)
    return folders[0], folders[1]


def test_parts_of_two_shards_give_the_row_of_one_process(tmp_path):
    _, folder = two_alike(tmp_path)
    in_parts(folder, [IDS[1::2], IDS[0::2]])
    (merged, quiet), (pooled, _) = (build(tmp_path / name, "toy") for name in ("merged", "pooled"))
    assert quiet == []
    pd.testing.assert_frame_equal(merged, pooled, check_exact=True)
    assert pooled.at[0, "n"] == 20
    assert pooled.at[0, "diverged"] == 1
    assert np.isfinite(pooled.loc[0, ["psnr_low", "fd_alex", "fd_alex_low", "kd_alex"]].astype(float)).all()


def test_an_image_in_several_parts_and_in_the_merged_table_counts_once(tmp_path):
    merged, folder = two_alike(tmp_path)
    table, features = parts.table(folder).read_bytes(), parts.features_file(folder).read_bytes()
    in_parts(folder, [IDS[:12], IDS[8:]])
    expected = build(tmp_path / "merged", "toy")[0]
    pd.testing.assert_frame_equal(build(tmp_path / "pooled", "toy")[0], expected, check_exact=True)
    parts.table(folder).write_bytes(table)
    parts.features_file(folder).write_bytes(features)
    pd.testing.assert_frame_equal(build(tmp_path / "pooled", "toy")[0], expected, check_exact=True)
    assert len(read_run(folder).images) == len(read_run(merged).images) == 20


def test_a_run_of_parts_alone_is_unfinished_and_an_empty_one_is_left_out(tmp_path):
    folder = write_run(tmp_path, **scored(np.random.default_rng(0)))
    in_parts(folder, [IDS[:5]])
    frame, warnings = build(tmp_path, "toy")
    assert frame.at[0, "n"] == 5
    assert any("15 of 20 images are still to come" in line for line in warnings)
    for file in parts.part_files(folder):
        file.unlink()
    write_run(tmp_path, "ddrm")
    assert build(tmp_path, "toy")[1] == ["sr4/pinv/0123456789 left out: images.parquet is missing"]


def test_an_image_twice_in_the_merged_table_is_an_error(tmp_path):
    write_run(tmp_path, "ddrm")
    folder = write_run(tmp_path)
    table = pd.read_parquet(folder / "images.parquet")
    pd.concat([table, table.iloc[[1]]]).to_parquet(folder / "images.parquet", index=False)
    assert build(tmp_path, "toy")[1] == ["sr4/pinv/0123456789 left out: images.parquet lists 'b' twice"]
    assert [run.method for run in select_runs(tmp_path, "toy")[0]] == ["ddrm"]


@pytest.mark.parametrize("n", [12, 100])
def test_intervals_of_many_columns_are_scipys_within_what_resampling_scatters(n):
    rng = np.random.default_rng(1)
    values = np.stack([rng.exponential(size=n), rng.normal(50, 1e-3, n), 1e6 * rng.beta(1, 5, n), -rng.gamma(2, 1, n)])
    drawn = [
        [
            stats.bootstrap((own,), np.mean, n_resamples=2000, method="BCa", random_state=np.random.default_rng(seed))
            for seed in range(20)
        ]
        for own in values
    ]
    theirs = np.array([[one.confidence_interval for one in column] for column in drawn])
    scatter = theirs.std(axis=1)
    ours = bootstrap_intervals(values.T)
    assert (np.abs(ours - theirs.mean(axis=1)) < 4 * scatter).all()
    means = values[0][np.random.default_rng(intervals.SEED).integers(n, size=(intervals.RESAMPLES, n))].mean(axis=1)
    assert (ours[0] > np.quantile(means, [0.025, 0.975])).all()  # skewed: BCa is told from the percentiles


def test_columns_do_not_change_one_anothers_intervals_and_pieces_change_nothing(monkeypatch):
    values = np.random.default_rng(0).gamma(2, 1, (50, 3))
    together = bootstrap_intervals(values)
    for j in range(3):
        np.testing.assert_allclose(bootstrap_interval(values[:, j]), together[j], rtol=1e-12)
    monkeypatch.setattr(intervals, "CHUNK", 50 * 7)
    np.testing.assert_allclose(bootstrap_intervals(values), together, rtol=1e-12)
    values[0, 1] = np.nan
    values[:, 2] = 5.0
    mixed = bootstrap_intervals(values)
    np.testing.assert_allclose(mixed[0], together[0], rtol=1e-12)
    assert np.isnan(mixed[1]).all()
    assert mixed[2].tolist() == [5.0, 5.0]


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The methods whose rows are computed, in order."""
    seen = []

    def counting(run: Run, reference: Features, warnings: list[str]) -> dict:
        seen.append(run.method)
        return leaderboard_row(run, reference, warnings)

    monkeypatch.setattr("vml_bench.analysis.leaderboard.aggregate.leaderboard_row", counting)
    return seen


def some_runs(results: Path) -> dict[str, Path]:
    """Three runs by method: two with features and one without; one is unfinished."""
    rng = np.random.default_rng(0)
    folders = {method: write_run(results, method, **scored(rng)) for method in ("dps", "ddrm")}
    folders["pinv"] = write_run(results, "pinv", ids=IDS[:4], psnr=np.arange(4.0), lpips=np.arange(4.0))
    record = folders["pinv"] / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"ids": IDS[:6]}))
    write_reference(results, IDS, rng.normal(size=(20, 4)))
    return folders


def kept_file(results: Path) -> Path:
    (file,) = (results / ".cache").glob("*.rows")
    return file


def test_kept_rows_equal_fresh_ones_to_the_bit_with_their_warnings(tmp_path, computed):
    some_runs(tmp_path)
    fresh, warnings = build(tmp_path, "toy")
    assert sorted(computed) == ["ddrm", "dps", "pinv"]
    again, same = build(tmp_path, "toy")
    assert len(computed) == 3
    pd.testing.assert_frame_equal(again, fresh, check_exact=True)
    assert (again.attrs, same) == (fresh.attrs, warnings)
    assert any("unfinished" in line for line in warnings)
    assert any("different images" in line for line in warnings)
    assert (tmp_path / ".cache" / ".gitignore").read_text() == "*\n"


def change_row(results: Path, folders: dict[str, Path]) -> None:
    table = pd.read_parquet(folders["dps"] / "images.parquet")
    table.loc[0, "psnr"] += 1
    table.to_parquet(folders["dps"] / "images.parquet", index=False)


def change_feature(results: Path, folders: dict[str, Path]) -> None:
    with np.load(folders["dps"] / "features.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["alex"][0, 0] += 1
    np.savez(folders["dps"] / "features.npz", **arrays)


def complete_feature(results: Path, folders: dict[str, Path]) -> None:
    np.savez(folders["dps"] / "features_inception.npz", ids=np.array(IDS), inception=np.ones((20, 3)))


def add_part(results: Path, folders: dict[str, Path]) -> None:
    row = pd.read_parquet(folders["dps"] / "images.parquet").iloc[[0]].assign(image_id="late")
    parts.write_part(folders["dps"] / "parts" / "000020.parquet", row.to_dict("records"), {})


def change_original(results: Path, folders: dict[str, Path]) -> None:
    write_reference(results, IDS, np.random.default_rng(9).normal(size=(20, 4)))


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (change_row, ["dps"]),
        (change_feature, ["dps"]),
        (complete_feature, ["dps"]),
        (add_part, ["dps"]),
        (change_original, ["ddrm", "dps"]),
    ],
)
def test_what_changed_is_computed_again_and_nothing_else(tmp_path, computed, change, again):
    folders = some_runs(tmp_path)
    before = build(tmp_path, "toy")[0]
    computed.clear()
    change(tmp_path, folders)
    after = build(tmp_path, "toy")[0]
    assert sorted(computed) == again
    kept_file(tmp_path).unlink()
    pd.testing.assert_frame_equal(build(tmp_path, "toy")[0], after, check_exact=True)
    assert after.equals(before) == (change is complete_feature)  # there are no such features of the originals


def test_other_code_computes_all_rows_again(tmp_path, computed, monkeypatch):
    some_runs(tmp_path)
    build(tmp_path, "toy")
    monkeypatch.setattr(cache, "code_version", lambda: "another")
    build(tmp_path, "toy")
    assert sorted(computed) == sorted(2 * ["ddrm", "dps", "pinv"])


def test_the_same_bytes_at_another_time_are_the_same(tmp_path, computed):
    folders = some_runs(tmp_path)
    build(tmp_path, "toy")
    computed.clear()
    for file in folders["dps"].iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    build(tmp_path, "toy")
    assert computed == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "garbage", "empty"])
def test_damaged_kept_rows_are_made_again(tmp_path, computed, damage):
    some_runs(tmp_path)
    fresh = build(tmp_path, "toy")[0]
    file = kept_file(tmp_path)
    whole = file.read_bytes()
    damaged = {
        "truncated": whole[: len(whole) - 100],
        "flipped": whole.replace(b"0.", b"9.", 1),
        "garbage": b"\x00\xff\n{}\n[1, 2]",
        "empty": b"",
    }[damage]
    assert damaged != whole
    file.write_bytes(damaged)
    computed.clear()
    pd.testing.assert_frame_equal(build(tmp_path, "toy")[0], fresh, check_exact=True)
    assert len(computed) == 3
    computed.clear()
    pd.testing.assert_frame_equal(build(tmp_path, "toy")[0], fresh, check_exact=True)
    assert computed == []


def test_rows_finished_before_an_interruption_are_kept(tmp_path, computed, monkeypatch):
    some_runs(tmp_path)

    def stop_at_pinv(run: Run, reference: Features, warnings: list[str]) -> dict:
        if run.method == "pinv":
            raise KeyboardInterrupt
        return leaderboard_row(run, reference, warnings)

    with monkeypatch.context() as patch:
        patch.setattr("vml_bench.analysis.leaderboard.aggregate.leaderboard_row", stop_at_pinv)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, "toy")
    build(tmp_path, "toy")
    assert computed == ["pinv"]


def test_rows_of_runs_that_are_gone_are_forgotten(tmp_path):
    folders = some_runs(tmp_path)
    build(tmp_path, "toy")
    size = kept_file(tmp_path).stat().st_size
    (folders["dps"] / "run.json").unlink()
    frame, warnings = build(tmp_path, "toy")
    assert frame["method"].tolist() == ["pinv", "ddrm"]
    assert "sr4/dps/0123456789 left out: run.json is missing" in warnings
    assert kept_file(tmp_path).stat().st_size < size


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, computed):
    some_runs(tmp_path)
    expected = build(tmp_path, "toy")[0]
    kept_file(tmp_path).unlink()
    (tmp_path / ".cache" / ".gitignore").unlink()
    (tmp_path / ".cache").rmdir()
    (tmp_path / ".cache").write_text("not a folder")
    computed.clear()
    for _ in range(2):
        pd.testing.assert_frame_equal(build(tmp_path, "toy")[0], expected, check_exact=True)
    assert len(computed) == 6

    (tmp_path / ".cache").unlink()
    (tmp_path / ".cache" / "toy.rows").mkdir(parents=True)
    pd.testing.assert_frame_equal(build(tmp_path, "toy")[0], expected, check_exact=True)


def test_damaged_originals_are_said_and_leave_the_means(tmp_path):
    some_runs(tmp_path)
    (originals(tmp_path) / "features.npz").write_bytes(b"PK torn")
    for _ in range(2):
        frame, warnings = build(tmp_path, "toy")
        assert frame["fd_alex"].isna().all()
        assert frame["psnr"].notna().all()
        assert sum(line.startswith("reference features left out: ") for line in warnings) == 1


def test_synthetic_runs_stay_hidden_behind_kept_rows(tmp_path):
    write_run(tmp_path, "pinv")
    write_run(tmp_path, "ddrm", synthetic=True)
    for _ in range(2):
        assert build(tmp_path, "toy", synthetic=True)[0]["method"].tolist() == ["pinv", "ddrm"]
        frame, warnings = build(tmp_path, "toy")
        assert frame["method"].tolist() == ["pinv"]
        assert warnings == ["1 synthetic run left out (--synthetic shows them)"]


def test_no_more_than_a_run_at_a_time_is_in_memory(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(30):
        write_run(tmp_path, "dps", f"{number:010x}", **scored(rng))
    write_reference(tmp_path, IDS, rng.normal(size=(20, 4)))
    held, alive = [], []

    def counting(run: Run, reference: Features, warnings: list[str]) -> dict:
        row = leaderboard_row(run, reference, warnings)
        held.extend(map(weakref.ref, (run, run.images, run.features)))
        alive.append(sum(reference() is not None for reference in held))
        return row

    monkeypatch.setattr("vml_bench.analysis.leaderboard.aggregate.leaderboard_row", counting)
    build(tmp_path, "toy")
    assert len(alive) == 30
    assert max(alive) <= 2 * 3


def test_a_list_of_runs_holds_what_they_are_and_not_what_they_did(tmp_path):
    for number in range(5):
        write_run(tmp_path, "dps", f"{number:010x}")
    runs, _ = select_runs(tmp_path, "toy")
    tables = [weakref.ref(run.images) for run in each(runs)]
    assert sum(table() is not None for table in tables) <= 1
    assert not any({"images", "features"} & vars(run).keys() for run in runs)
    assert all(run.asked is runs[0].asked for run in runs)


def test_tables_of_many_runs_are_complete_and_figures_are_bounded(tmp_path, capsys):
    for number in range(MOST + 3):
        quality = {"psnr": (20.0, 21.0, 22.0), "lpips": np.full(3, 0.5 - 0.001 * number)}
        write_run(tmp_path, "dps", f"{number:010x}", **quality)
    write_run(tmp_path, "ddrm", pictures=True)
    (figure,) = write_figures(tmp_path, "toy")
    assert "pictures of 2 of 28 runs, the best of each method" in capsys.readouterr().err
    frame, _ = build(tmp_path, "toy")
    paths = write(frame, tmp_path / "toy")
    assert len(pd.read_csv(paths[0])) == MOST + 4
    assert paths[1].read_text().count("\n| dps (") == format_table(frame).count("\ndps (") == MOST + 3
    with Image.open(figure) as one:
        wide = one.size[0]
    assert wide < 256 * 6
