"""FFHQ, ImageNet and CelebA-HQ in their usual layouts."""

import io

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from vml_bench.data import FFHQ, CelebAHQ, ImageNet
from vml_bench.data.resize import centre_crop
from vml_bench.errors import InputError
from vml_bench.identity import digests_of
from vml_bench.runner.resources import build
from vml_bench.runner.validation import validate


def noise(seed, size=(256, 256)):
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BILINEAR)


def put(root, *names, size=(256, 256), mode="RGB"):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise(seed, size).convert(mode).save(root / name)


def as_uint8(image):
    return ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


def reference_crop(pixels, side):
    """guided-diffusion's rule, written independently with the reference's own calls on arrays."""
    image = Image.fromarray(pixels)
    while min(*image.size) >= 2 * side:
        image = image.resize(tuple(length // 2 for length in image.size), resample=Image.BOX)
    scale = side / min(*image.size)
    array = np.array(image.resize(tuple(round(length * scale) for length in image.size), resample=Image.BICUBIC))
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    return array[top : top + side, left : left + side]


@pytest.mark.parametrize("layout", ["{:05d}.png", "00000/{:05d}.png"])
def test_ffhq_is_found_flat_and_in_folders_of_a_thousand(tmp_path, layout):
    put(tmp_path, *(layout.format(number) for number in range(3)))
    images = FFHQ(tmp_path, first=3)
    assert images.ids == ("00000", "00001", "00002")
    assert images.missing() == ()
    images.check()
    np.testing.assert_array_equal(as_uint8(images.load("00001")), np.asarray(noise(1)))


def test_a_missing_ffhq_image_is_not_replaced_by_the_next(tmp_path):
    put(tmp_path, "00000.png", "00002.png")
    images = FFHQ(tmp_path, first=2)
    assert images.missing() == ("00001",)
    FFHQ(tmp_path, first=1).check()
    with pytest.raises(InputError, match=r"1 \(00001\) of 2 images missing; .* dataset\.first or dataset\.list"):
        images.check()
    with pytest.raises(InputError, match=r"98 \(00001, 00003, 00004 …\) of 100 images missing"):
        FFHQ(tmp_path).check()


@pytest.mark.parametrize("reduce", ["box", "lanczos", "bicubic"])
def test_images_of_1024_are_reduced(tmp_path, reduce):
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "00000.png")
    image = as_uint8(FFHQ(tmp_path, first=1, reduce=reduce).load("00000"))
    assert image.shape == (256, 256, 3)
    if reduce == "box":
        np.testing.assert_array_equal(image, reference_crop(pixels, 256))
        assert np.abs(image - pixels.reshape(256, 4, 256, 4, 3).mean((1, 3))).max() <= 2
    else:
        expected = Image.fromarray(pixels).resize((256, 256), getattr(Image.Resampling, reduce.upper()))
        np.testing.assert_array_equal(image, np.asarray(expected))


@pytest.mark.parametrize(
    ("size", "mode", "says"),
    [
        ((512, 512), "RGB", "512×512 pixels, not 256×256 or 1024×1024"),
        ((256, 255), "RGB", "256×255 pixels"),
        ((256, 256), "L", "greyscale"),
    ],
)
def test_ffhq_takes_nothing_else(tmp_path, size, mode, says):
    put(tmp_path, "00000.png", size=size, mode=mode)
    images = FFHQ(tmp_path, first=1)
    with pytest.raises(InputError, match=says):
        digests_of(images)


def test_lists_choose_and_order(tmp_path):
    root = tmp_path / "images"
    put(root, "00000.png", "00001.png", "00002.png")
    listed = tmp_path / "list.txt"
    listed.write_text("# mine\n00002\n\nsub/00000.png 7\n")
    assert FFHQ(root, list=listed).ids == ("00002", "00000")
    listed.write_text("00000\n00009\n")
    images = FFHQ(root, list=listed)
    with pytest.raises(InputError, match=r"1 \(00009\) of 2 images missing"):
        images.check()
    listed.write_text("00000\n00000.png\n")
    with pytest.raises(InputError, match="names 00000 more than once"):
        FFHQ(root, list=listed)
    listed.write_text("\n")
    with pytest.raises(InputError, match="names no image"):
        FFHQ(root, list=listed)
    with pytest.raises(InputError, match="cannot be read"):
        FFHQ(root, list=tmp_path / "none.txt")


@pytest.mark.parametrize("options", [{"first": 0}, {"first": True}, {"first": "ten"}, {"reduce": "nearest"}])
def test_options_that_cannot_be_used_are_refused(tmp_path, options):
    put(tmp_path, "00000.png")
    key = next(iter(options))
    with pytest.raises(InputError, match=f"^{key}=.* does not fit FFHQ; it must be "):
        FFHQ(tmp_path, **options)
    with pytest.raises(InputError, match="is not a folder"):
        FFHQ(tmp_path / "none")


SIZES = [(500, 375), (375, 500), (256, 256), (255, 300), (1100, 513), (1023, 2049), (40, 30), (512, 512), (300, 257)]


@pytest.mark.parametrize("size", SIZES)
def test_imagenet_is_prepared_as_guided_diffusion_does(size):
    pixels = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    np.testing.assert_array_equal(centre_crop(Image.fromarray(pixels), 256, "a"), reference_crop(pixels, 256))


@pytest.mark.parametrize("layout", ["ILSVRC2012_val_{:08d}.JPEG", "n0144076{0}/ILSVRC2012_val_{0:08d}.JPEG"])
def test_imagenet_is_found_flat_and_by_class(tmp_path, layout):
    put(tmp_path, *(layout.format(number) for number in (3, 1, 2)), size=(320, 280))
    images = ImageNet(tmp_path, first=2)
    assert images.ids == ("ILSVRC2012_val_00000001", "ILSVRC2012_val_00000002")
    assert images.load(images.ids[0]).shape == (3, 256, 256)
    assert len(ImageNet(tmp_path, first=None).ids) == 3
    with pytest.raises(InputError, match=r"holds 3 of the 100 images.*dataset.first=3"):
        ImageNet(tmp_path)


def test_imagenets_grey_and_cmyk_jpegs_become_rgb(tmp_path):
    put(tmp_path, "grey.JPEG", mode="L")
    put(tmp_path, "print.JPEG", mode="CMYK")
    put(tmp_path, "clear.png", mode="RGBA")
    images = ImageNet(tmp_path, first=3)
    grey = images.load("grey")
    assert torch.equal(grey[0], grey[2])
    expected = np.asarray(Image.open(tmp_path / "print.JPEG").convert("RGB"))
    np.testing.assert_array_equal(as_uint8(images.load("print")), expected)
    with pytest.raises(InputError, match="transparent: mode RGBA, not RGB or L or CMYK"):
        images.load("clear")


def test_a_sliver_of_an_image_is_not_blown_up(tmp_path):
    Image.new("RGB", (50_000, 1)).save(tmp_path / "sliver.png")
    with pytest.raises(InputError, match="50000×1 pixels, 12800000×256 once its short side is 256"):
        ImageNet(tmp_path, first=1).load("sliver")


def celeba_files(root):
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx    orig_idx    orig_file\n0  119613  119614.jpg\n2  7  000008.jpg\n10  6  000007.jpg\n11  5  000006.jpg\n"
    )
    (root / "list_eval_partition.txt").write_text("000006.jpg 1\n000007.jpg 2\n000008.jpg 2\n119614.jpg 0\n")


