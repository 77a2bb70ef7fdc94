"""A folder of diffusers with a `UNet2DModel` that predicts noise: its architecture, its schedule and its weights.

Beside the network of a latent diffusion model lies its autoencoder: then the prior is one of latents.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import torch
from pydantic import Field, PositiveFloat, TypeAdapter, ValidationError
from torch import Tensor, nn

from vml_bench.errors import InputError
from vml_bench.files import sha256
from vml_bench.identity import Aside, canonical, form_of_object
from vml_bench.priors.checkpoint import existing
from vml_bench.priors.ddpm import read_ddpm, read_network
from vml_bench.priors.latent import Decoder
from vml_bench.priors.unet import EDMPrior, load_edm_prior, shipped_checkpoint
from vml_bench.priors.vp import FirstTimestep, VPPrior
from vml_bench.settings import remedy, settings

CONFIG = "config.json"
SCHEDULER = "scheduler_config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
NETWORKS = ("unet", "unet_ema")
"""Folders of a pipeline, or of a training run, that hold a network."""
AUTOENCODERS = ("vae", "vqvae")
"""Folders of a pipeline that hold the autoencoder of a latent diffusion model."""

Beta = Annotated[float, Field(gt=0, lt=1)]
Side = Annotated[int, Field(ge=1)]
NEEDED: dict[str, Any] = {
    "sample_size": Side | tuple[Side, Side],
    "time_embedding_type": Literal["positional"],
    "class_embed_type": None,
    "num_class_embeds": None,
}
"""What a network of images alone, told the timestep, has in its configuration; types narrower than diffusers' own."""
OF_AUTOENCODER: dict[str, Any] = {
    "block_out_channels": tuple[Side, ...],
    "down_block_types": tuple[str, ...],
    "up_block_types": tuple[str, ...],
    "latents_mean": None,
    "latents_std": None,
    "norm_type": Literal["group"],
}
"""What an autoencoder has in its configuration."""
LATENT, LATENT_AUTOENCODER = "photos64_latent.safetensors", "photos64_latent_vae"
"""What travels with the package of the photos64_latent prior."""
SCALING = ("scaling_factor", "shift_factor")
"""Keys of it that say how the network's latents are scaled, as a decoder says itself."""

ScalingFactor = Annotated[PositiveFloat | None, Aside]
Quantize = Annotated[bool, Aside]
"""Options of a decoder, which describes itself: its description counts towards a run's name, not these."""


@settings
class BetaSchedule:
    """What a scheduler's configuration says of the diffusion that the network was trained on; its other keys do not.

    Attributes:
        num_train_timesteps: T.
        beta_start: β of the first timestep.
        beta_end: β of the last.
        beta_schedule: how β goes between them: evenly; evenly in its root; or by ᾱ as a squared cosine, which needs
            neither (Nichol, Dhariwal 2021, arXiv:2102.09672, eq. 17).
        prediction_type: what the network predicts.
        trained_betas: other β, one by one.
        rescale_betas_zero_snr: whether ᾱ ends at 0, where x_t = x_0 + σ n has no σ.
        variance_type: what the network's other output channels are, if it has any: a learned variance as
            `vml_bench.contract.Prior` means it if this is "learned_range".
    """

    num_train_timesteps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    prediction_type: Literal["epsilon"] = "epsilon"
    trained_betas: None = None
    rescale_betas_zero_snr: Literal[False] = False
    variance_type: Annotated[str | None, Aside] = None

    def betas(self) -> Tensor:
        """β of every timestep, float64, (T,)."""
        steps, start, end = self.num_train_timesteps, self.beta_start, self.beta_end
        if self.beta_schedule == "squaredcos_cap_v2":
            from diffusers.schedulers.scheduling_ddpm import betas_for_alpha_bar

            return betas_for_alpha_bar(steps).double()
        if self.beta_schedule == "scaled_linear":
            return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64).square()
        return torch.linspace(start, end, steps, dtype=torch.float64)


