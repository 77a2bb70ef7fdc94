"""The bibliography: whatever is on disk says itself what it rests on, and every key has its entry."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_run
from vml_bench.analysis import bibliography as bib
from vml_bench.cards import card
from vml_bench.cli import main
from vml_bench.columns import BY_NAME, declared
from vml_bench.configuration import named_options
from vml_bench.errors import InputError
from vml_bench.store import layout

MINE = "@article{mine2026method,\n  title = {Mine},\n}"


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),", text, re.MULTILINE)


def change(folder, **groups) -> None:
    """Change groups of a run's configuration."""
    config = json.loads((folder / layout.CONFIG).read_text())
    (folder / layout.CONFIG).write_text(json.dumps({**config, **groups}))


def by_options() -> set[str]:
    """All that the configuration, the columns and the bibliography itself cite."""
    said = [key for node in named_options("method").values() for key in node.get("about", {}).get("cite", ())]
    said += [
        key for group in ("prior", "dataset") for node in named_options(group).values() for key in node.get("cite", ())
    ]
    said += [key for column in BY_NAME.values() for key in column.cite]
    return {*said, *bib.STATISTICS, *(key for found in bib.SCHEDULES.values() for key in found)}


def test_every_key_has_an_entry_and_every_entry_is_used():
    assert {key for key in by_options() if not key.startswith("@")} == set(bib.read_references())


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("prior", "ffhq256", ["dhariwal2021adm", "chung2023dps"]),
        ("dataset", "ffhq256_1k", ["karras2019ffhq"]),
        ("dataset", "photos64_tune", ["vanderwalt2014scikitimage", "pedregosa2011scikitlearn", "hunter2007matplotlib"]),
    ],
)
def test_priors_and_data_sets_say_in_their_own_file_what_they_rest_on(group, name, expected):
    assert named_options(group)[name]["cite"] == expected


def test_a_variant_cites_what_its_method_cites():
    assert card("dps_published").cite == card("dps").cite == ("chung2023dps",)


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
    form = {"method": {"DPS": {"schedule": {"DDPMSchedule": {"levels": 50}}}}, "compute": {}}
    record = {"form": form, "prior": {"name": "ffhq256", "hash": "0f1e2d3c4b"}}
    write_run(tmp_path, "dps_published", dataset="ffhq256", features=np.eye(3), record=record)
    write_run(tmp_path, "mine", dataset="toy")
    found = set(keys(bib.bibliography(tmp_path))) - set(bib.STATISTICS)
    expected = {"chung2023dps", "ho2020ddpm", "dhariwal2021adm", "karras2019ffhq", "wang2004ssim", "zhang2018lpips"}
    assert found == {*expected, "heusel2017fid", "binkowski2018kid"}
    assert set(keys(bib.bibliography(tmp_path, "toy"))) - set(bib.STATISTICS) == {"wang2004ssim", "zhang2018lpips"}


def test_a_runs_own_configuration_says_what_its_prior_and_its_images_rest_on(tmp_path):
    record = {"prior": {"name": "ffhq256", "hash": "0f1e2d3c4b"}}
    folder = write_run(tmp_path, "mine", dataset="ffhq256", record=record)
    change(folder, prior={"name": "ffhq256", "cite": ["karras2022edm"]}, dataset={"name": "ffhq256", "cite": []})
    found = keys(bib.bibliography(tmp_path))
    assert "karras2022edm" in found
    assert not {"dhariwal2021adm", "karras2019ffhq"} & set(found)


def test_a_method_that_asks_no_prior_cites_none(tmp_path):
    folder = write_run(tmp_path, "tv", record={"prior": None})
    change(folder, prior={"name": "ffhq256", "cite": ["dhariwal2021adm"]})
    found = keys(bib.bibliography(tmp_path))
    assert "rudin1992tv" in found
    assert "dhariwal2021adm" not in found


def test_entries_of_ones_own_are_printed_as_they_are_and_a_key_without_entry_is_named(tmp_path):
    metric = type("Blur", (), dict(name="blur", title="Blur", better=-1, digits=3, unit="", cite=["@misc{blur2026,}"]))
    about = {"cite": [MINE, "nobody1999", "kawar2022ddrm", "@book{kawar2022ddrm,}"]}
    record = {"about": about, "columns": [asdict(declared(metric))]}
    for run in ("one", "two"):
        folder = write_run(tmp_path, "my_method", run, record=record)
        table = pd.read_parquet(folder / layout.TABLE)
        table.assign(blur=0.1).to_parquet(folder / layout.TABLE)
    text = bib.bibliography(tmp_path)
    assert MINE in text
    assert keys(text)[-2:] == ["mine2026method", "blur2026"]
    assert keys(text).count("kawar2022ddrm") == 1
    assert text.splitlines()[-1] == "% cited, but neither a key of references.bib nor a BibTeX entry: nobody1999"


def test_nothing_in_a_record_steers_a_terminal_or_ends_the_command(tmp_path, capsys):
    write_run(tmp_path, "evil", record={"about": {"cite": ["@misc{e2026,\x1b[2J}", "\x1b]0;"]}})
    torn = write_run(tmp_path, "ddrm")
    change(torn, prior="nothing", dataset=["nothing"])
    (torn / layout.FEATURES).write_bytes(b"torn")
    main(["cite", "--results", str(tmp_path)])
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "@misc{e2026,[2J}" in told
    assert "kawar2022ddrm" in keys(told)


def test_a_score_that_no_run_has_is_not_cited(tmp_path):
    folder = write_run(tmp_path, "pinv")
    pd.read_parquet(folder / layout.TABLE).drop(columns="lpips_alex").to_parquet(folder / layout.TABLE)
    assert "zhang2018lpips" not in keys(bib.bibliography(tmp_path))


def test_the_command_prints_and_writes(tmp_path, capsys):
    write_run(tmp_path, "ddrm")
    main(["cite", "--results", str(tmp_path)])
    assert "kawar2022ddrm" in keys(capsys.readouterr().out)
    assert "kawar2022ddrm" in keys((tmp_path / "bibliography.bib").read_text())
    with pytest.raises(InputError, match="no run under"):
        bib.write_bibliography(tmp_path / "nowhere")
