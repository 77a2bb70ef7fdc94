"""What the page says of a heading when it is pointed at: one or two sentences a term."""

from __future__ import annotations

from vml_bench.columns import Column

SENSE = {+1: "Higher is better.", -1: "Lower is better.", 0: ""}
TERMS = {
    "method": "A row is a method as configured, or with the settings named behind it.",
    "n": "Images of the row.",
    "diverged": "Images without a usable restoration: not finite, or further from the measurement than a grey image. "
    "Means leave them out.",
    "noise_std": "σ_y, the standard deviation of the noise in the measurement, for images in [-1, 1]. "
    "Papers that count pixels on [0, 1] write half as much.",
    "psnr": "Peak signal-to-noise ratio, from the mean squared error. Smooth answers do well.",
    "ssim": "Structural similarity (Wang et al. 2004), at most 1.",
    "lpips_alex": "Distance between features of AlexNet (Zhang et al. 2018), close to what people see.",
    "lpips_vgg": "Distance between features of VGG16 (Zhang et al. 2018). It does not compare with LPIPS on AlexNet.",
    "fid": "Fréchet distance between Inception features of all restorations and of all originals, as clean-fid "
    "computes it. Biased upwards for few images.",
    "kid": "Kernel distance between the same features as FID, without its bias.",
    "fd_alex": "Fréchet distance between features of LPIPS's AlexNet, of all restorations and of all originals. "
    "It is no FID and compares only within one table.",
    "kd_alex": "Kernel distance between the same features as fd_alex; below zero for good restorations.",
    "nfe": "Network function evaluations: how often the denoiser is asked for one image.",
    "vjp": "Vector-Jacobian products: backward passes through the network for one image. An evaluation with its "
    "product takes about twice as long as an evaluation alone.",
    "seconds": "Seconds for one image, on the machine that ran it. Times of different machines do not compare.",
    "memory_mb": "Most memory that was in use, on the machine that ran it.",
    "map_gap": "log p(MAP | y) − log p(answer | y) in nats, the median over restorations; 0 at the exact mode. At "
    "σ_y = 0 the answer is first projected onto Hx = y.",
    "map_distance": "Distance to the exact mode, the median over restorations.",
    "sw2": "Sliced Wasserstein-2 distance between the answers to one scene and exact posterior samples.",
    "sw2_floor": "What as many exact posterior samples score by SW2.",
    "mean_error": "Distance between the mean of the answers to one scene and the exact posterior mean.",
    "mean_error_floor": "What the mean of as many exact posterior samples scores.",
    "residual": "‖y − Hx‖ of an answer x: how far it is from explaining the measurement.",
    "residual_ratio": "The residual over σ_y √rank(H), its root mean square for exact posterior samples.",
    "alike": "Methods of a table that share a letter are not significantly apart: paired bootstrap on the same images, "
    "corrected by Holm, as `vml-bench compare` computes it.",
    "passes": "Network passes for one image: evaluations and vector-Jacobian products together.",
}
"""By the names of columns; and of what is no column."""


def explained(column: Column) -> str:
    """What a column is, and which way is better; of a metric of one's own no more than that."""
    family = "fid" if column.name.startswith("fid_") else column.name
    return " ".join(filter(None, (TERMS.get(family, ""), SENSE[column.better])))