def load_diffusers_prior(
    checkpoint: str | Path | None = None,
    first_timestep: FirstTimestep = 0,
    scaling_factor: ScalingFactor = None,
    quantize: Quantize = True,
) -> VPPrior:
    """Load the network of a folder that diffusers wrote, ready for inference.

    Args:
        checkpoint: a folder with config.json, diffusion_pytorch_model.safetensors or .bin and, if it is there,
            scheduler_config.json; or that of a pipeline, with unet/ and scheduler/. Without a scheduler's file β is
            DDPM's, from 1e-4 to 0.02 in 1000 steps. The configuration's sample_size is the size of the images, or, of
            a pipeline with vae/ or vqvae/, of the latents.
        first_timestep: the number of the first timestep: see `VPPrior`.
        scaling_factor, quantize: of a latent diffusion model: see `load_decoder`.

    Raises:
        InputError: a file is missing or broken, a key of one does not fit, or the weights differ from the network by a
            tensor.
    """
    from diffusers import UNet2DModel  # heavy; only what runs a network pays for it

    folder = network_folder(checkpoint)
    unet = read_unet(folder / CONFIG)
    found = schedule_file(folder)
    schedule = read_schedule(found) if found else BetaSchedule()
    path = weights_file(folder)
    network, notes = read_ddpm(unet, path)
    side = unet["sample_size"]
    shape = (network.config.in_channels, *((side, side) if isinstance(side, int) else side))
    prior = VPPrior(network, shape, betas=schedule.betas(), first_timestep=first_timestep)
    prior.checkpoint = path
    prior.learned_variance &= schedule.variance_type == "learned_range"
    prior.notes = notes if found else (*notes, f"no {SCHEDULER}: β linear from 1e-4 to 0.02 in 1000 steps")
    prior.described = {"network": told(unet, UNet2DModel), "schedule": form_of_object(schedule)}
    if found := autoencoder_folder(folder):
        decode_by(prior, load_decoder(found, shape, scaling_factor, quantize))
    return prior.requires_grad_(False).eval()


def load_latent_prior(
    checkpoint: str | Path | None = None,
    autoencoder: str | Path | None = None,
    scaling_factor: ScalingFactor = None,
    quantize: Quantize = True,
) -> EDMPrior:
    """Load a prior of latents that `python -m vml_bench.train --config-name latent` wrote, ready for inference.

    Args:
        checkpoint: safetensors file of the `EDMPrior`; None is the photos64_latent prior that comes with this package.
        autoencoder: see `load_decoder`; None is that prior's.
        scaling_factor, quantize: see `load_decoder`.

    Raises:
        InputError: a file is missing or broken, or differs from its network by a tensor.
    """
    made_by = "set prior.checkpoint to a file, or make one: `python -m vml_bench.train --config-name latent`"
    prior = load_edm_prior(existing(checkpoint or shipped_checkpoint(LATENT), made_by))
    autoencoder = autoencoder or shipped_checkpoint(LATENT_AUTOENCODER)
    decode_by(prior, load_decoder(autoencoder, prior.image_shape, scaling_factor, quantize))
    return prior


def decode_by(prior: VPPrior | EDMPrior, decoder: Decoder) -> None:
    """Make a prior one of latents, told from others by its decoder, too."""
    prior.decoder = decoder
    prior.described = {**getattr(prior, "described", {}), "decoder": decoder.described}
    prior.notes = (*getattr(prior, "notes", ()), *(f"decoder: {note}" for note in decoder.notes))