def test_celebahq_takes_celebas_own_test_part(tmp_path):
    put(tmp_path, *(f"CelebA-HQ-img/{number}.jpg" for number in (0, 2, 10, 11)), size=(1024, 1024))
    assert CelebAHQ(tmp_path, first=4).ids == ("0", "2", "10", "11")
    celeba_files(tmp_path)
    assert CelebAHQ(tmp_path, first=None).ids == ("2", "10")
    assert CelebAHQ(tmp_path, first=1).load("2").shape == (3, 256, 256)
    with pytest.raises(InputError, match="holds 2 of the 100"):
        CelebAHQ(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_text("000006.jpg 1\n")
    with pytest.raises(InputError, match="do not match"):
        CelebAHQ(tmp_path)


def write_parquet(file, images, paths):
    def encoded(image):
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    rows = [{"bytes": encoded(image), "path": path} for image, path in zip(images, paths, strict=True)]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array(rows, kind), "label": [0] * len(rows)})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file, row_group_size=2)


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["c.png", "x/a.png", "b.jpg", "d.png"], ("c", "a", "b", "d")),
        ([None] * 4, ("00000", "00001", "00002", "00003")),
        (["", "a", "b", "c"], ("00000", "00001", "00002", "00003")),
    ],
)
@pytest.mark.parametrize("where", [".", "data"])
def test_celebahq_is_read_from_parquet(tmp_path, paths, ids, where):
    write_parquet(tmp_path / where / "validation-00000-of-00002.parquet", [noise(0), noise(1), noise(2)], paths[:3])
    write_parquet(tmp_path / where / "validation-00001-of-00002.parquet", [noise(3)], paths[3:])
    write_parquet(tmp_path / where / "train-00000-of-00001.parquet", [noise(9)], ["t"])
    images = CelebAHQ(tmp_path, first=4)
    assert images.ids == ids
    images.check()
    for seed, image_id in enumerate(ids):
        np.testing.assert_array_equal(as_uint8(images.load(image_id)), np.asarray(noise(seed)))
    assert len(set(digests_of(images).values())) == 4


