import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vml_bench.contract import Prior
from vml_bench.data import PhotoCrops
from vml_bench.errors import InputError
from vml_bench.metrics.functional import psnr
from vml_bench.noise import ImageNoise
from vml_bench.priors.unet import EDMPrior, load_edm_prior, shipped_checkpoint

TINY = {
    "block_out_channels": (16, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
    "attention_head_dim": 8,
}


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return EDMPrior(TINY, image_shape=(3, 16, 16)).eval()


@pytest.fixture(scope="module")
def shipped():
    return load_edm_prior()


def test_preconditioning_follows_edm(tiny):
    x = torch.randn(2, 3, 16, 16)
    assert isinstance(tiny, Prior)
    # σ → 0: c_skip = 1 and c_out = 0, so D is the identity whatever the network says
    assert torch.allclose(tiny(x, 1e-6), x, atol=1e-5)
    # a network that answers 0 leaves c_skip x alone
    for parameter in tiny.network.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.allclose(tiny(x, 0.5), x * 0.5, atol=1e-6)


def test_sigma_may_be_one_number_or_one_per_image(tiny):
    x = torch.randn(2, 3, 16, 16)
    sigmas = torch.tensor([0.1, 3.0])
    with torch.no_grad():
        together = tiny(x, sigmas)
        for i, sigma in enumerate(sigmas):
            assert torch.allclose(together[i : i + 1], tiny(x[i : i + 1], float(sigma)), atol=1e-5)


def test_saving_and_loading_keeps_the_network(tiny, tmp_path):
    tiny.save(tmp_path / "w.safetensors")
    loaded = load_edm_prior(tmp_path / "w.safetensors")
    assert loaded.config["image_shape"] == [3, 16, 16]
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(loaded(x, 0.3), tiny(x, 0.3), atol=1e-2)


def rewrite(source, target, change):
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(source)), target, metadata=metadata)


def test_a_checkpoint_that_differs_by_a_tensor_is_refused_by_name(tiny, tmp_path):
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    tiny.save(good)

    def rename(tensors):
        tensors["conv_inn.weight"] = tensors.pop("conv_in.weight")
        return tensors

    rewrite(good, bad, rename)
    with pytest.raises(InputError, match=r"missing conv_in.weight .*unknown conv_inn.weight"):
        load_edm_prior(bad)
    rewrite(good, bad, lambda tensors: tensors | {"conv_out.bias": torch.zeros(1)})
    with pytest.raises(InputError, match=r"conv_out.bias is \(1,\) where \(12,\) is needed"):
        load_edm_prior(bad)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_edm_prior(tmp_path / "none.safetensors")
    (tmp_path / "short.safetensors").write_bytes(shipped_checkpoint().read_bytes()[:1000])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_edm_prior(tmp_path / "short.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match="no network configuration"):
        load_edm_prior(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(("sigma", "floor"), [(0.1, 31.9), (0.2, 28.4), (0.5, 24.3), (1.0, 21.7)])
def test_the_shipped_prior_denoises_better_than_its_rivals(shipped, sigma, floor):
    """Floors: the higher of non-local means and total variation + 1 dB on these crops (the model card)."""
    crops = PhotoCrops("test")
    clean = torch.stack([crops.load(image_id) for image_id in crops.ids])
    noisy = clean + sigma * ImageNoise(0, crops.ids, "denoise").randn_like(clean)
    with torch.inference_mode():
        denoised = shipped(noisy, sigma).clamp(-1, 1)
    assert psnr(denoised, clean).mean() > floor


def test_the_shipped_prior_answers_finitely_over_its_whole_range(shipped):
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for sigma in (shipped.sigma_min, 1.0, shipped.sigma_max):
            denoised = shipped(sigma * x, sigma)
            assert denoised.isfinite().all()
            assert denoised.abs().max() < 3
