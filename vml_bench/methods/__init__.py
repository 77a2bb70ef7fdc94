"""The paper's method, plain and preconditioned; of this project, its fixed-point form and the way on to a sample."""

from vml_bench.methods.loss import vml_loss
from vml_bench.methods.mode_then_sample import ModeThenSample
from vml_bench.methods.vml_fixed_point import VMLFixedPoint
from vml_bench.methods.vml_map import VMLMAP
from vml_bench.methods.vml_map_pre import VMLMAPPreconditioned

__all__ = ["VMLMAP", "ModeThenSample", "VMLFixedPoint", "VMLMAPPreconditioned", "vml_loss"]
