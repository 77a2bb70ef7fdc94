"""The command as a user meets it: in its own process, by its exit code and what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.priors.test_unet import rewrite
from vml_bench.priors.unet import shipped_checkpoint


def vml_bench(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "vml_bench.cli", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
    )


def renamed(tmp_path):
    path = tmp_path / "renamed.safetensors"

    def rename(tensors):
        tensors["conv_up.weight"] = tensors.pop("conv_in.weight")
        return tensors

    rewrite(shipped_checkpoint(), path, rename)
    return [f"prior.checkpoint={path}"]


def unreadable(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    return ["dataset=folder", f"dataset.root={tmp_path}"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["task=nonsense"], ["task/nonsense", "Available options", "sr4", "inpaint_box"]),
        (["method=nonsense"], ["method/nonsense", "vml_map_pre", "dps"]),
        (["prior.checkpoint=/none.safetensors"], ["/none.safetensors does not exist", "prior.checkpoint"]),
        (renamed, ["missing conv_in.weight", "unknown conv_up.weight"]),
        (unreadable, ["b.png cannot be read"]),
        (["task.noise_std=-1"], ["task.noise_std=-1", "σ_y ≥ 0"]),
        (["runner.batch_size=0"], ["runner.batch_size=0", "more than 0"]),
        (["runner.batch=4"], ["runner.batch"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[0],
)
def test_bad_input_ends_with_one_clear_line_and_exit_code_2(tmp_path, overrides, says):
    overrides = overrides(tmp_path) if callable(overrides) else overrides
    results = tmp_path / "results"
    base = ["dataset=photos64", "task=sr4", "method=ddrm", f"runner.results_dir={results}"]
    kept = [item for item in base if not any(item.split("=")[0] == given.split("=")[0] for given in overrides)]
    answer = vml_bench("run", *kept, *overrides, folder=tmp_path)
    lines = answer.stderr.strip().splitlines()
    assert answer.returncode == 2
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("vml-bench: ")
    for text in says:
        assert text in lines[0]
    assert not list(tmp_path.glob("results/runs/**/*.parquet"))


def test_a_sweep_ends_in_a_leaderboard(tmp_path):
    cells = ["-m", "task=sr4,denoise", "method=ddrm,vml_fixed_point", "method.sampler.schedule.levels=3"]
    answer = vml_bench("run", *cells, "runner.limit=2", "runner.results_dir=results", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "cell 4 of 4" in answer.stderr
    answer = vml_bench("leaderboard", "--results", "results", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("vml_fixed_point") >= 2
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "figures/sr4-0.05.png"):
        assert (tmp_path / "results/photos64" / name).is_file(), name


def test_help_names_the_commands(tmp_path):
    answer = vml_bench("--help", folder=tmp_path)
    assert answer.returncode == 0
    for command in (
        "run",
        "plan",
        "leaderboard",
        "report",
        "compare",
        "cite",
        "track",
        "tuning",
        "protocols",
        "fetch",
    ):
        assert command in answer.stdout
