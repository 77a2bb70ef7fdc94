"""Checks of what all methods share: the originals of a data set, and whether a run was made with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from vml_bench.errors import InputError
from vml_bench.verify.findings import Finding, Note, Problem, some
from vml_bench.verify.folder import Originals, RunFolder, Unreadable
from vml_bench.verify.png import is_file_name
from vml_bench.verify.tables import check_completed_features


def check_originals(originals: Originals, needs: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Every original is there, whole, the one that was saved, of the size of the others, and has its features.

    Args:
        originals: of one data set.
        needs: ids of the images that runs have restored, by the feature networks that their originals need.
    """
    if not originals.path.is_dir():
        yield Note(originals.path, "is not here: pictures are not compared with their originals")
        return
    for file, part in originals.tables.items():
        if isinstance(part, Unreadable):
            yield Problem(file, part.reason)
    for image_id in (image_id for image_id in originals.sha256 if not is_file_name(image_id)):
        file = originals.path / "images.parquet"
        yield Problem(file, f"has the id {image_id!r}, which names no file", remove=file)
    sizes: dict[str, tuple[int, int]] = {}
    for image_id, file in originals.files.items():
        try:
            sizes[image_id] = originals.read(image_id).shape[1::-1]
        except InputError as error:
            yield Problem(file, error.problem)
    usual = Counter(sizes.values()).most_common(1)[0][0] if sizes else ()
    for image_id in (image_id for image_id, size in sizes.items() if size != usual):
        file = originals.files[image_id]
        yield Problem(file, "is {}×{} pixels, the others {}×{}".format(*sizes[image_id], *usual), remove=file)
    if missing := sorted(set().union(*needs.values()).difference(originals.files)):
        yield Problem(originals.path, f"lacks {some(missing)}")
    yield from _check_features(originals, needs)


def _check_features(originals: Originals, needs: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    file = originals.path / "features.npz"
    if isinstance(originals.merged_features, Unreadable):
        yield Problem(file, originals.merged_features.reason)
    for network, image_ids in needs.items():
        vectors = originals.features.get(network, {})
        if missing := sorted(set(image_ids).difference(vectors)):
            yield Problem(file, f"has no '{network}' of {some(missing)}")
    for network, vectors in originals.features.items():
        if bad := [image_id for image_id, vector in vectors.items() if not np.isfinite(vector).all()]:
            yield Problem(file, f"has no finite '{network}' of {some(bad)}", remove=file)
    yield from check_completed_features(originals.path, list(originals.files))


def check_manifest(run: RunFolder) -> Iterator[Finding]:
    """The originals on disk are the images that the run was made with, by the hash of their pixels in run.json.

    Where some are not there, or are damaged, nothing is compared.
    """
    if run.exact or isinstance(run.record, Unreadable) or not run.ids:
        return
    manifest, pixels = run.originals.hashes(tuple(run.ids))
    if manifest in ("", run.record.get("manifest")):
        return
    said = run.record.get("files", {})
    changed = [image_id for image_id in run.ids if said.get(image_id) != pixels[image_id]]
    if len(changed) in (0, len(run.ids)):  # what was read were files, not pixels
        folder = run.originals.path
        yield Problem(folder, f"holds other images than {run.label} was made with", remove=folder)
        return
    for file in (run.originals.path / f"{image_id}.png" for image_id in changed):
        yield Problem(file, f"is not the image that {run.label} was made with", remove=file)
