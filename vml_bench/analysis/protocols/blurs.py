"""What a run's blur makes of its images, beside what DDRM's scrambled blur makes of them, or the reverse.

Both operators are built from the run's record. What is scrambled: `vml_bench.operators.separable.scramble`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from vml_bench.data.images import as_saved, read_picture, to_uint8
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.metrics.functional import psnr
from vml_bench.noise import ImageNoise
from vml_bench.operators import GaussianBlur, SeparableBlur, UniformBlur
from vml_bench.store.runs import Run

KINDS: dict[str, type[SeparableBlur]] = {kind.__name__: kind for kind in (GaussianBlur, UniformBlur)}
"""What may be built: a record can come from anywhere, and nothing else that it names is."""
MOST_TAPS = 4096
PLAIN, SCRAMBLED = "plain", "scrambled"
PICTURE, ROWS = "blur.png", 3
SIDE, GAP, TITLE, LABEL, DPI = 192, 10, 48, 30, 150
"""About how many pixels wide a picture is drawn; the space between them, above and left of them; pixels per inch."""


@dataclass(frozen=True)
class Blurs:
    """The two operators of a run.

    Attributes:
        operators: by `PLAIN` and `SCRAMBLED`.
        own: which of them is the run's.
        noise_std: σ_y, images in [-1, 1].
        seed: of the measurement noise.
    """

    operators: Mapping[str, SeparableBlur]
    own: str
    noise_std: float
    seed: int

    def measured(self, image: Tensor) -> dict[str, Tensor]:
        """The measurement without noise by each operator, (1, 3, H, W), as saved."""
        return {name: as_saved(operator.forward(image)) for name, operator in self.operators.items()}

    def inverted(self, image: Tensor, image_id: str, noise_std: float) -> dict[str, Tensor]:
        """The pseudo-inverse of the measurement by each operator, (1, 3, H, W), as saved; the noise is the run's."""
        noise = ImageNoise(self.seed, [image_id], "measurement").randn_like(image)
        operators = self.operators.items()
        return {name: as_saved(h.pinv(h.measure(image, noise_std, noise))) for name, h in operators}

    def scores(self, images: Mapping[str, Path]) -> dict[tuple[str, str], np.ndarray]:
        """PSNR of what each operator makes of images.

        Args:
            images: file of the ground truth, by id.

        Returns:
            (n,) by what is scored and by operator; the one measurement against the other as `("each other", "")`.
        """
        rows = []
        for image_id, file in images.items():
            image = read_picture(file)[None]
            measured = self.measured(image)
            looks = {"measurement without noise": measured}
            for noise_std in dict.fromkeys((0.0, self.noise_std)):
                said = f"σ_y = {noise_std:g}" if noise_std else "without noise"
                looks[f"pseudo-inverse, {said}"] = self.inverted(image, image_id, noise_std)
            row = {
                (what, name): float(psnr(look[name], image)) for what, look in looks.items() for name in self.operators
            }
            rows.append(row | {("each other", ""): float(psnr(measured[SCRAMBLED], measured[PLAIN]))})
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def blurs_of(run: Run, image_shape: Sequence[int]) -> Blurs | None:
    """The two operators of a run; None where its own is neither a `UniformBlur` nor a `GaussianBlur`.

    Raises:
        InputError: they cannot be built of what its record says.
    """
    form = run.problem.form.get("operator")
    name, options = next(iter(form.items())) if isinstance(form, Mapping) and len(form) == 1 else (None, None)
    if name not in KINDS:
        return None
    try:
        if options["taps"] > MOST_TAPS:
            raise ValueError(f"it has {options['taps']} taps")
        scrambled = {PLAIN: False, SCRAMBLED: True}
        operators = {key: KINDS[name](image_shape, **{**options, "scrambled": scrambled[key]}) for key in scrambled}
        own = SCRAMBLED if options.get("scrambled") else PLAIN
        return Blurs(operators, own, run.noise_std, int(run.problem.form["seed"]))
    except (InputError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"the operator that its record tells of cannot be built ({' '.join(str(error).split())})"
        raise InputError(what, "run its cell again") from error


@matplotlib.rc_context({"font.family": "DejaVu Sans", "text.parse_math": False})
def draw(blurs: Blurs, images: Mapping[str, Path], heading: str, path: Path) -> Path:
    """Draw ground truth, both measurements without noise and their difference; pixels are enlarged by a whole factor.

    Args:
        blurs: of a run.
        images: file of the ground truth, by id; the first `ROWS` are drawn.
        heading: stands above.
        path: of the PNG.
    """
    shown = list(images.items())[:ROWS]
    titles = ["ground truth", "plain blur", "scrambled blur", "scrambled − plain\n(grey: equal)"]
    height, width = read_picture(shown[0][1]).shape[1:]
    zoom = max(1, round(SIDE / width))
    cell_w, cell_h = zoom * width + GAP, zoom * height + 2 * GAP + DPI // 10
    full_w, full_h = LABEL + len(titles) * cell_w, 2 * TITLE + len(shown) * cell_h
    figure = Figure(figsize=((full_w + 0.5) / DPI, (full_h + 0.5) / DPI), dpi=DPI)  # half pixels are cut off

    def write(x: float, y: float, text: str, size: float, **style: object) -> None:
        figure.text(x / full_w, 1 - y / full_h, text, fontsize=size, **style)

    write(LABEL, GAP, heading, 8, va="top")
    for j, title in enumerate(titles):
        write(LABEL + j * cell_w + zoom * width / 2, 2 * TITLE - GAP, title, 7.5, ha="center", va="bottom")
    for i, (image_id, file) in enumerate(shown):
        image, top = read_picture(file)[None], 2 * TITLE + i * cell_h
        measured = blurs.measured(image)
        both = (measured[PLAIN], measured[SCRAMBLED])
        captions = ["", *(f"{float(psnr(y, image)):.1f} dB" for y in both), f"{float(psnr(*both)):.1f} dB apart"]
        write(LABEL / 2, top + zoom * height / 2, image_id, 6, rotation=90, ha="center", va="center")
        for j, (picture, caption) in enumerate(zip((image, *both, both[1] - both[0]), captions, strict=True)):
            pixels = np.kron(to_uint8(picture[0]), np.ones((zoom, zoom, 1), np.uint8))
            figure.figimage(pixels, LABEL + j * cell_w, full_h - top - zoom * height)
            write(
                LABEL + j * cell_w + zoom * width / 2,
                top + zoom * height + GAP / 2,
                caption,
                6.5,
                ha="center",
                va="top",
            )
    with replacing(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
    return path
