"""Images drawn from a closed-form prior, so that what is true of a measurement is known exactly."""

from __future__ import annotations

from torch import Tensor

from vml_bench.contract import ImageSet
from vml_bench.errors import InputError
from vml_bench.noise import image_generator
from vml_bench.priors.closed_form import GaussianMixturePrior


class DrawnImages(ImageSet):
    """P images, each of which is to be restored R times from one measurement.

    Ids are p003-r07: the eighth restoration of the fourth image, whose scene is p003. An image depends on the seed
    and its scene alone. Values have the scale of images in [-1, 1] but are not confined to it.

    Args:
        prior: what they are drawn from.
        problems: P ≥ 1.
        repeats: R ≥ 1; distances to the posterior and to its mean need several.
        seed: of the draws.
        name: name under which results are filed.

    Raises:
        InputError: the prior cannot be drawn from, or P or R is less than 1.
    """

    def __init__(
        self, prior: GaussianMixturePrior, problems: int = 16, repeats: int = 16, seed: int = 0, name: str = "gmm"
    ) -> None:
        if not isinstance(prior, GaussianMixturePrior):
            raise InputError(f"data set '{name}' cannot be drawn from this prior", "choose prior=gmm or prior=gauss")
        for option, value in (("problems", problems), ("repeats", repeats)):
            if value < 1:
                raise InputError(f"dataset.{option}={value}", "it must be 1 or more")
        self.name = name
        self.image_shape = prior.image_shape
        self.dtype = prior.means.dtype
        scenes = [f"p{problem:03d}" for problem in range(problems)]
        self._images = {scene: prior.sample(1, image_generator(seed, scene, "image"))[0] for scene in scenes}
        self.ids = tuple(f"{scene}-r{repeat:02d}" for scene in scenes for repeat in range(repeats))

    def scene(self, image_id: str) -> str:
        return image_id.partition("-")[0]

    def load(self, image_id: str) -> Tensor:
        return self._images[self.scene(image_id)]
