"""vml-bench: benchmarks for inverse problems with diffusion models.

Reproduces and stress-tests "Inverse problems with diffusion models: MAP estimation via mode-seeking
loss" (Gutha, Vinuesa, Azizpour; arXiv 2512.10524).
"""
