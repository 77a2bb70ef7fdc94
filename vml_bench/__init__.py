"""vml-bench: benchmarks for inverse problems with diffusion models.

Reproduces and stress-tests "Inverse problems with diffusion models: MAP estimation via mode-seeking
loss" (Gutha, Vinuesa, Azizpour; arXiv 2512.10524).
"""

from typing import Any

__all__ = ["evaluate", "picture_grid", "restore"]


def __getattr__(name: str) -> Any:
    """`evaluate` and the others, with all that they need, when they are first asked for: seconds later."""
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("vml_bench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
