"""The protocol report: each convention's value worked out a second way from the pictures on disk."""

from __future__ import annotations

import math
from pathlib import Path

import lpips
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.ndimage import uniform_filter

from tests.run_folders import originals, write_oracle_run, write_run
from tests.test_widths import too_wide
from vml_bench.analysis.protocols import format_report, rescore, write
from vml_bench.analysis.protocols.blurs import blurs_of
from vml_bench.analysis.protocols.scores import averaging, stretch
from vml_bench.cli import main
from vml_bench.data.images import read_picture, to_uint8
from vml_bench.errors import InputError
from vml_bench.metrics.frechet import frechet_distance
from vml_bench.metrics.perceptual import lpips_network
from vml_bench.operators import UniformBlur
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import Runner
from vml_bench.store import layout
from vml_bench.store.runs import open_run
from vml_bench.text import say
from vml_bench.weights.lpips import trunk_file

IDS = tuple(f"i{k}" for k in range(10))
CPU = torch.device("cpu")


def draw(results: Path, run: Path) -> None:
    """Ten 40×40 originals of mild contrast, and restorations with noise; every PSNR and LPIPS differs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]
    for i, image_id in enumerate(IDS):
        waves = 120 + (60 + 4 * i) * np.sin(x[..., None] / (2 + i) + np.arange(3)) * np.cos(y[..., None] / 6)
        for where, noise in ((originals(results), 0), (run / layout.PICTURES, 6 + 3 * i)):
            where.mkdir(parents=True, exist_ok=True)
            pixels = (waves + noise * rng.normal(size=waves.shape)).clip(0, 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(layout.picture(where, image_id))


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file)).astype(np.float64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run whose last image diverged, beside one at another noise level and others that differ in more than that."""
    results = tmp_path_factory.mktemp("results")
    scores = {"ids": IDS, "psnr": np.arange(10.0), "lpips": np.linspace(0.1, 0.2, 10)}
    run = write_run(results, **scores, diverged=IDS[-1:])
    write_run(results, run="louder0000", **{**scores, "psnr": np.full(10, 15.0)}, noise_std=0.1)
    write_run(results, "ddrm", run="another000", **scores, noise_std=0.2)
    further = {**scores, "noise_std": 0.3}
    write_run(results, run="operator00", **further, asked={"operator": {"BlockAverage": {"factor": 2}}})
    write_run(results, run="pictures00", **further, asked={"images": "2222222222"})
    write_run(results, run="seed000000", **further, asked={"seed": 1})
    write_run(results, run="settings00", **further, record={"settings": {"eta": 0.5}})
    write_run(results, run="prior00000", **further, record={"prior": {"name": "mine", "hash": "ffffffffff"}})
    draw(results, run)
    return run


@pytest.fixture(scope="module")
def report(folder, tmp_path_factory) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:  # LPIPS's weights are here, Inception's are not
        cache = tmp_path_factory.mktemp("cache")
        for net in ("alex", "vgg"):
            lpips_network(net)
            (cache / trunk_file(net).name).symlink_to(trunk_file(net))
        patch.setenv("VML_BENCH_CACHE", str(cache))
        return rescore(folder, CPU)


@pytest.fixture(scope="module")
def pairs(folder) -> list[tuple[np.ndarray, np.ndarray]]:
    where = folder / layout.PICTURES, originals(folder.parents[4])
    return [tuple(pixels(layout.picture(pictures, i)) for pictures in where) for i in IDS[:-1]]


def row(report: pd.DataFrame, convention: str, metric: str, setting: str = "") -> pd.Series:
    chosen = report[(report["convention"] == convention) & (report["metric"] == metric)]
    chosen = chosen[chosen["setting"].str.startswith(setting)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / ((a - b) ** 2).mean())


def test_the_leaderboards_own_conventions_come_first(report, pairs):
    default = row(report, "leaderboard", "psnr")
    assert default["value"] == pytest.approx(np.mean([psnr(*pair) for pair in pairs]), abs=1e-3)
    assert default["n"] == 9
    assert default["low"] < default["value"] < default["high"]
    assert "the run itself recorded" in default["note"]  # its rows are made up
    assert report["metric"].head(4).tolist() == ["psnr", "ssim", "lpips_alex", "fd_alex"]


