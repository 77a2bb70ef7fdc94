"""The paper's own methods and its rivals in `experiment=reproduce_…`, at the networks' true size, on arbitrary weights.

They are run as `make reproduce-ffhq` runs them, but on one made-up image, two noise levels and one inner step.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vml_bench.data.images import read_picture
from vml_bench.priors.networks import published
from vml_bench.priors.synthetic import write_synthetic
from vml_bench.store import layout
from vml_bench.store.runs import open_run

STEPS = {  # what shortens each method
    "library/vml_map": ("inner_steps=1",),
    "library/vml_map_pre": ("inner_steps=1",),
    "mapga": ("inner_steps=1", "pigdm_steps=1"),
    "library/ddrm": (),
    "library/pigdm": (),
}
COMPUTE = {  # evaluations and products, without noise
    "vml_map_library": (4, 2),
    "vml_map_pre_library": (4, 2),
    "mapga": (3, 1),
    "ddrm_library": (2, 0),
    "pigdm_library": (2, 2),
}
MEETS = ("vml_map_library", "vml_map_pre_library", "pigdm_library")
"""Those whose answer has y's observed coordinates where there is no noise."""


def reproduce(name: str, *overrides: str) -> None:
    """`vml-bench run experiment=reproduce_NAME`, in a process of its own, which gives its memory back."""
    command = [sys.executable, "-m", "vml_bench.cli", "run", f"experiment=reproduce_{name}", *overrides]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def put_picture(file: Path) -> None:
    """Write one smooth picture of 256×256."""
    file.parent.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((256, 256), Image.Resampling.BILINEAR).save(file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "picture", "noise_stds"),
    [
        ("ffhq", "00000.png", "0,0.05"),
        ("celebahq", "00000.png", "0"),
        ("imagenet", "ILSVRC2012_val_00000001.png", "0"),
    ],
)
def test_a_reproduction_runs_at_its_size(name, picture, noise_stds, tmp_path):
    suffix = Path(published(f"{name}256").files[0]).suffix
    weights = write_synthetic(f"{name}256", tmp_path / f"weights{suffix}")
    put_picture(tmp_path / "images" / picture)
    results = tmp_path / "results"
    told = ["metrics=default", "task=inpaint_half", f"task.noise_std={noise_stds}", "method.sampler.schedule.levels=2"]
    told += [f"prior.checkpoint={weights}", "prior.synthetic=true", f"dataset.root={tmp_path / 'images'}"]
    told += ["dataset.first=1", "runner.limit=1", "runner.threads=1", f"runner.results_dir={results}"]
    for steps in dict.fromkeys(STEPS.values()):
        methods = ",".join(method for method, own in STEPS.items() if own == steps)
        reproduce(name, f"method={methods}", *told, *(f"method.sampler.{option}" for option in steps))
    runs = [open_run(folder) for folder in layout.run_folders(results)]
    expected = {(method, float(noise_std)) for method in COMPUTE for noise_std in noise_stds.split(",")}
    assert {(run.method, run.noise_std) for run in runs} == expected
    for run in runs:
        (row,) = run.images.itertuples()
        assert run.synthetic, run.label
        assert np.isfinite(row.residual), run.label  # far from y it may be: two levels, and weights that know nothing
        if run.noise_std == 0:
            assert (row.nfe, row.vjp) == COMPUTE[run.method], run.label
        if run.noise_std == 0 and run.method in MEETS:
            answer, truth = (read_picture(file(row.image_id)) for file in (run.picture, run.original))
            assert answer.shape == (3, 256, 256)
            assert torch.equal(answer[..., :128], truth[..., :128]), run.label  # the half that is seen
