"""Folders of diffusers as priors: `prior=diffusers prior.checkpoint=FOLDER`."""

import json

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, ScoreSdeVeScheduler, UNet2DModel
from safetensors.torch import save_file

from vml_bench.contract import Prior
from vml_bench.errors import InputError
from vml_bench.identity import name_of, prior_form
from vml_bench.priors.folder import load_diffusers_prior
from vml_bench.runner.run import run_cell

TINY = {
    "sample_size": 16,
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
}
NODE = {"_target_": "vml_bench.priors.folder.load_diffusers_prior", "checkpoint": "elsewhere"}


def network(seed=0, **options):
    torch.manual_seed(seed)
    return UNet2DModel(**TINY | options).eval()


def changed(file, **values):
    """Change keys of a JSON file; None as in JSON, ... takes the key out."""
    content = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def refused(folder):
    with pytest.raises(InputError) as caught:
        load_diffusers_prior(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """A network and its scheduler in one folder, as google/ddpm-celebahq-256 has them."""
    network().save_pretrained(tmp_path / "net")
    DDPMScheduler().save_config(tmp_path / "net")
    return tmp_path / "net"


def denoised(network, alphas_bar, x, t):
    """The DDPM's own estimate of x_0 at timestep t, given x_t = x_0 + σ n."""
    at = alphas_bar[t]
    sigma = ((1 - at) / at).sqrt()
    with torch.no_grad():
        eps = network(x * at.sqrt(), torch.tensor([float(t)])).sample
    return (x - sigma * eps[:, : x.shape[1]]), sigma


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(),
        DDIMScheduler(beta_start=1e-3, beta_end=0.03, num_train_timesteps=500),
        DDPMScheduler(beta_schedule="scaled_linear", beta_start=8.5e-4, beta_end=0.012),
        DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    ],
    ids=["DDPM's", "others", "scaled", "cosine"],
)
def test_a_folder_is_the_denoiser_of_its_network_and_schedule(tmp_path, safe, scheduler):
    theirs = network()
    theirs.save_pretrained(tmp_path, safe_serialization=safe)
    scheduler.save_config(tmp_path)
    prior = load_diffusers_prior(tmp_path)
    assert isinstance(prior, Prior)
    assert prior.checkpoint == tmp_path / f"diffusion_pytorch_model.{'safetensors' if safe else 'bin'}"
    assert prior.image_shape == (3, 16, 16)
    assert prior.notes == ()
    assert not prior.training
    assert len(prior.sigmas) == scheduler.config.num_train_timesteps
    alphas_bar = scheduler.alphas_cumprod.double()
    x = torch.randn(1, 3, 16, 16)
    for t in (0, 7, 250, len(alphas_bar) - 2):
        wanted, sigma = denoised(theirs, alphas_bar.float(), x, t)
        assert prior.sigmas[t] == pytest.approx(((1 - alphas_bar[t]) / alphas_bar[t]).sqrt().item(), rel=1e-3)
        with torch.no_grad():
            assert ((prior(x, sigma.item()) - wanted).abs() / sigma).max() < 1e-3


@pytest.mark.parametrize("at", [".", "unet"])
def test_a_pipeline_is_read_by_its_own_folder_or_its_networks(tmp_path, at):
    DDPMPipeline(network(), DDPMScheduler(beta_schedule="squaredcos_cap_v2")).save_pretrained(tmp_path)
    prior = load_diffusers_prior(tmp_path / at)
    assert prior.checkpoint == tmp_path / at / "unet" / "diffusion_pytorch_model.safetensors" or at == "unet"
    assert prior.described["schedule"]["BetaSchedule"]["beta_schedule"] == "squaredcos_cap_v2"


def test_a_schedule_in_a_folder_of_its_own_is_found(folder):
    (folder / "scheduler").mkdir()
    (folder / "scheduler_config.json").rename(folder / "scheduler" / "scheduler_config.json")
    changed(folder / "scheduler" / "scheduler_config.json", beta_end=0.03)
    assert load_diffusers_prior(folder).sigma_max > 1000


def test_without_a_schedule_it_is_ddpms_and_said(folder):
    (folder / "scheduler_config.json").unlink()
    prior = load_diffusers_prior(folder)
    assert prior.sigma_max == pytest.approx(157.4, abs=0.05)
    assert "β linear from 1e-4 to 0.02 in 1000 steps" in prior.notes[0]


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"sample_size": (16, 32)}, (3, 16, 32)),
        ({"in_channels": 1, "out_channels": 1}, (1, 16, 16)),
        ({"out_channels": 6}, (3, 16, 16)),
    ],
    ids=["oblong", "grey", "with variances"],
)
def test_the_configuration_gives_the_images_shape(tmp_path, options, shape):
    network(**options).save_pretrained(tmp_path)
    prior = load_diffusers_prior(tmp_path)
    assert prior.image_shape == shape
    with torch.no_grad():
        assert prior(torch.randn(1, *shape), 1.0).shape == (1, *shape)


@pytest.mark.parametrize("kind", ["learned_range", "fixed_small"])
def test_further_channels_are_a_learned_variance_where_the_scheduler_says_so(tmp_path, kind):
    DDPMPipeline(network(out_channels=6), DDPMScheduler(variance_type=kind)).save_pretrained(tmp_path)
    assert load_diffusers_prior(tmp_path).learned_variance == (kind == "learned_range")


