"""An image's noise is its own, whatever else is in its batch and in whatever order."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vml_bench.noise import ImageNoise, image_generator
from vml_bench.runner.shard import shard_of

ids = st.lists(st.text(max_size=6), min_size=1, max_size=6, unique=True)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(names=ids, seed=st.integers(), shape=shapes, draws=st.integers(1, 3), data=st.data())
def test_noise_does_not_depend_on_the_batch(
    names: list[str], seed: int, shape: tuple[int, ...], draws: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(names))
    cut = data.draw(st.integers(0, len(order)))
    batches = [batch for batch in (order[:cut], order[cut:]) if batch]
    together = ImageNoise(seed, names, "method")
    apart = [ImageNoise(seed, batch, "method") for batch in batches]
    for _ in range(draws):
        whole = dict(zip(names, together.randn_like(torch.zeros(len(names), *shape)), strict=True))
        for noise, batch in zip(apart, batches, strict=True):
            drawn = noise.randn_like(torch.zeros(len(batch), *shape))
            assert all(torch.equal(one, whole[name]) for name, one in zip(batch, drawn, strict=True))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    first=st.tuples(st.integers(), st.text(max_size=4), st.text(max_size=4)),
    second=st.tuples(st.integers(), st.text(max_size=4), st.text(max_size=4)),
)
def test_streams_of_different_images_never_meet(first: tuple, second: tuple) -> None:
    if "\0" in first[1] + first[2] + second[1] + second[2]:
        return  # no id and no purpose holds it
    same = torch.equal(
        torch.randn(4, generator=image_generator(*first)), torch.randn(4, generator=image_generator(*second))
    )
    assert same == (first == second)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(names=st.lists(st.text(max_size=3), max_size=40, unique=True), count=st.integers(1, 12))
def test_shards_take_every_image_once(names: list[str], count: int) -> None:
    shards = [shard_of(names, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
