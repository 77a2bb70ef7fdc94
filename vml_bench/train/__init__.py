"""The priors of `photos64`: how they are trained, and the model card that measures the one that is shipped."""
