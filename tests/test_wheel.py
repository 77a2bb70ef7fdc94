"""The wheel carries configuration, weights and what is published, and runs from any folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_installed_elsewhere_runs_a_cell_from_any_folder(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("vml_bench-*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def python(*arguments):
        return subprocess.run(
            [sys.executable, *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
        )

    where = python("-c", "import vml_bench, baselines; print(vml_bench.__file__, baselines.__file__)")
    assert where.stdout.count(str(site)) == 2, where.stderr
    cell = ["task=sr4", "method=ddrm", "runner.limit=1", "method.sampler.schedule.levels=2"]
    answer = python("-m", "vml_bench.cli", "run", "dataset=photos64", *cell)
    assert answer.returncode == 0, answer.stderr
    assert len(list(elsewhere.glob("results/runs/photos64/sr4/ddrm/*/recon/*.png"))) == 1
    answer = python("-m", "vml_bench.cli", "plan", "dataset=celebahq256", "task=inpaint_half", "method=vml_map")
    assert "to measure what is published in" in answer.stdout, answer.stderr
