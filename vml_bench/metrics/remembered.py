"""A network's last passes, by what went in: a metric and a feature network that share a trunk share its passes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

REMEMBERED_BYTES = 64_000_000
"""Outputs kept at most: of LPIPS's AlexNet, 500 passes at 64×64 pixels, 25 at 256×256."""


class Remembered:
    """Memoises f by its input's values (CPU, no gradients).

    There a pass of a trunk is dear. LPIPS sends an original through it for every method, and `MetricSuite.features`
    a restoration that has just been scored. On a GPU a pass costs less than the look-up, and is done.

    Args:
        compute: f, a tensor -> tensors, whose outputs nobody changes in place.
        limit: bytes of outputs kept; those not asked for longest go first.
    """

    def __init__(self, compute: Callable[[Tensor], Sequence[Tensor]], limit: int = REMEMBERED_BYTES) -> None:
        self._compute = compute
        self._limit = limit
        self._outputs: OrderedDict[tuple[torch.dtype, torch.Size, bytes], Sequence[Tensor]] = OrderedDict()

    def __call__(self, x: Tensor) -> Sequence[Tensor]:
        if x.device.type != "cpu" or torch.is_grad_enabled():
            return self._compute(x)
        key = x.dtype, x.shape, blake2b(x.detach().contiguous().numpy(), digest_size=16).digest()
        if key in self._outputs:
            self._outputs.move_to_end(key)
            return self._outputs[key]
        outputs = self._outputs[key] = self._compute(x)
        most = self._limit // sum(output.nbytes for output in outputs)  # images of one run have one size
        while len(self._outputs) > most:
            self._outputs.popitem(last=False)
        return outputs
