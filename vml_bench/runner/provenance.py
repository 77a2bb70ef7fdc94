"""The software and hardware of this process."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds .git if this code is run from a checkout."""

PACKAGES = ("vml-bench", "torch", "torchvision", "diffusers", "torchmetrics", "lpips", "clean-fid", "numpy", "scipy")


def git_revision(checkout: Path = CHECKOUT) -> str:
    """The commit that this code was run from, with "-dirty" appended if files outside results/ differ from it.

    Args:
        checkout: the folder that holds .git.

    Returns:
        40 hexadecimal digits; "unknown" outside a checkout, before a first commit, or without git.
    """
    if not (checkout / ".git").exists() or not (git := shutil.which("git")):
        return "unknown"
    ask = partial(subprocess.run, capture_output=True, text=True, check=False, cwd=checkout)
    head = ask([git, "rev-parse", "--verify", "HEAD"]).stdout.strip()
    if not head:
        return "unknown"
    differs = ask([git, "diff", "--quiet", "HEAD", "--", ".", ":(exclude)results"]).returncode
    return f"{head}-dirty" if differs else head


def installed(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment(device: torch.device) -> dict:
    """Software and hardware of this process."""
    return {
        "git": git_revision(),
        "python": platform.python_version(),
        "packages": {package: installed(package) for package in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "device_type": device.type,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
