"""The parts that CONTRIBUTING.md adds work as it shows them: its files in an empty folder, then its commands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from vml_bench.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results folder of someone who did what the page says."""
    folder = tmp_path_factory.mktemp("mine")
    for name, content in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (shell,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    path, run, table = shell.splitlines()
    variable, _, value = path.removeprefix("export ").partition("=")
    answer = subprocess.run(
        [sys.executable, "-m", "vml_bench.cli", *shlex.split(run)[1:]],
        cwd=folder,
        env=os.environ | {variable: f"{value}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(shlex.split(table)[1:])
    return folder / "results"


def test_every_file_that_the_page_lists_is_shown(results):
    listed = re.search(r"ends up with\n\n(.*?)\n\n", PAGE, re.DOTALL).group(1).split()
    missing = [name for name in listed if not (results.parent / name).is_file()]
    assert listed
    assert not missing


def test_method_task_data_set_prior_and_metric_are_in_the_leaderboard(results):
    rows = pd.read_csv(results / "discs" / "leaderboard.csv").set_index("method")
    assert set(rows["task"]) == {"deinterlace"}
    assert rows.loc["plug_and_play", "prior"].startswith("power_law@")
    assert rows.loc["plug_and_play", "psnr"] > rows.loc["pinv", "psnr"] + 5
    assert rows.loc["plug_and_play", "mae"] < rows.loc["pinv", "mae"]
    assert list(results.glob("discs/figures/deinterlace*.png"))


def test_what_was_added_verifies(results, capsys):
    main(["verify", "--results", str(results)])
    assert "no defects" in capsys.readouterr().out
