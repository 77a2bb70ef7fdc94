"""The paper's method, plain and preconditioned, this project's fixed-point form of it, and the loss they descend."""

from vml_bench.methods.loss import vml_loss
from vml_bench.methods.vml_fixed_point import VMLFixedPoint
from vml_bench.methods.vml_map import VMLMAP
from vml_bench.methods.vml_map_pre import VMLMAPPreconditioned

__all__ = ["VMLMAP", "VMLFixedPoint", "VMLMAPPreconditioned", "vml_loss"]
