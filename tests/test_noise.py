import pytest
import torch

from vml_bench.noise import ImageNoise, image_generator


def test_an_images_noise_does_not_depend_on_its_batch():
    x = torch.zeros(3, 3, 8, 8)
    together = ImageNoise(0, ["a", "b", "c"], "method")
    alone = ImageNoise(0, ["b"], "method")
    for _ in range(3):
        assert torch.equal(together.randn_like(x)[1], alone.randn_like(x[1:2])[0])


def test_streams_differ_by_seed_image_and_purpose():
    def first(seed, image_id, purpose):
        return torch.randn(4, generator=image_generator(seed, image_id, purpose))

    base = first(0, "a", "method")
    assert torch.equal(base, first(0, "a", "method"))
    for other in (first(1, "a", "method"), first(0, "b", "method"), first(0, "a", "measurement")):
        assert not torch.equal(base, other)


def test_noise_is_standard_normal():
    draws = ImageNoise(0, ["a"], "method").randn_like(torch.zeros(1, 200_000))
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(ValueError, match="2 images"):
        ImageNoise(0, ["a", "b"], "method").randn_like(torch.zeros(3, 4))
