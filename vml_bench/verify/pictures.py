"""Checks of restorations, against their rows and originals, and of measurements by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.metrics.functional import psnr
from vml_bench.verify.findings import Finding, Note, Problem, some
from vml_bench.verify.folder import RunFolder
from vml_bench.verify.png import is_file_name, read_picture

TOLERANCE = 1e-3
"""In dB: how far a PSNR may be from its row's, which another device may have computed."""


def recorded(run: RunFolder, image_id: str) -> str:
    """The sha256 on record of a restoration; empty where there is none."""
    digest = run.rows.loc[image_id].get("sha256")
    return digest if isinstance(digest, str) else ""


def to_redo(run: RunFolder, image_id: str) -> Path | None:
    """What has to go for a start to do an image again: its picture, or, where none is on record, its table."""
    if recorded(run, image_id) and is_file_name(image_id):
        return run.picture(image_id) if run.picture(image_id).exists() else None
    return Path(run.rows.loc[image_id, "table"])


def check_pictures(run: RunFolder) -> Iterator[Finding]:
    """Every row's picture is there, whole, the one that was saved, and as far from its original as the row says.

    A run without recon/ is not asked for it: pictures may have been left out where it was archived.
    """
    if run.exact or not (run.path / "recon").is_dir():
        return
    size = None
    for image_id, row in run.rows.iterrows():
        digest = recorded(run, image_id)
        if (not digest and row["status"] != "ok") or not is_file_name(image_id):
            continue
        file, original = run.picture(image_id), run.originals.sound(image_id)
        try:
            pixels = read_picture(file, size or (original.shape[1::-1] if original is not None else None), digest)
        except InputError as error:
            yield Problem(file, error.problem, remove=None if digest else to_redo(run, image_id))
            continue
        size = size or pixels.shape[1::-1]
        stored = row.get("psnr")
        if original is not None and row["status"] == "ok" and stored is not None:
            found = float(psnr(from_uint8(pixels)[None], from_uint8(original)[None]))
            if not (found == stored or math.isclose(found, stored, rel_tol=0, abs_tol=TOLERANCE)):
                what = f"has a PSNR of {found:.3f} dB against its original, its row says {stored:.3f}"
                yield Problem(file, what, remove=to_redo(run, image_id))
    if unlisted := sorted({file.stem for file in (run.path / "recon").glob("[!.]*.png")} - set(run.rows.index)):
        yield Note(run.path / "recon", f"has {len(unlisted)} without a row ({some(unlisted)}); they are done again")


def check_measurements(folder: Path) -> Iterator[Finding]:
    """Every picture of a measurement can be read."""
    for file in sorted(folder.glob("[!.]*.png")):
        try:
            read_picture(file)
        except InputError as error:
            yield Problem(file, error.problem, remove=file)
