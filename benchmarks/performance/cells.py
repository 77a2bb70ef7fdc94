"""Cells of the benchmark as the performance measurements need them: every method, shortened, and the bare network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig
from torch import Tensor

from vml_bench.configuration import config_dir
from vml_bench.contract import Prior, needs_prior
from vml_bench.errors import InputError
from vml_bench.runner.cost import count

SIGMA = 1.0
"""Where the bare network is asked; its cost does not depend on σ."""


def configured(*overrides: str) -> DictConfig:
    """One cell's configuration."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", list(overrides))


def method_configs() -> dict[str, DictConfig]:
    """`method` of every file of conf/method, by name."""
    names = sorted(path.stem for path in (config_dir() / "method").glob("*.yaml"))
    return {name: configured(f"method={name}").method for name in names}


def families() -> dict[str, list[str]]:
    """Names of methods by the class that runs them, the plain configuration of each first: {"ddrm": ["ddrm", …]}."""
    by_target: dict[str, list[str]] = {}
    for name, method in method_configs().items():
        by_target.setdefault(method.sampler._target_, []).append(name)
    return {min(names, key=len): sorted(names, key=len) for names in by_target.values()}


def uses_network(method: DictConfig) -> bool:
    """Whether a method asks the denoiser at all."""
    return needs_prior(get_class(method.sampler._target_))


def shortened(config: DictConfig, prior: Prior, passes: int) -> tuple[DictConfig, int, int]:
    """A cell with the fewest levels that make its method ask the network `passes` times or more; its NFE and VJP."""
    shorter = copy.deepcopy(config)
    for levels in range(1, config.method.sampler.schedule.levels + 1):
        shorter.method.sampler.schedule.levels = levels
        try:
            nfe, vjp = count(shorter, prior)
        except InputError:  # fewer levels than the schedule can have
            continue
        if nfe >= passes:
            break
    return shorter, nfe, vjp


def bare_passes(
    prior: Callable[[Tensor, float], Tensor], x: Tensor, autocast: Callable, nfe: int, vjp: int
) -> Callable[[], None]:
    """The network work of a method without the method: `nfe` evaluations at x, `vjp` Jacobian products on them.

    Args:
        prior: the network as it was loaded.
        x: (B, C, H, W).
        autocast: makes the context that the network is evaluated in.
        nfe: evaluations.
        vjp: products; spread over the evaluations where there are more of them than evaluations.
    """
    linearised = min(nfe, vjp)

    def evaluate(point: Tensor) -> Tensor:
        with autocast():
            return prior(point, SIGMA)

    def work() -> None:
        for _ in range(nfe - linearised):
            with torch.no_grad():
                evaluate(x)
        for i in range(linearised):
            point = x.detach().requires_grad_()
            denoised = evaluate(point)
            products = vjp // linearised + (i < vjp % linearised)
            for left in reversed(range(products)):
                torch.autograd.grad(denoised, point, grad_outputs=x, retain_graph=left > 0)

    return work
