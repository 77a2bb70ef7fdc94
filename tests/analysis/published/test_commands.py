"""Published results: commands that run what is not run, and the command that compares."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from tests.run_folders import write_run
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.published import compare, format_comparison, read_published
from vml_bench.analysis.published.claims import NOISE_STDS, THE_PAPER
from vml_bench.analysis.published.commands import commands
from vml_bench.cli import main
from vml_bench.configuration import choices, config_dir, named_options, option


def words_of(command: str) -> dict[str, list[str]]:
    assert command.startswith("vml-bench run -m ")
    return {key: value.split(",") for key, value in (word.split("=") for word in command.split()[3:])}


def test_what_is_not_run_has_a_command_that_runs_it():
    published = read_published()
    lines = []
    for dataset in {name for names in published.datasets.values() for name in names}:
        rows = compare(published.about(dataset), None)
        for _, of_source in rows.groupby(["paper", "source"]):
            told = [words_of(command) for command in commands(of_source, dataset)]
            lines += told
            assert bool(told) == (of_source["verdict"] == "not run").any()
            for row in of_source[of_source["verdict"] == "not run"].itertuples():
                levels = NOISE_STDS if math.isnan(row.noise_std_published) else (row.noise_std_published,)
                for name in row.methods.split(" or "):
                    assert any(
                        row.task in words["task"]
                        and choices("method")[name] in words["method"]
                        and {f"{level:g}" for level in levels} <= set(words["task.noise_std"])
                        for words in told
                    )
    for words in lines:
        assert words["dataset"][0] in choices("dataset").values()
        for method in words["method"]:
            known = option("method", method).get("tasks", words["task"])
            assert set(words["task"]) <= set(known), method
    assert any(words["dataset"] == ["imagenet256_diffpir"] and words["dataset.list"] == ["LIST"] for words in lines)


def test_a_data_set_of_ones_own_gets_no_command(content, written):
    rows = compare(read_published(written(content)).about("toy"), None)
    assert commands(rows, "toy") == []
    assert "vml-bench run" not in format_comparison(rows, "toy")
    (command,) = commands(rows, "photos64")
    assert words_of(command) == {
        "dataset": ["photos64"],
        "task": ["sr4", "sr4_bicubic"],
        "task.noise_std": ["0", "0.05"],
        "method": ["dps", "vml_map"],
        "metrics": ["full"],
    }


@pytest.mark.parametrize("group", ["dataset", "task", "method", "prior"])
def test_a_choice_has_the_name_that_it_is_found_by(group):
    found = choices(group)
    assert {name: option(group, choice)["name"] for name, choice in found.items()} == {name: name for name in found}
    assert named_options(group).keys() == found.keys()


@pytest.mark.parametrize("name", ["ffhq", "imagenet", "celebahq"])
def test_a_reproduction_has_every_candidate_of_the_papers_claims(name):
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", [f"experiment=reproduce_{name}"], return_hydra_config=True)
    sweep = {
        key: [word.strip() for word in str(value).split(",")] for key, value in config.hydra.sweeper.params.items()
    }
    claims = [claim for claim in read_published().about(f"{name}256") if THE_PAPER in claim.paper]
    assert set(sweep["task"]) == {task for claim in claims for task in claim.candidates}
    assert tuple(map(float, sweep["task.noise_std"])) == NOISE_STDS
    assert {choices("method")[method] for claim in claims for method in claim.methods} <= set(sweep["method"])
    assert len(sweep["task"]) == len(set(sweep["task"]))
    for method in sweep["method"]:
        assert set(sweep["task"]) <= set(option("method", method).get("tasks", sweep["task"])), method


def test_fid_names_the_command_that_scores_it(content, written, tmp_path):
    content["claims"][0] |= {"metric": "FID", "value": 50.0}
    write_run(tmp_path, "dps")
    rows = compare(read_published(written(content)).about("toy"), build(tmp_path, "toy")[0])
    measured = rows[rows["verdict"] == "not scored"].set_index("convention")
    assert list(measured.index) == ["fid", "fid_legacy_pytorch", "fid_torch_fidelity", "fid_torchvision"]
    assert measured.at["fid", "note"] == "vml-bench leaderboard --features inception"
    assert measured.at["fid_torchvision", "note"] == "vml-bench leaderboard --features inception_torchvision"


def test_the_command_writes_and_prints_every_data_set(tmp_path, capsys):
    write_run(tmp_path, "vml_map_pre", dataset="celebahq256", task="inpaint_half")
    write_run(tmp_path, "vml_map_pre", "fake", dataset="celebahq256", task="inpaint_half", synthetic=True)
    main(["leaderboard", "--published", "--results", str(tmp_path), "--no-figures"])
    out = capsys.readouterr().out
    for name in ("ffhq256", "imagenet256", "celebahq256"):
        assert f"published claims · {name}" in out
        assert (tmp_path / name / "published.md").is_file()
    rows = pd.read_csv(tmp_path / "celebahq256" / "published.csv", dtype={"run": str})
    assert rows["run"].dropna().unique().tolist() == ["0123456789"]  # the synthetic run is not compared
    assert rows.loc[rows["run"].notna(), "verdict"].tolist() == ["reproduced", "not scored"]
    assert "vml_map_pre (0123456789)" in out
    main(["leaderboard", "--published", "--synthetic", "--results", str(tmp_path), "--no-figures"])
    assert "fake" in pd.read_csv(tmp_path / "celebahq256" / "published.csv")["run"].tolist()
    assert "Synthetic: " in (tmp_path / "celebahq256" / "published.md").read_text()


def test_without_any_run_the_command_still_says_what_is_to_be_run(tmp_path, capsys):
    main(["leaderboard", "--published", "--dataset", "ffhq256", "--results", str(tmp_path)])
    told = capsys.readouterr()
    assert "no run of 'ffhq256'" in told.err
    assert set(pd.read_csv(tmp_path / "ffhq256" / "published.csv")["verdict"]) == {"not run", "not here"}
    command = "vml-bench run -m dataset=ffhq256 task=deblur_gauss task.noise_std=0.05 method=published/dps metrics=fid"
    assert f"To run what is not: {command}\n" in told.out
    assert f"- To run what is not: `{command}`\n" in (tmp_path / "ffhq256" / "published.md").read_text()
    with pytest.raises(SystemExit) as caught:
        main(["leaderboard", "--published", "--dataset", "photos64", "--results", str(tmp_path)])
    assert caught.value.code == 2
    assert "no published result is about runs of 'photos64'" in capsys.readouterr().err
