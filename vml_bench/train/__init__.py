"""The `photos64` prior: how it is trained, and the model card that measures it."""
