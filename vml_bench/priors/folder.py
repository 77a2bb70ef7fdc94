"""A folder of diffusers with a `UNet2DModel` that predicts noise: its architecture, its schedule and its weights."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from vml_bench.errors import InputError
from vml_bench.identity import Aside, canonical, form_of_object
from vml_bench.priors.ddpm import meta_network, read_ddpm
from vml_bench.priors.vp import FirstTimestep, VPPrior
from vml_bench.settings import remedy, settings

CONFIG = "config.json"
SCHEDULER = "scheduler_config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
NETWORKS = ("unet", "unet_ema")
"""Folders of a pipeline, or of a training run, that hold a network."""

Beta = Annotated[float, Field(gt=0, lt=1)]
Side = Annotated[int, Field(ge=1)]
NEEDED: dict[str, Any] = {
    "sample_size": Side | tuple[Side, Side],
    "time_embedding_type": Literal["positional"],
    "class_embed_type": None,
    "num_class_embeds": None,
}
"""What a network of images alone, told the timestep, has in its configuration; types narrower than diffusers' own."""


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


def load_diffusers_prior(checkpoint: str | Path | None = None, first_timestep: FirstTimestep = 0) -> VPPrior:
    """Load the network of a folder that diffusers wrote, ready for inference.

    Args:
        checkpoint: a folder with config.json, diffusion_pytorch_model.safetensors or .bin and, if it is there,
            scheduler_config.json; or that of a pipeline, with unet/ and scheduler/. Without a scheduler's file β is
            DDPM's, from 1e-4 to 0.02 in 1000 steps. The configuration's sample_size is the size of the images.
        first_timestep: the number of the first timestep: see `VPPrior`.

    Raises:
        InputError: a file is missing or broken, a key of one does not fit, or the weights differ from the network by a
            tensor.
    """
    folder = network_folder(checkpoint)
    unet = read_unet(folder / CONFIG)
    found = schedule_file(folder)
    schedule = read_schedule(found) if found else BetaSchedule()
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"there is neither {' nor '.join(WEIGHTS)} in {folder}", "place the weights there")
    network, notes = read_ddpm(unet, path)
    side = unet["sample_size"]
    shape = (network.config.in_channels, *((side, side) if isinstance(side, int) else side))
    prior = VPPrior(network, shape, betas=schedule.betas(), first_timestep=first_timestep)
    prior.checkpoint = path
    prior.learned_variance &= schedule.variance_type == "learned_range"
    prior.notes = notes if found else (*notes, f"no {SCHEDULER}: β linear from 1e-4 to 0.02 in 1000 steps")
    prior.described = {"network": told(unet), "schedule": form_of_object(schedule)}
    return prior.requires_grad_(False).eval()


def network_folder(checkpoint: str | Path | None) -> Path:
    """The folder that holds config.json: the one given, or a network's in it.

    Raises:
        InputError: there is none, or several.
    """
    wanted = f"set prior.checkpoint to a folder with {CONFIG} and {' or '.join(WEIGHTS)}"
    if not checkpoint:
        raise InputError("prior=diffusers needs a folder", wanted)
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
        InputError: a key is unknown or of another type, or the network is none that predicts the noise of images by
            itself.
    """
    from diffusers import UNet2DModel

    content = read_json(file)
    if (kind := content.get("_class_name")) != UNet2DModel.__name__:
        raise InputError(f"{file}: _class_name={kind!r} is not read", "use the folder of a UNet2DModel")
    unet = {key: value for key, value in content.items() if not key.startswith("_")}
    hints = get_type_hints(UNet2DModel.__init__) | NEEDED
    for key, value in {"sample_size": None, **unet}.items():
        if key not in hints:
            raise InputError(
                f"{file}: {key!r} is unknown to UNet2DModel", "install the diffusers that the file is from"
            )
        try:
            TypeAdapter(hints[key]).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            wanted = remedy(error.errors(include_url=False), hints[key])
            raise InputError(
                f"{file}: {key}={value!r} does not fit", f"use a network with another; {wanted}"
            ) from error
    try:
        config = meta_network(unet).config
    except Exception as error:  # what a configuration of any content raises is up to the network
        said = " ".join(str(error).split())
        raise InputError(f"the network that {file} describes cannot be built ({said})", "copy it again") from error
    if config.out_channels not in (config.in_channels, 2 * config.in_channels):
        raise InputError(
            f"{file}: out_channels={config.out_channels} does not fit in_channels={config.in_channels}",
            "use a network that predicts as many channels of noise, with or without variances",
        )
    return unet


def told(unet: dict[str, Any]) -> dict[str, Any]:
    """What tells one architecture from another: the arguments that are not at their default, as JSON holds them."""
    from diffusers import UNet2DModel

    defaults = {name: canonical(at.default) for name, at in inspect.signature(UNet2DModel.__init__).parameters.items()}
    return {key: value for key, value in canonical(unet).items() if value != defaults[key]}
