"""FID's InceptionV3 as clean-fid runs it (Parmar, Zhang, Zhu 2022), where its weights are at hand.

The weights are in no package. `vml-bench fetch inception` puts them in the cache; a run never downloads them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vml_bench.data.images import to_uint8
from vml_bench.errors import InputError
from vml_bench.files import sha256
from vml_bench.metrics.conventions import refuse_world_writable
from vml_bench.metrics.weights import cache_dir

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"


def inception_file() -> Path:
    """Where the weights are looked for."""
    return cache_dir() / INCEPTION_FILE


class InceptionFeatures(torch.nn.Module):
    """clean-fid's 2048 pool features in mode "clean": 8 bit, antialiased bicubic to 299×299, unquantised.

    Raises:
        InputError: the weights are missing, are not the published file, or lie where everyone may write.
    """

    def __init__(self) -> None:
        super().__init__()
        file = inception_file()
        if not file.is_file():
            raise InputError(
                f"FID needs InceptionV3's weights and {file} is missing",
                f"run `vml-bench fetch inception`, place {INCEPTION_FILE} there, or leave 'inception' out of metrics",
            )
        refuse_world_writable(file)
        if sha256(file) != INCEPTION_SHA256:
            raise InputError(
                f"{file} is not the published InceptionV3 (sha256 differs)",
                "delete it and run `vml-bench fetch inception`",
            )
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        self.network = InceptionV3W(str(file.parent), download=False).eval()
        self._resize = build_resizer("clean")

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of one image: (1, 3, H, W) in [-1, 1] -> (1, 2048)."""
        resized: np.ndarray = self._resize(to_uint8(image[0]))
        return self.network(torch.from_numpy(resized).permute(2, 0, 1)[None].to(image.device))
