"""What each method reaches in the plane of LPIPS and PSNR at equal compute, and where one with a knob stands.

    python -m vml_bench.studies.frontier

Reads what `make reproduce-frontier` and `make tune-frontier` left, and writes frontier.{csv,md}, frontier_pairs.csv,
frontier_tuning.csv, frontier.png (means over tasks) and frontier_<task>.png. A run's budget is the least of `BUDGETS`
that its evaluations and products fit into; a cell is a task, a σ_y and a budget.

Two runs of a cell are compared image by image, in LPIPS and in PSNR, as `vml-bench compare` does: whole photographs are
resampled, and Holm's correction is over all pairs of the cell in both metrics. One run answers another if it is worse
beyond chance in neither. `mode_then_sample` is *dominated* in a cell if a run of another method is there that no
place of its knob answers; it *dominates* the cell if against every run of the others one of its places is worse in
neither metric and better in one, beyond chance; else the cell is a *tie*.
"""
