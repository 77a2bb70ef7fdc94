"""The published networks: what each is made of, and where its weights are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from omegaconf import OmegaConf

from vml_bench.errors import InputError
from vml_bench.weights.cache import cache_dir
from vml_bench.weights.catalogue import find


@dataclass(frozen=True)
class PublishedNetwork:
    """A network whose weights others have published, as networks/<name>.yaml and the catalogue of weights describe it.

    Attributes:
        name: the prior's name; `vml-bench fetch <name>-prior` gets its weights.
        format: "adm" or "ddpm": which kind of network it is, and how `network` describes it.
        files: names under which the weights may lie in the cache folder, the one to look for first in front.
        network: the architecture, in the words of its format.
        names: of a "ddpm", whose tensor names the file has: one of `vml_bench.priors.ddpm.NAMES`.
    """

    name: str
    format: str
    files: tuple[str, ...]
    network: dict
    names: str = "diffusers"

    def locate(self, checkpoint: str | Path | None = None) -> Path:
        """The weight file to read: `checkpoint`, a file of that name in the folder `checkpoint`, or the cached one.

        A safetensors file of the same stem beside it is taken instead: it can hold nothing but tensors.

        Raises:
            InputError: there is no such file; says how to fetch it and where to place it.
        """
        folder = Path(checkpoint) if checkpoint else cache_dir()
        named = [folder / file for file in self.files] if folder.is_dir() or not checkpoint else [folder]
        for file in named:
            for candidate in (file.with_suffix(".safetensors"), file):
                if candidate.is_file():
                    return candidate
        raise InputError(
            f"the weights of prior {self.name} are missing: there is no file {named[0]}",
            f"run `vml-bench fetch {self.name}-prior`, or place {self.files[0]} at {cache_dir() / self.files[0]}"
            + (", or correct prior.checkpoint" if checkpoint else ""),
        )


def published_names() -> list[str]:
    """Names of all published networks."""
    folder = files("vml_bench.priors").joinpath("networks")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def published(name: str, format: str | None = None) -> PublishedNetwork:
    """The description of a published network.

    Raises:
        InputError: no network of that name, or none of that format; lists those there are.
    """
    known = {other: _read(other) for other in published_names()}
    fitting = {other: network for other, network in known.items() if format in (None, network.format)}
    if name not in fitting:
        kind = f"{format} network" if format else "network"
        raise InputError(f"no published {kind} is called '{name}'", f"choose one of {', '.join(fitting)}")
    return fitting[name]


def _read(name: str) -> PublishedNetwork:
    text = files("vml_bench.priors").joinpath("networks", f"{name}.yaml").read_text(encoding="utf-8")
    described = OmegaConf.to_container(OmegaConf.create(text))
    return PublishedNetwork(name, files=find(f"{name}-prior").files, **described)
