import numpy as np
import pytest
import torch

from vml_bench.data import PhotoCrops
from vml_bench.data.photos import CROP, FLATTEST, PHOTOS, TrainingCrops, activity, crop_table, read_photo
from vml_bench.errors import InputError
from vml_bench.identity import digests_of


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_the_splits_of_a_photograph_share_no_column(photo):
    width = read_photo(photo).shape[1]
    owner = np.zeros(width, dtype=int)
    for split in ("train", "tune", "test"):
        for start, stop in photo.bands(split, width):
            assert 0 <= start < stop <= width
            owner[start:stop] += 1
    assert (owner == 1).all()


@pytest.mark.parametrize("split", ["test", "tune"])
def test_crops_lie_in_their_band_and_do_not_overlap(split):
    seen = {}
    for image_id, photo, row, column in crop_table(split):
        pixels = read_photo(photo)
        covered = seen.setdefault(photo.name, np.zeros(pixels.shape[:2], dtype=int))
        covered[row : row + CROP, column : column + CROP] += 1
        assert any(start <= column and column + CROP <= stop for start, stop in photo.bands(split, pixels.shape[1]))
        assert activity(pixels[row : row + CROP, column : column + CROP]) >= FLATTEST, image_id
    assert all(covered.max() == 1 for covered in seen.values())


def test_the_test_split_is_large_varied_and_in_a_fixed_order():
    crops = PhotoCrops("test")
    assert len(crops.ids) == len(set(crops.ids)) == 68
    assert len({image_id.split("-")[0] for image_id in crops.ids[:11]}) == 11
    assert crops.ids[:3] == ("astronaut-192-064", "chelsea-000-192", "coffee-128-156")


def test_a_crop_is_an_image_in_range():
    crops = PhotoCrops("test")
    image = crops.load(crops.ids[0])
    assert image.shape == crops.image_shape
    assert image.dtype == torch.float32
    assert image.min() >= -1
    assert image.max() <= 1
    assert len(set(digests_of(crops).values())) == len(crops.ids)


def test_training_crops_come_from_training_bands_only():
    crops = TrainingCrops(torch.Generator().manual_seed(0))
    widths = sum(region.shape[2] // factor for region, factor in crops.regions)
    expected = sum(
        stop - start
        for photo in PHOTOS
        for start, stop in photo.bands("train", read_photo(photo).shape[1])
        if (stop - start) * photo.factor >= CROP
    )
    assert abs(widths - expected) <= len(crops.regions)
    batch = crops.batch(8)
    assert batch.shape == (8, 3, CROP, CROP)
    assert batch.abs().max() <= 1
    assert torch.equal(batch, TrainingCrops(torch.Generator().manual_seed(0)).batch(8))


def test_an_unknown_split_is_named():
    with pytest.raises(InputError, match="split='validation' does not fit PhotoCrops; it must be 'test' or 'tune'"):
        PhotoCrops("validation")
