"""Cheaper passes on a CPU: what precision, memory layout and compiling save, and what they do to the scores.

    python -m benchmarks.performance.cpu [--compile | --avx2]

The photos64 network at several sizes of a batch, forward and with the Jacobian product, each way over float32; then the
same cells restored in each way, scored, and compared image by image with float32. Compiling takes minutes: how many
batches pay for it is counted with its first passes. --avx2 keeps the libraries to AVX2, as on an older CPU;
bfloat16 is dozens of times slower there (torch then has no library for its convolutions), and gets one small batch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.ao.quantization import get_default_dynamic_quant_module_mappings
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.performance.cells import configured
from benchmarks.performance.floor import COMPILED, EAGER, SHAPE, cost_table
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.priors.unet import load_edm_prior
from vml_bench.runner.compute import Compute
from vml_bench.runner.run import run_cell
from vml_bench.store.runs import open_run

METHODS = ("ddrm", "pigdm")
"""Whose scores are compared: one without and one with the Jacobian product."""
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Environment variables that keep torch, oneDNN and MKL to AVX2; each library reads its own once, when it is loaded."""
EQUAL = 0.01
"""dB of mean PSNR within which a way is as good as float32."""


def scores(methods: Sequence[str], ways: Mapping[str, Compute], images: int, scratch: Path, *overrides: str) -> Table:
    """Means of each method's scores in each way, and their differences from the first way, float32.

    Args:
        methods: of conf/method.
        ways: how the network is computed, float32 first.
        images: test crops of photos64.
        scratch: folder for the results.
        overrides: further ones of the cells.
    """
    rows = []
    for method in methods:
        plain = None
        for way, compute in ways.items():
            told = [f"compute.dtype={compute.dtype}", f"compute.channels_last={str(compute.channels_last).lower()}"]
            told += [f"runner.limit={images}", f"runner.batch_size={images}", f"runner.results_dir={scratch}"]
            config = configured("task=sr4", f"method={method}", "runner.device=cpu", *told, *overrides)
            found = open_run(run_cell(config)).images.set_index("image_id")[["psnr", "lpips_alex"]]
            plain = found if plain is None else plain
            change = found - plain
            row: dict[str, Any] = {"method": method, "network": way}
            row |= {"PSNR dB": f"{found['psnr'].mean():.2f}", "LPIPS": f"{found['lpips_alex'].mean():.3f}"}
            for column, title in (("psnr", "PSNR"), ("lpips_alex", "LPIPS")):
                row[f"{title}, change"] = f"{change[column].mean():+.4f}"
                row[f"{title}, largest of an image"] = f"{change[column].abs().max():.4f}"
            row[f"within {EQUAL:g} dB"] = "yes" if abs(change["psnr"].mean()) <= EQUAL else "no"
            rows.append(row)
    return Table(f"Scores of {images} test crops, sr4, σ_y = 0.05", ["method", "network"], rows)


def fastest_equal(costs: Table, scored: Table, batch: int) -> str:
    """The fastest way at a size of a batch among those within `EQUAL` of float32 for every method, in words."""
    apart = {row["network"] for row in scored.rows if row[f"within {EQUAL:g} dB"] == "no"}
    fit = [row for row in costs.rows if row["batch"] == str(batch) and row["network"] not in apart]
    said = []
    for kind in ("forward", "with product"):
        row = min(fit, key=lambda row: row[f"{kind} / float32"].median)
        said.append(f"{kind} {row['network']} ({row[f'{kind} / float32'].median:.2f} of float32)")
    return f"Fastest at batch {batch} among those within {EQUAL:g} dB of float32: {', '.join(said)}."


