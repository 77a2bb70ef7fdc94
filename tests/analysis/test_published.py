"""Published results: the shipped claims, what a broken row says, and the comparison with runs."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir

from tests.run_folders import write_run
from vml_bench import configuration
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.published import compare, format_comparison, read_published
from vml_bench.analysis.published.claims import METRICS, NOISE_STDS, THE_PAPER
from vml_bench.analysis.published.commands import commands
from vml_bench.analysis.published.compare import verdict
from vml_bench.analysis.published.render import ABOUT, to_markdown
from vml_bench.cli import main
from vml_bench.configuration import choices, config_dir, named_options, option, published_file
from vml_bench.errors import InputError

PAPER = [  # as the paper words and prints them
    ("Gaussian Deblurring", "FFHQ 256 (val)", "FID", 84.88),
    ("Image Inpainting", "FFHQ 256 (val)", "FID", 52.76),
    ("4x super-resolution", "FFHQ 256 (val)", "FID", 52.2),
    ("Super-Resolution (x4)", "ImageNet 256 (val)", "FID", 58.6),
    ("Face inpainting (Half)", "CelebA-HQ 256 (test)", "LPIPS", 0.208),
    ("Uniform deblurring", "ImageNet 256 (val)", "LPIPS", 0.367),
    ("Super-Resolution", "ImageNet 256", "PSNR", 23.63),
    ("Box Inpainting", "ImageNet 256 (val)", "FID", 75.8),
    ("Inpainting", "ImageNet 256 (val)", "LPIPS", 0.262),
    ("Deblurring", "ImageNet 256", "PSNR", 20.4),
]


@pytest.fixture
def content() -> dict:
    return {
        "datasets": {"Toys (val)": ["toy", "toy_1k"], "Others": ["other"]},
        "claims": [
            {
                "paper": "A paper",
                "method": "DPS",
                "methods": ["dps", "vml_map"],
                "dataset": "Toys (val)",
                "task": "Super-resolution",
                "metric": "LPIPS",
                "value": 0.2,
                "source": "Table 1",
                "candidates": ["sr4", "sr4_bicubic"],
                "open": "the network",
            }
        ],
    }


@pytest.fixture
def written(tmp_path):
    def write(content: object):
        file = tmp_path / "published.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file

    return write


def test_the_papers_ten_rows_are_there_word_for_word():
    claims = [claim for claim in read_published().claims if "2512.10524" in claim.paper]
    assert [(claim.task, claim.dataset, claim.metric, claim.value) for claim in claims] == PAPER
    forms = {"vml_map", "vml_map_pre", "vml_map_pre_flow", "vml_map_library", "vml_map_pre_library"}
    assert all(set(claim.methods) == forms for claim in claims)
    assert all("σ_y" in claim.open and "number of images" in claim.open for claim in claims)


def test_every_claim_says_where_it_stands_and_can_be_run():
    published = read_published()
    tasks = {file.stem for file in (config_dir() / "task").glob("*.yaml")}
    for claim in published.claims:
        assert set(claim.candidates) <= tasks
        assert claim.source
        assert claim.dataset in published.datasets
    assert published.names(["imagenet256_1k"]) == ["ffhq256", "imagenet256_1k", "celebahq256"]


def test_the_file_is_found_in_the_checkout_and_else_in_the_package(tmp_path, monkeypatch):
    assert published_file().parent.name == "results"
    monkeypatch.setattr(configuration, "PACKAGE", tmp_path / "site-packages" / "vml_bench")
    assert published_file() == tmp_path / "site-packages" / "vml_bench" / "published.yaml"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": "0.2"}, "value '0.2' is no number"),
        ({"value": True}, "value True is no number"),
        ({"value": math.nan}, "is no number"),
        ({"metric": "MSE"}, "no metric 'MSE'; known are PSNR, SSIM, LPIPS, FID, KID"),
        ({"dataset": "Nowhere"}, "no data set 'Nowhere'"),
        ({"candidates": ["sr5"]}, "no task 'sr5'"),
        ({"methods": ["dps", "published/dps"]}, "no method 'published/dps'"),
        ({"candidates": "sr4"}, "candidates is no list of names"),
        ({"methods": "dps"}, "methods is no list of names"),
        ({"sigma": 0.05}, "unknown key 'sigma'"),
        ({"source": None}, "source is no text"),
        ({"open": 3}, "open is no text"),
        ({"noise_std": -1}, "noise_std -1 is no noise level"),
        ({"images": 0}, "images 0 is no number of images"),
    ],
)
def test_a_row_that_does_not_fit_is_named(content, written, change, says):
    content["claims"].append(content["claims"][0] | change)
    with pytest.raises(InputError) as caught:
        read_published(written(content))
    assert "claim 2 (" in str(caught.value)
    assert says in str(caught.value)


def test_a_row_that_lacks_something_or_is_none_is_named(content, written):
    lacking = {key: value for key, value in content["claims"][0].items() if key != "source"}
    with pytest.raises(InputError, match=r"claim 1 \(Super-resolution, Toys \(val\), LPIPS\): source is missing"):
        read_published(written(content | {"claims": [lacking]}))
    with pytest.raises(InputError, match="claim 1: is no mapping"):
        read_published(written(content | {"claims": ["LPIPS 0.2"]}))


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {"claims": []},
        {"datasets": {"a": "b"}, "claims": []},
        {"datasets": {"a": ["b"]}, "claims": {}},
        {"datasets": {"a": ["b"]}, "claims": [], "tables": {}},
        {"datasets": {"a": ["b"]}, "claims": [], "more": []},
    ],
)
def test_a_file_of_another_shape_is_refused(written, broken):
    with pytest.raises(InputError, match=r"published\.yaml"):
        read_published(written(broken))


def test_a_file_that_is_no_yaml_or_not_there_is_one_line(tmp_path):
    (tmp_path / "torn.yaml").write_text("claims: [\n")
    for name in ("torn.yaml", "absent.yaml"):
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_published(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "published", "ours", "low", "high", "expected"),
    [
        ("FID", 50.0, 60.0, 49.0, 71.0, "reproduced"),
        ("FID", 50.0, 52.4, 51.0, 54.0, "near"),
        ("FID", 50.0, 47.6, math.nan, math.nan, "near"),
        ("FID", 50.0, 52.6, 51.0, 54.0, "off"),
        ("PSNR", 20.0, 20.4, 20.1, 20.7, "near"),
        ("PSNR", 20.0, 20.6, 20.1, 20.7, "off"),
        ("LPIPS", 0.2, math.nan, math.nan, math.nan, "not scored"),
    ],
)
def test_verdicts(metric, published, ours, low, high, expected):
    assert verdict(metric, published, ours, low, high) == expected


def test_every_claim_task_convention_and_run_has_a_row(content, written, tmp_path):
    published = read_published(written(content))
    ids = [f"i{k}" for k in range(20)]
    scores = {"ids": ids, "psnr": np.linspace(20, 30, 20)}
    write_run(tmp_path, "dps", "one", lpips=np.linspace(0.1, 0.29, 20), **scores)
    write_run(tmp_path, "dps", "two", lpips=np.linspace(0.5, 0.6, 20), **scores, noise_std=0.1)
    write_run(tmp_path, "vml_map", "three", lpips=np.linspace(0.199, 0.219, 20), **scores)
    write_run(tmp_path, "ddrm", "four", lpips=np.linspace(0.1, 0.3, 20), **scores)
    write_run(tmp_path, "dps", "five", task="sr4_bicubic", lpips=np.full(20, np.nan), **scores)
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    assert len(rows) == 2 * 4
    alex = rows[rows["convention"] == "lpips_alex"].set_index("run")
    assert alex["verdict"].to_dict() == {
        "one": "reproduced", "two": "off", "three": "near", "five": "not scored"
    }  # fmt: skip
    assert alex.at["two", "difference"] == pytest.approx(0.35)
    assert (alex.at["one", "n"], alex.at["two", "noise_std"]) == (20, 0.1)
    vgg = rows[rows["convention"] == "lpips_vgg"]
    assert set(vgg["verdict"]) == {"not scored"}
    assert vgg["note"].str.contains("lpips_vgg in metrics").all()


def test_what_was_not_run_reads_not_run(content, written):
    published = read_published(written(content))
    rows = compare(published.about("toy"), None)
    assert rows["verdict"].tolist() == ["not run"] * 4
    assert rows[["task", "convention"]].to_numpy().tolist() == [
        [task, convention] for task in ("sr4", "sr4_bicubic") for convention in METRICS["LPIPS"]
    ]
    assert rows["ours"].isna().all()
    text = format_comparison(rows, "toy")
    assert text.count("not run") == 1 + ABOUT.count("not run")  # one line for both tasks and both networks
    assert "lpips_alex, lpips_vgg" in text
    assert " ".join(to_markdown(rows, "toy").split()).count("| not run |") == 1


def test_what_is_known_of_the_protocol_is_set_against_the_run(content, written, tmp_path):
    content["claims"][0] |= {"noise_std": 0.05, "images": 100, "remark": "rescales <b>"}
    published = read_published(written(content))
    write_run(tmp_path, "dps", noise_std=0.1, diverged=["b"])
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    expected = "published at σ_y = 0.05; published on 100 images; 1 diverged images left out"
    assert rows.iloc[0]["note"] == expected
    markdown = to_markdown(rows, "toy")
    assert expected.replace("_", r"\_") in markdown
    assert "The source leaves open: the network" in markdown
    assert "rescales &lt;b&gt;" in markdown


def test_a_run_that_is_not_what_its_names_say_is_told_from_one_that_is(content, written, tmp_path):
    published = read_published(written(content))
    scores = {"ids": ["a", "b", "c", "d"], "psnr": np.arange(4.0), "lpips": np.full(4, 0.2)}
    write_run(tmp_path, "dps", "plain", **scores)
    write_run(tmp_path, "dps", "half", **scores, record={"settings": {"eta": 0.5}})
    write_run(tmp_path, "dps", "twice", **scores, asked={"operator": {"BlockAverage": {"factor": 2}}})
    write_run(tmp_path, "dps", "other", **scores, asked={"operator": {"Bicubic": {"factor": 4}}})
    write_run(tmp_path, "dps", "mine", **scores, record={"prior": {"name": "mine", "hash": "ffffffffff"}})
    write_run(tmp_path, "vml_map", "early", ids=["a", "b"], psnr=np.arange(2.0), lpips=np.full(2, 0.2))
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    rows = rows[(rows["convention"] == "lpips_alex") & (rows["task"] == "sr4")].set_index("run")
    assert rows["note"].to_dict() == {
        "plain": "",
        "half": "method with eta=0.5, not as configured",
        "twice": "task with factor=2, not as configured",
        "other": "task with operator=Bicubic, not as configured",
        "mine": "",
        "early": "on 2 of the 4 images of its table",
    }
    assert rows["problem"].nunique() == 3
    assert rows.loc[["half", "plain"], "settings"].tolist() == ["eta=0.5", ""]
    assert rows.loc[["mine", "plain"], "prior"].tolist() == ["mine@ffffffff", "shipped@0f1e2d3c"]
    text = re.sub(" +", " ", format_comparison(rows.reset_index(), "toy"))
    assert "sr4 · operator BlockAverage, factor 2 0.05 dps (twice)" in text
    assert "dps · mine@ffffffff (mine) mine@ffffffff" in text
    assert "dps · eta=0.5 · shipped@0f1e2d3c (half)" in text


@pytest.fixture
def table() -> dict:
    return {
        "name": "theirs",
        "paper": "Another paper",
        "source": "Table 2",
        "dataset": "Toys (val)",
        "images": 4,
        "network": "ffhq_10m.pt",
        "noise_std": {"sr": 0.1, "phase": 0.05},
        "own": ["Ours"],
        "methods": {"DPS": ["dps"], "Ours": []},
        "tasks": {
            "sr": {"task": "SR ×4", "candidates": ["sr4"]},
            "phase": {"task": "Phase retrieval", "candidates": []},
        },
        "columns": ["sr PSNR", "sr LPIPS", "phase PSNR"],
        "rows": {"DPS@100": [25.0, 0.2, 17.0], "Ours": [26.0, None, 30.0]},
        "unsafe": {"DPS@100 phase": "the best of four restarts"},
    }


def test_each_number_of_a_table_is_a_claim(content, written, table):
    claims = read_published(written(content | {"tables": [table]})).claims[1:]
    assert [(c.method, c.task, c.metric, c.value, c.noise_std, c.own, c.unsafe) for c in claims] == [
        ("DPS@100", "SR ×4", "PSNR", 25.0, 0.1, False, ""),
        ("DPS@100", "SR ×4", "LPIPS", 0.2, 0.1, False, ""),
        ("DPS@100", "Phase retrieval", "PSNR", 17.0, 0.05, False, "the best of four restarts"),
        ("Ours", "SR ×4", "PSNR", 26.0, 0.1, True, ""),
        ("Ours", "Phase retrieval", "PSNR", 30.0, 0.05, True, ""),
    ]
    assert {(c.methods, c.candidates) for c in claims} == {
        (("dps",), ("sr4",)),
        (("dps",), ()),
        ((), ("sr4",)),
        ((), ()),
    }
    assert all((c.paper, c.images, c.network) == ("Another paper", 4, "ffhq_10m.pt") for c in claims)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": {"DPS": [1.0, 2.0]}}, "DPS has 2 values for 3 columns"),
        ({"rows": {"DDRM": [1.0, 2.0, 3.0]}}, "DDRM is missing"),
        ({"columns": ["sr PSNR", "sr LPIPS", "jpeg PSNR"]}, "jpeg is missing"),
        ({"columns": ["sr MSE", "sr LPIPS", "phase PSNR"]}, "no metric 'MSE'"),
    ],
)
def test_a_table_that_does_not_fit_is_named(content, written, table, change, says):
    with pytest.raises(InputError, match="table theirs") as caught:
        read_published(written(content | {"tables": [table | change]}))
    assert says in str(caught.value)


def test_a_claim_about_what_is_not_here_says_so_and_a_foreign_network_is_noted(content, written, table, tmp_path):
    published = read_published(written(content | {"claims": [], "tables": [table]}))
    write_run(tmp_path, "dps", noise_std=0.1, ids=["a", "b", "c", "d"], psnr=np.arange(4.0), lpips=np.full(4, 0.2))
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    run, scored, phase, ours, both = (group.iloc[0] for _, group in rows.groupby("claim"))
    assert (run["note"], scored["verdict"]) == ("published with ffhq_10m.pt", "reproduced")
    assert (phase["verdict"], phase["note"]) == ("not here", "no such task here")
    assert (ours["verdict"], ours["note"], both["note"]) == ("not here", *["no such method here"] * 2)
    text = format_comparison(rows, "toy")
    assert "DPS@100 (rerun or quoted)" in text
    assert "Unsafe (PSNR of DPS@100, Phase retrieval): the best of four restarts" in text
    assert text.count("Table 2") == 1


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
