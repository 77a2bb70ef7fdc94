"""docs/python.md and docs/external.md work as they stand, in an empty folder."""

import re
import runpy
import shlex
from pathlib import Path

import pandas as pd
import pytest

from vml_bench.cli import main
from vml_bench.verify import verify

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_another_programs_pictures_enter_the_table(here):
    for block in blocks("external.md", "python"):
        (here / block.splitlines()[0].removeprefix("# ")).write_text(block, encoding="utf-8")
    for line in "".join(blocks("external.md", "bash")).splitlines():
        program, *arguments = shlex.split(line)
        if arguments == ["leaderboard"]:
            arguments += ["--no-figures"]
        {"vml-bench": main, "python": lambda script: runpy.run_path(*script)}[program](arguments)
    table = pd.read_csv(here / "results/leaderboard.csv").set_index("method")
    assert set(table.index) == {"pinv", "external_repeated_pixels_my_code"}
    assert table["problem"].nunique() == 1
    theirs, ours = table.loc["external_repeated_pixels_my_code"], table.loc["pinv"]  # which repeats pixels, too
    assert theirs["psnr"] == pytest.approx(ours["psnr"], abs=1e-3)
    assert theirs["lpips_alex"] == pytest.approx(ours["lpips_alex"], abs=1e-4)
    again = [
        *("score", "restored", "--measurements", "exported"),
        *("--name", "Repeated pixels, my code", "--nfe", "5"),
    ]
    main(again)
    main(["leaderboard", "--no-figures"])
    assert pd.read_csv(here / "results/leaderboard.csv").set_index("method").loc[theirs.name, "nfe"] == 5
    assert [finding for found in verify(here / "results") for finding in found.findings] == []


def test_a_notebook_evaluates_and_restores(here):
    (here / "notebook.py").write_text("\n".join(blocks("python.md", "python")), encoding="utf-8")
    found = runpy.run_path("notebook.py", run_name="__main__")
    scores = found["scores"]
    assert list(scores["method"]) == ["pinv", "plug_and_play", "plug_and_play"]
    assert (scores["n"] == 2).all()
    assert list(scores["nfe"]) == [0, 4, 4]
    assert found["first"].images.shape == found["again"].images.shape == (1, 3, 64, 64)
    assert (here / "grid.png").is_file()