def test_lpips_networks_and_inputs(report, pairs):
    def mean(network, turn=lambda x: x):
        tensors = [[torch.tensor(x / 127.5 - 1).permute(2, 0, 1)[None].float() for x in pair] for pair in pairs]
        with torch.no_grad():
            return np.mean([network(*map(turn, pair)).item() for pair in tensors])

    alex, vgg = lpips_network("alex"), lpips_network("vgg")
    default = row(report, "leaderboard", "lpips_alex")
    assert default["value"] == pytest.approx(mean(alex), abs=1e-5)
    found = row(report, "LPIPS network", "lpips_vgg")
    assert found["value"] == pytest.approx(mean(vgg), abs=1e-5)
    assert found["difference"] == pytest.approx(mean(vgg) - mean(alex), abs=1e-5)
    assert found["difference_low"] < found["difference"] < found["difference_high"]
    found = row(report, "LPIPS input", "lpips_alex_unit")
    assert found["value"] == pytest.approx(mean(alex, lambda x: x / 2 + 0.5), abs=1e-5)
    found = row(report, "LPIPS network", "lpips_vgg_averaged")
    assert found["value"] != pytest.approx(mean(vgg), abs=1e-3)
    assert found["value"] == pytest.approx(mean(averaging(lpips_network("vgg"))), abs=1e-5)


def test_averaging_replaces_every_pooling_and_nothing_else():
    network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    before = [type(module) for module in network.modules()]
    after = [type(module) for module in averaging(network).modules()]
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] is not pair[1]]
    assert changed == [(torch.nn.MaxPool2d, torch.nn.AvgPool2d)] * 4


def test_luma_and_pooled_psnr(report, pairs):
    weights = np.array([65.481, 128.553, 24.966]) / 255
    luma = [psnr(a @ weights, b @ weights) for a, b in pairs]
    assert row(report, "colour", "psnr_luma")["value"] == pytest.approx(np.mean(luma), abs=1e-3)
    pooled = row(report, "PSNR average", "psnr")
    squared = np.mean([((a - b) ** 2).mean() for a, b in pairs])
    assert pooled["value"] == pytest.approx(10 * math.log10(255**2 / squared), abs=1e-3)
    assert pooled["low"] < pooled["value"] < pooled["high"]
    assert pooled["difference"] < 0


def test_min_max_saving_is_applied_to_what_was_saved(report, pairs):
    def stretched(x):
        return np.round((x - x.min()) / (x.max() - x.min()) * 255)

    both = row(report, "saving", "psnr", "min-max (DPS)")
    assert both["value"] == pytest.approx(np.mean([psnr(stretched(a), stretched(b)) for a, b in pairs]), abs=0.01)
    alone = row(report, "saving", "psnr", "min-max, restoration only")
    assert alone["value"] == pytest.approx(np.mean([psnr(stretched(a), b) for a, b in pairs]), abs=0.01)
    assert alone["difference_high"] < 0
    assert "applied to the saved pictures" in both["note"]
    assert row(report, "saving", "fd_alex", "min-max (DPS)")["difference"] != 0


def test_a_constant_picture_is_not_stretched():
    grey = torch.full((1, 3, 4, 4), 0.2)
    assert torch.equal(stretch(grey), grey)
    assert stretch(torch.tensor([-0.5, 0.5]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)).unique().tolist() == [-1, 1]


def test_half_of_the_images_stand_for_a_smaller_sample(report, pairs):
    half = row(report, "sample", "psnr", "first 4 of 9")
    assert half["value"] == pytest.approx(np.mean([psnr(*pair) for pair in pairs[:4]]), abs=1e-3)
    assert half["n"] == 4
    assert half["difference"] == pytest.approx(half["value"] - row(report, "leaderboard", "psnr")["value"])


def test_the_frechet_distance_is_the_leaderboards(report, folder):
    arrays = []
    for where in (folder, originals(folder.parents[4])):
        with np.load(where / layout.COMPLETED.format(network="alex")) as stored:
            assert stored["ids"].tolist() == list(IDS[:-1])
            arrays.append(stored["alex"])
    found = row(report, "leaderboard", "fd_alex")
    assert found["value"] == pytest.approx(frechet_distance(*arrays))
    assert found["low"] <= found["value"] <= found["high"]


