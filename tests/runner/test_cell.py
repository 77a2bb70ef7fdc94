import json

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from baselines.ddrm import DDRM
from baselines.pinv import PseudoInverse
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.files import sha256
from vml_bench.metrics.functional import psnr
from vml_bench.priors.unet import load_edm_prior, shipped_checkpoint
from vml_bench.runner import resources
from vml_bench.runner.cell import Cell
from vml_bench.runner.compute import NoPrior
from vml_bench.runner.run import Runner, run_cell
from vml_bench.store.runs import open_run

FEW = ("method.sampler.schedule.levels=4",)
MEASURED = ("psnr", "ssim", "lpips_alex", "residual", "nfe", "vjp", "status")


def rows(folder):
    return pd.read_parquet(folder / "images.parquet").set_index("image_id")


def test_a_run_says_how_it_was_made_and_its_numbers_are_those_of_its_files(cell_config):
    config = cell_config("task=sr4", "method=ddrm", "runner.limit=2", *FEW)
    folder = run_cell(config)
    made = json.loads((folder / "run.json").read_text())
    assert folder.name == made["run"]
    assert made["ids"] == list(rows(folder).index)
    assert (made["dataset"], made["task"], made["method"]) == folder.parts[-4:-1]
    assert made["prior"]["form"]["weights"] == sha256(shipped_checkpoint())
    assert made["weights"]["file"] == shipped_checkpoint().name
    assert made["environment"]["packages"]["torch"] == torch.__version__.split("+")[0]
    assert made["wall_seconds"] > 0
    table = rows(folder)
    assert (table.status == "ok").all()
    assert (table.nfe == 4).all()
    assert (table.vjp == 0).all()
    for image_id, row in table.iterrows():
        saved, reference = (
            from_uint8(np.asarray(Image.open(root / f"{image_id}.png")))[None]
            for root in (open_run(folder).picture(image_id).parent, open_run(folder).originals)
        )
        assert float(psnr(saved, reference)) == pytest.approx(row.psnr, abs=1e-3)


@pytest.mark.parametrize("method", ["ddrm", "dps", "vml_map_pre", "vml_fixed_point"])
def test_an_images_result_does_not_depend_on_batch_size_or_order(cell_config, tmp_path, method):
    cell = ("task=inpaint_random", f"method={method}", *FEW)
    many = rows(
        run_cell(cell_config(*cell, "runner.limit=5", "runner.batch_size=16", f"runner.results_dir={tmp_path}/a"))
    )
    one = rows(
        run_cell(cell_config(*cell, "runner.limit=5", "runner.batch_size=1", f"runner.results_dir={tmp_path}/b"))
    )
    assert list(many.index) == list(one.index)
    assert (many.psnr - one.psnr).abs().max() < 0.01
    assert (many.lpips_alex - one.lpips_alex).abs().max() < 1e-3
    assert (many.nfe == one.nfe).all()


