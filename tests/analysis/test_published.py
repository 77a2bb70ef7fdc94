"""Published results: the shipped claims, what a broken row says, and the comparison with runs."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.run_folders import write_run
from vml_bench import configuration
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.published import compare, format_comparison, read_published
from vml_bench.analysis.published.claims import METRICS
from vml_bench.analysis.published.compare import verdict
from vml_bench.analysis.published.render import to_markdown
from vml_bench.cli import main
from vml_bench.configuration import config_dir, published_file
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
    assert all(claim.methods == ("vml_map_pre", "vml_map_pre_flow", "vml_map") for claim in claims)
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
        ({"candidates": []}, "candidates is no list of names"),
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
    "broken", [[], {"claims": []}, {"datasets": {"a": "b"}, "claims": []}, {"datasets": {"a": ["b"]}, "claims": {}}]
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
    assert text.count("not run\n") + text.endswith("not run") == 2  # one line for both networks
    assert "lpips_alex, lpips_vgg" in text
    assert " ".join(to_markdown(rows, "toy").split()).count("| not run |") == 4


def test_what_is_known_of_the_protocol_is_set_against_the_run(content, written, tmp_path):
    content["claims"][0] |= {"noise_std": 0.05, "images": 100, "remark": "rescales <b>"}
    published = read_published(written(content))
    write_run(tmp_path, "dps", noise_std=0.1, diverged=["b"])
    rows = compare(published.about("toy"), build(tmp_path, "toy")[0])
    expected = "published at σ_y = 0.05; published on 100 images; 1 diverged images left out"
    assert rows.iloc[0]["note"] == expected
    markdown = to_markdown(rows, "toy")
    assert expected.replace("_", r"\_") in markdown
    assert "does not know: the network" in markdown
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
    assert rows["run"].unique().tolist() == ["0123456789"]  # the synthetic run is not compared
    assert rows["verdict"].tolist() == ["reproduced", "not scored"]
    assert "vml_map_pre (0123456789)" in out
    main(["leaderboard", "--published", "--synthetic", "--results", str(tmp_path), "--no-figures"])
    assert "fake" in pd.read_csv(tmp_path / "celebahq256" / "published.csv")["run"].tolist()
    assert "Synthetic: " in (tmp_path / "celebahq256" / "published.md").read_text()


def test_without_any_run_the_command_still_says_what_is_to_be_run(tmp_path, capsys):
    main(["leaderboard", "--published", "--dataset", "ffhq256", "--results", str(tmp_path)])
    told = capsys.readouterr()
    assert "no run of 'ffhq256'" in told.err
    assert set(pd.read_csv(tmp_path / "ffhq256" / "published.csv")["verdict"]) == {"not run"}
    with pytest.raises(SystemExit) as caught:
        main(["leaderboard", "--published", "--dataset", "photos64", "--results", str(tmp_path)])
    assert caught.value.code == 2
    assert "no published result is about runs of 'photos64'" in capsys.readouterr().err
