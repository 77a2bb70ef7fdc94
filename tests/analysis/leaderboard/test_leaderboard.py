"""Leaderboards: what is pooled, what is marked, what is written."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from cleanfid.fid import fid_from_feats
from PIL import Image

from tests.run_folders import originals, write_picture, write_reference, write_run
from vml_bench.analysis.leaderboard import build, datasets, format_table, store_features, write
from vml_bench.analysis.leaderboard.intervals import bootstrap_interval
from vml_bench.analysis.leaderboard.latex import escape_tex, to_tex
from vml_bench.analysis.leaderboard.render import escape_markdown, ranks, to_markdown
from vml_bench.cli import main
from vml_bench.columns import BY_NAME, COLUMNS, KEYS
from vml_bench.errors import InputError


def markdown_row(frame: pd.DataFrame, method: str) -> str:
    line = next(line for line in to_markdown(frame).splitlines() if line.startswith(f"| {method} "))
    return " ".join(line.split())


def test_a_row_holds_the_means_of_its_images_and_the_columns_of_the_design(tmp_path):
    write_run(tmp_path, psnr=(20.0, 22.0, 27.0))
    frame, warnings = build(tmp_path, "toy")
    assert warnings == []
    assert list(frame.columns[: len(KEYS)]) == list(KEYS)
    assert {f"{c.name}{end}" for c in COLUMNS for end in ("", "_low", "_high")} == set(frame.columns[len(KEYS) :])
    row = frame.iloc[0]
    assert (row["dataset"], row["task"], row["noise_std"], row["method"]) == ("toy", "sr4", 0.05, "pinv")
    assert (row["n"], row["diverged"], row["psnr"], row["nfe"], row["seconds"]) == (3, 0, 23.0, 20, 0.25)
    assert row["psnr_low"] < 23.0 < row["psnr_high"]
    assert math.isnan(row["lpips_vgg"])
    assert math.isnan(row["fid"])


def test_diverged_images_are_counted_and_not_averaged(tmp_path):
    write_run(tmp_path, "dps", psnr=(20.0, 99.0, 24.0), diverged=["b"])
    write_run(tmp_path, "ddrm", diverged=["a", "b", "c"])
    frame, _ = build(tmp_path, "toy")
    by_method = frame.set_index("method")
    assert (by_method.at["dps", "n"], by_method.at["dps", "diverged"], by_method.at["dps", "psnr"]) == (3, 1, 22.0)
    assert (by_method.at["ddrm", "n"], by_method.at["ddrm", "diverged"]) == (3, 3)
    assert math.isnan(by_method.at["ddrm", "psnr"])
    assert markdown_row(frame, "ddrm").startswith("| ddrm | 3 | 3 | – |")


def test_one_image_has_a_mean_but_no_interval(tmp_path):
    write_run(tmp_path, ids=["a"], psnr=[20.0], lpips=[0.3])
    row = build(tmp_path, "toy")[0].iloc[0]
    assert row["psnr"] == 20.0
    assert math.isnan(row["psnr_low"])
    assert math.isnan(row["psnr_high"])


@pytest.mark.parametrize("n", [16, 64])
def test_bootstrap_intervals_cover_a_known_mean_about_as_often_as_they_say(n):
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.exponential(size=n)) for _ in range(300)]
    coverage = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.87 <= coverage <= 0.98


def test_bootstrap_interval_is_seeded_and_survives_constants_and_infinities():
    values = np.arange(10.0)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(np.full(5, 3.0)) == (3.0, 3.0)
    rounded = np.where(np.arange(16) < 5, np.nextafter(0.3, 1), 0.3)
    assert bootstrap_interval(rounded) == pytest.approx((0.3, 0.3), rel=1e-12)
    assert all(map(math.isnan, bootstrap_interval(np.array([1.0, np.inf]))))


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_set_distances_pair_features_by_id_whatever_their_order(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"i{k}" for k in range(12)]
    original, restored = rng.normal(size=(12, 4)), rng.normal(size=(12, 4)) + 1
    scores = {"ids": ids, "psnr": np.arange(12.0), "lpips": np.arange(12.0)}
    write_run(tmp_path / "one", **scores, features=restored, diverged=["i3"])
    shuffled = rng.permutation(12)
    write_run(
        tmp_path / "two",
        ids=[ids[k] for k in shuffled],
        psnr=shuffled.astype(float),
        lpips=shuffled.astype(float),
        features=restored[shuffled],
        diverged=["i3"],
    )
    write_reference(tmp_path / "one", ids, original)
    write_reference(tmp_path / "two", ids[::-1], original[::-1])
    one, two = (build(tmp_path / name, "toy")[0].iloc[0] for name in ("one", "two"))
    kept = np.arange(12) != 3
    assert one["fd_alex"] == pytest.approx(fid_from_feats(restored[kept], original[kept]))
    assert (one["fd_alex"], one["kd_alex"]) == (two["fd_alex"], two["kd_alex"])
    assert math.isnan(one["fid"])
    assert one["fd_alex_low"] < one["fd_alex"] < one["fd_alex_high"]
    assert math.isnan(one["kd_alex_low"])


def test_a_distance_with_features_missing_is_left_out_by_name(tmp_path):
    write_run(tmp_path, features=np.eye(3))
    write_reference(tmp_path, ["a", "b"], np.eye(2, 3))
    frame, warnings = build(tmp_path, "toy")
    assert math.isnan(frame.at[0, "fd_alex"])
    assert any("fd_alex is left out" in line and "pinv" in line for line in warnings)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "images.parquet").unlink(), "images.parquet is missing"),
        (lambda folder: (folder / "images.parquet").write_bytes(b"PAR1 torn"), ""),
        (lambda folder: (folder / "run.json").write_text("{"), ""),
        (lambda folder: (folder / "run.json").write_text('{"format": 2, "problem": {}}'), "lacks the key 'dataset'"),
        (lambda folder: (folder / "run.json").write_text("{}"), "older version"),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml is missing"),
        (lambda folder: (folder / "features.npz").write_bytes(b"PK torn"), ""),
    ],
)
def test_a_damaged_run_is_left_out_by_name_and_the_others_stand(tmp_path, damage, reason):
    write_run(tmp_path, "pinv")
    damage(write_run(tmp_path, "ddrm", "badbadbad0"))
    frame, warnings = build(tmp_path, "toy")
    assert frame["method"].tolist() == ["pinv"]
    assert len(warnings) == 1
    assert warnings[0].startswith("sr4/ddrm/badbadbad0 left out: ")
    assert reason in warnings[0]
    assert "badbadbad0" in to_markdown(frame)


def test_unfinished_and_unlike_runs_are_named(tmp_path):
    write_run(tmp_path, "pinv")
    folder = write_run(tmp_path, "ddrm")
    table = pd.read_parquet(folder / "images.parquet")
    table.iloc[:2].to_parquet(folder / "images.parquet")
    _, warnings = build(tmp_path, "toy")
    assert any("ddrm" in line and "1 of 3 images" in line for line in warnings)
    assert any("different images" in line for line in warnings)


def test_no_run_is_the_users_to_mend(tmp_path):
    with pytest.raises(InputError, match="no run of 'toy'"):
        build(tmp_path, "toy")
    with pytest.raises(InputError, match="no run under"):
        datasets(tmp_path)
    write_run(tmp_path)
    assert datasets(tmp_path) == ["toy"]


def test_methods_stand_in_the_papers_order_and_tasks_in_blocks(tmp_path):
    for method in ("vml_map", "zebra", "pinv", "dps"):
        write_run(tmp_path, method)
    write_run(tmp_path, "pinv", "noiseless00", noise_std=0.0)
    frame, _ = build(tmp_path, "toy")
    assert frame["method"].tolist() == ["pinv", "pinv", "dps", "vml_map", "zebra"]
    assert frame["noise_std"].tolist() == [0.0, 0.05, 0.05, 0.05, 0.05]
    assert to_markdown(frame).count("\n## ") == to_tex(frame).count(r"\begin{table}") == 2


def test_ranks_know_the_direction_ties_nan_and_divergence():
    psnr, lpips, nfe = BY_NAME["psnr"], BY_NAME["lpips_alex"], BY_NAME["nfe"]
    assert ranks([20.0, 30.0, 25.0], [True, True, True], psnr) == [0, 1, 2]
    assert ranks([0.1, 0.3, 0.2], [True, True, True], lpips) == [1, 0, 2]
    assert ranks([20.001, 20.002, 19.0], [True, True, True], psnr) == [1, 1, 2]
    assert ranks([math.nan, 30.0, 25.0], [True, True, True], psnr) == [0, 1, 2]
    assert ranks([math.nan, math.nan], [True, True], psnr) == [0, 0]
    assert ranks([40.0, 30.0, 25.0], [False, True, True], psnr) == [0, 1, 2]
    assert ranks([math.inf, 30.0], [True, True], psnr) == [1, 2]
    assert ranks([5.0, 1.0], [True, True], nfe) == [0, 0]
    assert ranks([20.0], [True], psnr) == [0]


def test_best_is_bold_and_second_best_underlined(tmp_path):
    write_run(tmp_path, "pinv", psnr=(20.0, 21.0, 22.0), lpips=(0.5, 0.5, 0.5))
    write_run(tmp_path, "ddrm", psnr=(30.0, 31.0, 32.0), lpips=(0.6, 0.6, 0.6))
    frame, _ = build(tmp_path, "toy")
    assert "**31.00**" in markdown_row(frame, "ddrm")
    assert "**21.00**" not in markdown_row(frame, "pinv")
    assert "**0.500**" in markdown_row(frame, "pinv")
    assert r"\textbf{31.00}" in to_tex(frame)
    assert r"\underline{21.00}" in to_tex(frame)
    assert "*31.00 [" in format_table(frame)


def test_names_are_inert_in_markdown_and_tex(tmp_path):
    name = "<script>a|b_c*`$&\\"
    write_run(tmp_path, "pinv", task="sr4")
    write_run(tmp_path, "ddrm", task="sr4")
    frame, _ = build(tmp_path, "toy")
    frame.attrs["labels"] = [name, "plain"]
    frame["task"] = name
    markdown, tex = to_markdown(frame), to_tex(frame)
    assert "<script>" not in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| &lt;script"))
    plain = markdown_row(frame, "plain")
    assert row.replace(r"\|", "").count("|") == plain.count("|")
    assert r"\textless{}script\textgreater{}a\textbar{}b\_c*`\$\&\textbackslash{}" in tex
    assert escape_markdown("a\n# b_c") == r"a \# b\_c"
    assert escape_tex("50%\n{x}") == r"50\% \{x\}"
    frame.attrs["labels"] = ["\x1b[31mred", "plain"]
    assert "\x1b" not in format_table(frame)


def test_written_files_are_whole_and_say_how_to_get_fid(tmp_path):
    write_run(tmp_path, synthetic=True)
    frame, _ = build(tmp_path, "toy", synthetic=True)
    paths = write(frame, tmp_path / "toy")
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == sorted(path.name for path in paths)
    assert {path.suffix for path in paths} == {".csv", ".md", ".tex"}
    pd.testing.assert_frame_equal(pd.read_csv(paths[0]).iloc[:, 10:13], frame.iloc[:, 10:13], check_dtype=False)
    for path in paths[1:]:
        assert "vml-bench fetch inception" in path.read_text()
        assert "Synthetic: " in path.read_text()
    assert "vml-bench fetch inception" in format_table(frame)


def test_synthetic_runs_are_left_out_and_counted_unless_asked_for(tmp_path):
    write_run(tmp_path, "pinv")
    write_run(tmp_path, "ddrm", synthetic=True)
    frame, warnings = build(tmp_path, "toy")
    assert frame["method"].tolist() == ["pinv"]
    assert warnings == ["1 synthetic run left out (--synthetic shows them)"]
    assert "1 synthetic run left out" in to_markdown(frame)
    assert "Synthetic: " not in format_table(frame)
    frame, warnings = build(tmp_path, "toy", synthetic=True)
    assert frame["method"].tolist() == ["pinv", "ddrm"]
    assert warnings == []
    assert "Synthetic: " in format_table(frame)


def test_nothing_but_synthetic_runs_is_said(tmp_path, capsys):
    write_run(tmp_path, synthetic=True)
    with pytest.raises(InputError, match=r"every run of 'toy' is synthetic \(1\); add --synthetic"):
        build(tmp_path, "toy")
    with pytest.raises(SystemExit) as caught:
        main(["leaderboard", "--results", str(tmp_path)])
    assert caught.value.code == 2
    assert "--synthetic" in capsys.readouterr().err
    assert not (tmp_path / "toy").exists()
    write_run(tmp_path, dataset="real")
    main(["leaderboard", "--results", str(tmp_path), "--no-figures"])
    told = capsys.readouterr()
    assert "every run of 'toy' is synthetic" in told.err
    assert "real · sr4" in told.out
    main(["leaderboard", "--results", str(tmp_path), "--no-figures", "--synthetic"])
    assert "toy · sr4" in capsys.readouterr().out


def local_means(calls: list) -> Callable:
    """A feature network of four numbers: mean and spread of two channels."""

    def extract(image: torch.Tensor) -> np.ndarray:
        calls.append(image)
        return torch.cat([image.mean(dim=(2, 3))[:, :2], image.std(dim=(2, 3))[:, :2]], dim=1).numpy()

    return extract


def test_features_are_completed_from_the_pictures_once_beside_the_runs_own(tmp_path):
    first = write_run(tmp_path, "pinv", pictures=True, features=np.eye(3))
    write_run(tmp_path, "ddrm", pictures=True, diverged=["b"])
    before = (first / "features.npz").read_bytes()
    calls = []
    store_features(tmp_path, "toy", "inception_torchvision", local_means(calls))
    assert len(calls) == 3 + 2 + 3
    assert (first / "features.npz").read_bytes() == before
    with np.load(first / "features_inception_torchvision.npz") as stored:
        assert stored["ids"].tolist() == ["a", "b", "c"]
        with Image.open(first / "recon" / "b.png") as picture:
            pixels = np.asarray(picture) / 127.5 - 1
        np.testing.assert_allclose(stored["inception_torchvision"][1, :2], pixels.mean((0, 1))[:2], atol=1e-6)
    store_features(tmp_path, "toy", "inception_torchvision", local_means(calls))
    assert len(calls) == 8
    frame, warnings = build(tmp_path, "toy")
    assert warnings == []
    assert frame["fid_torchvision"].notna().all()
    assert frame[["fid", "fid_legacy_pytorch", "fid_torch_fidelity"]].isna().all(axis=None)
    assert "FID-torchvision ↓" in to_markdown(frame)
    assert "do not compare with one another" in to_markdown(frame)

    table = pd.read_parquet(first / "images.parquet")  # the run goes on
    extra = table.iloc[[0]].assign(image_id="d")
    pd.concat([table, extra]).to_parquet(first / "images.parquet")
    frame, warnings = build(tmp_path, "toy")
    assert math.isnan(frame.set_index("method").at["pinv", "fid_torchvision"])
    assert any("fid_torchvision is left out, features of 1 images are missing" in line for line in warnings)
    write_picture(first / "recon" / "d.png", 70)
    write_picture(originals(tmp_path) / "d.png", 75)
    store_features(tmp_path, "toy", "inception_torchvision", local_means(calls))
    assert len(calls) == 8 + 2
    assert build(tmp_path, "toy")[0]["fid_torchvision"].notna().all()


def test_a_missing_picture_is_named(tmp_path):
    folder = write_run(tmp_path, pictures=True)
    (folder / "recon" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        store_features(tmp_path, "toy", "inception", local_means([]))
    assert not (folder / "features_inception.npz").exists()


def test_each_convention_of_fid_rests_on_features_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"i{k}" for k in range(10)]
    folder = write_run(tmp_path, ids=ids, psnr=np.arange(10.0), lpips=np.arange(10.0))
    expected = {}
    for column in (column for column in COLUMNS if column.name.startswith("fid")):
        restored, original = rng.normal(size=(10, 4)), rng.normal(size=(10, 4)) + 1
        originals(tmp_path).mkdir(parents=True, exist_ok=True)
        for where, array in ((folder, restored), (originals(tmp_path), original)):
            np.savez(where / f"features_{column.features}.npz", ids=np.array(ids), **{column.features: array})
        expected[column.name] = fid_from_feats(restored, original)
    row = build(tmp_path, "toy")[0].iloc[0]
    assert len(expected) == 4
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_features_without_their_weights_end_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path / "cache"))
    write_run(tmp_path, pictures=True)
    with pytest.raises(SystemExit) as caught:
        main(["leaderboard", "--results", str(tmp_path), "--features", "inception_legacy_pytorch"])
    assert caught.value.code == 2
    assert "vml-bench fetch inception-pytorch" in capsys.readouterr().err
    assert not (tmp_path / "toy").exists()
