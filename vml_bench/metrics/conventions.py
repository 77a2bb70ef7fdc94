"""What "FID" means to whom: one Fréchet distance, four feature networks, each under its own name.

| column               | features                   | resized to 299×299 by       | network                            |
| -------------------- | -------------------------- | ----------------------------| -----------------------------------|
| `fid`                | `inception`                | Pillow, antialiased bicubic | TensorFlow's Inception of 2015     |
| `fid_legacy_pytorch` | `inception_legacy_pytorch` | torch, bilinear, aliased    | the same weights in pytorch-fid    |
| `fid_torch_fidelity` | `inception_torch_fidelity` | TensorFlow 1, bilinear      | the same weights in torch-fidelity |
| `fid_torchvision`    | `inception_torchvision`    | torch, bilinear, aliased    | torchvision's ImageNet classifier  |

The first two are clean-fid's modes `clean` and `legacy_pytorch`, run through its own functions (Parmar, Zhang, Zhu
2022); the third is what `torch-fidelity` computes, by its own extractor; the fourth is what DAPS's evaluate_fid.py
calls FID. Only features of one name compare with each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from vml_bench.data.images import to_uint8
from vml_bench.errors import InputError
from vml_bench.weights.check import verified

Prepare = Callable[[Tensor], Tensor]
"""What a network is given of one image (1, 3, H, W) in [-1, 1]."""


class InceptionFeatures(nn.Module):
    """The 2048 pooled features of an Inception network under one convention. A run never downloads its weights.

    Args:
        name: a key of `INCEPTIONS`.

    Raises:
        InputError: the weights are missing, are not the published file, or lie where everyone may write; a package is
            not installed.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        with (
            warnings.catch_warnings(),  # clean-fid silences every warning of the process
            torch.random.fork_rng(devices=[]),  # layers are initialised before they are loaded
        ):
            network, self._prepare = INCEPTIONS[name](name)
        self.network = network.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of one image: (1, 3, H, W) in [-1, 1] -> (1, 2048)."""
        features = self.network(self._prepare(image).to(image.device))
        return (features if isinstance(features, Tensor) else features[0]).flatten(1)


def weights(entry: str, name: str) -> Path:
    """The verified file of an entry of the catalogue, for the features `name`."""
    return verified(entry, f"leave '{name}' out of metrics.features")


def state(entry: str, name: str) -> dict[str, Tensor]:
    """The tensors in the verified file of an entry of the catalogue."""
    return torch.load(weights(entry, name), map_location="cpu", weights_only=True)


def pixels(resize: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Prepare:
    """One image in 8 bits, resized as (H, W, 3) uint8: (1, 3, H, W) in [-1, 1] -> (1, 3, h, w) in [0, 255]."""
    return lambda image: torch.from_numpy(resize(to_uint8(image[0]))).permute(2, 0, 1)[None]


def clean(name: str) -> tuple[nn.Module, Prepare]:
    """clean-fid's mode "clean"."""
    file = weights("inception", name)
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import build_resizer

    return InceptionV3W(str(file.parent), download=False), pixels(build_resizer("clean"))


def legacy_pytorch(name: str) -> tuple[nn.Module, Prepare]:
    """clean-fid's mode "legacy_pytorch", which is pytorch-fid's: bilinear without antialiasing, inputs in [0, 1]."""
    tensors = state("inception-pytorch", name)
    from cleanfid.inception_pytorch import InceptionV3
    from cleanfid.resize import build_resizer

    resize = pixels(build_resizer("legacy_pytorch"))
    with mock.patch("cleanfid.inception_pytorch.load_state_dict_from_url", return_value=tensors):
        return InceptionV3(output_blocks=[3], resize_input=False), lambda image: resize(image) / 255


def torch_fidelity(name: str) -> tuple[nn.Module, Prepare]:
    """torch-fidelity's "inception-v3-compat": TensorFlow 1's bilinear resize, inside the network."""
    try:
        from torch_fidelity import FeatureExtractorInceptionV3
    except ImportError as error:
        raise InputError("torch-fidelity is not installed", "pip install 'torch-fidelity>=0.4'") from error
    file = str(weights("inception-pytorch", name))
    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=file), pixels()


def torchvision(name: str) -> tuple[nn.Module, Prepare]:
    """torchvision's InceptionV3 classifier before its last layer, as DAPS's evaluate_fid.py takes it.

    torchvision turns its pretrained model's inputs from ImageNet's normalisation back to about [-1, 1]
    (`transform_input`); so does this one.
    """
    tensors = state("inception-torchvision", name)
    from torchvision.models import inception_v3
    from torchvision.transforms.functional import normalize

    network = inception_v3(weights=None, transform_input=True, init_weights=False)
    network.load_state_dict(tensors)
    network.fc = nn.Identity()

    def prepare(image: Tensor) -> Tensor:
        resized = nn.functional.interpolate(image, size=(299, 299), mode="bilinear", align_corners=False)
        return normalize((resized + 1) / 2, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    return network, prepare


INCEPTIONS: dict[str, Callable[[str], tuple[nn.Module, Prepare]]] = {
    "inception": clean,
    "inception_legacy_pytorch": legacy_pytorch,
    "inception_torch_fidelity": torch_fidelity,
    "inception_torchvision": torchvision,
}
"""The network of each convention, and what it is given of an image."""
