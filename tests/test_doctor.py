"""`vml-bench doctor`: what is there, what is not, and what it says of each."""

from types import SimpleNamespace

import pytest
from PIL import Image

from vml_bench import cli, doctor
from vml_bench.errors import InputError
from vml_bench.weights import catalogue, obtain


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """An empty cache, an empty data folder, no GPU, and a disk with room."""
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VML_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**12))
    return tmp_path


def by_name(name):
    return {need.what: need for need in doctor.examine(name)}


def place_weights(folder, monkeypatch, *names):
    """Sparse files of the right size, whose hash is not asked."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(obtain.Lock, "digest", lambda lock, file: catalogued(file.name).sha256 or "0" * 64)
    for name in names:
        entry = catalogue.find(name)
        for file in entry.files if name == "lpips" else entry.files[-1:]:
            with open(folder / file, "wb") as stream:
                stream.truncate(getattr(entry, "size", None) or entry.about)


def catalogued(file):
    return next(entry for entry in catalogue.FETCHABLE if file in entry.files)


def test_on_a_bare_machine_everything_is_missing_with_the_command_that_gets_it(bare, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", "ffhq"])
    assert caught.value.code == 1
    said = capsys.readouterr().out
    assert said.startswith("ffhq: 5 missing")
    for text in (
        "vml-bench fetch ffhq256-prior",
        "374 MB",
        "vml-bench fetch lpips",
        "vml-bench fetch inception",
        "vml-bench fetch ffhq256\n",
        "CC BY-NC-SA 4.0",
        "NVlabs/ffhq-dataset",
        str(bare / "data"),
        "no CUDA device",
    ):
        assert text in said, text
    assert not any(bare.iterdir())


def test_what_is_there_is_found_until_nothing_is_missing(bare, monkeypatch, capsys):
    place_weights(bare / "cache", monkeypatch, "ffhq256-prior", "lpips", "inception")
    root = bare / "data" / "ffhq256"
    root.mkdir(parents=True)
    for number in range(99):
        Image.new("RGB", (256, 256), (number, 0, 0)).save(root / f"{number:05d}.png")
    needs = by_name("ffhq")
    assert needs["ffhq256-prior"].state == needs["lpips"].state == needs["inception"].state == "found"
    assert needs["ffhq256 (data)"].state == "99 of 100 images"
    assert {what for what, need in needs.items() if need.missing} == {"ffhq256 (data)", "GPU"}
    Image.new("RGB", (256, 256)).save(root / "00099.png")
    monkeypatch.setattr(doctor, "gpu", lambda: doctor.Need("GPU", "found", 80 * 10**9, "a GPU"))
    cli.main(["doctor", "ffhq"])
    said = capsys.readouterr().out
    assert said.startswith("ffhq: complete")
    assert "inception-pytorch (optional)" in said
    assert "80.0 GB" in said


def test_a_damaged_file_is_not_taken_for_whole(bare):
    (bare / "cache").mkdir()
    (bare / "cache" / "256x256_diffusion_uncond.pt").write_bytes(b"half")
    need = by_name("imagenet")["imagenet256-prior"]
    assert need.missing
    assert "has 4 bytes, not 2211383297" in need.state
    assert need.command.startswith("rm ")


def test_a_full_disk_counts(bare, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**9))
    need = by_name("imagenet")["disk"]
    assert need.missing
    assert need.size > 2_211_383_297 + 2 * 10**9
    assert "1.0 GB free" in need.where


@pytest.mark.parametrize("name", ["photos", "demo"])
def test_the_demo_needs_no_data_and_no_gpu(bare, name):
    needs = by_name(name)
    assert {what for what, need in needs.items() if need.missing} <= {"lpips", "photos64-prior"}
    assert needs["photos64 (data)"].state.startswith("found: ")
    assert needs["photos64-prior"].missing != doctor.SHIPPED.is_file()


def test_all_targets_by_default_and_no_others(bare, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor"])
    assert caught.value.code == 1
    said = capsys.readouterr().out
    for name in catalogue.TARGETS:
        assert f"{name}: " in said
    with pytest.raises(InputError, match="no target 'mars'; choose among ffhq, imagenet, celebahq, photos, demo"):
        doctor.targets("mars")
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", "mars"])
    assert caught.value.code == 2
