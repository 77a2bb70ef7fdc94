"""Restorations that another program made: exported, scored, and everywhere beside our own."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_matrix

from tests.test_widths import too_wide
from vml_bench.analysis.comparison import compare
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.leaderboard.render import format_table
from vml_bench.cli import main
from vml_bench.show import show
from vml_bench.store.runs import open_run, read_run, select_runs
from vml_bench.verify import verify

IDS = [f"photo{i}" for i in range(4)]
SIDE = 16


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Four images, their exported measurements, and what another program restored from the files alone."""
    root = tmp_path_factory.mktemp("external")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for image_id in IDS:
        smooth = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((4, 4, 1)))
        pixels = (smooth + rng.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{image_id}.png")
    cell = ["dataset=folder", f"dataset.root={root}/images", "dataset.name=toys", "metrics.features=[]"]
    cell += ["metrics.names=[psnr]", "task.noise_std=0.1", f"runner.results_dir={root}/results"]
    main(["measurements", "--export", f"{root}/y", "--truth", "--task", "sr4", *cell])
    manifest = json.loads((root / "y" / "manifest.json").read_text())
    replicate(root / "y", root / "restored", manifest)
    return SimpleNamespace(root=root, cell=["task=sr4", *cell], manifest=manifest, results=root / "results")


def replicate(exported, out, manifest, shift=0.0):
    """Another program: repeats each pixel of y."""
    out.mkdir(parents=True)
    factor = manifest["operator"]["parameters"]["factor"]
    for image in manifest["images"]:
        x = np.load(exported / image["y"]).repeat(factor, axis=1).repeat(factor, axis=2) + shift
        levels = ((x.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
        Image.fromarray(levels.transpose(1, 2, 0)).save(out / f"{image['id']}.png")


@pytest.fixture(scope="module")
def scored(exported):
    """The same restorations as a run, beside one of our own."""
    main(["run", "method=pinv", *exported.cell])
    main(["score", str(exported.root / "restored"), "--name", "Their code", "--measurements", f"{exported.root}/y"])
    (folder,) = (exported.results / "runs/toys/sr4/external_their_code").iterdir()
    return SimpleNamespace(folder=folder, **vars(exported))


def refused(capsys, *arguments):
    """The line that a command is refused with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_manifest_tells_another_program_what_it_needs(exported):
    manifest, folder = exported.manifest, exported.root / "y"
    assert [image["id"] for image in manifest["images"]] == IDS
    assert (manifest["noise_std"], manifest["image_shape"]) == (0.1, [3, SIDE, SIDE])
    assert manifest["operator"]["class"] == "BlockAverage"
    for image in manifest["images"]:
        y = np.load(folder / image["y"])
        assert y.dtype == np.float32
        assert list(y.shape) == image["shape"] == [3, SIDE // 4, SIDE // 4]
        assert image["range"] == [y.min(), y.max()]
        truth = np.asarray(Image.open(folder / "truth" / f"{image['id']}.png"))
        averaged = (truth / 127.5 - 1).reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
        assert 0.05 < (y - averaged).std() < 0.15  # σ_y = 0.1


def test_a_run_of_the_same_problem_restores_from_what_was_exported(scored):
    (ours,) = (scored.results / "runs/toys/sr4/pinv").iterdir()
    theirs = read_run(scored.folder)
    assert theirs.problem == read_run(ours).problem
    assert theirs.problem.name == scored.manifest["problem"]["name"]
    np.testing.assert_allclose(theirs.images["psnr"], read_run(ours).images["psnr"], atol=1e-4)  # pinv replicates, too
    for image_id in IDS:
        same = (Image.open(run.picture(image_id)).tobytes() for run in (theirs, read_run(ours)))
        assert len(set(same)) == 1


def test_it_stands_in_one_table_with_our_runs_marked_external_and_with_dashes_for_what_is_unknown(scored):
    frame, warnings = build(scored.results, "toys")
    assert warnings == []
    assert frame["problem"].nunique() == 1
    row = next(line for line in format_table(frame).splitlines() if line.startswith("external_their_code"))
    assert row.split()[-4:] == ["–"] * 4
    assert frame.attrs["cards"]["external_their_code"].title == "Their code (external)"
    assert open_run(scored.folder).external
    assert set(compare(scored.results, "toys").ranks["method"]) == {"pinv", "external_their_code"}


def test_verify_and_show_know_it(scored):
    assert [finding for found in verify(scored.results) for finding in found.findings] == []
    assert f"vml-bench score {scored.root}/restored --name 'Their code'" in " ".join(
        show(scored.results, str(scored.folder)).replace("\\\n", " ").split()
    )


def test_what_it_took_can_be_said_later_and_changes_no_name(scored, tmp_path):
    replicate(scored.root / "y", tmp_path / "later", scored.manifest, shift=0.01)
    cell = [*scored.cell, f"runner.results_dir={tmp_path}/results"]
    for spent in ([], ["--nfe", "20", "--seconds", "1.5"], []):
        main(["score", str(tmp_path / "later"), "--name", "Their code", *spent, *cell])
    ((run,), _) = select_runs(tmp_path / "results", "toys")
    assert (run.images["nfe"] == 20).all()
    assert (run.images["seconds"] == 1.5).all()
    assert run.images["vjp"].isna().all()
    assert run.name != scored.folder.name  # other pictures


def test_pictures_that_do_not_fit_are_refused_before_anything_is_written(exported, tmp_path, capsys):
    out, cell = tmp_path / "out", [*exported.cell, f"runner.results_dir={tmp_path}/results"]
    replicate(exported.root / "y", out, exported.manifest)
    score = ("score", out, "--name", "Their code")
    picture = out / f"{IDS[-1]}.png"
    whole = picture.read_bytes()

    picture.unlink()
    assert f"lacks 1 of 4 pictures: {IDS[-1]}.png; add them, or set runner.limit=3" in refused(capsys, *score, *cell)
    Image.new("RGB", (SIDE, SIDE + 1)).save(picture)
    assert f"{SIDE}×{SIDE + 1} pixels, not {SIDE}×{SIDE}" in refused(capsys, *score, *cell)
    Image.new("L", (SIDE, SIDE)).save(picture)
    assert "greyscale" in refused(capsys, *score, *cell)
    picture.write_bytes(whole)
    (out / "grid.png").write_bytes(whole)
    assert "grid.png, of no image of toys" in refused(capsys, *score, *cell)
    (out / "grid.png").unlink()
    for override in ("method=ddrm", "starts=4"):
        assert f"{override} has no part in this" in refused(capsys, *score, *cell, override)
    other = refused(capsys, *score, "--measurements", exported.root / "y", "task.noise_std=0")
    assert f"the measurements are of problem {exported.manifest['problem']['name']}" in other
    for image_id in IDS:
        Image.new("RGB", (SIDE, SIDE), (1, 0, 1)).save(out / f"{image_id}.png")
    assert "no pixel in" in refused(capsys, *score, *cell)
    assert not (tmp_path / "results").exists()


def test_a_folder_of_measurements_is_not_mixed_with_those_of_another_problem(exported, capsys):
    folder = exported.root / "y"
    assert "holds measurements of another problem" in refused(
        capsys, "measurements", "--export", folder, *exported.cell, "seed=1"
    )
    assert json.loads((folder / "manifest.json").read_text()) == exported.manifest


def test_masks_and_kernels_are_exported_for_each_image_where_they_are_drawn(exported, tmp_path):
    cell = [text for text in exported.cell if not text.startswith(("task=", "runner."))]
    main(["measurements", "--export", str(tmp_path / "y"), "task=inpaint_random", "runner.limit=2", *cell])
    masks = [np.load(tmp_path / "y/operator" / f"{image_id}.npz")["singular_values"] for image_id in IDS[:2]]
    assert (masks[0] != masks[1]).any()
    for image_id, mask in zip(IDS, masks, strict=False):
        y = np.load(tmp_path / "y/y" / f"{image_id}.npy")
        assert set(np.unique(mask)) == {0, 1}
        assert ((y != 0) == (mask == 1)).all()


@pytest.mark.parametrize("task", ["hdr", "phase_retrieval", "sr4_cg", "tomography"])
def test_operators_without_a_spectrum_are_exported_and_scored(exported, tmp_path, task):
    if task == "tomography":
        pytest.importorskip("deepinv")
    cell = [text for text in exported.cell if not text.startswith(("task=", "runner."))]
    cell += [f"task={task}", "runner.limit=2", f"runner.results_dir={tmp_path}/results"]
    main(["measurements", "--export", f"{tmp_path}/y", "--truth", *cell])
    manifest = json.loads((tmp_path / "y/manifest.json").read_text())
    for image in manifest["images"]:
        y = np.load(tmp_path / "y" / image["y"])
        assert (list(y.shape), image["shape"]) == (image["shape"], manifest["images"][0]["shape"])
        assert np.isfinite(y).all()
    assert manifest["operator"]["about"]
    main(["score", f"{tmp_path}/y/truth", "--name", "The truth", "--measurements", f"{tmp_path}/y"])
    (folder,) = (tmp_path / "results/runs/toys" / task / "external_the_truth").iterdir()
    rows = open_run(folder).images
    assert rows["image_id"].tolist() == IDS[:2]
    assert np.isinf(rows["psnr"]).all()  # the ground truth itself
    noise = 0.1 * np.sqrt(np.prod(manifest["images"][0]["shape"]))
    assert rows["residual"].to_numpy() == pytest.approx(noise, rel=0.3)


def test_a_sparse_matrix_is_exported_as_scipy_reads_it(exported, tmp_path):
    pytest.importorskip("deepinv")
    cell = [text for text in exported.cell if not text.startswith(("task=", "runner."))]
    main(["measurements", "--export", str(tmp_path), "task=tomography", "runner.limit=1", *cell])
    with np.load(tmp_path / "operator.npz") as operator:
        parts = tuple(operator[f"matrix_{part}"] for part in ("data", "indices", "indptr"))
        matrix, impulse = csr_matrix(parts, operator["matrix_shape"]), operator["impulse"]
    middle = np.zeros((3, SIDE, SIDE))
    middle[:, SIDE // 2, SIDE // 2] = 1
    np.testing.assert_allclose((matrix @ middle.reshape(3, -1).T).T.ravel(), impulse.ravel(), atol=1e-5)


def test_the_impulse_of_a_blur_is_its_kernel(exported, tmp_path):
    cell = [text for text in exported.cell if not text.startswith(("task", "runner."))]
    blur = ["task=deblur_motion", "task.operator.taps=7", "task.noise_std=0", "runner.limit=1"]
    main(["measurements", "--export", str(tmp_path), "--truth", *blur, *cell])
    (file,) = (tmp_path / "operator").iterdir() if (tmp_path / "operator").is_dir() else [tmp_path / "operator.npz"]
    kernel = np.roll(np.load(file)["impulse"], (-(SIDE // 2), -(SIDE // 2)), axis=(1, 2))
    truth = np.asarray(Image.open(tmp_path / "truth" / f"{IDS[0]}.png")).transpose(2, 0, 1) / 127.5 - 1
    blurred = np.fft.ifft2(np.fft.fft2(truth) * np.fft.fft2(kernel)).real
    np.testing.assert_allclose(np.load(tmp_path / "y" / f"{IDS[0]}.npy"), blurred, atol=1e-5)


@pytest.mark.parametrize("columns", [80, 120])
def test_what_the_commands_say_fits_the_terminal(exported, tmp_path, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    cell = [*exported.cell, f"runner.results_dir={tmp_path}/results", "runner.limit=1"]
    main(["measurements", "--export", f"{tmp_path}/y", *cell])
    name = "A program of others whose name takes more than half of the terminal"
    main(["score", str(exported.root / "restored"), "--name", name, *cell])
    told = capsys.readouterr()
    assert "PSNR" in told.out
    assert too_wide(told.out, columns) == []


def test_pictures_that_explain_nothing_are_pointed_out(exported, tmp_path, capsys):
    (tmp_path / "restored").mkdir()
    for image_id in IDS:
        with Image.open(exported.root / "restored" / f"{image_id}.png") as picture:
            Image.fromarray(255 - np.asarray(picture)).save(tmp_path / "restored" / f"{image_id}.png")
    cell = [*exported.cell, f"runner.results_dir={tmp_path}/results"]
    main(["score", str(tmp_path / "restored"), "--name", "Negatives", *cell])
    assert "note: 4 of 4 pictures are further from their measurement than a grey image is" in capsys.readouterr().err


def test_scores_against_an_exact_posterior_are_refused(tmp_path, capsys):
    (tmp_path / "restored").mkdir()
    said = refused(capsys, "score", tmp_path / "restored", "--name", "x", "dataset=gmm_2d", "task=denoise")
    assert "by values that no picture holds" in said
