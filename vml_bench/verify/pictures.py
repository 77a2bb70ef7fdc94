"""Checks of pictures: restorations and originals against their rows, measurements by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path
from types import SimpleNamespace

from vml_bench.data.ids import is_id
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.identity import images_name
from vml_bench.metrics.functional import psnr
from vml_bench.store import layout
from vml_bench.store.parts import table
from vml_bench.verify.findings import Defect, Finding, Note, some
from vml_bench.verify.folder import Kept, read_picture

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
        if (not digest and row.get("status") == layout.DIVERGED) or not is_id(image_id):
            continue
        file, original = kept.picture(image_id), originals.sound(image_id) if originals else None
        try:
            pixels = read_picture(file, digest, None if original is None else original.shape[1::-1])
        except InputError as error:
            yield Defect(file, error.problem, remove=None if digest else kept.to_redo(image_id))
            continue
        stored = row.get("psnr")
        if original is not None and row["status"] == layout.OK and isinstance(stored, Real):
            found = float(psnr(from_uint8(pixels)[None], from_uint8(original)[None]))
            if not (found == stored or math.isclose(found, stored, rel_tol=0, abs_tol=TOLERANCE)):
                what = f"has a PSNR of {found:.3f} dB against its original, its row says {stored:.3f}"
                yield Defect(file, what, remove=kept.to_redo(image_id))
    if unlisted := sorted({file.stem for file in kept.pictures.glob("[!.]*.png")} - set(kept.rows.index)):
        yield Note(kept.pictures, f"has {len(unlisted)} without a row ({some(unlisted)}); they are done again")


def check_images(originals: Kept, needed: Iterable[str], whole: Sequence[str]) -> Iterator[Finding]:
    """Originals are the images by which their folder is named; of data sets off the 8-bit grid, too.

    Args:
        originals: of one data set.
        needed: ids of the images that runs have restored.
        whole: ids of all images of the data set; empty where no run was asked for all of them.
    """
    if missing := sorted(set(needed).difference(originals.rows.index)):
        yield Defect(originals.folder, f"lacks {some(missing)}")
    pixels = originals.rows["pixels"].dropna().to_dict() if "pixels" in originals.rows else {}
    if unhashed := [image_id for image_id in originals.rows.index if not isinstance(pixels.get(image_id), str)]:
        file = table(originals.folder)
        yield Defect(file, f"has no hash of the pixels of {some(unhashed)}", remove=file)
    images = SimpleNamespace(ids=whole, scene=str)  # a picture is a scene of its own
    if whole and pixels.keys() >= set(whole) and images_name(images, pixels) != originals.folder.name:
        what = "holds other images than it is named by: the hashes of their pixels make another name"
        yield Defect(originals.folder, what, remove=originals.folder)


def check_measurements(folder: Path) -> Iterator[Finding]:
    """Every picture of a measurement can be read."""
    for file in sorted(folder.glob("[!.]*.png")):
        try:
            read_picture(file)
        except InputError as error:
            yield Defect(file, error.problem, remove=file)
