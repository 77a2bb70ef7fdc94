"""The bibliography: every method has its source, every key its entry, and what is on disk decides."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.run_folders import write_run
from vml_bench import bibliography as bib
from vml_bench.cli import main
from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.figures.styles import STYLES, base_method, style

METHOD_NAMES = sorted(yaml.safe_load(path.read_text())["name"] for path in (config_dir() / "method").rglob("*.yaml"))


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),", text, re.MULTILINE)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_every_method_configuration_has_a_source_and_a_look(name):
    assert base_method(name) in bib.METHODS
    assert bool(bib.METHODS[base_method(name)]) == (name != "pinv")
    assert style(name).title != name


def test_looks_are_all_different_and_variants_keep_the_colour():
    assert len({(look.colour, look.marker) for look in STYLES.values()}) == len(STYLES)
    assert style("dps_1000").colour == style("dps").colour
    assert (style("dps_1000").title, style("dps_1000").hollow) == ("DPS 1000", True)
    assert style("never_heard_of").title == "never_heard_of"
    assert all(re.fullmatch("#[0-9a-f]{6}", look.ink) for look in STYLES.values())


def test_every_data_set_and_prior_for_photographs_is_known():
    drawn = {"folder", "gauss", "gauss_vector", "gmm", "gmm_2d", "gmm_tune", "gmm_vector"}
    assert {path.stem for path in (config_dir() / "dataset").glob("*.yaml")} - drawn <= bib.DATASETS.keys()
    assert {path.stem for path in (config_dir() / "prior").glob("*.yaml")} - drawn <= bib.PRIORS.keys()


def test_every_key_has_an_entry_and_every_entry_is_used():
    tables = (bib.METHODS, bib.SCHEDULES, bib.PRIORS, bib.DATASETS, bib.SCORES, bib.FEATURES)
    used = {key for table in tables for found in table.values() for key in found} | set(bib.STATISTICS)
    assert used == set(bib.read_references())


@pytest.mark.parametrize("key", list(bib.read_references()))
def test_entries_are_well_formed(key):
    entry = bib.read_references()[key]
    depth = 0
    for character in entry:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert entry.endswith("}\n")
    assert entry.isascii()
    fields = dict(re.findall(r"^  (\w+)\s*= \{(.*)\},$", entry, re.MULTILINE))
    assert len(fields) == len(entry.splitlines()) - 2
    kind = re.match(r"@(\w+)", entry).group(1)
    venue = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}[kind]
    assert {"title", "author", "year", venue} <= fields.keys()
    assert fields["year"] in key
    assert all("," in name for name in fields["author"].split(" and "))


def test_no_key_twice():
    listed = keys(bib.REFERENCES.read_text(encoding="utf-8"))
    assert len(listed) == len(set(listed)) == len(bib.read_references())


def test_what_is_on_disk_decides(tmp_path):
    folder = write_run(tmp_path, "dps_1000", dataset="ffhq256", features=np.eye(3))
    config = json.loads((folder / "config.yaml").read_text())
    config["method"]["sampler"] = {"schedule": {"_target_": "vml_bench.schedule.DDPMSchedule"}}
    config["prior"] = {"name": "ffhq256"}
    (folder / "config.yaml").write_text(json.dumps(config))
    write_run(tmp_path, "mine", dataset="toy")
    found = set(keys(bib.bibliography(tmp_path))) - set(bib.STATISTICS)
    expected = {"chung2023dps", "ho2020ddpm", "dhariwal2021adm", "karras2019ffhq", "wang2004ssim", "zhang2018lpips"}
    assert found == {*expected, "heusel2017fid"}
    assert set(keys(bib.bibliography(tmp_path, "toy"))) - set(bib.STATISTICS) == {"wang2004ssim", "zhang2018lpips"}


def test_a_score_that_no_run_has_is_not_cited(tmp_path):
    folder = write_run(tmp_path, "pinv")
    pd.read_parquet(folder / "images.parquet").drop(columns="lpips_alex").to_parquet(folder / "images.parquet")
    assert "zhang2018lpips" not in keys(bib.bibliography(tmp_path))


def test_the_command_prints_and_writes(tmp_path, capsys):
    write_run(tmp_path, "ddrm")
    main(["cite", "--results", str(tmp_path)])
    assert "kawar2022ddrm" in keys(capsys.readouterr().out)
    assert "kawar2022ddrm" in keys((tmp_path / "bibliography.bib").read_text())
    with pytest.raises(InputError, match="no run under"):
        bib.write_bibliography(tmp_path / "nowhere")