def load_decoder(
    folder: str | Path, latent_shape: Sequence[int], scaling_factor: ScalingFactor = None, quantize: Quantize = True
) -> Decoder:
    """Load an autoencoder that diffusers wrote, ready for inference.

    Args:
        folder: with config.json of an `AutoencoderKL` or `VQModel`, and its weights.
        latent_shape: (C', h, w).
        scaling_factor: what its latents are multiplied by; None: what config.json says, and where that says nothing
            what diffusers takes for an `AutoencoderKL`, and 1 for a `VQModel`. (For those diffusers takes 0.18215, too,
            at which samples of CompVis/ldm-celebahq-256, whose file says nothing, are distorted: diffusers#6725.)
        quantize: whether a `VQModel` decodes the nearest vectors of its codebook, as its pipeline does; see `Decoder`.

    Raises:
        InputError: a file is missing or broken, a key of one does not fit, the weights differ from the network by a
            tensor, or its latents have another number of channels.
    """
    from diffusers import AutoencoderKL, VQModel

    folder = Path(folder)
    file = folder / CONFIG
    if not file.is_file():
        raise InputError(
            f"there is no {CONFIG} in {folder}",
            "name the folder of an autoencoder of diffusers, or make one: `python -m vml_bench.train --config-name "
            "autoencoder`",
        )
    kinds = {kind.__name__: kind for kind in (AutoencoderKL, VQModel)}
    kind, options = read_config(file, kinds, OF_AUTOENCODER)
    network, notes = read_network(built(kind, options, file), weights_file(folder))
    channels = options.get("vq_embed_dim") or network.config.latent_channels
    if channels != latent_shape[0]:
        raise InputError(
            f"{file}: its latents have {channels} channels, those of the network {latent_shape[0]}",
            "use the autoencoder that the network was trained with",
        )
    stated = 1.0 if kind is VQModel and "scaling_factor" not in options else network.config.scaling_factor
    scale = float(stated if scaling_factor is None else scaling_factor)
    decoder = Decoder(network, latent_shape, scale, float(network.config.get("shift_factor") or 0), quantize)
    decoder.described = {
        "network": {kind.__name__: {key: value for key, value in told(options, kind).items() if key not in SCALING}},
        "scale": decoder.scale,
        "shift": decoder.shift,
        "quantize": decoder.quantize,
        "weights": sha256(weights_file(folder)),
    }
    decoder.notes = notes
    return decoder.requires_grad_(False).eval()


def autoencoder_folder(folder: Path) -> Path | None:
    """The folder of the autoencoder in the pipeline around a network's folder; None where the network is of images.

    Raises:
        InputError: there are several.
    """
    if folder.name not in NETWORKS:
        return None
    found = [folder.parent / name for name in AUTOENCODERS if (folder.parent / name / CONFIG).is_file()]
    if len(found) > 1:
        raise InputError(f"{folder.parent} holds several autoencoders", "leave the one that the network is of")
    return found[0] if found else None


def weights_file(folder: Path) -> Path:
    """The file of a network's weights.

    Raises:
        InputError: there is none.
    """
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"there is neither {' nor '.join(WEIGHTS)} in {folder}", "place the weights there")
    return path


def network_folder(checkpoint: str | Path | None) -> Path:
    """The folder that holds config.json: the one given, or a network's in it.

    Raises:
        InputError: there is none, or several.
    """
    wanted = f"set prior.checkpoint to a folder with {CONFIG} and {' or '.join(WEIGHTS)}"
    if not checkpoint:
        raise InputError("the prior needs a folder of diffusers", wanted)
    folder = Path(checkpoint)
    if not folder.is_dir():
        raise InputError(f"prior.checkpoint={folder} is not a folder", wanted)
    if (folder / CONFIG).is_file():
        return folder
    networks = [folder / name for name in NETWORKS if (folder / name / CONFIG).is_file()]
    if len(networks) > 1:
        raise InputError(
            f"{folder} holds several networks: {', '.join(network.name for network in networks)}",
            f"set prior.checkpoint to one of them, mostly {networks[-1]}",
        )
    if not networks:
        raise InputError(f"there is no {CONFIG} in {folder}, nor in its unet/", wanted)
    return networks[0]