def about_int8() -> str:
    """Whether torch's dynamic quantization has a layer for convolutions, and what they are of a pass."""
    layers = {layer.__name__ for layer in get_default_dynamic_quant_module_mappings()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        load_edm_prior().to("meta")(torch.zeros(1, *SHAPE, device="meta"), 1.0)
    operations = counter.get_flop_counts()["Global"]
    share = sum(n for name, n in operations.items() if "convolution" in str(name)) / sum(operations.values())
    lacks = "among them convolutions" if nn.Conv2d.__name__ in layers else "not for convolutions"
    return (
        f"int8 was not measured: torch's dynamic quantization has layers for {', '.join(sorted(layers))}, {lacks}, "
        f"which do {share:.0%} of this network's operations."
    )


def instructions() -> str:
    """The vector instructions that torch uses here, and what the CPU has for bfloat16."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.is_file() else set()
    used = [torch.backends.cpu.get_cpu_capability()]
    if kept_to_avx2():
        return f"{used[0]} (AVX-512 of this CPU not used)" if "avx512f" in flags else used[0]
    return " ".join([*used, *sorted({"avx512_bf16", "amx_bf16", "amx_int8"} & flags)])


def kept_to_avx2() -> bool:
    """Whether this process was started with the variables of `AVX2`."""
    return all(os.environ.get(name) == value for name, value in AVX2.items())


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--batches", nargs="+", type=int, default=[4, 8, 16, 32], help="default: %(default)s")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--compile", action="store_true", help="torch.compile, too: minutes, and needs a compiler")
    either.add_argument("--avx2", action="store_true", help="use AVX2 only; writes cpu_avx2.md")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="whose scores are compared; default: %(default)s")
    parser.set_defaults(device="cpu")
    arguments = parser.parse_args(argv)
    if arguments.avx2 and not kept_to_avx2():
        again = [sys.executable, "-m", "benchmarks.performance.cpu", *(sys.argv[1:] if argv is None else argv)]
        sys.exit(subprocess.run(again, env={**os.environ, **AVX2}).returncode)
    device = begin(arguments)
    batches, budget, images, few = arguments.batches, 8.0, 8, ()
    if arguments.quick:
        batches, budget, images, few = [1, 2], 0.0, 2, ("method.sampler.schedule.levels=2",)
    middle = 16 if 16 in batches else batches[-1]
    eager = {way: told for way, told in EAGER.items() if told.dtype == "float32" or not arguments.avx2}
    tables = {"A pass": cost_table(eager, batches, device, budget)}
    if arguments.avx2:
        tables["A pass of one image, bfloat16 too"] = cost_table(EAGER, [1], device, 0.0)
    if arguments.compile:
        tables["A pass, compiled"] = cost_table(COMPILED, [middle], device, budget)
    named = [Table(title, table.keys, table.rows) for title, table in tables.items()]
    with tempfile.TemporaryDirectory() as scratch:
        scored = scores(arguments.methods, eager, images, Path(scratch), *few)
    settings = {"network": "photos64, 64×64", "instructions": instructions(), "budget s": budget}
    notes = [fastest_equal(tables["A pass"], scored, middle), NOTE, KEPT_TO_AVX2 if arguments.avx2 else about_int8()]
    name, only = ("cpu_avx2", ", AVX2 only") if arguments.avx2 else ("cpu", "")
    title = f"Cheaper passes on a CPU{only}"
    write(Benchmark(name, title, [*named, scored], settings, notes), device, arguments)


NOTE = (
    "“change of D, of Jᵀv”: the largest relative L2 change against float32 over σ = 0.05, 0.5, 5. Changes of scores "
    "are against float32 on the same images with the same noise: their mean, and the largest of an image. "
    "“pays after batches”: of how many batches' passes the time saved is that of compiling and the first passes."
)
KEPT_TO_AVX2 = (
    "torch, oneDNN and MKL were kept to AVX2. torch asks oneDNN whether it can compute in bfloat16, and without it "
    "takes a convolution of its own: so it does on a CPU that has AVX2 only. For int8 see cpu.md."
)


if __name__ == "__main__":
    main()