def test_a_convention_without_its_weights_says_how_to_get_them(report):
    variants = report[report["convention"] == "FID variant"].set_index("metric")
    assert list(variants.index) == ["fid", "fid_legacy_pytorch", "fid_torch_fidelity", "fid_torchvision"]
    assert variants["value"].isna().all()
    assert "vml-bench fetch inception" in variants.at["fid", "note"]
    assert "vml-bench fetch inception-torchvision" in variants.at["fid_torchvision", "note"]
    assert "vml-bench fetch inception-torchvision" in format_report(report)


def test_another_noise_level_is_compared_on_the_same_images(report):
    louder = row(report, "noise level", "psnr")
    assert louder["setting"] == "σ_y = 0.1 (run louder0000)"
    assert (louder["value"], louder["n"]) == (15.0, 9)
    assert louder["difference"] == pytest.approx(15 - row(report, "leaderboard", "psnr")["value"])
    assert louder["note"] == ""


def test_only_runs_that_were_asked_and_set_alike_stand_for_another_noise_level(report):
    levels = report[report["convention"] == "noise level"]
    assert set(levels["setting"]) == {"σ_y = 0.1 (run louder0000)"}


def test_what_else_a_run_at_another_noise_level_computed_otherwise_is_said(tmp_path):
    scores = {"ids": IDS[:2], "psnr": [20.0, 21.0], "lpips": [0.1, 0.2]}
    run = write_run(tmp_path, **scores)
    form = {"problem": "other", "method": {"pinv": {"schedule": {"EDMSchedule": {"levels": 50}}}}}
    half = {"form": {**form, "prior": "0f1e2d3c4b", "compute": {"dtype": "bfloat16"}}}
    write_run(tmp_path, run="louder0000", **scores, noise_std=0.1, record=half)
    draw(tmp_path, run)
    frame = rescore(run, CPU)
    said = "differs in compute.dtype, method.schedule, method.schedule.levels too"
    assert row(frame, "noise level", "psnr")["note"] == said
    assert "shipped@0f1e2d3c" in format_report(frame).splitlines()[0]


def test_without_another_noise_level_the_report_says_how_to_have_one(tmp_path):
    run = write_run(tmp_path, ids=IDS[:1], psnr=[20.0], lpips=[0.1], synthetic=True)
    draw(tmp_path, run)
    frame = rescore(run, CPU)
    alone = row(frame, "noise level", "")
    assert math.isnan(alone["value"])
    assert "task.noise_std=0.1" in alone["note"]
    assert not (frame["convention"] == "sample").any()  # one image has no half
    assert "Synthetic: " in format_report(frame)


def test_the_command_writes_beside_the_run(report, folder, capsys):
    paths = write(report, folder)
    assert [path.name for path in paths] == ["protocols.csv", "protocols.md"]
    assert len(pd.read_csv(paths[0])) == len(report)
    markdown = " ".join(paths[1].read_text().split())
    assert "| LPIPS network | VGG16 instead of AlexNet | lpips\\_vgg |" in markdown
    assert "Synthetic" not in markdown
    assert paths[1].read_text().count("\n|") == len(report) + 2
    for wrong in (folder.parent, folder / layout.PICTURES, folder / "nowhere"):
        with pytest.raises(SystemExit) as caught:
            main(["protocols", str(wrong)])
        assert caught.value.code == 2
        assert "is no run" in capsys.readouterr().err


def test_a_run_without_a_usable_image_or_with_a_picture_gone_is_refused(tmp_path):
    lost = write_run(tmp_path, "dps", diverged=["a", "b", "c"])
    with pytest.raises(InputError, match="no image that did not diverge"):
        rescore(lost, CPU)
    with pytest.raises(InputError, match=r"a\.png is missing"):
        rescore(write_run(tmp_path, "ddrm"), CPU)
    with pytest.raises(InputError, match="keeps no pictures"):
        rescore(write_oracle_run(tmp_path), CPU)


def blurred(results: Path, **options) -> Path:
    """A run on three of the images of `draw` under a uniform blur of these options."""
    asked = {"operator": {"UniformBlur": {"taps": 5, "padding": "zero", **options}}}
    run = write_run(results, ids=IDS[:3], psnr=[20.0, 21.0, 22.0], lpips=[0.1, 0.2, 0.3], asked=asked)
    draw(results, run)
    return run


def rounded(image: np.ndarray) -> np.ndarray:
    return image.clip(0, 255).round()


