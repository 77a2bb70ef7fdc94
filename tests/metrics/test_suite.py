"""The metric suite: recorded values, independence of the batch, sizes and names refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn.functional import avg_pool2d, pad

from tests.weights.published import take_for_published
from vml_bench.configuration import config_dir
from vml_bench.data import PhotoCrops
from vml_bench.data.images import from_uint8, to_uint8
from vml_bench.errors import InputError
from vml_bench.metrics import MetricSuite
from vml_bench.metrics.suite import FEATURES
from vml_bench.weights.catalogue import find
from vml_bench.weights.lpips import load_trunk, trunk_file

IDS = ("astronaut-192-064", "chelsea-000-192", "coffee-128-156", "motorcycle-128-064")
RECORDED = {  # 5×5 box blur with reflected borders, quantised, against the crop
    "psnr": (19.641, 24.628, 22.778, 19.081),
    "ssim": (0.5906, 0.5176, 0.7494, 0.5445),
    "lpips_alex": (0.2132, 0.3370, 0.1987, 0.2791),
    "lpips_vgg": (0.2508, 0.3119, 0.1917, 0.2313),
}


@pytest.fixture(scope="module")
def suite() -> MetricSuite:
    return MetricSuite(("psnr", "ssim", "lpips_alex", "lpips_vgg"))


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    photos = PhotoCrops()
    return torch.stack([photos.load(image_id) for image_id in IDS])


@pytest.fixture(scope="module")
def blurred(crops) -> torch.Tensor:
    blur = avg_pool2d(pad(crops, (2, 2, 2, 2), mode="reflect"), 5, 1)
    return torch.stack([from_uint8(to_uint8(image)) for image in blur])


def test_scores_of_this_projects_own_images_are_as_recorded(suite, crops, blurred):
    scores = suite(blurred, crops)
    assert scores.keys() == RECORDED.keys()
    for name, values in RECORDED.items():
        assert scores[name].tolist() == pytest.approx(values, abs=0.005 if name == "psnr" else 5e-4), name


def test_an_image_scores_the_same_bits_in_any_batch(suite, crops, blurred):
    whole, order = suite(blurred, crops), [2, 0, 3, 1]
    shuffled = suite(blurred[order], crops[order])
    alone = suite(blurred[2:3], crops[2:3])
    features, feature_alone = suite.features(blurred)["alex"], suite.features(blurred[2:3])["alex"]
    for name, values in whole.items():
        assert torch.equal(values[order], shuffled[name])
        assert torch.equal(values[2:3], alone[name])
    np.testing.assert_array_equal(features[2:3], feature_alone)


def test_an_image_equals_itself(suite, crops):
    scores = suite(crops, crops)
    assert all(math.isinf(value) for value in scores["psnr"])
    assert scores["ssim"].tolist() == pytest.approx([1] * 4, abs=1e-6)
    assert scores["lpips_alex"].tolist() == [0] * 4


def test_features_are_the_last_activations_averaged_over_space(suite, crops):
    network = suite._networks["alex"]
    activations = network.net.slice5(
        network.net.slice4(network.net.slice3(network.net.slice2(network.net.slice1(network.scaling_layer(crops[:1])))))
    )
    features = suite.features(crops[:1])["alex"]
    assert features.shape == (1, 256)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[0], activations[0].flatten(1).mean(1).numpy(), rtol=1e-5)


def test_images_too_small_and_unlike_shapes_are_refused(suite):
    small = torch.zeros(1, 3, 30, 64)
    with pytest.raises(InputError, match="'lpips_alex' needs images of at least 31"):
        suite(small, small)
    with pytest.raises(InputError, match="'alex' needs"):
        suite.features(small)
    with pytest.raises(ValueError, match="differ in shape"):
        suite(torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64))
    just = torch.zeros(1, 3, 31, 31)
    assert suite(just, just)["lpips_alex"].tolist() == [0]


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(InputError, match="no metric 'mse'; choose among psnr, ssim, lpips_alex, lpips_vgg"):
        MetricSuite(("mse",))
    with pytest.raises(InputError, match="no feature network 'dino'; choose among alex, inception"):
        MetricSuite(("psnr",), ("dino",))


def test_inception_without_its_weights_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="vml-bench fetch inception"):
        MetricSuite(("psnr",), ("inception",))
    (tmp_path / find("inception").files[0]).write_bytes(b"torn")
    with pytest.raises(InputError, match="sha256 differs"):
        MetricSuite(("psnr",), ("inception",))


@pytest.mark.parametrize(("name", "metrics"), [("default", 3), ("full", 4)])
def test_the_configurations_build(name, metrics):
    suite = instantiate(OmegaConf.load(config_dir() / "metrics" / f"{name}.yaml")).to("cpu")
    assert len(suite.names) == metrics
    assert suite.feature_names == ("alex",)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_inception_features_are_clean_fids_of_the_saved_8_bit_picture(tmp_path, monkeypatch, crops):
    """A stand-in network of the published file's form: 2048 random projections of the mean colour."""
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    base = torch.nn.Module()
    base.layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Conv2d(3, 2048, 1))
    base.forward = lambda x: base.layers(x)
    torch.jit.trace(base, torch.zeros(1, 3, 299, 299)).save(tmp_path / find("inception").files[0])
    take_for_published(monkeypatch, "inception")
    features = MetricSuite(("psnr",), ("inception",)).features(crops[:2])["inception"]
    resize = build_resizer("clean")
    resized = np.stack([resize(to_uint8(crop)).transpose(2, 0, 1) for crop in crops[:2]])
    expected = base.layers((torch.from_numpy(resized) - 128) / 128).flatten(1)
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(features, expected.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(("name", "networks"), [("fid", 2), ("fid_conventions", 5)])
def test_the_configurations_of_fid_ask_for_its_weights_by_name(name, networks, tmp_path, monkeypatch):
    config = OmegaConf.load(config_dir() / "metrics" / f"{name}.yaml")
    assert len(config.features) == networks
    assert set(config.features) <= set(FEATURES)
    for net in ("alex", "vgg"):
        load_trunk(net)
        (tmp_path / trunk_file(net).name).symlink_to(trunk_file(net))
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    with pytest.raises(InstantiationException, match="vml-bench fetch inception") as caught:
        instantiate(config)
    assert isinstance(caught.value.__cause__, InputError)
