"""Several starts of a method on each image (`starts`): what is answered, scored, counted, named and refused."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.leaderboard.render import notes, to_markdown
from vml_bench.data.images import read_picture
from vml_bench.errors import InputError
from vml_bench.runner.cell import Cell
from vml_bench.runner.cost import passes_of
from vml_bench.runner.run import closest, restored, run_cell
from vml_bench.store.runs import open_run
from vml_bench.verify import verify

CELL = ("task=mri", "method=diffpir", "method.sampler.schedule.levels=3", "runner.limit=2")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def once_and_thrice(cell_config, results):
    """The folders of a run of one start and of one of three."""
    return [run_cell(cell_config(*CELL, f"runner.results_dir={results}", f"starts={k}")) for k in (1, 3)]


def rows(folder):
    return pd.read_parquet(folder / "images.parquet").set_index("image_id")


def test_the_answer_is_the_start_closest_to_the_measurement(cell_config):
    cell = Cell(cell_config(*CELL, "starts=3"))
    batch = cell.batch(list(cell.ids))
    starts = [restored(cell, batch, start) for start in range(3)]
    answer = closest(starts, batch)
    residuals = torch.stack([batch.operator.residual(start.images, batch.y) for start in starts])
    assert len(residuals.unique()) == 6
    for i, start in enumerate(residuals.argmin(dim=0).tolist()):
        assert torch.equal(answer.images[i], starts[start].images[i])
    assert (answer.nfe, answer.vjp) == (9, 0)
    assert answer.applications == [sum(start.applications[i] for start in starts) for i in range(2)]


def test_a_start_that_is_not_finite_is_not_chosen(cell_config):
    cell = Cell(cell_config(*CELL, "starts=2"))
    batch = cell.batch(list(cell.ids))
    starts = [restored(cell, batch, start) for start in range(2)]
    starts[0].images[0] = torch.nan
    assert torch.equal(closest(starts, batch).images[0], starts[1].images[0])


def test_mean_and_best_are_columns_of_their_own_and_the_scores_are_those_of_the_picture(once_and_thrice):
    once, thrice = once_and_thrice
    table = rows(thrice)
    assert (table.psnr_best >= table.psnr).all()
    assert (table.psnr_best > table.psnr_mean).all()
    assert (table.lpips_alex_best <= table.lpips_alex).all()
    assert (table.psnr_best >= rows(once).psnr).all()  # its start is the first of the three
    assert "psnr_best" not in rows(once)
    run = open_run(thrice)
    for image_id, row in table.iterrows():
        error = (read_picture(run.picture(image_id)) - read_picture(run.original(image_id))).square().mean()
        assert row.psnr == pytest.approx(float(10 * (4 / error).log10()), abs=1e-2)


def test_both_stand_in_one_table_that_says_which_is_which(once_and_thrice, results):
    once, thrice = once_and_thrice
    assert once.name != thrice.name
    frame, warnings = build(results, "photos64")
    assert warnings == []
    assert frame.attrs["labels"][-1] == "diffpir · schedule.levels=3, starts=3"
    assert frame["problem"].nunique() == 1
    assert frame["nfe"].tolist() == [3, 9]
    assert frame["psnr_best"].isna().tolist() == [True, False]
    assert "PSNR, best start ↑ (dB)" in to_markdown(frame)
    assert any("takes the ground truth" in note for note in notes(frame))
    assert not [checked.defects for checked in verify(results) if checked.defects]


def test_a_plan_counts_every_start(cell_config):
    assert passes_of(cell_config(*CELL, "starts=4")) == (2, 12)


@pytest.mark.parametrize("starts", ["0", "1.5", "two"])
def test_a_number_of_starts_that_is_none_is_refused(cell_config, starts):
    with pytest.raises(InputError, match="starts="):
        Cell(cell_config(*CELL, f"starts={starts}"))


def test_against_an_exact_posterior_one_answer_of_several_says_nothing(cell_config):
    with pytest.raises(InputError, match=r"set starts=1; dataset\.repeats"):
        Cell(cell_config("dataset=gmm", "method=dps", "starts=4"))
