"""Peak memory of each method at FFHQ's size, batch 1 and 4: ADM's network with arbitrary weights, one level.

Each method runs in a process of its own. Memory does not depend on the number of levels or inner steps, so the fewest
are run. On the CPU the figure is the resident set's peak beyond what it was with the network loaded; the
allocator is told to give freed blocks back at once, so that it is what is held, not what was once held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.performance.cells import configured, families, method_configs, shortened, uses_network
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.denoiser import Denoiser
from vml_bench.noise import ImageNoise
from vml_bench.priors.synthetic import synthetic_prior
from vml_bench.runner.memory import PeakMemory
from vml_bench.runner.resources import build

NETWORK = "ffhq256"
FIRST_NEED_GB = 5.0
"""Of the first method with the Jacobian at batch 1: 3.3 GB measured, and room."""
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""glibc: blocks from 64 KiB on are mapped one by one and unmapped when freed."""


def measure(method: str, batch: int, device: torch.device) -> dict[str, Any]:
    """GB (10⁹ bytes) that one method takes beyond the network, and the passes that it was measured over."""
    config = configured(f"method={method}")
    for name in ("inner_steps", "ode_steps", "iterations"):
        if name in config.method.sampler:
            config.method.sampler[name] = 1
    prior = synthetic_prior(NETWORK).to(device)
    nfe = vjp = 0
    if uses_network(config.method):
        config, nfe, vjp = shortened(config, prior, 1)
    operator = build(config.task.operator, "task")(image_shape=prior.image_shape).to(device)
    sampler, noise = build(config.method.sampler, "method"), ImageNoise(0, [str(i) for i in range(batch)], "benchmark")
    images = noise.randn_like(torch.empty(batch, *prior.image_shape, device=device)).clamp(-1, 1)
    y = operator.measure(images, config.task.noise_std, noise.randn_like(operator.forward(images)))
    with torch.no_grad():
        prior(torch.zeros(1, 3, 64, 64, device=device), 1.0)  # what the first pass alone sets up
    before, memory = held(device), PeakMemory(device)
    memory.start()
    sampler.restore(y, operator, config.task.noise_std, Denoiser(prior), noise)
    return {"nfe": nfe, "vjp": vjp, "network_gb": before / 1e9, "gb": (memory.peak() * 1e6 - before) / 1e9}


def held(device: torch.device) -> float:
    """Bytes held now: by the GPU's allocator, or resident."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def available_gb(device: torch.device) -> float:
    """GB that may still be taken."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e9
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")) / 1e9


def in_child(method: str, batch: int, device: torch.device) -> dict[str, Any]:
    """`measure` in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.performance.memory", "--one", method, str(batch), "--device", str(device)]
    line += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **GIVE_BACK})
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return {"failed": last[:100]}
    return json.loads(done.stdout.splitlines()[-1])


def measured(names: Sequence[str], batches: Sequence[int], device: torch.device) -> dict[str, Any]:
    """The row of the methods that one class runs."""
    row: dict[str, Any] = {"method": ", ".join(names)}
    smaller, need = None, FIRST_NEED_GB
    for batch in batches:
        if smaller:
            need = smaller["gb"] * batch / batches[0] * 1.1 + smaller["network_gb"]
        if need > (room := available_gb(device)):
            row[f"GB, batch {batch}"] = f"skipped: needs about {need:.0f} GB, {room:.0f} GB are free"
            continue
        found = in_child(names[0], batch, device)
        if "failed" in found:
            row[f"GB, batch {batch}"] = found["failed"]
            continue
        row |= {"passes": f"{found['nfe']} + {found['vjp']} vjp", f"GB, batch {batch}": found["gb"]}
        row["GB before"] = found["network_gb"]
        smaller = smaller or found
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--methods", nargs="+", help="of conf/method; default: one of each class")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4], help="default: %(default)s")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    device = begin(arguments)
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], int(arguments.one[1]), device)))
        return
    if arguments.quick:
        arguments.methods, arguments.batches = arguments.methods or ["pinv", "ddrm"], [1]
    chosen = [names for first, names in families().items() if not arguments.methods or first in arguments.methods]
    chosen.sort(key=lambda names: (uses_network(method_configs()[names[0]]), names))
    rows = [measured(names, arguments.batches, device) for names in chosen]
    table = Table("GB (10⁹ bytes) beyond the network's own", ["method", "passes"], rows)
    settings = {"network": f"{NETWORK}, arbitrary weights, 256×256, float32", "task": "sr4"}
    write(Benchmark("memory", "Peak memory at FFHQ's size", [table], settings, _notes()), device, arguments)


def _notes() -> tuple[str, ...]:
    before = "“GB before”: what the process held with the network loaded, Python and its libraries included."
    return (" ".join(__doc__.split("\n\n")[1].split()), before)


if __name__ == "__main__":
    main()
