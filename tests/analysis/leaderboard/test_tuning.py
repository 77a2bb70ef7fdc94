"""Tuning: what the table pools, and that every sweep has the same budget and stays off the test images."""

from __future__ import annotations

import json

import pytest
from hydra import compose, initialize_config_dir

from tests.run_folders import write_oracle_run, write_run
from vml_bench.analysis.leaderboard.tuning import tuning_table
from vml_bench.cli import main
from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.runner.sweep import overrides_of
from vml_bench.store import layout

SETTINGS, CELLS = 8, 6
SWEEPS = sorted(path.stem for path in (config_dir() / "experiment" / "tune").glob("*.yaml"))


def run(results, setting, lpips, *, task="sr4", method="dps", diverged=()):
    """A run of `method` whose sampler is `setting`."""
    folder = write_run(
        results, method, f"{setting}{task}".replace("=", ""), task=task, lpips=(lpips,) * 3, diverged=diverged
    )
    name, value = setting.split("=")
    set_sampler(folder, **{name: float(value)})


def set_sampler(folder, **options):
    """Give a run's method these options."""
    record = json.loads((folder / layout.RECORD).read_text())
    record["form"]["method"] = {"X": {**options, "schedule": {"EDMSchedule": {"levels": 50}}}}
    (folder / layout.RECORD).write_text(json.dumps(record))


def test_settings_are_pooled_over_cells_and_the_best_comes_first(tmp_path):
    for task, shift in (("sr4", 0.0), ("inpaint_half", 0.1)):
        run(tmp_path, "scale=1", 0.3 + shift, task=task)
        run(tmp_path, "scale=2", 0.2 + shift, task=task)
    table = tuning_table(tmp_path, "toy")
    assert table["setting"].tolist() == ["scale=2", "scale=1"]
    assert table["lpips_alex"].tolist() == pytest.approx([0.25, 0.35])
    assert table[["cells", "n", "diverged"]].to_numpy().tolist() == [[2, 6, 0]] * 2


def test_a_setting_that_missed_a_cell_is_left_out_and_divergence_is_counted(tmp_path):
    for task in ("sr4", "inpaint_half"):
        run(tmp_path, "scale=1", 0.3, task=task, diverged=("a",))
    run(tmp_path, "scale=2", 0.1)
    table = tuning_table(tmp_path, "toy")
    assert table["setting"].tolist() == ["scale=1"]
    assert table["diverged"].tolist() == [2]


def test_settings_are_pooled_over_problems_not_over_the_names_of_tasks(tmp_path):
    for number, factor in enumerate((2, 4)):
        for scale in (1.0, 2.0):
            folder = write_run(
                tmp_path, "dps", f"{number}{scale}", asked={"operator": {"BlockAverage": {"factor": factor}}}
            )
            set_sampler(folder, scale=scale)
    assert tuning_table(tmp_path, "toy")["cells"].tolist() == [2, 2]


def test_it_is_written_and_printed(tmp_path, capsys):
    run(tmp_path, "scale=1", 0.3)
    main(["tuning", "--results", str(tmp_path), "--dataset", "toy"])
    assert "0.300" in capsys.readouterr().out
    assert "0.300" in (tmp_path / "toy" / "tuning.md").read_text()
    assert (tmp_path / "toy" / "tuning.csv").read_text().startswith("method,setting,cells")


def test_against_exact_answers_the_distance_to_the_posterior_decides_and_the_gap_is_a_median(tmp_path):
    for scale, sw2, gap in ((1, 0.4, 0.0), (2, 0.2, 90.0)):
        for task, shift in (("random_projection", 0.0), ("inpaint_random", 0.1)):
            gaps, distances = ((1, 2), (3 + gap, 500)), (sw2, sw2 + shift)
            folder = write_oracle_run(tmp_path, "dps", f"{scale}{task}", task=task, gaps=gaps, sw2=distances)
            set_sampler(folder, scale=float(scale))
    table = tuning_table(tmp_path, "plane")
    assert table["setting"].tolist() == ["scale=2", "scale=1"]
    assert table["sw2"].tolist() == pytest.approx([0.225, 0.425])
    assert table["map_gap"].tolist() == pytest.approx([47.5, 2.5])
    assert table[["cells", "n", "diverged"]].to_numpy().tolist() == [[2, 8, 0]] * 2


def test_a_setting_whose_every_image_diverged_comes_last(tmp_path):
    lost = ("p000-r00", "p000-r01", "p001-r00", "p001-r01")
    folder = write_oracle_run(tmp_path, "dps", "a", diverged=lost)
    (folder / layout.SCENES).unlink()
    set_sampler(folder, scale=1.0)
    set_sampler(write_oracle_run(tmp_path, "dps", "b"), scale=2.0)
    table = tuning_table(tmp_path, "plane")
    assert table["setting"].tolist() == ["scale=2", "scale=1"]
    assert table["diverged"].tolist() == [0, 4]


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no run"):
        tuning_table(tmp_path, "toy")


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize(
    ("on", "field", "tuned", "tested"),
    [
        ([], "split", "tune", "test"),
        (["experiment/tune/on@_global_=oracle"], "seed", 1, 0),
    ],
    ids=["photos", "oracle"],
)
def test_every_method_has_the_same_budget_off_the_test_images(name, on, field, tuned, tested):
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", [f"experiment=tune/{name}", *on], return_hydra_config=True)
        benchmark = compose("config", [f"dataset={config.dataset.name.removesuffix('_tune')}"])
    assert config.hydra.sweeper.params.method == name
    assert len(overrides_of(config)) == SETTINGS * CELLS
    assert (config.dataset.images[field], benchmark.dataset.images[field]) == (tuned, tested)
    assert config.runner.results_dir == "results/tuning"


@pytest.mark.parametrize("name", sorted(path.stem for path in (config_dir() / "method" / "oracle").glob("*.yaml")))
def test_what_the_oracle_chose_is_another_setting_of_the_same_method(name):
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        chosen = compose("config", [f"method=oracle/{name}"]).method
        photographs = compose("config", [f"method={name}"]).method
    assert chosen.name == f"{name}_oracle"
    assert chosen.sampler != photographs.sampler
    assert chosen.sampler.keys() == photographs.sampler.keys()
    assert chosen.sampler.schedule.keys() == photographs.sampler.schedule.keys()
