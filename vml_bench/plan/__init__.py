"""What a sweep will cost before any of it is spent: evaluations counted exactly, their time estimated or measured.

Evaluations are counted by running each method with a trivial denoiser (`vml_bench.runner.cost`). Their time is an
estimate: the operations of a pass, as the prior's configuration states them, over what a device of this kind does in a
second. Measured, the network is timed once forward and once with the Jacobian product, on the device that the sweep
would use; so it is, too, where a configuration states no operations.
What the planned cells say about published numbers, and what each of those costs, comes from results/published.yaml.
"""

from vml_bench.plan.cells import Pass, Plan, Planned, calibrate, plan
from vml_bench.plan.claims import claims_of, format_claims
from vml_bench.plan.devices import format_devices, on_devices, spread
from vml_bench.plan.text import format_plan

__all__ = [
    "Pass",
    "Plan",
    "Planned",
    "calibrate",
    "claims_of",
    "format_claims",
    "format_devices",
    "format_plan",
    "on_devices",
    "plan",
    "spread",
]
