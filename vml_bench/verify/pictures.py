"""Checks of pictures: restorations and originals against their rows, measurements by themselves."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from vml_bench.data.decode import decode
from vml_bench.data.ids import is_id
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.identity import images_name
from vml_bench.metrics.functional import psnr
from vml_bench.store import layout
from vml_bench.store.parts import table
from vml_bench.verify.findings import Finding, some
from vml_bench.verify.folder import Kept

TOLERANCE = 1e-3
"""In dB: how far a PSNR may be from its row's, which another device may have computed."""


def check_pictures(kept: Kept, originals: Kept | None = None) -> Iterator[Finding]:
    """Every row's picture is there, whole, the one that was saved, and as far from its original as the row says.

    A folder without pictures is not asked for them: they may have been left out where it was archived.

    Args:
        kept: of a run or of originals.
        originals: of a run's data set; None: pictures are not compared.
    """
    if not kept.pictures.is_dir():
        return
    for image_id, row in kept.rows.iterrows():
        digest = kept.sha256(image_id)
        if (not digest and row["status"] == layout.DIVERGED) or not is_id(image_id):
            continue
        file, original = kept.picture(image_id), _original(originals, image_id)
        pixels = read_picture(file, digest, None if original is None else original.shape[1::-1])
        if isinstance(pixels, str):
            yield Finding(file, pixels, remove=None if digest else kept.to_redo(image_id))
            continue
        stored = row.get("psnr")
        if original is not None and row["status"] == layout.OK and isinstance(stored, Real):
            found = float(psnr(from_uint8(pixels)[None], from_uint8(original)[None]))
            if not (found == stored or math.isclose(found, stored, rel_tol=0, abs_tol=TOLERANCE)):
                what = f"has a PSNR of {found:.3f} dB against its original, its row says {stored:.3f}"
                yield Finding(file, what, remove=kept.to_redo(image_id))
    if unlisted := sorted({file.stem for file in kept.pictures.glob("[!.]*.png")} - set(kept.rows.index)):
        what = f"has {len(unlisted)} without a row ({some(unlisted)}); they are done again"
        yield Finding(kept.pictures, what, mend=None)


def _original(originals: Kept | None, image_id: str) -> np.ndarray | None:
    """The pixels of an image's original; None where it is not the one on record, or there is none."""
    if originals is None or image_id not in originals.rows.index:
        return None
    pixels = read_picture(originals.picture(image_id), originals.sha256(image_id))
    return None if isinstance(pixels, str) else pixels


def check_images(originals: Kept, needed: Iterable[str], whole: Sequence[str]) -> Iterator[Finding]:
    """Originals are the images by which their folder is named; of data sets off the 8-bit grid, too.

    Args:
        originals: of one data set.
        needed: ids of the images that runs have restored.
        whole: ids of all images of the data set; empty where no run was asked for all of them.
    """
    if missing := sorted(set(needed).difference(originals.rows.index)):
        yield Finding(originals.folder, f"lacks {some(missing)}")
    pixels = originals.rows["pixels"].dropna().to_dict() if "pixels" in originals.rows else {}
    if unhashed := [image_id for image_id in originals.rows.index if not isinstance(pixels.get(image_id), str)]:
        file = table(originals.folder)
        yield Finding(file, f"has no hash of the pixels of {some(unhashed)}", remove=file)
    images = SimpleNamespace(ids=whole, scene=str)  # a picture is a scene of its own
    if whole and pixels.keys() >= set(whole) and images_name(images, pixels) != originals.folder.name:
        what = "holds other images than it is named by: the hashes of their pixels make another name"
        yield Finding(originals.folder, what, remove=originals.folder)


def check_measurements(folder: Path) -> Iterator[Finding]:
    """Every picture of a measurement can be read."""
    for file in sorted(folder.glob("[!.]*.png")):
        if isinstance(wrong := read_picture(file), str):
            yield Finding(file, wrong, remove=file)


def read_picture(file: Path, sha256: str = "", size: tuple[int, int] | None = None) -> np.ndarray | str:
    """The pixels of a PNG, (H, W, 3) uint8; or what is wrong with it, in words that follow its name.

    Args:
        file: the PNG.
        sha256: that its bytes must have; empty: not on record, its own checksums have to do.
        size: width and height that it must have; None: any.
    """
    try:
        data = file.read_bytes()
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            return "is not the picture that was saved: its sha256 is another"
        if not sha256:
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
        return np.asarray(decode(data, "", sizes=[size] if size else ()))
    except FileNotFoundError:
        return "is missing"
    except InputError as error:
        return error.problem.removeprefix("image  ")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be read ({error})"
