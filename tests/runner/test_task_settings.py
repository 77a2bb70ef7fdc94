"""Methods that have settings for each task (`method.tasks`): what a run takes, refuses and records."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from vml_bench.configuration import named_options
from vml_bench.errors import InputError
from vml_bench.identity import form_of
from vml_bench.runner.cell import plain
from vml_bench.runner.record import settings
from vml_bench.runner.run import run_cell
from vml_bench.runner.validation import validate

BY_TASK = {name: node["tasks"] for name, node in named_options("method").items() if "tasks" in node}
SOME = {name: node["by_task"] for name, node in named_options("method").items() if "by_task" in node}
DPS = "method=published/dps"


@pytest.mark.parametrize("name", sorted(BY_TASK))
def test_every_task_with_settings_is_one_of_the_projects_and_all_have_the_same(name):
    assert BY_TASK[name].keys() <= named_options("task").keys()
    assert len({frozenset(values) for values in BY_TASK[name].values()}) == 1


@pytest.mark.parametrize(("task", "scale"), [("sr4", 0.3), ("deblur_motion", 0.3), ("inpaint_random_dps", 0.5)])
def test_a_run_takes_those_of_its_task(cell_config, task, scale):
    config = cell_config(DPS, f"task={task}")
    validate(config)
    assert config.method.sampler.scale == scale


@pytest.mark.parametrize("name", sorted(SOME))
def test_settings_of_some_tasks_are_for_tasks_of_the_projects(name):
    nodes = [OmegaConf.create({"task": node}) for node in named_options("task").values()]
    assert SOME[name].keys() <= {node.task.name for node in nodes}


@pytest.mark.parametrize(("task", "scale"), [("jpeg", 4.0), ("jpeg task.operator.quality=50", 10.0), ("sr4", 10.0)])
def test_a_task_without_settings_of_its_own_takes_the_methods(cell_config, task, scale):
    config = cell_config("method=dps", *f"task={task}".split())
    validate(config)
    assert config.method.sampler.scale == scale
    assert settings(config, form_of(plain(config.method.sampler))) == {}


def test_a_task_without_is_refused_with_those_that_have_some(cell_config):
    with pytest.raises(InputError, match=r"dps_published has no settings for task=colorize; choose task=sr4_bicubic\|"):
        validate(cell_config(DPS, "task=colorize"))
    validate(cell_config(DPS, "task=colorize", "+method.tasks.colorize={scale: 1}"))


@pytest.mark.parametrize(
    ("overrides", "recorded"),
    [
        ((DPS, "task=sr4"), {}),
        ((DPS, "task=inpaint_half"), {}),
        ((DPS, "task=sr4", "method.tasks.sr4.scale=2"), {"scale": 2.0}),
        ((DPS, "task=sr4", "method.sampler.scale=2"), {"scale": 2.0}),
        ((DPS, "task=colorize", "+method.tasks.colorize={scale: 1}"), {"scale": 1.0}),
        (
            (DPS, "task=sr4", "method.sampler.variance=small", "method.sampler.clip=false"),
            {"variance": "small", "clip": False},
        ),
        (("method=published/dps_small", "task=sr4"), {}),
        (("method=dps", "task=sr4", "+method.sampler.clip=true"), {"clip": True}),
    ],
)
def test_a_run_records_what_it_has_otherwise_options_turned_off_included(cell_config, overrides, recorded):
    config = cell_config(*overrides)
    assert settings(config, form_of(plain(config.method.sampler))) == recorded


def test_a_prior_without_a_learned_variance_is_refused_before_anything_is_computed(cell_config, tmp_path):
    with pytest.raises(InputError, match=r"learned none; set method\.sampler\.variance=small"):
        run_cell(cell_config(DPS, "task=sr4"))
    assert not list(tmp_path.iterdir())
