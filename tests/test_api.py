"""The benchmark from Python: `from vml_bench import evaluate, restore, picture_grid`."""

import io
import json
import linecache
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import vml_bench
from baselines.ddrm import DDRM
from vml_bench.analysis.leaderboard import build
from vml_bench.cli import main
from vml_bench.errors import InputError
from vml_bench.runner.objects import node_of
from vml_bench.settings import settings
from vml_bench.store.layout import RunPlace
from vml_bench.store.runs import open_run
from vml_bench.verify import verify

CELL = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Damped:
    share: float = 0.5
    needs_prior = False

    def restore(self, y, operator, noise_std, denoiser, rng):
        return {formula}
"""
"""A notebook's cell."""


@dataclass(frozen=True)
class Inner:
    levels: tuple[float, ...] = (0.5, 0.1)


@dataclass(frozen=True)
class Shrink:
    """A method of an importable module."""

    gain: float = 1.0
    inner: Inner = field(default_factory=Inner)
    needs_prior = False

    def restore(self, y, operator, noise_std, denoiser, rng):
        return self.gain * operator.pinv(y)


def notebook(formula="self.share * operator.pinv(y)", number=1):
    """The class of a cell that was run in a notebook."""
    text, name = CELL.format(formula=formula), f"<ipython-input-{number}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    main_module = sys.modules["__main__"]
    exec(compile(text, name, "exec"), vars(main_module))
    return main_module.Damped


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Three images and what every call says about them."""
    root, rng = tmp_path_factory.mktemp("api"), np.random.default_rng(0)
    (root / "images").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(root / "images" / f"photo{i}.png")
    told = {"dataset.root": root / "images", "dataset.name": "toys", "metrics.names": ["psnr"], "metrics.features": []}
    call = {"dataset": "folder", "overrides": told}
    return SimpleNamespace(root=root, call=call)


def folder_of(frame, i=0):
    row = frame.iloc[i]
    return RunPlace(Path(frame.attrs["results"]), row["dataset"], row["task"], row["method"], row["run"]).folder


def test_evaluate_returns_the_leaderboards_rows_of_runs_that_lie_in_results_like_any_other(room):
    results = room.root / "results"
    frame = vml_bench.evaluate(["pinv", Shrink(gain=0.9)], task=["sr4", "denoise"], results=results, **room.call)
    table, _ = build(results, "toys")
    assert list(frame.columns) == list(table.columns)
    assert list(zip(frame["task"], frame["method"], strict=True)) == [
        *(("sr4", "pinv"), ("sr4", "shrink"), ("denoise", "pinv"), ("denoise", "shrink"))
    ]
    same = table.set_index("run").loc[frame["run"], "psnr"]
    np.testing.assert_array_equal(frame["psnr"], same)
    assert [finding for found in verify(results) for finding in found.findings] == []
    record = open_run(folder_of(frame)).record
    assert "method=pinv" in record["command"]["overrides"]
    assert list(open_run(folder_of(frame, 1)).form["method"]) == ["Shrink"]

    shown = vml_bench.picture_grid(frame[frame["task"] == "sr4"], images=2)
    assert shown.axes  # without any, a notebook shows nothing
    whole, tight = io.BytesIO(), io.BytesIO()
    shown.savefig(whole)
    shown.savefig(tight, bbox_inches="tight")  # as notebooks do
    first, second = (np.asarray(Image.open(file)) for file in (whole, tight))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(InputError, match="these runs have 2"):
        vml_bench.picture_grid(frame)


def test_an_object_and_the_configuration_of_its_class_are_one_run(room, tmp_path):
    node = node_of(DDRM(eta=0.5), "method")
    assert node["_target_"] == "baselines.ddrm.DDRM"
    assert node["eta"] == 0.5
    assert node["schedule"]["_target_"].startswith("vml_bench.schedule.")
    mine = vml_bench.evaluate({"other": Shrink()}, results=tmp_path, limit=2, **room.call)
    assert list(mine["method"]) == ["other"]
    config = ["method=pinv", "method.name=other", "~method.about", f"method.sampler._target_={__name__}.Shrink"]
    given = [f"{key}={value}" for key, value in room.call["overrides"].items() if "metrics" not in key]
    main(
        [
            *("run", "dataset=folder", "task=sr4", "metrics.names=[psnr]", "metrics.features=[]", *given, *config),
            *("runner.limit=2", f"runner.results_dir={tmp_path}"),
        ]
    )
    assert [path.name for path in (tmp_path / "runs/toys/sr4/other").iterdir()] == list(mine["run"])


def test_a_class_of_a_notebook_is_recorded_with_its_source_which_tells_its_runs_apart(room, tmp_path):
    call = {**room.call, "results": tmp_path, "limit": 2}
    old = notebook()
    first = vml_bench.evaluate(old(), **call)
    run = open_run(folder_of(first))
    assert run.config["method"]["source"] == CELL.format(formula="self.share * operator.pinv(y)").split("\n\n", 1)[1]
    again = vml_bench.evaluate(notebook(number=2)(), **call)  # the same text in another cell
    assert list(again["run"]) == list(first["run"])
    changed = vml_bench.evaluate(notebook("operator.pinv(y)", number=3)(), **call)
    assert list(changed["run"]) != list(first["run"])
    assert changed["psnr"].item() != first["psnr"].item()
    labels = build(tmp_path, "toys")[0].attrs["labels"]
    assert len(set(labels)) == 2
    assert [finding for found in verify(tmp_path) for finding in found.findings] == []
    with pytest.raises(InputError, match="defined anew since; build the object again"):
        vml_bench.evaluate(old(), **call)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Shrink(gain=torch.ones(2)), "a Tensor cannot be recorded"),
        (Shrink(inner=len), "cannot be recorded"),
        (type("Hidden", (Shrink,), {})(), "cannot be found by its name"),
        (3, "int has no restore"),
    ],
)
def test_what_cannot_be_recorded_is_refused(room, tmp_path, method, said):
    with pytest.raises(InputError, match=said):
        vml_bench.evaluate(method, results=tmp_path, **room.call)
    assert not list(tmp_path.iterdir())


def test_restore_returns_the_batch_and_writes_nothing(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    got = vml_bench.restore(Shrink(), task="inpaint_random", limit=2, noise_std=0, **room.call)
    assert got.ids == ["photo0", "photo1"]
    assert got.images.shape == got.ground_truth.shape == (2, 3, 16, 16)
    seen = got.operator.singular_values > 0
    torch.testing.assert_close(got.images[seen], got.ground_truth[seen])
    assert list(got.rows["image_id"]) == got.ids
    assert (got.rows["nfe"] == 0).all()
    given = vml_bench.restore(Shrink(), task="inpaint_random", y=got.measurements.numpy(), noise_std=0, **room.call)
    torch.testing.assert_close(given.images, got.images)
    assert given.ground_truth is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"y has the shape \(1, 3, 4, 4\)"):
        vml_bench.restore(Shrink(), task="inpaint_random", y=torch.zeros(1, 3, 4, 4), **room.call)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"task": "sr5"}, "sr5"),
        ({"overrides": {"task.nois": 0}}, "task.nois is read by nothing; the nearest key is task.noise_std"),
        ({"overrides": "seed=1"}, "is one text"),
        ({"noise_std": -1}, "task.noise_std=-1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, said, tmp_path):
    with pytest.raises(InputError, match=said):
        vml_bench.evaluate("pinv", results=tmp_path, **call)


def test_importing_the_package_loads_nothing(tmp_path):
    asked = "import json, sys, vml_bench; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert not {"torch", "pandas", "hydra", "matplotlib", "numpy"} & set(json.loads(answer.stdout))


@settings
class Checked:
    steps: int = 2
    needs_prior = False

    def restore(self, y, operator, noise_std, denoiser, rng):
        return operator.pinv(y)


def test_values_keep_their_kind_on_the_way():
    assert node_of(Checked(steps=3), "method")["steps"] == 3
    assert node_of(Shrink(), "method")["inner"]["levels"] == [0.5, 0.1]
