"""Quality against compute: what is joined, what is far, where labels stand, and bytes that stay the same."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.run_folders import write_run
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.leaderboard.render import blocks
from vml_bench.figures.labels import overlap, place
from vml_bench.figures.page import front, points
from vml_bench.figures.tradeoff import write_tradeoffs
from vml_bench.store import layout


def write_at(results, method, run="0123456789", *, nfe=20, vjp=0, **options):
    """A run with a compute of its own."""
    folder = write_run(results, method, run, **options)
    table = pd.read_parquet(folder / layout.TABLE).assign(nfe=nfe, vjp=vjp, seconds=nfe / 100)
    table.to_parquet(folder / layout.TABLE, index=False)


@pytest.fixture
def said(monkeypatch):
    """Texts of all axes, panel after panel, of every figure that is saved."""
    found: list[dict[str, list]] = []
    save = Figure.savefig

    def look(figure, path, **options):
        if path.suffix == ".pdf":
            found.extend(
                {"title": ax.get_title(), "labels": [text.get_text() for text in ax.texts], "lines": list(ax.lines)}
                for ax in figure.axes
            )
        return save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", look)
    return found


def shown(pdf) -> str:
    """The text of a PDF by its ToUnicode maps is beyond us; its content streams, unpacked, tell what is drawn."""
    raw = pdf.read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL)
    unpacked = []
    for stream in streams:
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return b"\n".join(unpacked).decode("latin-1")


def test_the_front_holds_what_nothing_beats_at_no_more_compute():
    runs = pd.DataFrame({"x": [40, 10, 20, 20, 80], "y": [0.3, 0.5, 0.6, 0.3, 0.2]})
    assert front(runs, -1)[["x", "y"]].to_numpy().tolist() == [[10, 0.5], [20, 0.3], [80, 0.2]]
    assert front(runs, +1)[["x", "y"]].to_numpy().tolist() == [[10, 0.5], [20, 0.6]]


def test_a_run_is_a_point_at_its_passes(tmp_path):
    write_at(tmp_path, "dps", nfe=100, vjp=100, psnr=(20.0, 99.0, 24.0), diverged=["b"])
    write_at(tmp_path, "ddrm", diverged=["a", "b", "c"])
    frame, _ = build(tmp_path, "toy")
    (block,) = blocks(frame)
    (found,) = points(block, frame.attrs["cards"], "psnr").itertuples()  # none of ddrm: it has no finite mean
    assert (found.method, found.x, found.y, found.diverged) == ("dps", 200, 22.0, 1)
    assert found.low <= 22.0 <= found.high
    assert points(block, frame.attrs["cards"], "lpips_vgg").empty


def test_a_run_whose_compute_is_not_known_is_no_point_and_a_figure_of_such_runs_alone_is_not_drawn(tmp_path, said):
    write_at(tmp_path, "external_theirs", nfe=np.nan, vjp=np.nan, record={"about": {"title": "Theirs"}})
    assert write_tradeoffs(tmp_path, "toy") == []
    write_at(tmp_path, "dps", nfe=100)
    frame, _ = build(tmp_path, "toy")
    (block,) = blocks(frame)
    assert points(block, frame.attrs["cards"], "psnr")["method"].tolist() == ["dps"]
    draw_psnr(tmp_path, said)
    (panel,) = said
    assert "DPS" in " ".join(panel["labels"])
    assert "Theirs" not in " ".join(panel["labels"])


def test_both_files_are_drawn_for_each_metric_with_embedded_fonts_and_the_same_twice(tmp_path):
    for method, nfe in (("pinv", 0), ("ddrm", 20), ("dps", 100), ("dps_$x$", 100)):
        write_at(tmp_path, method, nfe=nfe)
    write_at(tmp_path, "dps", "another", nfe=50, lpips=(0.4, 0.5, 0.6))
    write_at(tmp_path, "pinv", task="denoise_$x$", noise_std=0.2)
    paths = write_tradeoffs(tmp_path, "toy")
    names = ["tradeoff-lpips_alex.png", "tradeoff-lpips_alex.pdf", "tradeoff-psnr.png", "tradeoff-psnr.pdf"]
    assert [path.name for path in paths] == names
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_tradeoffs(tmp_path, "toy")] == before
    assert b"/FontFile2" in before[1]
    assert b"/Type3" not in before[1]
    assert b"CreationDate" not in before[1]
    with Image.open(paths[0]) as picture:
        assert picture.info["dpi"][0] == pytest.approx(300, abs=1)
        assert np.asarray(picture.convert("L")).std() > 5


def test_a_points_place_decides_the_picture(tmp_path):
    write_at(tmp_path, "ddrm", nfe=20)
    write_at(tmp_path, "dps", nfe=100)
    before = shown(write_tradeoffs(tmp_path, "toy")[3])
    write_at(tmp_path, "tv", nfe=50, psnr=(21.0, 23.0, 25.0))
    assert shown(write_tradeoffs(tmp_path, "toy")[3]) != before


def test_edges_one_image_equal_scores_and_a_point_far_behind(tmp_path):
    write_at(tmp_path, "pinv", ids=["a"], psnr=[-40.0], lpips=[9.0])
    for method in ("ddrm", "dps", "tv"):
        write_at(tmp_path, method, ids=["a"], psnr=[20.0], lpips=[0.3], nfe=0)
    assert all(path.stat().st_size > 5000 for path in write_tradeoffs(tmp_path, "toy"))


def draw_psnr(results, said) -> None:
    """Draw LPIPS, then PSNR, and keep what was said of the second."""
    write_tradeoffs(results, "toy")
    del said[: len(said) // 2]


def test_each_problem_has_a_panel_headed_by_what_differs(tmp_path, said):
    write_at(tmp_path, "ddrm")
    write_at(tmp_path, "ddrm", "of two", asked={"operator": {"BlockAverage": {"factor": 2}}})
    draw_psnr(tmp_path, said)
    titles = {panel["title"].split(",")[0] for panel in said}
    assert titles == {"sr4 · factor 2", "sr4 · factor 4"}
    assert [panel["labels"] for panel in said] == [["DDRM"], ["DDRM"]]


def test_a_run_with_settings_of_its_own_is_hollow_and_says_them(tmp_path, said):
    write_at(tmp_path, "ddrm", nfe=20)
    write_at(tmp_path, "ddrm", "another", nfe=20, psnr=(19.0, 20.0, 21.0), record={"settings": {"eta": 0.5}})
    draw_psnr(tmp_path, said)
    (panel,) = said
    assert panel["labels"] == ["DDRM", "DDRM · eta=0.5"]
    marks = [line for line in panel["lines"] if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() for line in marks] == ["#0072b2", "white"]
    assert len({line.get_xdata()[0] for line in marks}) == 2  # side by side, though their compute is equal


def test_many_settings_of_a_method_share_a_label_at_those_that_nothing_beats(tmp_path, said):
    for nfe in (10, 20, 40, 80):
        write_at(
            tmp_path, "ddrm", f"at {nfe}", nfe=nfe, psnr=(nfe / 4,) * 3, record={"settings": {"schedule.levels": nfe}}
        )
    draw_psnr(tmp_path, said)
    assert said[0]["labels"] == ["DDRM"]


def test_priors_that_differ_in_one_panel_are_said(tmp_path, said):
    write_at(tmp_path, "ddrm")
    other = {"name": "mine", "hash": "ffffffffff", "form": {}}
    write_at(tmp_path, "dps", record={"prior": other})
    draw_psnr(tmp_path, said)
    assert said[0]["title"].endswith("(2 priors)")
    assert said[0]["labels"] == ["DDRM · shipped@0f1e2d3c", "DPS · mine@ffffffff"]


def test_a_metric_of_ones_own_is_drawn_beside_the_harnesss(tmp_path, said):
    own = {"name": "sharp", "title": "sharp$ness_", "better": 1, "digits": 2, "unit": ""}
    folder = write_run(tmp_path, "ddrm", record={"columns": [own]})
    table = pd.read_parquet(folder / layout.TABLE).assign(sharp=[1.0, 2.0, 3.0])
    table.to_parquet(folder / layout.TABLE, index=False)
    names = [path.name for path in write_tradeoffs(tmp_path, "toy")]
    assert names[-2:] == ["tradeoff-sharp.png", "tradeoff-sharp.pdf"]
    assert len(names) == 6


@pytest.mark.parametrize("seed", range(5))
def test_labels_overlap_neither_one_another_nor_markers_and_stay_in_the_frame(seed):
    rng = np.random.default_rng(seed)
    points = np.stack([rng.choice([40.0, 70, 100, 130], 14), rng.uniform(10, 120, 14)], axis=1)
    sizes = np.stack([rng.uniform(15, 40, 14), np.full(14, 6.0)], axis=1)
    frame = np.array([0.0, 0, 170, 130])
    none = np.empty((0, 4))
    boxes, chosen = place([own[None] for own in points], sizes, points, none, frame, reach=2.5)
    np.testing.assert_array_equal(chosen, points)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], sizes)
    shared = overlap(boxes, boxes)
    np.fill_diagonal(shared, 0)
    assert shared.sum() < 5
    assert overlap(boxes, np.hstack([points - 2.5, points + 2.5])).sum() < 5
    assert (boxes[:, :2] >= frame[:2] - 1e-9).all()
    assert (boxes[:, 2:] <= frame[2:] + 1e-9).all()


def test_a_label_may_stand_at_whichever_of_its_points_has_room():
    crowd = np.array([[x, 50.0] for x in np.arange(10.0, 60, 4)])
    own = np.array([[34.0, 50.0], [120.0, 50.0]])
    boxes, chosen = place(
        [own],
        np.array([[30.0, 6.0]]),
        np.vstack([crowd, own]),
        np.hstack([crowd - 20, crowd + 20]),
        np.array([0, 0, 170, 100.0]),
    )
    assert chosen[0].tolist() == [120.0, 50.0]
    assert overlap(boxes, np.array([[117.0, 47, 123, 53]])).sum() == 0
