"""Peak memory of a piece of work: of the GPU's allocator, or of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch's allocators say when their error has no class of its own."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a batch did not fit, on a GPU or in this machine."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in OUT_OF_MEMORY)


class PeakMemory:
    """Measures the peak since `start`, in MB (10⁶ bytes).

    On a GPU it is what torch's allocator held; elsewhere the resident set of the process, prior and metric
    networks included. Where the kernel cannot reset its high-water mark, it is the peak since the process began.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> None:
        """Forget the peak so far."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:
                return

    def peak(self) -> float:
        """The peak since `start`, in MB."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        status = Path("/proc/self/status")
        if status.is_file():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
