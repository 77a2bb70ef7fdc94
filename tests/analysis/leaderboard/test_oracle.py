"""Leaderboards against an exact posterior: medians, intervals over scenes, columns of their own."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_oracle_run, write_run
from vml_bench.analysis.leaderboard import build, format_table, store_features
from vml_bench.analysis.leaderboard.intervals import bootstrap_interval, scene_interval
from vml_bench.analysis.leaderboard.latex import to_tex
from vml_bench.analysis.leaderboard.render import number, to_markdown
from vml_bench.cards import cards
from vml_bench.cli import main
from vml_bench.columns import COLUMNS, KEYS, ORACLE


def header(markdown: str) -> list[str]:
    return [
        cell.strip()
        for cell in next(line for line in markdown.splitlines() if line.startswith("| method")).split("|")[1:-1]
    ]


def row(markdown: str, method: str) -> dict[str, str]:
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {method} "))
    return dict(zip(header(markdown), (cell.strip() for cell in line.split("|")[1:-1]), strict=True))


def test_gaps_are_medians_over_images_and_distances_means_over_scenes(tmp_path):
    write_oracle_run(tmp_path, gaps=[[1.0, 2.0], [3.0, 50.0]], sw2=(0.2, 0.4))
    frame, warnings = build(tmp_path, "plane")
    assert warnings == []
    assert list(frame.columns[: len(KEYS)]) == list(KEYS)
    expected = {f"{c.name}{end}" for c in (*COLUMNS, *ORACLE) for end in ("", "_low", "_high")}
    assert set(frame.columns[len(KEYS) :]) == expected
    found = frame.iloc[0]
    assert (found["map_gap"], found["map_distance"]) == (2.5, 0.5)
    assert found["sw2"] == pytest.approx(0.3)
    assert (found["sw2_floor"], found["mean_error"], found["mean_error_floor"]) == pytest.approx((0.1, 0.3, 0.2))
    assert (found["residual"], found["residual_ratio"], found["nfe"]) == (0.25, 1.1, 20)
    assert found["map_gap_low"] <= 2.5 <= found["map_gap_high"]
    assert math.isnan(found["psnr"])


def test_the_interval_of_a_median_covers_it_though_images_of_a_scene_are_alike():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        scenes = rng.normal(size=16)
        values = (scenes[:, None] + 0.1 * rng.normal(size=(16, 8))).ravel()
        low, high = scene_interval(values, np.repeat(np.arange(16), 8), "median")
        inside.append(low <= 0 <= high)
    assert 0.88 <= np.mean(inside) <= 0.99
    naive = bootstrap_interval(values)
    assert high - low > 2 * (naive[1] - naive[0])


def test_an_interval_over_scenes_is_seeded_and_needs_two_of_them():
    values, scenes = np.arange(8.0), np.repeat(["a", "b"], 4)
    assert scene_interval(values, scenes) == scene_interval(values, scenes)
    assert scene_interval(values, scenes) == (1.5, 5.5)
    assert scene_interval(np.full(8, 3.0), scenes) == (3.0, 3.0)
    assert all(map(math.isnan, scene_interval(values, np.repeat("a", 8))))
    assert all(map(math.isnan, scene_interval(np.array([1.0, np.inf]), np.array(["a", "b"]))))
    assert scene_interval(values[:6], scenes[:6], "median") == (1.5, 4.5)


def test_tables_show_the_oracles_columns_and_none_of_the_pictures(tmp_path):
    write_oracle_run(tmp_path, "ddrm")
    write_oracle_run(tmp_path, "vml_map_pre", gaps=[[0.01, 0.02], [0.03, 0.04]], sw2=(0.5, 0.6))
    frame, _ = build(tmp_path, "plane")
    markdown = to_markdown(frame)
    assert header(markdown)[3:11] == [
        *("MAP gap ↓ (nats)", "MAP distance ↓", "SW2 ↓", "floor", "mean error ↓", "floor", "residual"),
        "residual ratio",
    ]
    for text in (markdown, to_tex(frame), format_table(frame)):
        assert not {"PSNR", "LPIPS", "FID"} & set(text.replace("(", " ").split())
    assert row(markdown, "vml\\_map\\_pre")["MAP gap ↓ (nats)"].startswith("**0.0250**")
    assert row(markdown, "ddrm")["SW2 ↓"].startswith("**0.300**")
    assert "exact posterior samples lie far below the mode" in markdown
    assert "over scenes" in format_table(frame)


def test_without_noise_the_residual_ratio_is_a_dash_or_no_column(tmp_path):
    write_oracle_run(tmp_path, noise_std=0.0)
    assert "residual ratio" not in header(to_markdown(build(tmp_path, "plane")[0]))
    write_oracle_run(tmp_path, "dps", noise_std=0.05)
    markdown = to_markdown(build(tmp_path, "plane")[0])
    assert row(markdown, "ddrm")["residual ratio"] == "–"
    assert row(markdown, "dps")["residual ratio"].startswith("1.10")


def test_diverged_images_are_counted_and_their_row_is_not_ranked(tmp_path):
    write_oracle_run(tmp_path, "dps", gaps=[[1e-3, 1e-3], [1e-3, 1e-3]], diverged=["p000-r01"])
    write_oracle_run(tmp_path, "ddrm")
    write_oracle_run(tmp_path, "pinv", diverged=["p000-r00", "p000-r01", "p001-r00", "p001-r01"])
    frame, warnings = build(tmp_path, "plane")
    assert warnings == []
    markdown = to_markdown(frame)
    assert (row(markdown, "dps")["n"], row(markdown, "dps")["diverged"]) == ("4", "1")
    assert "**" not in row(markdown, "dps")["MAP gap ↓ (nats)"]
    assert row(markdown, "pinv")["MAP gap ↓ (nats)"] == "–"


def test_scenes_that_are_not_those_of_the_images_are_left_out_and_named(tmp_path):
    folder = write_oracle_run(tmp_path)
    table = pd.read_parquet(folder / "images.parquet")
    table.iloc[:3].to_parquet(folder / "images.parquet")
    frame, warnings = build(tmp_path, "plane")
    assert math.isnan(frame.at[0, "sw2"])
    assert frame.at[0, "map_gap"] == 2.0
    assert sum("its scenes are not scored yet" in line for line in warnings) == 1
    (folder / "oracle.parquet").write_bytes(b"PAR1 torn")
    write_oracle_run(tmp_path, "pinv")
    frame, warnings = build(tmp_path, "plane")
    assert frame["method"].tolist() == ["pinv"]
    assert "left out" in warnings[0]


def test_features_are_computed_of_pictures_only(tmp_path):
    write_oracle_run(tmp_path)

    def extract(image):
        raise AssertionError("there is no picture to read")

    store_features(tmp_path, "plane", "inception", extract)
    assert not list(tmp_path.rglob("features_inception.npz"))


def test_pictures_keep_the_columns_they_had_and_one_csv_holds_both(tmp_path):
    write_run(tmp_path, dataset="photos")
    write_oracle_run(tmp_path)
    assert "map_gap" not in build(tmp_path, "photos")[0]
    main(["leaderboard", "--results", str(tmp_path), "--no-figures"])
    table = pd.read_csv(tmp_path / "leaderboard.csv").set_index("dataset")
    assert table.at["photos", "psnr"] == 22
    assert math.isnan(table.at["photos", "map_gap"])
    assert table.at["plane", "map_gap"] == 2.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0.0000"), (4e-9, "0.0000"), (0.04016, "0.0402"), (1.2345, "1.23"), (12.345, "12.3")),
        *(
            (295.1, "295"),
            (12345.6, "12346"),
            (2.5e7, "2.5e7"),
            (math.inf, "∞"),
            (math.nan, "–"),
            (-0.00123, "-0.0012"),
        ),
    ],
)
def test_numbers_of_any_size_are_printed_with_the_digits_that_count(value, text):
    assert number(value, 4, significant=3) == text


def test_every_method_has_its_place_and_variants_stand_behind_their_method():
    names = ["zebra", "vml_map_pre_flow", "ddnm", "vml_map_pre", "ddrm_published", "vml_map", "ddrm", "vml_fixed_point"]
    ordered = [
        "ddrm",
        "ddrm_published",
        "ddnm",
        "vml_map",
        "vml_map_pre",
        "vml_map_pre_flow",
        "vml_fixed_point",
        "zebra",
    ]
    assert list(cards((name, None) for name in names)) == ordered
