"""ADM's UNet written out from its definition (Dhariwal, Nichol 2021, arXiv:2105.05233, section 3 and appendix B).

It shares nothing with `vml_bench.priors.adm`: its submodules bear the checkpoint's own names, so its state
dictionary is an ADM checkpoint, and what it computes is what the converted network must compute. With `scale_shift` off
and `flash` on it is the UNet of the consistency models (openai/consistency_models, cm/unet.py, commit 3d86141).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoids(t: Tensor, width: int) -> Tensor:
    """cos(t ω_i), then sin(t ω_i), ω_i = 10000^(−i / half), in single precision: (B,) -> (B, width)."""
    half = width // 2
    omega = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = t.float().reshape(-1, 1) * omega
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class Residual(nn.Module):
    """Norm, SiLU, (resample), convolve; scale and shift the second norm by the embedding; add the (resampled) input.

    Without `scale_shift` the embedding is added before the second norm.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        embedding: int,
        groups: int,
        resample: str = "none",
        scale_shift: bool = True,
    ) -> None:
        super().__init__()
        self.resample, self.scale_shift = resample, scale_shift
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, width_in), nn.SiLU(), nn.Conv2d(width_in, width_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, (1 + scale_shift) * width_out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, width_out), nn.SiLU(), nn.Identity(), nn.Conv2d(width_out, width_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if width_in == width_out else nn.Conv2d(width_in, width_out, 1)

    def resampled(self, x: Tensor) -> Tensor:
        """Mean of each 2×2 block, each pixel four times, or x."""
        if self.resample == "down":
            batch, channels, height, width = x.shape
            return x.reshape(batch, channels, height // 2, 2, width // 2, 2).mean(dim=(3, 5))
        if self.resample == "up":
            return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        norm, silu, convolve = self.in_layers
        h = convolve(self.resampled(silu(norm(x))))
        told = self.emb_layers(embedding)[:, :, None, None]
        if not self.scale_shift:
            return self.skip_connection(self.resampled(x)) + self.out_layers(h + told)
        scale, shift = told.chunk(2, dim=1)
        norm, *rest = self.out_layers
        h = nn.Sequential(*rest)(norm(h) * (1 + scale) + shift)
        return self.skip_connection(self.resampled(x)) + h


class Attention(nn.Module):
    """Self-attention over pixels; the rows of qkv run head by head, and in a head first q, then k, then v.

    With `flash` all heads' q come first, then their k, then their v, and the convolutions are two-dimensional.
    """

    def __init__(self, width: int, head_width: int, groups: int, flash: bool = False) -> None:
        super().__init__()
        self.head_width, self.flash = head_width, flash
        convolution = nn.Conv2d if flash else nn.Conv1d
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = convolution(width, 3 * width, 1)
        self.proj_out = convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape if self.flash else x.flatten(2).shape
        rows = self.qkv(self.norm(x.reshape(shape))).flatten(2)
        heads, d, width = [], self.head_width, x.shape[1]
        for head in range(width // d):
            starts = [i * width + head * d if self.flash else (3 * head + i) * d for i in range(3)]
            q, k, v = (rows[:, start : start + d] for start in starts)
            weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(d), dim=2)  # (B, query, key)
            heads.append(v @ weights.transpose(1, 2))
        return x + self.proj_out(torch.cat(heads, dim=1).reshape(shape)).reshape(x.shape)


class Block(nn.Sequential):
    """Modules in a row; the residual ones are given the embedding too."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for module in self:
            x = module(x, embedding) if isinstance(module, Residual) else module(x)
        return x


class ADM(nn.Module):
    """The UNet: (B, 3, H, W) and t (B,) -> (B, 6, H, W), or without learned σ (B, 3, H, W)."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        multipliers: tuple[int, ...],
        res_blocks: int,
        attention: tuple[int, ...],
        head_width: int = 64,
        groups: int = 32,
        learned_sigma: bool = True,
        scale_shift: bool = True,
        flash: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        embedding = 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

        def residual(width_in: int, width_out: int, resample: str = "none") -> Residual:
            return Residual(width_in, width_out, embedding, groups, resample, scale_shift)

        def attend(width: int) -> Attention:
            return Attention(width, head_width, groups, flash)

        width, side = channels, image_size
        self.input_blocks = nn.ModuleList([Block(nn.Conv2d(3, width, 3, padding=1))])
        skips = [width]
        for level, multiplier in enumerate(multipliers):
            if level > 0:
                self.input_blocks.append(Block(residual(width, width, "down")))
                skips.append(width)
                side //= 2
            for _ in range(res_blocks):
                modules = [residual(width, channels * multiplier)]
                width = channels * multiplier
                if side in attention:
                    modules.append(attend(width))
                self.input_blocks.append(Block(*modules))
                skips.append(width)
        self.middle_block = Block(residual(width, width), attend(width), residual(width, width))
        self.output_blocks = nn.ModuleList()
        for level in range(len(multipliers) - 1, -1, -1):
            for i in range(res_blocks + 1):
                modules = [residual(width + skips.pop(), channels * multipliers[level])]
                width = channels * multipliers[level]
                if side in attention:
                    modules.append(attend(width))
                if level > 0 and i == res_blocks:
                    modules.append(residual(width, width, "up"))
                    side *= 2
                self.output_blocks.append(Block(*modules))
        self.out = nn.Sequential(
            nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, 6 if learned_sigma else 3, 3, padding=1)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        embedding = self.time_embed(sinusoids(t, self.channels).to(x.dtype))
        kept = []
        for block in self.input_blocks:
            x = block(x, embedding)
            kept.append(x)
        x = self.middle_block(x, embedding)
        for block in self.output_blocks:
            x = block(torch.cat((x, kept.pop()), dim=1), embedding)
        return self.out(x)
