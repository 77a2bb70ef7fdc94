"""What the README shows works as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL).group(1)


def test_the_method_it_adds_runs(tmp_path):
    (tmp_path / "projection_of_the_readme.py").write_text(block("python"))
    folder = tmp_path / "conf" / "method"
    folder.mkdir(parents=True)
    config = block("yaml").replace("baselines.projection.", "projection_of_the_readme.")
    (folder / "projection.yaml").write_text(config.replace("levels: 30", "levels: 3"))
    answer = subprocess.run(
        [sys.executable, "-m", "vml_bench.cli", "run", "--config-dir", "conf", "method=projection", "runner.limit=1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert len(list(tmp_path.glob("results/runs/photos64/sr4/projection/*/images.parquet"))) == 1