def test_equal_weights_under_another_architecture_or_schedule_are_another_prior(folder):
    def name():
        return name_of(prior_form(NODE, load_diffusers_prior(folder)))

    first = name()
    changed(folder / "config.json", dropout=0.0, _diffusers_version="0.1")  # a default, and no setting
    changed(folder / "scheduler_config.json", clip_sample=False)  # a sampler's business
    assert name() == first
    changed(folder / "scheduler_config.json", beta_end=0.03)
    second = name()
    changed(folder / "config.json", norm_eps=1e-4)
    assert len({first, second, name()}) == 3


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "_class_name='UNet2DConditionModel' is not read"),
        ({"_class_name": ...}, "_class_name=None is not read"),
        ({"sample_size": ...}, "sample_size=None does not fit"),
        ({"sample_size": 0}, "sample_size=0 does not fit"),
        ({"layers_per_block": "two"}, "layers_per_block='two' does not fit; .*must be a whole number"),
        ({"block_out_channels": 16}, "block_out_channels=16 does not fit; .*must be a list"),
        ({"attention_bias": True}, "'attention_bias' is unknown to UNet2DModel"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type='fourier' does not fit; .*must be 'positional'"),
        ({"num_class_embeds": 10}, "num_class_embeds=10 does not fit; .*must be null"),
        ({"class_embed_type": "timestep"}, "class_embed_type='timestep' does not fit"),
        ({"out_channels": 4}, "out_channels=4 does not fit in_channels=3"),
        ({"down_block_types": ["DownBlock2D"]}, r"cannot be built \(.*down_block_types"),
        ({"norm_num_groups": 16, "block_out_channels": [16, 64]}, "does not fit the network: .*group_norm"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_by_file_and_key(folder, values, says):
    changed(folder / "config.json", **values)
    with pytest.raises(InputError, match=says):
        load_diffusers_prior(folder)
    assert str(folder) in refused(folder)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prediction_type": "v_prediction"}, "prediction_type='v_prediction' does not fit .*must be 'epsilon'"),
        ({"prediction_type": "sample"}, "prediction_type='sample' does not fit"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule='sigmoid' does not fit .*'squaredcos_cap_v2'"),
        ({"beta_start": 2}, "beta_start=2 does not fit"),
        ({"beta_end": ...}, "has no beta_end, so it is not of a DDPM"),
        ({"num_train_timesteps": 1}, "num_train_timesteps=1 does not fit"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas=.* does not fit .*must be null"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr=True does not fit"),
    ],
)
def test_a_schedule_that_cannot_be_used_is_refused_by_file_and_key(folder, values, says):
    changed(folder / "scheduler_config.json", **values)
    with pytest.raises(InputError, match=rf"scheduler_config\.json:? .*{says}|scheduler_config\.json:? {says}"):
        load_diffusers_prior(folder)


def test_a_schedule_without_betas_is_refused(folder):
    ScoreSdeVeScheduler().save_config(folder)
    assert "has no beta_start, so it is not of a DDPM (ScoreSdeVeScheduler)" in refused(folder)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, "<!DOCTYPE html>"])
@pytest.mark.parametrize("name", ["scheduler_config.json", "config.json"])
def test_a_file_that_is_no_configuration_is_refused(folder, name, text):
    (folder / name).write_text(text)
    assert f"{name} is not a configuration of diffusers" in refused(folder)


def test_what_is_missing_is_named(tmp_path, folder):
    assert "needs a folder of diffusers; set prior.checkpoint" in refused(None)
    assert "is not a folder" in refused(tmp_path / "nowhere")
    assert "there is no config.json" in refused(tmp_path)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    assert "neither diffusion_pytorch_model.safetensors nor diffusion_pytorch_model.bin" in refused(folder)


def test_averaged_weights_beside_the_plain_ones_are_a_choice(tmp_path):
    network(0).save_pretrained(tmp_path / "unet")
    network(1).save_pretrained(tmp_path / "unet_ema")
    assert f"several networks: unet, unet_ema; set prior.checkpoint to one of them, mostly {tmp_path}" in refused(
        tmp_path
    )
    assert load_diffusers_prior(tmp_path / "unet_ema").checkpoint.parent.name == "unet_ema"


def test_a_tensor_too_few_is_named(folder):
    tensors = network().state_dict()
    del tensors["mid_block.attentions.0.to_q.weight"]
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
    assert "missing mid_block.attentions.0.to_q.weight (32, 32)" in refused(folder)


def test_a_run_says_what_its_prior_is_and_how_the_weights_were_found(folder, cell_config):
    changed(folder / "config.json", sample_size=64)
    tensors = {f"module.{name}": tensor for name, tensor in network().state_dict().items()}
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "diffusion_pytorch_model.bin")
    few = "method.sampler.schedule.levels=2"
    run = run_cell(
        cell_config("prior=diffusers", f"prior.checkpoint={folder}", "task=sr4", "method=ddrm", few, "runner.limit=1")
    )
    made = json.loads((run / "run.json").read_text())
    assert made["weights"]["file"] == "diffusion_pytorch_model.bin"
    assert made["weights"]["read"] == "taken from its member 'state_dict'; names without 'module.'"
    assert made["prior"]["form"]["network"]["sample_size"] == 64
    assert made["prior"]["form"]["schedule"]["BetaSchedule"]["beta_schedule"] == "linear"
