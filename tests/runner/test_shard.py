from itertools import chain

import pytest

from vml_bench.errors import InputError
from vml_bench.runner.shard import shard_of

IDS = [f"{i:02d}" for i in range(10)]


def test_shards_divide_the_images():
    shards = [shard_of(IDS, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(chain.from_iterable(shards)) == IDS
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert shard_of(IDS, None) == shard_of(IDS, "1/1") == IDS
    assert shard_of(IDS[:2], "3/3") == []


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", 0.25, "1/4/2"])
def test_what_is_not_a_shard_is_refused(shard):
    with pytest.raises(InputError, match="is not a shard"):
        shard_of(IDS, shard)
