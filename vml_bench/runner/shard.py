"""Shards: every n-th image of a run, for processes that share nothing but the results folder."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vml_bench.errors import InputError


def shard_of(image_ids: Sequence[str], shard: str | None) -> list[str]:
    """The images of a shard "i/n": the i-th and every n-th after it; all of them if there is no shard.

    Raises:
        InputError: `shard` is not i/n with 1 ≤ i ≤ n.
    """
    if shard is None:
        return list(image_ids)
    match = re.fullmatch(r"(\d+)/(\d+)", str(shard))
    first, step = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= first <= step:
        raise InputError(f"runner.shard={shard} is not a shard", "set it to i/n with 1 ≤ i ≤ n, such as 1/4")
    return list(image_ids[first - 1 :: step])
