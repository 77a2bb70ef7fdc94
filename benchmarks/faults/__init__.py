"""Faults, injected into real processes: what happens to a run, and whether the same command, started again, heals it.

`ground` holds the undisturbed run and the one that is spoilt, and compares them; `inject` is what a process does to
itself; `kills`, `room`, `damage`, `numbers`, `together` and `clocks` are the faults;
`python -m benchmarks.faults` writes results/durability.md.
"""
