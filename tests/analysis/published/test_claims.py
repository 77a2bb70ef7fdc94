"""Published results: the shipped claims, what a table comes to, and what a broken row says."""

from __future__ import annotations

import math

import pytest

from vml_bench import configuration
from vml_bench.analysis.published import read_published
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