def test_a_stopped_run_continues_and_ends_the_same(cell_config, tmp_path, monkeypatch):
    cell = ("task=inpaint_random", "method=ddrm", "runner.batch_size=1", *FEW)
    whole = run_cell(cell_config(*cell, "runner.limit=3", f"runner.results_dir={tmp_path}/whole"))

    config = cell_config(*cell, "runner.limit=3", f"runner.results_dir={tmp_path}/stopped")
    stopped = Cell(config)
    restore, calls = Runner.restore, []

    def stop_at_the_second(self, batch):
        calls.append(batch.ids)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return restore(self, batch)

    monkeypatch.setattr(Runner, "restore", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        Runner(stopped).run()
    monkeypatch.undo()
    assert len(rows(stopped.folder)) == 1
    assert Cell(config).store.open().pending(stopped.ids) == list(stopped.ids[1:])
    run_cell(config)

    assert rows(stopped.folder)[list(MEASURED)].equals(rows(whole)[list(MEASURED)])
    for image_id in stopped.ids:
        a, b = (folder / "recon" / f"{image_id}.png" for folder in (stopped.folder, whole))
        assert a.read_bytes() == b.read_bytes()
    with np.load(stopped.folder / "features.npz") as a, np.load(whole / "features.npz") as b:
        assert np.array_equal(a["alex"], b["alex"])


def test_a_run_grows_with_its_limit_and_its_record_with_it(cell_config):
    cell = ("task=sr4", "method=pinv")
    folder = run_cell(cell_config(*cell, "runner.limit=3"))
    for limit in (5, 2):
        assert run_cell(cell_config(*cell, f"runner.limit={limit}")) == folder
    record = json.loads((folder / "run.json").read_text())
    assert len(rows(folder)) == len(record["ids"]) == 5
    assert list(rows(folder).index) == record["ids"]


def test_a_run_names_the_code_that_made_it_not_the_code_that_found_it_made(cell_config, monkeypatch):
    cell = ("task=sr4", "method=pinv")
    made = []
    for revision, limit in (("first", 2), ("idle", 2), ("second", 3), ("idle again", 3)):
        monkeypatch.setattr("vml_bench.runner.record.environment", lambda device, git=revision: {"git": git})
        record = json.loads((run_cell(cell_config(*cell, f"runner.limit={limit}")) / "run.json").read_text())
        made.append([record["environment"]["git"], *(one["git"] for one in record["environments"])])
    assert made == [["first", "first"]] * 2 + [["second", "first", "second"]] * 2


def test_a_finished_run_computes_nothing(cell_config, monkeypatch):
    config = cell_config("task=sr4", "method=pinv", "runner.limit=2")
    before = rows(run_cell(config))

    def refuse(self, batch):
        raise AssertionError("computed again")

    monkeypatch.setattr(Runner, "restore", refuse)
    assert rows(run_cell(config)).equals(before)


def test_how_a_cell_is_run_does_not_name_it_and_what_it_computes_does(cell_config):
    def name(*overrides):
        return Cell(cell_config("task=sr4", "method=ddrm", *overrides)).name

    assert name() == name("runner.batch_size=3") == name("runner.limit=2") == name("runner.device=cpu")
    assert len({name(), name("seed=1"), name("task.noise_std=0"), name("method.sampler.schedule.levels=7")}) == 4


def test_a_diverged_image_is_a_row_with_its_status(cell_config, monkeypatch):
    config = cell_config("task=sr4", "method=pinv", "runner.limit=3")
    cell = Cell(config)
    restore = type(cell.method).restore

    def spoil(self, *arguments):
        restored = restore(self, *arguments)
        restored[0] = float("nan")
        restored[1] = 1e4
        return restored

    monkeypatch.setattr(type(cell.method), "restore", spoil)
    table = rows(Runner(cell).run())
    assert table.status.tolist() == ["diverged", "diverged", "ok"]
    assert table.psnr.isna().tolist() == [True, True, False]
    assert not (cell.folder / "recon" / f"{cell.ids[0]}.png").exists()
    with np.load(cell.folder / "features.npz") as features:
        assert features["ids"].tolist() == [cell.ids[2]]


def test_other_weights_are_another_run_of_the_same_problem(cell_config, tmp_path, monkeypatch):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(shipped_checkpoint().read_bytes())
    shipped = Cell(cell_config("task=sr4", "method=ddrm", *FEW))
    config = cell_config("task=sr4", "method=ddrm", f"prior.checkpoint={weights}", *FEW)
    assert Cell(config).name == shipped.name, "the same weights, wherever they lie"
    other = load_edm_prior(weights)
    torch.nn.init.zeros_(other.network.conv_out.bias)
    other.save(weights)
    monkeypatch.setattr(resources, "_built", {})  # as in another process
    changed = Cell(config)
    assert changed.name != shipped.name
    assert changed.identity.problem == shipped.identity.problem


def test_the_folder_of_the_images_names_nothing_and_their_pixels_do(cell_config, tmp_path):
    def cell(folder, level):
        folder.mkdir()
        Image.new("RGB", (64, 64), level).save(folder / "a.png")
        return cell_config("dataset=folder", f"dataset.root={folder}", "task=sr4", "method=pinv")

    first = run_cell(cell(tmp_path / "here", 7))
    assert run_cell(cell(tmp_path / "moved", 7)) == first
    other = run_cell(cell(tmp_path / "other", 8))
    assert other != first
    assert open_run(other).originals != open_run(first).originals
    assert open_run(other).measurements != open_run(first).measurements


def test_a_prior_of_another_size_is_refused(cell_config, tmp_path):
    for level, image_id in enumerate("ab"):
        Image.new("RGB", (32, 32), level).save(tmp_path / f"{image_id}.png")
    config = cell_config(
        "dataset=folder", f"dataset.root={tmp_path}", "dataset.image_shape=[3,32,32]", "task=sr4", "method=ddrm"
    )
    with pytest.raises(InputError, match=r"shape \(3, 64, 64\), data set folder has \(3, 32, 32\)"):
        Cell(config)


def test_a_method_that_asks_no_prior_gets_none_and_images_of_any_size(cell_config, tmp_path):
    Image.effect_noise((96, 128), 60).convert("RGB").save(tmp_path / "a.png")
    cell = Cell(cell_config("dataset=folder", f"dataset.root={tmp_path}", "task=sr4", "method=pinv"))
    assert cell.images.image_shape == (3, 128, 96)
    assert isinstance(cell.prior, NoPrior)
    record = json.loads((Runner(cell).run() / "run.json").read_text())
    assert record["prior"] is record["weights"] is None
    assert rows(cell.folder).status.tolist() == ["ok"]


def test_a_method_that_calls_the_denoiser_against_its_word_is_refused(cell_config, monkeypatch):
    monkeypatch.setattr(DDRM, "needs_prior", False, raising=False)
    monkeypatch.setattr(NoPrior, "sigma_min", 0.01)
    monkeypatch.setattr(NoPrior, "sigma_max", 100.0)
    with pytest.raises(InputError, match="needs_prior = False calls the denoiser"):
        run_cell(cell_config("task=sr4", "method=ddrm", "runner.limit=1", *FEW))


def test_a_method_that_returns_no_batch_of_images_is_named(cell_config, monkeypatch):
    monkeypatch.setattr(PseudoInverse, "restore", lambda self, y, *others: y)
    with pytest.raises(InputError, match=r"method pinv returned \(2, 3, 16, 16\) for images of \(2, 3, 64, 64\)"):
        run_cell(cell_config("task=sr4", "method=pinv", "runner.limit=2"))


def test_a_sweep_builds_prior_metrics_and_data_once(cell_config):
    first, second = (Cell(cell_config("task=sr4", f"method={method}", "runner.limit=1")) for method in ("dps", "ddrm"))
    assert first.prior is second.prior
    assert first.metrics is second.metrics
    assert first.images is second.images


def test_measurements_follow_the_operator_and_the_noise_level(cell_config):
    cell = Cell(cell_config("task=sr4", "method=pinv", "task.noise_std=0.3"))
    batch = cell.batch(list(cell.ids[:8]))
    noise = batch.y - instantiate(cell.config.task.operator)(image_shape=(3, 64, 64)).forward(batch.clean)
    assert noise.std() == pytest.approx(0.3, rel=0.05)