def schedule_file(folder: Path) -> Path | None:
    """The scheduler's configuration: in a network's folder, in its scheduler/, or in that of the pipeline around it."""
    places = [folder, folder / "scheduler", *([folder.parent / "scheduler"] if folder.name in NETWORKS else [])]
    return next((place / SCHEDULER for place in places if (place / SCHEDULER).is_file()), None)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object, without the keys that diffusers keeps for itself ("_diffusers_version").

    Raises:
        InputError: the file is something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{file} is not a configuration of diffusers ({said})", "copy or fetch it again") from error
    return content


def read_schedule(file: Path) -> BetaSchedule:
    """What a scheduler's configuration says of β.

    Raises:
        InputError: it says nothing, or what no ε-predicting network in x_t = x_0 + σ n can be used with.
    """
    content = read_json(file)
    needed = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    if absent := [key for key in needed if key not in content]:
        raise InputError(
            f"{file} has no {absent[0]}, so it is not of a DDPM ({content.get('_class_name')})",
            "use a network that was trained with β, as DDPMScheduler has it",
        )
    known = {key: content[key] for key in BetaSchedule.__dataclass_fields__ if key in content}
    try:
        return BetaSchedule(**known)
    except InputError as error:
        raise InputError(f"{file}: {error.problem}", error.remedy) from error


def read_unet(file: Path) -> dict[str, Any]:
    """The keyword arguments of `UNet2DModel` that a network's configuration gives.

    Raises:
        InputError: a key is unknown or of another type, or the network is none that predicts noise by itself.
    """
    from diffusers import UNet2DModel

    _, unet = read_config(file, {UNet2DModel.__name__: UNet2DModel}, NEEDED)
    config = built(UNet2DModel, unet, file).config
    if config.out_channels not in (config.in_channels, 2 * config.in_channels):
        raise InputError(
            f"{file}: out_channels={config.out_channels} does not fit in_channels={config.in_channels}",
            "use a network that predicts as many channels of noise, with or without variances",
        )
    return unet


def read_config(file: Path, kinds: Mapping[str, type], types: Mapping[str, Any]) -> tuple[type, dict[str, Any]]:
    """The class of diffusers that a configuration is of, and the keyword arguments that it gives.

    Args:
        file: config.json.
        kinds: the classes that it may be of, by name.
        types: of arguments, where diffusers' own are wider or wrong; these hold of defaults, too.

    Raises:
        InputError: the file is of another class, or a key is unknown or of another type.
    """
    content = read_json(file)
    if (name := content.get("_class_name")) not in kinds:
        raise InputError(f"{file}: _class_name={name!r} is not read", f"use the folder of a {' or '.join(kinds)}")
    options = {key: value for key, value in content.items() if not key.startswith("_")}
    parameters = inspect.signature(kinds[name].__init__).parameters
    hints = dict.fromkeys(parameters, Any) | get_type_hints(kinds[name].__init__) | types
    defaults = {key: parameters[key].default for key in types if key in parameters}
    for key, value in {**defaults, **options}.items():
        if key not in parameters:
            raise InputError(f"{file}: {key!r} is unknown to {name}", "install the diffusers that the file is from")
        try:
            TypeAdapter(hints[key]).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            wanted = remedy(error.errors(include_url=False), hints[key])
            raise InputError(
                f"{file}: {key}={value!r} does not fit", f"use a network with another; {wanted}"
            ) from error
    return kinds[name], options


def built(kind: type, options: Mapping[str, Any], file: Path) -> nn.Module:
    """A network of diffusers on the meta device: shapes without memory.

    Raises:
        InputError: it cannot be built of what its configuration, `file`, says.
    """
    try:
        with torch.device("meta"):
            return kind(**options)
    except Exception as error:  # what a configuration of any content raises is up to the network
        said = " ".join(str(error).split())
        raise InputError(f"the network that {file} describes cannot be built ({said})", "copy it again") from error


def told(options: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """What tells one architecture from another: the arguments that are not at their default, as JSON holds them."""
    defaults = {name: canonical(at.default) for name, at in inspect.signature(kind.__init__).parameters.items()}
    return {key: value for key, value in canonical(options).items() if value != defaults[key]}
