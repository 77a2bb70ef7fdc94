"""Priors of latents: a pipeline of diffusers with an autoencoder, and what the autoencoder makes of latents."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, LDMPipeline, UNet2DModel, VQModel
from safetensors.torch import save_file

from tests.priors.test_folder import TINY, changed, network
from vml_bench.contract import Decoder, Prior
from vml_bench.data.images import read_picture, save_png
from vml_bench.errors import InputError
from vml_bench.identity import name_of, prior_form
from vml_bench.metrics.functional import psnr
from vml_bench.priors.ddpm import EARLIER, renamed
from vml_bench.priors.folder import load_decoder, load_diffusers_prior, load_latent_prior
from vml_bench.priors.synthetic import arbitrary_tensors
from vml_bench.priors.unet import EDMPrior
from vml_bench.runner.run import run_cell
from vml_bench.train.training import crops_of, noised

FOUR = {
    "block_out_channels": (8, 8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "norm_num_groups": 4,
    "latent_channels": 3,
}
"""Autoencoders that make 64×64 images of 16×16 latents."""
SCHEDULER = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195)
NODE = {"_target_": "vml_bench.priors.folder.load_diffusers_prior", "checkpoint": "elsewhere"}


def vqvae(seed=0, **options):
    torch.manual_seed(seed)
    made = VQModel(num_vq_embeddings=32, **FOUR | options).eval()
    torch.nn.init.normal_(made.quantize.embedding.weight)
    return made


def vae(seed=0, **options):
    torch.manual_seed(seed)
    return AutoencoderKL(**FOUR | options).eval()


def pipeline(folder, autoencoder=None, **options):
    """A latent diffusion model as diffusers saves it, without what it says of scaling."""
    LDMPipeline(autoencoder or vqvae(), network(**options), SCHEDULER).save_pretrained(folder)
    changed(folder / "vqvae" / "config.json", scaling_factor=...)
    return folder


@pytest.mark.parametrize("kind", [vqvae, vae])
def test_a_decoder_makes_the_images_that_diffusers_makes_of_scaled_latents(tmp_path, kind):
    theirs = kind(scaling_factor=0.5)
    theirs.save_pretrained(tmp_path)
    decoder = load_decoder(tmp_path, (3, 16, 16))
    assert isinstance(decoder, Decoder)
    assert decoder.image_shape == (3, 64, 64)
    z = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(decoder(z), theirs.decode(z / 0.5).sample, atol=1e-5, rtol=1e-4)
        x = torch.rand(1, 3, 64, 64) * 2 - 1
        encoded = theirs.encode(x)
        wanted = encoded.latents if kind is vqvae else encoded.latent_dist.mean
        torch.testing.assert_close(decoder.encode(x), 0.5 * wanted)


def test_a_shift_is_taken_from_latents_before_they_are_scaled(tmp_path):
    theirs = vae(scaling_factor=0.5, shift_factor=0.2)
    theirs.save_pretrained(tmp_path)
    decoder, x = load_decoder(tmp_path, (3, 16, 16)), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(decoder.encode(x), 0.5 * (theirs.encode(x).latent_dist.mean - 0.2))
        torch.testing.assert_close(decoder(decoder.encode(x)), theirs(x).sample, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [vqvae, vae])
def test_a_decoder_has_products_with_its_jacobian_and_with_the_transpose(tmp_path, kind):
    kind().save_pretrained(tmp_path)
    decoder = load_decoder(tmp_path, (3, 16, 16)).double()
    z, v = torch.randn(2, 1, 3, 16, 16, dtype=torch.float64)
    image, forward = torch.func.jvp(decoder, (z,), (v,))
    w = torch.randn_like(image)
    point = z.clone().requires_grad_()
    (backward,) = torch.autograd.grad(decoder(point), point, w)
    assert (forward * w).sum() == pytest.approx(float((backward * v).sum()), rel=1e-6)
    assert backward.norm() > 0


def test_without_its_codebook_a_decoder_is_smooth_where_with_it_steps(tmp_path):
    vqvae().save_pretrained(tmp_path)
    steps, smooth = (load_decoder(tmp_path, (3, 16, 16), quantize=quantize).double() for quantize in (True, False))
    z = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        assert (steps(z + 1e-6) - steps(z)).abs().max() < 1e-12
        assert (smooth(z + 1e-6) - smooth(z)).abs().max() > 1e-9


def test_a_pipeline_with_an_autoencoder_is_a_prior_of_its_latents(tmp_path):
    prior = load_diffusers_prior(pipeline(tmp_path))
    assert isinstance(prior, Prior)
    assert prior.image_shape == (3, 16, 16)
    assert prior.decoder.image_shape == (3, 64, 64)
    assert prior.sigma_max == pytest.approx((1 / SCHEDULER.alphas_cumprod[-1].item() - 1) ** 0.5, rel=1e-3)
    assert prior.decoder.scale == 1  # where the file of a VQModel says nothing
    assert load_diffusers_prior(tmp_path / "unet").decoder.image_shape == (3, 64, 64)


def test_a_file_from_before_diffusers_renamed_attention_is_read(tmp_path):
    theirs = vqvae()
    theirs.save_pretrained(tmp_path)
    tensors = {renamed(name, EARLIER): tensor for name, tensor in theirs.state_dict().items()}
    assert tensors.keys() != theirs.state_dict().keys()
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    z = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            load_decoder(tmp_path, (3, 16, 16), 1.0)(z), theirs.decode(z).sample, atol=1e-5, rtol=1e-4
        )


def test_a_prior_of_latents_is_named_by_its_decoder_and_how_that_scales(tmp_path):
    def name(**options):
        return name_of(prior_form({**NODE, **options}, load_diffusers_prior(tmp_path, **options)))

    pipeline(tmp_path)
    first = name()
    assert name(scaling_factor=1.0) == first  # as it is without being said
    others = [name(scaling_factor=0.5), name(quantize=False)]
    vqvae(seed=1).save_pretrained(tmp_path / "vqvae")
    others.append(name(scaling_factor=1.0))
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda at: changed(at / "vqvae" / "config.json", _class_name="AutoencoderDC"), "'AutoencoderDC' is not read"),
        (lambda at: changed(at / "vqvae" / "config.json", depth=3), "'depth' is unknown to VQModel"),
        (lambda at: changed(at / "vqvae" / "config.json", norm_type="spatial"), "norm_type='spatial' does not fit"),
        (
            lambda at: vqvae(latent_channels=4).save_pretrained(at / "vqvae"),
            "its latents have 4 channels, those of the network 3",
        ),
        (lambda at: vae().save_pretrained(at / "vae"), "holds several autoencoders"),
        (lambda at: (at / "vqvae" / "diffusion_pytorch_model.safetensors").unlink(), "there is neither diffusion"),
        (lambda at: changed(at / "vqvae" / "config.json", num_vq_embeddings=31), "quantize.embedding.weight is"),
    ],
)
def test_an_autoencoder_that_cannot_be_used_is_refused(tmp_path, spoil, says):
    spoil(pipeline(tmp_path))
    with pytest.raises(InputError, match=says):
        load_diffusers_prior(tmp_path)


def test_a_prior_of_this_projects_own_is_read_with_a_decoder_beside_it(tmp_path):
    options = {key: value for key, value in TINY.items() if key != "sample_size"}
    EDMPrior(options, image_shape=(3, 16, 16), patch=1).save(tmp_path / "w.safetensors")
    vae(scaling_factor=0.7).save_pretrained(tmp_path / "vae")
    prior = load_latent_prior(tmp_path / "w.safetensors", tmp_path / "vae")
    assert (prior.image_shape, prior.decoder.image_shape, prior.decoder.scale) == ((3, 16, 16), (3, 64, 64), 0.7)
    assert not any(parameter.requires_grad for parameter in prior.parameters())
    with pytest.raises(InputError, match="--config-name latent"):
        load_latent_prior(tmp_path / "none.safetensors", tmp_path / "vae")
    with pytest.raises(InputError, match="--config-name autoencoder"):
        load_latent_prior(tmp_path / "w.safetensors", tmp_path / "none")


CELEBAHQ256_LDM = {
    "unet": {
        "_class_name": "UNet2DModel",
        "act_fn": "silu",
        "attention_head_dim": 32,
        "block_out_channels": [224, 448, 672, 896],
        "center_input_sample": False,
        "down_block_types": ["DownBlock2D", *["AttnDownBlock2D"] * 3],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 3,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": 64,
        "time_embedding_type": "positional",
        "up_block_types": [*["AttnUpBlock2D"] * 3, "UpBlock2D"],
    },
    "vqvae": {
        "_class_name": "VQModel",
        "act_fn": "silu",
        "block_out_channels": [128, 256, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "in_channels": 3,
        "latent_channels": 3,
        "layers_per_block": 2,
        "num_vq_embeddings": 8192,
        "out_channels": 3,
        "sample_size": 256,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
    },
    "scheduler": {
        "_class_name": "DDIMScheduler",
        "beta_end": 0.0195,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.0015,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "trained_betas": None,
    },
}
"""What the configurations of CompVis/ldm-celebahq-256 say, as programs that train networks of its kind quote them."""


def write_ldm(folder: Path) -> Path:
    """That model with arbitrary weights, under the tensor names of its time."""
    for name, kind in (("unet", UNet2DModel), ("vqvae", VQModel), ("scheduler", None)):
        (folder / name).mkdir(parents=True)
        file = "scheduler_config.json" if kind is None else "config.json"
        (folder / name / file).write_text(json.dumps(CELEBAHQ256_LDM[name]))
        if kind:
            with torch.device("meta"):
                made = kind(**{key: value for key, value in CELEBAHQ256_LDM[name].items() if key[0] != "_"})
            shapes = {renamed(at, EARLIER): tuple(tensor.shape) for at, tensor in made.state_dict().items()}
            tensors = {at: tensor.half() for at, tensor in arbitrary_tensors(shapes).items()}
            torch.save(tensors, folder / name / "diffusion_pytorch_model.bin")
    return folder


@pytest.mark.slow
def test_the_latent_diffusion_model_of_celebahq_restores_an_image_at_its_size(tmp_path, cell_config):
    checkpoint = write_ldm(tmp_path / "ldm")
    (tmp_path / "images").mkdir()
    save_png(torch.linspace(-1, 1, 256).expand(3, 256, 256), tmp_path / "images" / "ramp.png")
    told = ["dataset=folder", "dataset.name=ramp", f"dataset.root={tmp_path / 'images'}", "task=sr4", "method=dps"]
    told += ["prior=celebahq256_ldm", f"prior.checkpoint={checkpoint}", "prior.synthetic=true"]
    run = run_cell(cell_config(*told, "method.sampler.schedule.levels=2", "metrics=default"))
    made = json.loads((run / "run.json").read_text())
    assert made["prior"]["form"]["decoder"]["scale"] == 1
    assert made["weights"]["file"] == "diffusion_pytorch_model.bin"
    (row,) = pd.read_parquet(run / "images.parquet").itertuples()
    assert (row.nfe, row.vjp) == (2, 2)
    assert row.applications == 2 * 3  # A(D), and its Jacobian's value and product
    assert math.isfinite(row.residual)  # arbitrary weights may leave an image far from y, which counts as diverged
    assert read_picture(run / "recon" / "ramp.png").shape == (3, 256, 256)


@torch.no_grad()
def test_the_prior_that_travels_with_the_package_knows_photographs():
    prior, (clean, ids) = load_latent_prior(), crops_of("tune")
    clean, ids = clean[:8], ids[:8]
    latents = prior.decoder.encode(clean)
    assert float(psnr(prior.decoder(latents).clamp(-1, 1), clean).mean()) > 30
    for sigma in (0.2, 1.0):
        noisy = noised(latents, ids, sigma)
        assert float(psnr(prior(noisy, sigma), latents).mean()) > float(psnr(noisy, latents).mean()) + 3
