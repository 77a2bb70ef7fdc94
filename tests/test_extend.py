"""The parts that docs/extend.md adds work as it shows them: its files in an empty folder, then its commands."""

import re

import pandas as pd
import pytest

from tests.pages import command_blocks, in_a_shell, in_this_process, text_of, write_files
from vml_bench.cli import main

PAGE = "docs/extend.md"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results folder of someone who did what the page says; its last commands, which use every part, in a shell."""
    folder = tmp_path_factory.mktemp("mine")
    write_files(PAGE, folder)
    *sections, together = command_blocks(PAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        in_this_process("".join(sections))
    in_a_shell(together, folder)
    return folder / "results"


def runs(results, pattern):
    return list(results.glob(f"runs/{pattern}/*/images.parquet"))


def test_every_file_that_the_page_lists_is_shown(results):
    listed = re.search(r"the folder holds\n\n(.*?)\n\n", text_of(PAGE), re.DOTALL).group(1).split()
    missing = [name for name in listed if not (results.parent / name).is_file()]
    assert listed
    assert not missing


def test_each_part_runs_with_the_projects_others(results):
    assert runs(results, "photos64/sr4/plug_and_play")
    assert runs(results, "photos64/deinterlace/pinv")
    assert runs(results, "discs/sr4/ddrm")
    assert "mae" in pd.read_parquet(runs(results, "photos64/sr4/pinv")[0])


def test_method_task_data_set_priors_and_metric_are_in_the_leaderboard(results):
    rows = pd.read_csv(results / "discs" / "leaderboard.csv").set_index("method")
    rows = rows[rows["task"] == "deinterlace"]
    own = rows.loc["plug_and_play"].set_index(rows.loc["plug_and_play", "prior"].str.partition("@")[0])
    assert set(own.index) == {"power_law", "discs_unet"}
    assert own.loc["power_law", "psnr"] > rows.loc["pinv", "psnr"] + 5
    assert own.loc["power_law", "mae"] < rows.loc["pinv", "mae"]
    assert list(results.glob("discs/figures/deinterlace*.png"))


def test_what_was_added_verifies(results, capsys):
    main(["verify", "--results", str(results)])
    assert "no defects" in capsys.readouterr().out
