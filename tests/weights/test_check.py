"""Whether a file is the published one."""

import pytest

from vml_bench.errors import InputError
from vml_bench.weights.catalogue import find
from vml_bench.weights.check import difference, verified


def test_a_hash_is_held_to_each_one_that_is_known_and_to_the_digits_it_has():
    assert difference("abcdef", {"published": "abc", "in lock.json": None, "stated": "abcdef"}) is None
    assert difference("abcdef", {"published": "abc", "in lock.json": "abd"}) == "sha256 abcdef…, in lock.json is abd…"


def test_weights_whose_hash_nobody_published_are_never_taken_for_verified(cache):
    cache.mkdir(mode=0o755)
    entry = find("ffhq256-prior")
    assert entry.sha256 is None
    (cache / entry.files[0]).write_bytes(b"anything")
    with pytest.raises(InputError, match="is not the published file"):
        verified(entry.name, "do without")
