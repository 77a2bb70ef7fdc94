"""Configurations: any override validates or is refused, and a run's name depends only on what changes its results."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench.errors import InputError
from vml_bench.runner.cell import Cell
from vml_bench.runner.validation import validate

PLANE = (
    "dataset=gmm_2d",
    "dataset.scenes=1",
    "dataset.repeats=1",
    "task=random_projection",
    "task.operator.measurements=1",
    "runner.device=cpu",
)
METHODS = ("vml_fixed_point", "vml_map", "daps", "ddrm", "reddiff", "tmpd", "wiener")


def leaves(node: object, path: str = "") -> list[str]:
    """Keys of all values and of all nodes."""
    if not isinstance(node, dict):
        return [path]
    return [path, *(key for name, inner in node.items() for key in leaves(inner, f"{path}.{name}" if path else name))]


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["../x", "/etc", "a\nb", "${seed}", "${nothing}", "???", "0", "-0.0", "1/3", "auto", "cpu"]),
    st.lists(st.integers(-2, 4), max_size=4),
    st.dictionaries(st.sampled_from(["_target_", "a"]), st.sampled_from(["os.getcwd", "nothing.here", 1]), max_size=2),
)


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DictConfig]:
    from hydra import compose, initialize_config_dir

    from vml_bench.configuration import config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        results = f"runner.results_dir={tmp_path_factory.mktemp('results')}"
        return {name: compose("config", [*PLANE, f"method={name}", results]) for name in METHODS}


def changed(config: DictConfig, key: str, value: object) -> DictConfig:
    config = copy.deepcopy(config)
    OmegaConf.set_struct(config, False)
    try:
        OmegaConf.update(config, key, value, merge=False)
    except OmegaConfBaseException:  # "${" alone: no configuration could hold it
        reject()
    return config


@settings(deadline=None, derandomize=True, max_examples=200)
@given(data=st.data())
def test_any_value_anywhere_validates_or_is_refused(configs: dict[str, DictConfig], data: st.DataObject) -> None:
    config = configs[data.draw(st.sampled_from(METHODS))]
    key = data.draw(st.sampled_from(leaves(OmegaConf.to_container(config))[1:]))
    broken = changed(config, key, data.draw(values))
    with suppress(InputError):  # and nothing else
        validate(broken)
        assert broken[key.split(".")[0]] is not None


@settings(deadline=None, derandomize=True, max_examples=80)
@given(data=st.data())
def test_any_value_that_a_method_or_task_takes_runs_or_is_refused(
    configs: dict[str, DictConfig], data: st.DataObject
) -> None:
    """What validates ends as a cell, or as an `InputError`; the levels are few, so that building it costs nothing."""
    config = configs[data.draw(st.sampled_from(METHODS))]
    keys = [
        key for key in leaves(OmegaConf.to_container(config)) if key.startswith(("method.sampler.", "task.operator."))
    ]
    key = data.draw(st.sampled_from([key for key in keys if "_target_" not in key and "_partial_" not in key]))
    config = changed(config, key, data.draw(st.integers(-3, 5) | st.floats() | st.none() | st.text(max_size=3)))
    try:
        cell = Cell(config)
        levels = getattr(cell.method, "schedule", lambda prior: [1.0])(cell.prior)
    except InputError:
        return
    assert levels


def shuffled(node: object, draw: Callable) -> object:
    if not isinstance(node, dict):
        return node
    return {name: shuffled(node[name], draw) for name in draw(st.permutations(list(node)))}


@settings(deadline=None, derandomize=True, max_examples=15)
@given(data=st.data())
def test_a_runs_name_does_not_depend_on_the_order_of_keys_or_on_how_it_is_run(
    configs: dict[str, DictConfig], data: st.DataObject
) -> None:
    config = configs[data.draw(st.sampled_from(METHODS))]
    name = Cell(config).name
    again = OmegaConf.create(shuffled(OmegaConf.to_container(config), data.draw))
    how = {"batch_size": st.integers(1, 64), "threads": st.just(1), "limit": st.none() | st.just(1)}
    for key in data.draw(st.lists(st.sampled_from(sorted(how)), unique=True)):
        again = changed(again, f"runner.{key}", data.draw(how[key]))
    again = changed(again, "tracker", {"_target_": "vml_bench.tracker.CSVTracker"})
    again = changed(again, "method.name", data.draw(st.sampled_from(["other", "x"])))
    assert Cell(again).name == name
    assert Cell(changed(again, "seed", config.seed + data.draw(st.integers(1, 99)))).name != name
    assert Cell(changed(again, "task.noise_std", 0.05 + data.draw(st.floats(1e-3, 1)))).name != name


def test_runs_of_different_methods_have_different_names(configs: dict[str, DictConfig]) -> None:
    assert len({Cell(config).name for config in configs.values()}) == len(METHODS)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    key=st.sampled_from(
        ["foo", "runner.foo", "dataset.foo", "task.foo", "method.foo", "prior.foo", "method.sampler.foo"]
    )
)
def test_a_key_that_nothing_reads_is_refused(configs: dict[str, DictConfig], key: str) -> None:
    with pytest.raises(InputError, match=r"foo is (read by nothing|unknown)"):
        validate(changed(configs["ddrm"], key, 1))
