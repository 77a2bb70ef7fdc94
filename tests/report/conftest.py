"""A small report with everything in it that a page must cope with."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.run_folders import write_run
from vml_bench.store import layout

HOSTILE = "<script>window.hacked=1"
"""A method whose name is markup."""
OWN = {"name": "sharp", "title": "<b>sharp", "better": 1, "digits": 1, "unit": "%"}
"""What a metric from outside the package declares."""
TITLES = {"pinv": "pseudo-inverse", "dps": "DPS", HOSTILE: HOSTILE}
"""What the page calls the methods: by their cards."""
IDS = ("plain", "a b#?%&'\"", "ü</script><b>", "UPPER")
"""Ids that file names and URLs do not take as they are; one of them names a folder."""


def write_results(results: Path) -> None:
    """Two tasks of three methods with pictures, one of which diverged; and a data set that papers speak of."""
    for task in ("sr4", "deblur_gauss"):
        shared = {"task": task, "ids": IDS, "pictures": True}
        write_run(results, "pinv", "0" * 10, psnr=(20, 21, 22, 23), lpips=(0.4, 0.3, 0.2, 0.1), **shared)
        dps = {"psnr": (31, 30, 29, 28), "lpips": (0.1, 0.2, 0.3, 0.4), "diverged": IDS[1:2]}
        write_run(results, "dps", "1" * 10, **dps, **shared)
        write_run(results, HOSTILE, "2" * 10, psnr=(26, 25, 24, 27), lpips=(0.2, 0.1, 0.3, 0.25), **shared)
    write_run(results, "vml_map_pre", dataset="celebahq256", task="inpaint_half", lpips=(0.2, 0.21, 0.22))


def write_problems(results: Path) -> None:
    """Two problems under one task name: of factor 4 with a variant, fewer images and own scores; and of factor 2."""
    write_run(results, "ddrm", "4" * 10, pictures=True)
    own = {"settings": {"eta": 0.5}, "columns": [OWN], "command": {"overrides": ["task=sr4"], "config_dir": None}}
    folder = write_run(results, "ddrm", "5" * 10, pictures=True, record=own)
    table = pd.read_parquet(folder / layout.TABLE).assign(sharp=[10.0, 30.0, 20.0])
    table.to_parquet(folder / layout.TABLE, index=False)
    few = {"ids": ("a", "b"), "psnr": (40.0, 41.0), "lpips": (0.01, 0.02), "pictures": True}
    prior = {"name": "mine", "hash": "ffffffffff", "form": {}}
    write_run(results, "dps", "6" * 10, record={"prior": prior}, **few)
    asked = {"operator": {"BlockAverage": {"factor": 2}}}
    write_run(results, "ddrm", "7" * 10, psnr=(30.0, 31.0, 32.0), pictures=True, asked=asked)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_results(tmp_path)
    return tmp_path
