"""Weights and data from elsewhere: what there is, where it comes from, and how it gets here whole."""
