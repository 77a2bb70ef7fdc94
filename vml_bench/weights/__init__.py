"""Published weights and data: what there is, where it comes from, how it gets here whole."""
