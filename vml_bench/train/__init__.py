"""The `photos64` prior: training, and the model card that measures it."""
