"""Figures: every picture in its place, and a picture that is not there said to be missing."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tests.run_folders import write_picture, write_run
from vml_bench.figures.pictures import CAPTION, GAP, HEAD, MARGIN, SIDE, write_figures
from vml_bench.store.runs import open_run

CELL = 256


def cell(path, row: int, column: int) -> np.ndarray:
    """The pixels of one panel."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    top = MARGIN + 2 * HEAD + row * (CELL + CAPTION)
    left = MARGIN + SIDE + column * (CELL + GAP)
    return pixels[top : top + CELL, left : left + CELL]


def test_pictures_are_enlarged_exactly_and_stand_in_order(tmp_path):
    write_run(tmp_path, "vml_map", pictures=True)
    write_run(tmp_path, "pinv", "ffff", pictures=True)
    (path,) = write_figures(tmp_path, "toy")
    assert path == tmp_path / "toy" / "figures" / "sr4-0.05.png"
    for row in range(3):
        for column, level in enumerate((50, 80, 60, 60)):
            panel = cell(path, row, column)
            assert np.unique(panel[:, : CELL // 2]).tolist() == [40 * row + level]
            assert np.unique(panel[:, CELL // 2 :]).tolist() == [40 * row + level - 30]


def test_missing_and_torn_pictures_leave_a_named_gap(tmp_path):
    folder = write_run(tmp_path, pictures=True, diverged=["b"])
    open_run(folder).picture("b").unlink()
    open_run(folder).picture("c").write_bytes(b"torn")
    (path,) = write_figures(tmp_path, "toy")
    assert np.unique(cell(path, 0, 2)).tolist() == [30, 60]
    for row in (1, 2):
        panel = cell(path, row, 2)
        assert (panel == 238).mean() > 0.9
        assert panel.min() < 200  # something is written in it


def test_as_many_rows_as_are_asked_for(tmp_path):
    write_run(tmp_path, pictures=True)
    sizes = []
    for rows in (5, 2):
        with Image.open(*write_figures(tmp_path, "toy", rows)) as picture:
            sizes.append(picture.size)
    assert (sizes[0][0], sizes[0][1] - sizes[1][1]) == (sizes[1][0], CELL + CAPTION)


def test_each_problem_has_a_picture_of_its_own_under_its_own_measurement(tmp_path):
    four = open_run(write_run(tmp_path, pictures=True))
    asked = {"operator": {"BlockAverage": {"factor": 2}}, "images": "2222222222"}
    two = open_run(write_run(tmp_path, run="of two", pictures=True, asked=asked))
    for run, level in ((four, 100), (two, 200)):
        for image_id in "abc":
            write_picture(run.original(image_id), level)
            write_picture(run.measurement(image_id), level - 20)
    paths = write_figures(tmp_path, "toy")
    assert {path.name for path in paths} == {f"sr4-0.05-{run.problem.name}.png" for run in (four, two)}
    for run, level in ((four, 100), (two, 200)):
        path = tmp_path / "toy" / "figures" / f"sr4-0.05-{run.problem.name}.png"
        assert [np.unique(cell(path, 0, column)).max() for column in (0, 1)] == [level, level - 20]


def test_a_column_is_called_as_in_the_table(tmp_path, monkeypatch):
    write_run(tmp_path, "ddrm", pictures=True)
    write_run(tmp_path, "ddrm", "another", pictures=True, record={"settings": {"eta": 0.5}})
    said, text = [], Figure.text
    monkeypatch.setattr(Figure, "text", lambda self, x, y, s, **style: said.append(s) or text(self, x, y, s, **style))
    write_figures(tmp_path, "toy")
    titles = [words for words in said if words in ("ground truth", "measurement") or words.startswith("ddrm")]
    assert titles == ["ground truth", "measurement", "ddrm", "ddrm\neta=0.5"]


def test_every_problem_with_pictures_is_drawn_and_the_same_twice(tmp_path):
    write_run(tmp_path, pictures=True)
    write_run(tmp_path, task="denoise_$x$", noise_std=0.2, pictures=True)
    write_run(tmp_path, run="nopictures", noise_std=0.5)
    paths = write_figures(tmp_path, "toy")
    assert [path.name for path in paths] == ["denoise_$x$-0.2.png", "sr4-0.05.png"]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_figures(tmp_path, "toy")] == before
