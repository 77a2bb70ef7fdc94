"""Two numbers in one table answer the same question: what could make them differ is refused, apart, or said.

Each test stands for a kind: images, operator, noise, prior, method's settings, number of images, keys that nothing
reads, code that moves, parts from outside the package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vml_bench.analysis.leaderboard import build
from vml_bench.errors import InputError
from vml_bench.priors.unet import shipped_checkpoint
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import run_cell
from vml_bench.store.runs import open_run

ROOT = Path(__file__).parents[1]
FEW = "method.sampler.schedule.levels=2"


def pictures(folder: Path, seed: int, count: int = 3) -> Path:
    """A folder of small noisy pictures with the same names whatever the seed."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def tables(results: Path, dataset: str) -> dict[str, list[str]]:
    """The labels of a leaderboard's tables, by problem."""
    frame, _ = build(results, dataset)
    found: dict[str, list[str]] = {}
    for problem, label in zip(frame["problem"], frame.attrs["labels"], strict=True):
        found.setdefault(problem, []).append(label)
    return found


@pytest.fixture
def folder_cell(cell_config, tmp_path):
    """A cell on a folder of pictures under the one name "folder"."""
    return lambda root, *overrides: cell_config("dataset=folder", f"dataset.root={root}", "task=sr4", *overrides)


def test_other_pictures_under_the_same_names_are_another_problem(folder_cell, tmp_path):
    first = run_cell(folder_cell(pictures(tmp_path / "a", 1), "method=pinv"))
    second = run_cell(folder_cell(pictures(tmp_path / "b", 2), "method=wiener"))
    assert sorted(tables(tmp_path, "folder").values()) == [["pinv"], ["wiener"]]
    kept = {open_run(run).original("00").read_bytes() for run in (first, second)}
    assert len(kept) == 2, "each was scored against its own originals"


def test_the_same_pictures_elsewhere_are_the_same_problem(folder_cell, tmp_path):
    run_cell(folder_cell(pictures(tmp_path / "a", 1), "method=pinv"))
    run_cell(folder_cell(pictures(tmp_path / "elsewhere", 1), "method=wiener"))
    assert list(tables(tmp_path, "folder").values()) == [["pinv", "wiener"]]


def test_another_option_of_the_operator_is_another_problem_with_measurements_of_its_own(folder_cell, tmp_path):
    root = pictures(tmp_path / "a", 1)
    runs = [run_cell(folder_cell(root, "method=pinv", f"task.operator.factor={factor}")) for factor in (2, 4)]
    assert list(tables(tmp_path, "folder").values()) == [["pinv"], ["pinv"]]
    assert set(build(tmp_path, "folder")[0].attrs["headings"].values()) == {"factor 2", "factor 4"}
    measured = [open_run(run).measurement("00") for run in runs]
    assert measured[0] != measured[1]
    assert measured[0].read_bytes() != measured[1].read_bytes()


@pytest.mark.parametrize(("one", "other"), [("0", "0.0"), ("0.05", "5e-2"), ("0.05", ".05"), ("1", "1.0")])
def test_a_noise_level_is_one_however_it_is_spelt(cell_config, one, other):
    cells = [Cell(cell_config("task=sr4", "method=wiener", f"task.noise_std={level}")) for level in (one, other)]
    assert cells[0].folder == cells[1].folder


@pytest.mark.parametrize("override", ["task.noise_std=0.1", "seed=1"])
def test_another_noise_level_or_seed_is_another_problem(cell_config, override):
    cells = [Cell(cell_config("task=sr4", "method=pinv", *more)) for more in ((), (override,))]
    assert len({cell.place.run for cell in cells}) == 2
    assert cells[0].identity.problem != cells[1].identity.problem


def test_another_prior_is_said_in_every_row_that_has_one(cell_config, tmp_path):
    from vml_bench.priors.unet import load_edm_prior

    prior = load_edm_prior(shipped_checkpoint())
    prior.network.conv_out.bias.data += 0.01
    prior.save(tmp_path / "mine.safetensors")
    cell = ("task=sr4", "method=ddrm", "runner.limit=1", FEW)
    run_cell(cell_config(*cell))
    run_cell(cell_config(*cell, "prior.name=mine", f"prior.checkpoint={tmp_path / 'mine.safetensors'}"))
    run_cell(cell_config("task=sr4", "method=pinv", "runner.limit=1"))
    ((pinv, *learned),) = tables(tmp_path, "photos64").values()
    assert pinv == "pinv"
    assert [label.rpartition(" · ")[2].partition("@")[0] for label in learned] == ["mine", "photos64"]


def test_other_settings_are_in_the_label(cell_config, tmp_path):
    for settings in ((), ("method.sampler.eta=0.5",)):
        run_cell(
            cell_config("task=sr4", "method=ddrm", "runner.limit=1", "method.sampler.schedule.levels=50", *settings)
        )
    assert list(tables(tmp_path, "photos64").values()) == [["ddrm", "ddrm · eta=0.5"]]


