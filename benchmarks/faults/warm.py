"""Imported by multiprocessing's fork server: its children have torch, networks and images, and start at once."""

from __future__ import annotations

import contextlib
import io
import tempfile

import torch
from tqdm import tqdm

from vml_bench.cli import main

torch.set_num_threads(1)
tqdm.monitor_interval = 0  # no thread may run where processes are forked

with tempfile.TemporaryDirectory() as _scratch, contextlib.redirect_stderr(io.StringIO()):
    for _cell in (
        ("task=sr4", "runner.limit=1"),
        ("dataset=gmm_vector", "task=random_projection", "dataset.scenes=1"),
    ):
        main(["run", *_cell, "method=pinv", "runner.device=cpu", f"runner.results_dir={_scratch}"])
