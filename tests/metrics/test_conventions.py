"""Each convention of FID equals what its own library computes from the same files, with arbitrary weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid.features import build_feature_extractor
from cleanfid.fid import get_files_features
from cleanfid.inception_torchscript import InceptionV3W
from PIL import Image
from torchvision.models import Inception_V3_Weights, inception_v3

from tests.weights.published import take_for_published
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.metrics import MetricSuite
from vml_bench.metrics.frechet import kernel_distance
from vml_bench.weights.catalogue import find

NEEDED = {
    "inception": "inception",
    "inception_legacy_pytorch": "inception-pytorch",
    "inception_torch_fidelity": "inception-pytorch",
    "inception_torchvision": "inception-torchvision",
}
"""What `vml-bench fetch` calls the weights of each feature network."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    """Four 40×48 pictures: smooth waves with noise."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    for i in range(4):
        waves = 127 + 90 * np.sin(x[..., None] / (3 + i) + np.arange(3)) * np.cos(y[..., None] / 5)
        pixels = (waves + rng.normal(0, 12, (40, 48, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(folder.glob("*.png"))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir(mode=0o755)
    return tmp_path / "cache"


def arbitrary_state(**options) -> dict[str, torch.Tensor]:
    """Weights of torchvision's InceptionV3 that let a signal through all its layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = inception_v3(weights=None, init_weights=False, **options)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        return network.state_dict()


def place(monkeypatch, cache: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """Put a state where a convention looks for its published weights, and have it taken for them."""
    file = cache / find(name).files[0]
    torch.save(state, file)
    take_for_published(monkeypatch, name)
    return file


def ours(pictures: list[Path], network: str) -> np.ndarray:
    images = torch.stack([from_uint8(np.asarray(Image.open(file))) for file in pictures])
    return MetricSuite((), (network,)).features(images)[network]


def cleanfids(pictures: list[Path], model, mode: str) -> np.ndarray:
    files = [str(file) for file in pictures]
    return get_files_features(files, model, num_workers=0, device=torch.device("cpu"), mode=mode, verbose=False)


def assert_equal(features: np.ndarray, expected: np.ndarray) -> None:
    assert features.shape == expected.shape == (2, 2048)
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max()  # the pictures are told apart
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


class Pooled(torch.nn.Module):
    """A stand-in for Inception's layers: 2048 local means."""

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), (32, 64))


class Traced(torch.nn.Module):
    """The shape of NVIDIA's TorchScript file: a module with `layers`."""

    def __init__(self):
        super().__init__()
        self.layers = Pooled()

    def forward(self, x):
        return self.layers(x)


def test_clean_is_clean_fids(pictures, cache, monkeypatch):
    torch.jit.script(Traced()).save(str(cache / find("inception").files[0]))
    take_for_published(monkeypatch, "inception")
    model = InceptionV3W(str(cache), download=False)
    features = ours(pictures, "inception")
    np.testing.assert_allclose(features, cleanfids(pictures, model, "clean"), rtol=1e-5, atol=1e-6)
    assert np.abs(features - cleanfids(pictures, model, "legacy_pytorch")).max() > 1e-3


def test_legacy_pytorch_is_clean_fids(pictures, cache, monkeypatch):
    state = arbitrary_state(num_classes=1008, aux_logits=False)
    place(monkeypatch, cache, "inception-pytorch", state)
    rng = torch.random.get_rng_state()
    features = ours(pictures[:2], "inception_legacy_pytorch")
    assert torch.equal(torch.random.get_rng_state(), rng)
    with pytest.warns(UserWarning, match="still heard"):  # building the resizer has not silenced the process
        warnings.warn("still heard", UserWarning, stacklevel=1)
    monkeypatch.setattr("cleanfid.inception_pytorch.load_state_dict_from_url", lambda *_, **__: state)
    with warnings.catch_warnings():
        model = build_feature_extractor("legacy_pytorch", torch.device("cpu"), use_dataparallel=False)
        assert_equal(features, cleanfids(pictures[:2], model, "legacy_pytorch"))


def test_torch_fidelity_is_torch_fidelitys(pictures, cache, monkeypatch, tmp_path):
    torch_fidelity = pytest.importorskip("torch_fidelity")
    state = arbitrary_state(num_classes=1008, aux_logits=False)
    weights = place(monkeypatch, cache, "inception-pytorch", state)
    features = ours(pictures, "inception_torch_fidelity")
    for i, file in enumerate(pictures):
        target = tmp_path / ("first" if i < 2 else "second") / file.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(file.read_bytes())
    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "first"),
        input2=str(tmp_path / "second"),
        kid=True,
        kid_subsets=1,
        kid_subset_size=2,
        cuda=False,
        cache=False,
        verbose=False,
        feature_extractor_weights_path=str(weights),
    )["kernel_inception_distance_mean"]  # FID's features; its own matrix root of 2048×2048 takes a minute
    assert kernel_distance(features[:2], features[2:]) == pytest.approx(theirs, rel=2e-3)


def test_without_torch_fidelity_the_remedy_is_to_install_it(cache, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity", None)
    with pytest.raises(InputError, match="pip install 'torch-fidelity"):
        MetricSuite((), ("inception_torch_fidelity",))


def test_torchvision_is_daps_script(pictures, cache, monkeypatch):
    state = arbitrary_state()
    place(monkeypatch, cache, "inception-torchvision", state)
    features = ours(pictures[:2], "inception_torchvision")
    monkeypatch.setattr(Inception_V3_Weights, "get_state_dict", lambda *_, **__: state)
    model = inception_v3(weights=Inception_V3_Weights.IMAGENET1K_V1).eval()
    model.fc = torch.nn.Identity()
    images = torch.stack([from_uint8(np.asarray(Image.open(file))) for file in pictures[:2]])
    images = torch.nn.functional.interpolate(images, (299, 299), mode="bilinear", align_corners=False)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (images * 0.5 + 0.5 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        assert_equal(features, model(images).numpy())


@pytest.mark.parametrize(("network", "weights"), NEEDED.items())
def test_weights_are_verified_before_they_are_read(cache, network, weights):
    with pytest.raises(InputError, match=rf"is missing; run `vml-bench fetch {weights}`.*leave '{network}' out"):
        MetricSuite((), (network,))
    file = cache / find(weights).files[0]
    file.write_bytes(b"another file")
    with pytest.raises(InputError, match="sha256 differs"):
        MetricSuite((), (network,))
    file.chmod(0o666)
    with pytest.raises(InputError, match=f"{file.name} is writable for everyone"):
        MetricSuite((), (network,))


@pytest.mark.parametrize("mode", [0o777, 0o1777])
@pytest.mark.parametrize("network", NEEDED)
def test_weights_in_a_world_writable_folder_are_refused(cache, network, mode):
    (cache / find(NEEDED[network]).files[0]).write_bytes(b"anyone could have written this")
    cache.chmod(mode)
    with pytest.raises(InputError, match="cache is writable for everyone"):
        MetricSuite((), (network,))
