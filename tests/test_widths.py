"""Output at the terminal's width: whatever a command prints, no line is wider that could have been folded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run_folders import write_oracle_run, write_run
from vml_bench.cli import main
from vml_bench.store import layout

LONG = {"likelihood_std": 0.00707, "schedule.sigma_min": 0.02, "step_size": 0.5}
"""Settings as long as those of the tuning sweeps."""


def too_wide(text: str, columns: int) -> list[str]:
    """Lines that a terminal would wrap; a path or a command that is as wide itself cannot be helped."""
    return [line for line in text.splitlines() if len(line) > columns and max(map(len, line.split())) < columns - 8]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with long names and settings on a data set that papers speak of, and against exact posteriors."""
    root = tmp_path_factory.mktemp("widths")
    for task in ("deblur_uniform_ddrm_all_taps", "inpaint_half"):
        for place, method in enumerate(("pinv", "vml_fixed_point_library", "vml_map_pre_library", "dps")):
            about = {"dataset": "celebahq256", "task": task, "psnr": (20.0 + place, 22.0, 24.0 - place)}
            write_run(root, method, f"{place}{task}"[:10], **about)
            told = {"settings": LONG, "form": {"method": {"X": {"a": place, **LONG}}, "prior": "", "compute": {}}}
            write_run(root, method, f"{place}long{task}"[:10], **about, record=told)
    write_oracle_run(root, "ddrm")
    write_oracle_run(
        root, "vml_fixed_point_library", "1" * 10, gaps=((2.0, 3.0), (1.0, 4.0)), record={"settings": LONG}
    )
    return root


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two settings of a method, pooled over two tasks."""
    root = tmp_path_factory.mktemp("tuned")
    for task in ("sr4", "inpaint_half"):
        for step in (0.5, 0.25):
            folder = write_run(root, "vml_map_pre_library", f"{step}{task}", task=task, dataset="photos64_tune")
            record = json.loads((folder / layout.RECORD).read_text())
            record["form"]["method"] = {
                "X": {**LONG, "schedule.sigma_min": step, "likelihood_std": step, "step_size": step}
            }
            (folder / layout.RECORD).write_text(json.dumps(record))
    return root


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "command",
    [
        *(["list", what] for what in ("methods", "tasks", "datasets", "priors", "metrics")),
        ["leaderboard", "--no-figures", "--published"],
        ["compare", "--metric", "psnr"],
        ["tuning"],
    ],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(command, columns, results, tuned, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    where = {"list": [], "tuning": ["--results", str(tuned)]}.get(command[0], ["--results", str(results)])
    main([*command, *where])
    told = capsys.readouterr()
    assert told.out
    assert too_wide(told.out + told.err, columns) == []
