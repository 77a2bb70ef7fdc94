"""A small report with everything in it that a page must cope with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_folders import write_run

HOSTILE = "<script>window.hacked=1"
"""A method whose name is markup."""
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


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_results(tmp_path)
    return tmp_path