def test_parquet_files_that_cannot_be_used_are_named(tmp_path):
    file = tmp_path / "validation-0.parquet"
    write_parquet(file, [noise(0), noise(1)], ["a.png", "b/a.png"])
    with pytest.raises(InputError, match=r"row 0\) and .*row 1\) would share an id"):
        CelebAHQ(tmp_path)
    parquet.write_table(pyarrow.table({"pixels": [1]}), file)
    with pytest.raises(InputError, match="no column image"):
        CelebAHQ(tmp_path)
    file.write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match=r"validation-0.parquet cannot be read"):
        CelebAHQ(tmp_path)
    write_parquet(file, [noise(0, (64, 64))], ["a.png"])
    with pytest.raises(InputError, match=r"row group 0, row 0\) is 64×64 pixels"):
        CelebAHQ(tmp_path, first=1).load("a")
    put(tmp_path, "a.png")
    with pytest.raises(InputError, match=r"holds both images and validation-0\.parquet"):
        CelebAHQ(tmp_path)


def imagenet_ids(numbers):
    return tuple(f"ILSVRC2012_val_{number:08d}" for number in numbers)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("ffhq256", tuple(f"{number:05d}" for number in range(100))),
        ("ffhq256_1k", tuple(f"{number:05d}" for number in range(1000))),
        ("ffhq256_diffpir", tuple(f"{number:05d}" for number in range(69007, 69998, 10))),
        ("ffhq256_last1k", tuple(f"{number:05d}" for number in range(69000, 70000))),
        ("imagenet256_daps", imagenet_ids(range(49000, 49100))),
    ],
)
def test_which_images_a_data_set_has_does_not_depend_on_which_are_there(cell_config, monkeypatch, tmp_path, name, ids):
    monkeypatch.setenv("VML_BENCH_DATA", str(tmp_path))
    config = cell_config(f"dataset={name}")
    base = name.split("_")[0]
    assert config.prior.name == base
    there = ids[1]
    put(tmp_path / base, f"{there}.png", "00005.png", "ILSVRC2012_val_00000001.png")
    images = build(config.dataset.images, "dataset")
    assert (images.name, images.ids) == (name, ids)
    assert images.missing(ids[:2]) == (ids[0],)
    assert images.load(there).shape == (3, 256, 256)


@pytest.mark.parametrize(
    ("name", "count"),
    [("imagenet256", 100), ("imagenet256_1k", 1000), ("celebahq256", 100), ("celebahq256_ddnm", 1000)],
)
def test_the_configurations_compose_with_their_priors(cell_config, monkeypatch, name, count):
    monkeypatch.setenv("VML_BENCH_DATA", "/data")
    config = cell_config(f"dataset={name}")
    assert config.dataset.first == count
    assert config.dataset.images.name == name
    assert config.prior.name == name.split("_")[0]
    assert config.dataset.images.root == f"/data/{name.removesuffix('_1k')}"


@pytest.mark.parametrize(
    ("name", "where"), [("imagenet256_ddrm", "deep-generative-prior"), ("imagenet256_diffpir", "DiffPIR")]
)
def test_a_data_set_that_is_a_list_says_where_the_list_is_and_takes_it(cell_config, monkeypatch, tmp_path, name, where):
    monkeypatch.setenv("VML_BENCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match=rf"^dataset\.list has no value; set dataset\.list=.*{where}"):
        validate(cell_config(f"dataset={name}", "task=sr4", "method=pinv"))
    ids = imagenet_ids((7, 293))
    put(tmp_path / "imagenet256", *(f"{image_id}.png" for image_id in imagenet_ids((1, 7, 293))))
    (tmp_path / "list.txt").write_text(f"n01440764/{ids[0]}.JPEG 0\n{ids[1]}.jpg\n")
    config = cell_config(f"dataset={name}", "task=sr4", "method=pinv", f"dataset.list={tmp_path / 'list.txt'}")
    validate(config)
    images = build(config.dataset.images, "dataset")
    assert (images.name, images.ids) == (name, ids)
    images.check()


def test_a_list_goes_before_start_and_step(tmp_path):
    put(tmp_path, "00003.png", "ILSVRC2012_val_00000009.png")
    (tmp_path / "list.txt").write_text("00003\n")
    assert FFHQ(tmp_path, start=69007, step=10, list=tmp_path / "list.txt").ids == ("00003",)
    (tmp_path / "list.txt").write_text("ILSVRC2012_val_00000009\n")
    assert ImageNet(tmp_path, start=49000, list=tmp_path / "list.txt").ids == imagenet_ids((9,))


def test_numbers_end_where_the_data_set_does(tmp_path):
    put(tmp_path, "00003.png")
    assert FFHQ(tmp_path, first=None, start=69998).ids == ("69998", "69999")
    assert FFHQ(tmp_path, first=None, step=30_000).ids == ("00000", "30000", "60000")
    assert ImageNet(tmp_path, first=9, start=49999).ids == imagenet_ids((49999, 50000))
    for kind, beyond in ((FFHQ, 70_000), (ImageNet, 50_001), (FFHQ, -1)):
        with pytest.raises(InputError, match=f"start={beyond} does not fit"):
            kind(tmp_path, start=beyond)
