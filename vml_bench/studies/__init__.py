"""Studies on the closed-form priors: each a module that measures one question and writes a table and a figure."""
