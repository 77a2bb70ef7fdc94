"""Training the photos64 prior, and the commands `python -m vml_bench.train` and `python -m vml_bench.train.card`."""

import csv
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from tests.priors.test_unet import TINY
from vml_bench.priors.unet import EDMPrior, load_edm_prior
from vml_bench.runner.cell import Cell
from vml_bench.train.autoencoder import SPREAD, TrainedDecoder, reconstruction_loss
from vml_bench.train.card import linear_psnr
from vml_bench.train.training import TrainingConfig, crops_of, draw_sigma, train


def fresh():
    torch.manual_seed(0)
    return EDMPrior(TINY, image_shape=(3, 64, 64))


def config(steps):
    return TrainingConfig(steps=steps, batch_size=2, every=2, warmup=2, decay=1e-9, bf16=False)


def test_training_stopped_and_continued_ends_where_it_would_have(tmp_path):
    straight, halved = tmp_path / "straight", tmp_path / "halved"
    train(fresh(), config(4), straight, straight / "w.safetensors")
    train(fresh(), config(2), halved, halved / "w.safetensors")
    train(fresh(), config(4), halved, halved / "w.safetensors")
    a, b = (torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in (straight, halved))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(fresh().state_dict()[name], b[name]) for name in b)
    assert load_edm_prior(halved / "w.safetensors").image_shape == (3, 64, 64)
    steps = [int(row[0]) for row in csv.reader((halved / "log.csv").open())]
    assert steps == [2, 4]


def test_noise_levels_stay_in_range_and_reach_its_ends():
    prior = fresh()
    sigmas = draw_sigma(prior, TrainingConfig(batch_size=20_000), torch.Generator().manual_seed(0))
    assert sigmas.min() >= prior.sigma_min * 0.999
    assert sigmas.max() <= prior.sigma_max * 1.001
    assert (sigmas < 0.01).float().mean() > 0.02
    assert (sigmas > 20).float().mean() > 0.01
    assert 0.2 < sigmas.median() < 0.4


def test_the_rate_warms_up_holds_and_falls_to_zero():
    schedule = TrainingConfig(steps=1000, warmup=100, decay=0.4, learning_rate=1.0)
    assert schedule.rate(0) == 0.01
    assert schedule.rate(300) == 1.0
    assert abs(schedule.rate(800) - 0.5) < 1e-9
    assert schedule.rate(999) < 0.003


def python(*arguments, folder):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_trains_as_its_overrides_say(tmp_path):
    answer = python(
        "-m", "vml_bench.train", "training.steps=1", "training.batch_size=1", "folder=kept", folder=tmp_path
    )
    assert answer.returncode == 0, answer.stderr
    assert load_edm_prior(tmp_path / "kept/photos64.safetensors").image_shape == (3, 64, 64)
    assert (tmp_path / "kept/checkpoint.pt").is_file()


def test_the_latent_prior_is_trained_on_what_the_autoencoder_command_wrote(tmp_path, cell_config):
    few = ("training.steps=1", "training.batch_size=1")
    for name, own in (("autoencoder", ()), ("latent", ("autoencoder=autoencoder/vae",))):
        told = ("--config-name", name, *few, f"folder={name}", *own)
        answer = python("-m", "vml_bench.train", *told, folder=tmp_path)
        assert answer.returncode == 0, answer.stderr
    made = {"checkpoint": tmp_path / "latent/photos64_latent.safetensors", "autoencoder": tmp_path / "autoencoder/vae"}
    told = [f"prior.{key}={path}" for key, path in made.items()]
    prior = Cell(cell_config("prior=photos64_latent", *told, "task=sr4", "method=dps")).prior
    assert (prior.image_shape, prior.decoder.image_shape) == ((6, 32, 32), (3, 64, 64))
    crops, _ = crops_of("tune")
    assert abs(prior.decoder.encode(crops).std() - SPREAD) < 0.4 * SPREAD
    missing = python("-m", "vml_bench.train", "--config-name", "latent", "autoencoder=none", folder=tmp_path)
    assert missing.returncode == 2
    assert "--config-name autoencoder" in missing.stderr


def test_a_reconstruction_loss_is_the_error_and_the_pull_of_the_spread():
    torch.manual_seed(0)
    decoder = TrainedDecoder(
        {"block_out_channels": (8,), "norm_num_groups": 4, "mid_block_add_attention": False}, (4, 64, 64)
    )
    crops, generator = torch.rand(1, 3, 64, 64), torch.Generator()
    plain, pulled = (
        reconstruction_loss(decoder, crops, generator.manual_seed(0), weight, False) for weight in (0.0, 2.0)
    )
    encoded = decoder.network.encode(crops).latent_dist
    torch.testing.assert_close(pulled - plain, 2 * encoded.kl().sum() / encoded.mean.numel())


def test_a_wrong_override_is_one_line(tmp_path):
    answer = python("-m", "vml_bench.train", "training.stops=1", folder=tmp_path)
    assert answer.returncode == 2
    assert "stops" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_training_that_is_interrupted_says_how_to_go_on(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "vml_bench.train", "training.batch_size=1", "training.steps=200", "folder=kept"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # shells have it ignored by what they start with &
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        for line in process.stderr:  # tqdm ends its lines with a carriage return, which is a line's end here
            if line.startswith("training"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "goes on from the last checkpoint" in rest
    assert "Traceback" not in rest


def test_principal_components_keep_more_the_more_there_are():
    few, more, all_of_them = (linear_psnr(channels, 2, ["tune"], crops=16)[0] for channels in (2, 6, 12))
    assert 20 < few < more < 60 < all_of_them


def test_a_card_of_no_checkpoint_is_refused_in_one_line(tmp_path):
    answer = python("-m", "vml_bench.train.card", "--checkpoint", "missing.safetensors", folder=tmp_path)
    assert answer.returncode == 2
    assert "missing.safetensors does not exist" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
