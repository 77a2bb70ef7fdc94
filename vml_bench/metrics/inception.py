"""FID's InceptionV3 as clean-fid runs it (Parmar, Zhang, Zhu 2022), where its weights are at hand.

The weights are in no package. `vml-bench fetch inception` puts them in the cache; a run never downloads them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vml_bench.data.images import to_uint8
from vml_bench.weights.check import verified


class InceptionFeatures(torch.nn.Module):
    """clean-fid's 2048 pool features in mode "clean": 8 bit, antialiased bicubic to 299×299, unquantised.

    Raises:
        InputError: the weights are missing, are not the published file, or lie where everyone may write.
    """

    def __init__(self) -> None:
        super().__init__()
        file = verified("inception", "leave 'inception' out of metrics.features")
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        self.network = InceptionV3W(str(file.parent), download=False).eval()
        self._resize = build_resizer("clean")

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of one image: (1, 3, H, W) in [-1, 1] -> (1, 2048)."""
        resized: np.ndarray = self._resize(to_uint8(image[0]))
        return self.network(torch.from_numpy(resized).permute(2, 0, 1)[None].to(image.device))