def test_a_blur_is_compared_with_its_scrambled_twin(tmp_path):
    run = blurred(tmp_path)
    frame = rescore(run, CPU)
    files = [layout.picture(originals(tmp_path), i) for i in IDS[:3]]
    twin, pairs = UniformBlur((3, 40, 40), taps=5, padding="zero", scrambled=True), []
    for file in files:  # beyond the edge lies grey, 127.5
        plain = rounded(uniform_filter(pixels(file) - 127.5, (5, 5, 0), mode="constant") + 127.5)
        pairs.append((pixels(file), plain, to_uint8(twin.forward(read_picture(file)[None])[0]).astype(float)))
    own = row(frame, "blur", "psnr", "measurement without noise, plain (this run)")
    other = row(frame, "blur", "psnr", "measurement without noise, scrambled")
    apart = row(frame, "blur", "psnr", "one measurement against the other")
    assert own["value"] == pytest.approx(np.mean([psnr(image, plain) for image, plain, _ in pairs]), abs=1e-3)
    assert other["value"] == pytest.approx(np.mean([psnr(image, twin) for image, _, twin in pairs]), abs=1e-3)
    assert other["difference"] == pytest.approx(other["value"] - own["value"])
    assert apart["value"] == pytest.approx(np.mean([psnr(plain, twin) for _, plain, twin in pairs]), abs=1e-3)
    assert 10 < apart["value"] < 40  # other measurements, to look at much alike
    *tables, picture = write(frame, run)
    assert f"({picture.name})" in tables[-1].read_text()
    drawn = np.asarray(Image.open(picture).convert("RGB")).tobytes()
    zoomed = [np.kron(image, np.ones((5, 5, 1))).astype(np.uint8) for images in pairs for image in images]
    assert all(image[side].tobytes() in drawn for image in zoomed for side in (0, -1))


@pytest.mark.parametrize(("asked", "own"), [("deblur_gauss10", "plain"), ("deblur_uniform_ddrm", "scrambled")])
def test_the_pseudo_inverse_of_a_blur_is_what_a_run_of_it_scored(cell_config, asked, own):
    """Operator, noise and rounding are those of the run that was made."""
    config = cell_config("dataset=photos64", f"task={asked}", "method=pinv", "runner.limit=2", "metrics.features=[]")
    frame = rescore(Runner(Cell(config)).run(), CPU)
    found = row(frame, "blur", "psnr", f"pseudo-inverse, σ_y = 0.05, {own} (this run)")
    assert found["value"] == pytest.approx(row(frame, "leaderboard", "psnr")["value"], abs=1e-3)
    exact = row(frame, "blur", "psnr", f"pseudo-inverse, without noise, {own} (this run)")
    assert exact["value"] > found["value"] + 10


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_of_a_report_is_wider_than_the_terminal(report, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    say(format_report(report))
    assert too_wide(capsys.readouterr().out, columns) == []


def test_another_operator_is_not_compared_with_a_blur(report, folder):
    assert not (report["convention"] == "blur").any()
    assert not (folder / "blur.png").exists()


@pytest.mark.parametrize("options", [{"taps": 10**12}, {"std": 3.0}, {"padding": [1]}, {"zero_below": "x"}])
def test_a_record_of_a_blur_that_cannot_be_built_is_refused(tmp_path, options):
    run = open_run(write_run(tmp_path, asked={"operator": {"UniformBlur": {"taps": 5, **options}}}))
    with pytest.raises(InputError, match="cannot be built"):
        blurs_of(run, (3, 40, 40))


@pytest.mark.parametrize("operator", [{"Popen": {"args": "ls"}}, {}, "UniformBlur", {"UniformBlur": {}, "b": {}}])
def test_no_other_class_of_a_record_is_built(tmp_path, operator):
    assert blurs_of(open_run(write_run(tmp_path, asked={"operator": operator})), (3, 40, 40)) is None


def test_a_report_keeps_its_other_rows_where_the_blur_cannot_be_built(tmp_path):
    run = blurred(tmp_path, taps=4)
    frame = rescore(run, CPU)
    (said,) = frame.loc[frame["convention"] == "blur", "note"]
    assert "no middle tap" in said
    assert not math.isnan(row(frame, "leaderboard", "psnr")["value"])
    assert [path.name for path in write(frame, run)] == ["protocols.csv", "protocols.md"]