def test_another_number_of_images_is_said_in_the_row(cell_config, tmp_path):
    for method, limit in (("pinv", 2), ("wiener", 4)):
        run_cell(cell_config("task=sr4", f"method={method}", f"runner.limit={limit}"))
    from vml_bench.analysis.leaderboard import format_table

    text = format_table(build(tmp_path, "photos64")[0])
    assert "2 of 4 ⚠" in text
    assert "*" not in text.split("─\n")[1].split("\n\n")[0], "no best among one row"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+dataset.lits=x.txt", "dataset.lits is read by nothing; the nearest key is dataset.list"),
        ("+limit=4", "limit is read by nothing; the nearest key is runner.limit"),
        ("+runner.batchsize=4", "runner.batchsize is read by nothing; the nearest key is runner.batch_size"),
        ("+task.sigma=4", "task.sigma is read by nothing"),
        ("+method.etta=1", "method.etta is read by nothing"),
        ("+compute.dtyp=float16", "compute.dtyp is unknown"),
        ("+method.sampler.etta=1", "method.sampler.etta is unknown"),
        ("+nothing.at.all=1", "nothing is read by nothing"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest_that_is(folder_cell, tmp_path, override, message):
    with pytest.raises(InputError) as caught:
        Cell(folder_cell(pictures(tmp_path / "a", 1), "method=ddrm", override))
    assert message in str(caught.value)


def test_a_key_that_hydra_refuses_is_answered_with_the_nearest_too():
    answer = vml_bench("run", "method.sampler.schedule.level=3", cwd=ROOT)
    assert answer.returncode == 2
    told = "method.sampler.schedule.level is read by nothing; the nearest key is method.sampler.schedule.levels"
    assert answer.stderr.strip() == f"vml-bench: {told}"


def test_remedies_hold_where_they_are_given(folder_cell, tmp_path):
    root = pictures(tmp_path / "a", 1)
    shutil.copy(root / "00.png", root / "twin.png")
    with pytest.raises(InputError, match=r"hold the same bytes; .* leave it out with dataset\.list"):
        Cell(folder_cell(root, "method=pinv"))
    (tmp_path / "list.txt").write_text("00\n01\n")
    cell = Cell(folder_cell(root, "method=pinv", f"dataset.list={tmp_path / 'list.txt'}"))
    assert cell.ids == ("00", "01")


def test_a_class_from_outside_with_a_projects_name_is_refused(cell_config, tmp_path, monkeypatch):
    (tmp_path / "my_own_place.py").write_text("from baselines.ddrm import DDRM as Theirs\nclass DDRM(Theirs): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="has the name of one of the project's own classes; rename the class"):
        Cell(cell_config("task=sr4", "method=ddrm", "method.sampler._target_=my_own_place.DDRM"))


def vml_bench(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess:
    """The command as a user gives it, on one thread."""
    return python("-m", "vml_bench.cli", *arguments, cwd=cwd, path=path)


def python(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess:
    """Python on one thread, with a further folder of modules."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), path])), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


METRIC = """
import torch


class Sharpness:
    '''Mean absolute difference between neighbouring pixels, against the original's.'''

    name, title, better, digits, unit = "sharpness", "sharpness", 1, 2, "%"

    def __init__(self, scale: float = 100.0) -> None:
        self.scale = scale

    def __call__(self, image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        own, other = ((x[..., 1:] - x[..., :-1]).abs().mean(dim=(1, 2, 3)) for x in (image, reference))
        return self.scale * own / other
"""
CONFIG = """
defaults: [default, _self_]
extra:
  - _target_: sharpness_of_mine.Sharpness
"""


READ = """
from vml_bench.cli import main
for line in (["leaderboard", "--no-figures"], ["compare", "--metric", "sharpness"], ["report"]):
    main(line)
"""


def test_a_metric_from_outside_is_in_every_table_and_scores_what_is_done_already(tmp_path):
    (tmp_path / "sharpness_of_mine.py").write_text(METRIC)
    (tmp_path / "conf" / "metrics").mkdir(parents=True)
    config = tmp_path / "conf" / "metrics" / "sharp.yaml"
    config.write_text(textwrap.dedent(CONFIG))
    cell = ("task=sr4", "runner.limit=3")
    mine = ("run", "--config-dir", "conf", *cell, "metrics=sharp")
    before = vml_bench("run", *cell, "method=pinv", cwd=tmp_path)
    assert before.returncode == 0, before.stderr
    (folder,) = tmp_path.glob("results/runs/*/*/pinv/*")
    (first,) = tmp_path.glob("results/runs/*/*/pinv/*/recon/astronaut-192-064.png")
    made = first.stat().st_mtime_ns
    swept = vml_bench(*mine, "method=pinv,wiener", "--multirun", cwd=tmp_path, path=str(tmp_path))
    assert swept.returncode == 0, swept.stderr
    assert list(tmp_path.glob("results/runs/*/*/pinv/*")) == [folder], "the same run, with one score more"
    assert first.stat().st_mtime_ns == made, "and nothing restored again"
    scored = pd.read_parquet(folder / "images.parquet")
    assert (scored["sharpness"] > 0).all()
    assert len(scored) == 3
    shown = python("-c", READ, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("sharpness") == 2, "the leaderboard, and the comparison"
    tables = tmp_path / "results" / "photos64"
    assert "sharpness ↑ (%)" in (tables / "leaderboard.md").read_text()
    assert pd.read_csv(tables / "leaderboard.csv")["sharpness"].notna().all()
    assert set(pd.read_csv(tables / "comparison.csv")["metric"]) >= {"sharpness", "psnr"}
    assert "sharpness" in (tmp_path / "results/report/index.html").read_text()
    config.write_text(textwrap.dedent(CONFIG) + "    scale: 1\n")
    again = vml_bench(*mine, "method=pinv", cwd=tmp_path, path=str(tmp_path))
    assert again.returncode == 2
    assert "was computed with other settings; give the metric another name" in again.stderr
