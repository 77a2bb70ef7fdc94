"""Priors: denoisers D(x, σ), learned and closed-form."""
