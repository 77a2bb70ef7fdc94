"""The sweeps of experiment=paper_small and paper_noise: every cell can be run, and costs what its budget says."""

from __future__ import annotations

import itertools
import json
import re
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tests.run_folders import write_run
from vml_bench.configuration import config_dir, option
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import BlockAverage
from vml_bench.runner.cost import StandardNormal
from vml_bench.runner.validation import validate
from vml_bench.store import layout
from vml_bench.studies.splits import as_yaml, best_splits, grid, main

SHAPE = (3, 8, 8)
PHOTOS64 = SimpleNamespace(sigma_min=0.002, sigma_max=80.0)
SWEEPS = ("paper_small/tune", "paper_small/levels", "paper_small", "paper_noise/levels", "paper_noise")


def swept(experiment):
    """The values of each key that a sweep goes over."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        params = compose("config", [f"experiment={experiment}"], return_hydra_config=True).hydra.sweeper.params
    parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
    return {o.key_or_group: list(o.sweep_iterator()) if o.is_sweep_override() else [o.value()] for o in parsed}


def cells(experiment):
    """What every cell of a sweep chooses, and its configuration, on its first task: budgets do not depend on it."""
    values = swept(experiment)
    if experiment in ("paper_small", "paper_small/levels"):
        values["method.budget"] += ["at_200", "at_1000"]  # as in the Makefile
    methods, _ = values.pop("method"), values.pop("task")
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for method in methods:
            config = compose("config", [f"experiment={experiment}", f"method={method}"])
            for combination in itertools.product(*values.values()):
                chosen = dict(zip(values, combination, strict=True))
                for key, value in chosen.items():
                    OmegaConf.update(config, key, value)
                yield {"method": method, **chosen}, config


def compute(config):
    """Evaluations and products of a cell's method on a trivial prior, at its σ_y."""
    operator, prior = BlockAverage(SHAPE, factor=4), StandardNormal(PHOTOS64, SHAPE)
    denoiser, noise = Denoiser(prior), ImageNoise(0, ["0"], "method")
    noise_std = float(config.task.noise_std)
    y = operator.measure(torch.zeros(1, *SHAPE), noise_std, torch.zeros(1, 3, 2, 2))
    sampler = OmegaConf.to_container(config, resolve=True)["method"]["sampler"]
    instantiate(sampler).restore(y, operator, noise_std, denoiser, noise)
    return denoiser.nfe + denoiser.vjps


@pytest.mark.parametrize("experiment", SWEEPS)
def test_every_cell_can_be_run_and_costs_its_budget(experiment):
    for chosen, config in cells(experiment):
        validate(config)
        budget = int(re.fullmatch(r"at_(\d+)", config.method.budget).group(1))
        assert 0.9 * budget <= compute(config) <= budget, chosen


@pytest.mark.parametrize("experiment", ["paper_small/base", *SWEEPS])
def test_every_task_of_a_sweep_can_be_run_off_or_on_the_test_images(experiment):
    values = swept(experiment)
    for task in values["task"]:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = compose("config", [f"experiment={experiment}", f"task={task}", f"method={values['method'][0]}"])
        validate(config)
        assert float(config.task.noise_std) == 0
        assert config.runner.results_dir == "results/paper_small"
        assert (config.dataset.images.split == "tune") == experiment.endswith("tune")


def test_the_sweeps_splits_are_of_the_grid_that_is_tuned():
    splits, tried = option("experiment", "paper_small/splits")["method"]["splits"], grid()
    assert splits.keys() == tried.keys()
    for method, budgets in splits.items():
        assert budgets.keys() == tried[method].keys()
        for budget, split in budgets.items():
            assert split in tried[method][budget].values(), (method, budget)


TRIED = {
    "a": {
        "at_20": {"wide": [10, 1], "deep": [5, 2]},
        "at_50": {"wide": [25, 1], "deep": [5, 5]},
        "at_100": {"wide": [50, 1], "deep": [10, 5]},
    }
}


def scored(lpips):
    rows = [
        ("a", pair, problem, value)
        for pair, values in lpips.items()
        for problem, value in zip("pq", values, strict=False)
    ]
    return pd.DataFrame(rows, columns=["method", "split", "problem", "lpips_alex"])


ALL = {(10, 1): (0.1, 0.4), (5, 2): (0.2, 0.2), (25, 1): (0.1, 0.1), (5, 5): (0.3, 0.1)}


def test_the_best_split_is_that_of_the_lowest_mean_and_is_carried_over_by_name():
    assert best_splits(scored(ALL), TRIED) == {"a": {"at_20": (5, 2), "at_50": (25, 1), "at_100": (50, 1)}}


def test_a_split_that_diverged_is_not_the_best():
    table = scored(ALL | {(25, 1): (0.1, float("nan"))})
    assert best_splits(table, TRIED)["a"]["at_50"] == (5, 5)


@pytest.mark.parametrize("lost", [(5, 5), None])
def test_a_split_that_did_not_run_everywhere_is_refused(lost):
    rest = {pair: values for pair, values in ALL.items() if pair != lost}
    with pytest.raises(InputError, match="5 levels × 5 steps did not run on every tuning problem"):
        best_splits(scored(rest if lost else ALL | {(5, 5): (0.3,)}), TRIED)


def test_what_is_written_is_read_as_the_sweeps_splits(tmp_path):
    (tmp_path / "splits.yaml").write_text(as_yaml(best_splits(scored(ALL), TRIED), "Made up."))
    read = OmegaConf.to_container(OmegaConf.load(tmp_path / "splits.yaml"))
    assert read == {"method": {"splits": {"a": {"at_20": [5, 2], "at_50": [25, 1], "at_100": [50, 1]}}}}


def test_the_command_reads_the_tuning_runs_and_writes_the_best_of_each_budget(tmp_path):
    tried = grid()
    for method, budgets in tried.items():
        pairs = [pair for budget, splits in budgets.items() if budget != "at_1000" for pair in splits.values()]
        for i, (levels, steps) in enumerate(pairs):  # the last of each three is the best
            folder = write_run(tmp_path, method, f"{i:010d}", dataset="photos64_tune", lpips=(0.9 - i / 100,) * 3)
            record = json.loads((folder / layout.RECORD).read_text())
            record["form"]["method"] = {"X": {"inner_steps": steps, "schedule": {"Y": {"levels": levels}}}}
            (folder / layout.RECORD).write_text(json.dumps(record))
    main(["--results", str(tmp_path), "--out", str(tmp_path)])
    read = OmegaConf.to_container(OmegaConf.load(tmp_path / "splits.yaml"))["method"]["splits"]
    assert read == {
        method: {budget: splits["deep"] for budget, splits in budgets.items()} for method, budgets in tried.items()
    }


def test_nothing_tuned_is_refused_with_the_command_that_tunes(tmp_path):
    write_run(tmp_path, "pinv", dataset="photos64_tune")
    with pytest.raises(InputError, match=r"no tuning run .*experiment=paper_small/tune"):
        main(["--results", str(tmp_path), "--out", str(tmp_path)])
