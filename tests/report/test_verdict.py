"""The page's verdict: who leads, ranks and letters, and a card for each method."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.report.conftest import Page, write_unknown
from tests.run_folders import write_run
from vml_bench.analysis.comparison import compare
from vml_bench.report import write_report
from vml_bench.store import layout


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Results of two tasks, in which dps is better than pinv by LPIPS and tied with ddrm, and a report of them."""
    results = tmp_path_factory.mktemp("judged")
    ids = [f"image{i:02d}" for i in range(12)]
    rng = np.random.default_rng(0)
    for task in ("sr4", "deblur_gauss"):
        for place, (method, lpips) in enumerate({"pinv": 0.5, "ddrm": 0.2, "dps": 0.2}.items()):
            values = lpips + 0.02 * rng.standard_normal(12)
            write_run(results, method, str(place) * 10, task=task, ids=ids, lpips=values, psnr=20 + place + 0 * values)
    return results, write_report(results)[0]


def test_the_letters_and_ranks_on_the_page_are_those_of_the_comparison(judged):
    results, index = judged
    ranks = compare(results, "toy", ["lpips_alex"]).ranks.set_index(["task", "method"])
    text = index.read_text()
    for task in ("sr4", "deblur_gauss"):
        table = re.search(rf'data-task="{task}-0.05".*?</table>', text, re.DOTALL)[0]
        for method in ("pinv", "ddrm", "dps"):
            row = re.search(rf'<tr data-method="{method}".*?</tr>', table, re.DOTALL)[0]
            cell = re.search(r'data-column="lpips_alex".*?</td>', row, re.DOTALL)[0]
            assert re.search(r'class="alike">(\w+)<', cell)[1] == ranks.loc[(task, method), "letters"]
    assert set(ranks["letters"]) == {"a", "b"}
    board = re.search(r'data-board="lpips_alex".*?</table>', text, re.DOTALL)[0]
    fields = re.findall(r'class="rank( leads)?(?: first)?" title="(\w)">(\d)<', board)
    assert sorted(fields) == sorted([(" leads", "a", "1"), (" leads", "a", "2"), ("", "b", "3")] * 2)


def test_the_verdict_names_who_leads_and_who_does_so_at_the_least_compute(judged):
    page = Page(judged[1])
    text = " ".join(page.text.split())
    verdict = text[text.index("Verdict") :]
    assert re.search(r"PSNR ↑ mean rank over problems DPS 1\.0 \[1\.0, 1\.0\], best in 2 of 2", verdict)
    least = r"(DPS|DDRM) 20 by LPIPS, mean rank \d\.\d DPS 20 by PSNR, mean rank 1\.0"
    assert re.search(f"Compute fewest network passes of those that may lead {least}", verdict)
    lines = [
        " ".join(line.split()) for line in re.findall(r'class="leads-line">(.*?)</p>', judged[1].read_text(), re.S)
    ]
    assert len(lines) == 2
    for line in lines:
        said = re.sub("<[^>]+>", "", line)
        assert re.search(r"LPIPS ↓ (DPS|DDRM) 0\.\d+ \(1 not apart from it\)", said), said
        assert re.search(r"PSNR ↑ DPS 22\.00 ·", said), said
        assert re.search(r"compute (DPS|DDRM) 20 passes$", said), said


def test_a_verdict_on_exact_posteriors_counts_where_each_method_is_best(tmp_path):
    for place, method in enumerate(("pinv", "dps")):
        asked = {"reference": {"Oracle": {"samples": 256}}}
        folder = write_run(tmp_path, method, str(place) * 10, dataset="gmm", asked=asked)
        table = pd.read_parquet(folder / layout.TABLE).drop(columns=["psnr", "ssim", "lpips_alex"])
        table.assign(map_gap=1.0 - 0.5 * place, map_distance=1.5, scene=["x", "y", "z"]).to_parquet(
            folder / layout.TABLE, index=False
        )
    text = " ".join(Page(write_report(tmp_path)[0]).text.split())
    assert "MAP gap ↓ best, ties counted DPS 1 of 1 problems" in text


def test_a_run_whose_compute_is_not_known_leads_by_quality_and_never_by_compute(tmp_path):
    write_unknown(tmp_path)
    text = write_report(tmp_path)[0].read_text()
    line = re.sub("<[^>]+>", "", re.search(r'class="leads-line">(.*?)</p>', text, re.DOTALL)[1])
    assert re.search(r"LPIPS ↓\s+Theirs \(external\)", line)
    assert "passes" not in line
    row = re.search(r'<tr data-method="external_theirs".*?</tr>', text, re.DOTALL)[0]
    for column in ("nfe", "vjp"):
        cell = re.search(rf'<td[^>]*data-column="{column}".*?</td>', row, re.DOTALL)[0]
        assert "data-value" not in cell
        assert "–" in cell


def test_each_method_has_a_card_with_its_paper_family_and_settings(results):
    write_run(
        results, "ddrm", "8" * 10, record={"form": {"method": {"DDRM": {"eta": 0.85}}, "prior": "", "compute": {}}}
    )
    page = Page(write_report(results)[0])
    text = " ".join(page.text.split())
    cards = text[text.rindex("Methods") :]
    for words in ("Diffusion Posterior Sampling for General Noisy Inverse Problems (2023)", "method=dps", "guidance"):
        assert words in cards
    assert re.search(r"DDRM spectral · method=ddrm .* Settings class DDRM eta 0\.85", cards)
