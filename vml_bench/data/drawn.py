"""Images drawn from a closed-form prior, so that the exact posterior of each measurement is known."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor

from vml_bench.contract import ImageSet, Prior
from vml_bench.errors import InputError
from vml_bench.noise import image_generator
from vml_bench.priors.closed_form import GaussianMixturePrior
from vml_bench.settings import checked


class DrawnImages(ImageSet):
    """P images, each restored R times from one measurement.

    Ids are p003-r07: the eighth restoration of the fourth image, whose scene is p003. An image depends only on the
    seed and its scene. Values have the scale of images in [-1, 1] but are not confined to it.

    Args:
        prior: what they are drawn from.
        scenes: P ≥ 1.
        repeats: R ≥ 1; distances to the posterior and to its mean need several.
        seed: of the draws.
        name: name under which results are filed.

    Raises:
        InputError: the prior cannot be drawn from, or P or R is less than 1.
    """

    @checked
    def __init__(
        self, prior: Prior, scenes: PositiveInt = 16, repeats: PositiveInt = 16, seed: int = 0, name: str = "gmm"
    ) -> None:
        if not isinstance(prior, GaussianMixturePrior):
            raise InputError(f"data set '{name}' cannot be drawn from this prior", "choose prior=gmm or prior=gauss")
        self.name = name
        self.image_shape = prior.image_shape
        self.dtype = prior.means.dtype
        names = [f"p{number:03d}" for number in range(scenes)]
        self._images = {scene: prior.sample(1, image_generator(seed, scene, "image"))[0] for scene in names}
        self.ids = tuple(f"{scene}-r{repeat:02d}" for scene in names for repeat in range(repeats))

    def scene(self, image_id: str) -> str:
        return image_id.partition("-")[0]

    def load(self, image_id: str) -> Tensor:
        return self._images[self.scene(image_id)]
