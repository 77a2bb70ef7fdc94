"""`vml-bench doctor`: what a target needs, whether it is here, and the command that gets the rest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vml_bench.errors import InputError
from vml_bench.text import aligned
from vml_bench.weights.cache import cache_dir
from vml_bench.weights.catalogue import BY_HAND, TARGETS, ByHand, Weights, find
from vml_bench.weights.check import verify
from vml_bench.weights.obtain import placed

SHIPPED = Path(__file__).with_name("priors") / "weights" / "photos64.safetensors"


@dataclass(frozen=True)
class Need:
    """One thing that a target needs.

    Attributes:
        what: its name.
        state: "found", or what is wrong.
        size: in bytes; None where it has no meaning.
        where: where it is, or would be.
        command: how to get it; empty if it was found.
        counts: whether the target is incomplete without it.
    """

    what: str
    state: str
    size: int | None
    where: str
    command: str = ""
    counts: bool = True

    @property
    def missing(self) -> bool:
        """Whether the target cannot run for lack of it."""
        return self.counts and bool(self.command)


def targets(name: str | None) -> list[str]:
    """The target of a name; None: all.

    Raises:
        InputError: there is no such target; lists those there are.
    """
    if name is not None and name not in TARGETS:
        raise InputError(f"there is no target '{name}'", f"choose among {', '.join(TARGETS)}")
    return [name] if name else list(TARGETS)


def examine(name: str) -> list[Need]:
    """Look for everything that a target needs; reads files, but neither writes nor downloads."""
    target = TARGETS[name]
    needs = [weights(what) for what in target.weights]
    needs += [weights(what, counts=False) for what in (*target.optional, *target.priors)]
    needs += [shipped()] if target.dataset == "photos64" else []
    needs += [data(target.dataset)]
    needs += [gpu()] if target.gpu else []
    to_come = sum(need.size or 0 for need in needs if need.missing)
    return [*needs, disk(Path("results"), target.results + to_come)]


def weights(name: str, counts: bool = True) -> Need:
    """Weights of the catalogue, verified."""
    entry, folder = find(name), cache_dir()
    label = name if counts else f"{name} (optional)"
    command = f"vml-bench fetch {name}"
    file = entry.found(folder)
    if file is None:
        wanted = folder / entry.sources[0][1] if isinstance(entry, Weights) else folder
        return Need(label, "missing", entry.about, str(wanted), command, counts)
    try:
        if isinstance(entry, Weights):
            verify(file, entry, record=False)
    except InputError as error:
        return Need(label, f"damaged: {error.problem}", entry.about, str(file), f"rm {file} && {command}", counts)
    return Need(label, "found", entry.about, str(file), "", counts)


def shipped() -> Need:
    """The prior that is part of the package."""
    if SHIPPED.is_file():
        return Need("photos64-prior", "found", SHIPPED.stat().st_size, str(SHIPPED))
    return Need("photos64-prior", "missing", None, str(SHIPPED), "pip install --force-reinstall vml-bench")


def data(name: str) -> Need:
    """The images of a data set, found as its configuration in conf/dataset finds them; counted, not decoded."""
    from hydra import compose, initialize_config_dir

    from vml_bench.configuration import config_dir
    from vml_bench.runner.resources import build

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", [f"dataset={name}"])
    root = str(config.dataset.get("root", "installed packages"))
    entry = placed_by_hand(name)
    about = entry.about if entry else None
    command = f"vml-bench fetch {name}" if entry else ""
    try:
        images = build(config.dataset.images, "dataset")
        absent, n = len(images.missing() if entry else ()), len(images.ids)
    except InputError as error:
        problem = error.problem.removeprefix(f"data set '{name}': ")
        return Need(f"{name} (data)", f"missing: {problem}", about, root, command or error.remedy)
    state = f"{n - absent} of {n} images" if absent else f"found: {n} images"
    return Need(f"{name} (data)", state, about, root, command if absent else "")


def gpu() -> Need:
    """A CUDA GPU."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        return Need("GPU", "found", memory, torch.cuda.get_device_name(0))
    return Need("GPU", "missing", None, "no CUDA device", "run on a machine with one (here: try runner.limit=1)")


def disk(folder: Path, needed: int) -> Need:
    """Space for the results and for what is still missing."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    where = f"{existing.absolute()}: {free / 1e9:.1f} GB free"
    if free < needed:
        return Need("disk", "missing", needed, where, "free disk space, or set runner.results_dir")
    return Need("disk", "found", needed, where)


def report(name: str, needs: Sequence[Need]) -> str:
    """A target's needs as a table, and how to get by hand what no command can fetch."""
    rows = [("needed", "state", "size", "where", "to get it")]
    rows += [(need.what, need.state, human(need.size), need.where, need.command or "-") for need in needs]
    missing = sum(need.missing for need in needs)
    lines = [f"{name}: {f'{missing} missing' if missing else 'complete'}", *aligned(rows)]
    entry = placed_by_hand(TARGETS[name].dataset)
    if entry and any(need.missing and need.what == f"{entry.name} (data)" for need in needs):
        lines.append(f"{entry.name}: accept {entry.licence}; get it from {entry.get}; put {placed(entry)}")
    return "\n".join(lines)


def placed_by_hand(dataset: str) -> ByHand | None:
    """The catalogue's entry of a data set; None if packages carry it."""
    return next((entry for entry in BY_HAND if entry.name == dataset), None)


def human(size: int | None) -> str:
    """A size in MB or GB."""
    if size is None:
        return "-"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
