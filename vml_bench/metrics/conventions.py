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
from unittest import mock

import torch
from torch import Tensor

from vml_bench.data.images import to_uint8
from vml_bench.errors import InputError
from vml_bench.weights.check import verified


class LegacyPytorchFeatures(torch.nn.Module):
    """clean-fid's mode "legacy_pytorch", which is pytorch-fid's: bilinear without antialiasing, inputs in [0, 1].

    Raises:
        InputError: the weights are missing, unsafe or not the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        file = verified("inception-pytorch", "leave 'inception_legacy_pytorch' out of metrics.features")
        state = torch.load(file, map_location="cpu", weights_only=True)
        from cleanfid.inception_pytorch import InceptionV3
        from cleanfid.resize import build_resizer

        with (
            warnings.catch_warnings(),  # build_resizer silences every warning of the process
            torch.random.fork_rng(devices=[]),  # its layers are initialised before they are loaded
            mock.patch("cleanfid.inception_pytorch.load_state_dict_from_url", return_value=state),
        ):
            self.network = InceptionV3(output_blocks=[3], resize_input=False).eval()
            self._resize = build_resizer("legacy_pytorch")

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of one image: (1, 3, H, W) in [-1, 1] -> (1, 2048)."""
        resized = torch.from_numpy(self._resize(to_uint8(image[0]))).permute(2, 0, 1)[None]
        return self.network(resized.to(image.device) / 255)[0].flatten(1)


class TorchFidelityFeatures(torch.nn.Module):
    """torch-fidelity's "inception-v3-compat": TensorFlow 1's bilinear resize, 2048 pool features.

    Raises:
        InputError: torch-fidelity is not installed, or the weights are missing, unsafe or not the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from torch_fidelity import FeatureExtractorInceptionV3
        except ImportError as error:
            raise InputError("torch-fidelity is not installed", "pip install 'torch-fidelity>=0.4'") from error
        file = verified("inception-pytorch", "leave 'inception_torch_fidelity' out of metrics.features")
        with torch.random.fork_rng(devices=[]):
            self.network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file)
            )

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of one image: (1, 3, H, W) in [-1, 1] -> (1, 2048)."""
        pixels = torch.from_numpy(to_uint8(image[0])).permute(2, 0, 1)[None]
        return self.network(pixels.to(image.device))[0]


class TorchvisionFeatures(torch.nn.Module):
    """torchvision's InceptionV3 classifier before its last layer, as DAPS's evaluate_fid.py takes it.

    torchvision turns its pretrained model's inputs from ImageNet's normalisation back to about [-1, 1]
    (`transform_input`); so does this one.

    Raises:
        InputError: the weights are missing, unsafe or not the published file.
    """

    def __init__(self) -> None:
        super().__init__()
        file = verified("inception-torchvision", "leave 'inception_torchvision' out of metrics.features")
        state = torch.load(file, map_location="cpu", weights_only=True)
        from torchvision.models import inception_v3

        with torch.random.fork_rng(devices=[]):
            self.network = inception_v3(weights=None, transform_input=True, init_weights=False)
        self.network.load_state_dict(state)
        self.network.fc = torch.nn.Identity()
        self.network.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of one image: (1, 3, H, W) in [-1, 1] -> (1, 2048)."""
        resized = torch.nn.functional.interpolate(image, size=(299, 299), mode="bilinear", align_corners=False)
        mean, std = (image.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return self.network(((resized + 1) / 2 - mean) / std)
