"""The UNet of DDPM (Ho et al. 2020, arXiv:2006.11239, appendix B) under the tensor names of the DDIM program.

It shares nothing with `vml_bench.priors.ddpm`: its submodules bear the names that a checkpoint of the program has, so
its state dictionary is such a checkpoint, and what it computes is what the network read from that must compute.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def sinusoids(t: Tensor, width: int) -> Tensor:
    """sin(t ω_i), then cos(t ω_i), ω_i from 1 to 1/10000, both included: (B,) -> (B, width)."""
    half = width // 2
    omega = torch.tensor([10000 ** (-i / (half - 1)) for i in range(half)], dtype=torch.float32)
    angles = torch.outer(t.float(), omega)
    return torch.hstack((angles.sin(), angles.cos()))


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=1e-6)


class Residual(nn.Module):
    """Twice norm, SiLU, convolve; the embedding is added between; the input is added at the end."""

    def __init__(self, width_in: int, width_out: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(width_in), norm(width_out)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.temb_proj = nn.Linear(embedding, width_out)
        if width_in != width_out:
            self.nin_shortcut = nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        added = self.temb_proj(functional.silu(embedding)).unflatten(1, (-1, 1, 1))
        h = self.conv1(functional.silu(self.norm1(x))) + added
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """Every pixel attends to all, in one head as wide as the block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))  # (B, width, pixels)
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / math.sqrt(x.shape[1]), dim=-1)
        return x + self.proj_out(torch.einsum("bij,bcj->bci", weights, v).reshape(x.shape))


class Convolved(nn.Module):
    """A convolution under the name `conv`."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=stride, padding=1 if stride == 1 else 0)


class Downsample(Convolved):
    """Half the side: a zero is put below and at the right, then every second pixel is convolved."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class Upsample(Convolved):
    """Twice the side: each pixel four times, then a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


class Level(nn.Module):
    """The blocks at one resolution, on the way down or up."""

    def __init__(self, widths: list[tuple[int, int]], embedding: int, attends: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(Residual(before, after, embedding) for before, after in widths)
        self.attn = nn.ModuleList(Attention(after) for _, after in widths if attends)

    def step(self, i: int, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.block[i](x, embedding)
        return self.attn[i](x) if self.attn else x


class DDIM(nn.Module):
    """The UNet: (B, 3, H, W) and t (B,) -> (B, 3, H, W)."""

    def __init__(self, side: int, ch: int, ch_mult: tuple[int, ...], num_res_blocks: int, attention: tuple[int, ...]):
        super().__init__()
        self.ch, self.blocks = ch, num_res_blocks
        embedding = 4 * ch
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(ch, embedding), nn.Linear(embedding, embedding)])
        self.conv_in = nn.Conv2d(3, ch, 3, padding=1)
        widths = [ch * multiplier for multiplier in ch_mult]
        attends = [side >> level in attention for level in range(len(widths))]
        skips, before = [ch], ch
        down = []
        for level, width in enumerate(widths):
            down.append(Level([(before, width), *[(width, width)] * (num_res_blocks - 1)], embedding, attends[level]))
            skips += [width] * num_res_blocks
            before = width
            if level < len(widths) - 1:
                down[-1].downsample = Downsample(width, stride=2)
                skips.append(width)
        self.down = nn.ModuleList(down)
        self.mid = nn.Module()
        self.mid.block_1, self.mid.block_2 = (Residual(before, before, embedding) for _ in range(2))
        self.mid.attn_1 = Attention(before)
        up: list[Level] = []
        for level in reversed(range(len(widths))):
            width, pairs = widths[level], []
            for _ in range(num_res_blocks + 1):
                pairs.append((before + skips.pop(), width))
                before = width
            up.insert(0, Level(pairs, embedding, attends[level]))
            if level:
                up[0].upsample = Upsample(width, stride=1)
        self.up = nn.ModuleList(up)
        self.norm_out = norm(before)
        self.conv_out = nn.Conv2d(before, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        first, second = self.temb.dense
        embedding = second(functional.silu(first(sinusoids(t, self.ch).to(x.dtype))))
        x = self.conv_in(x)
        kept = [x]
        for level in self.down:
            for i in range(self.blocks):
                x = level.step(i, x, embedding)
                kept.append(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
                kept.append(x)
        x = self.mid.block_2(self.mid.attn_1(self.mid.block_1(x, embedding)), embedding)
        for level in reversed(self.up):
            for i in range(self.blocks + 1):
                x = level.step(i, torch.cat((x, kept.pop()), dim=1), embedding)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(functional.silu(self.norm_out(x)))
