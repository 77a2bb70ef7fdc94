import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

from vml_bench.errors import InputError
from vml_bench.priors.ddpm import earlier_name, load_ddpm_prior, read_ddpm
from vml_bench.priors.networks import PublishedNetwork, published
from vml_bench.priors.synthetic import checkpoint_format

TINY = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [16, 32],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
OLD_LAYERS = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UNet2DModel(**TINY).eval()


def in_old_names(tensors):
    old = {}
    for name, tensor in tensors.items():
        head, _, layer = name.partition(".attentions.")
        for now, then in OLD_LAYERS.items():
            layer = layer.replace(f"0.{now}.", f"0.{then}.").replace(f"1.{now}.", f"1.{then}.")
        old[f"{head}.attentions.{layer}" if layer else name] = tensor
    return old


@pytest.mark.parametrize("rename", [dict, in_old_names], ids=["today's names", "old names"])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_checkpoint_of_diffusers_is_read(network, tmp_path, rename, suffix):
    tensors = rename(network.state_dict())
    assert ("mid_block.attentions.0.proj_attn.weight" in tensors) == (rename is in_old_names)
    path = tmp_path / f"diffusion_pytorch_model{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tensors, path)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.5])
    with torch.no_grad():
        torch.testing.assert_close(read_ddpm(TINY, path)(x, t).sample, network(x, t).sample)


def test_old_names_mean_what_diffusers_itself_takes_them_for(network, tmp_path):
    """diffusers' own loader, given a folder in the old names, builds the same network."""
    network.save_pretrained(tmp_path)
    save_file(
        in_old_names(network.state_dict()), tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"}
    )
    theirs = UNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    ours = read_ddpm(TINY, tmp_path / "diffusion_pytorch_model.safetensors")
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([5])
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t).sample, theirs(x, t).sample)


def test_a_tensor_too_few_is_named_as_the_checkpoint_names_it(network, tmp_path):
    tensors = in_old_names(network.state_dict())
    del tensors["mid_block.attentions.0.query.weight"]
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"network: missing mid_block.attentions.0.query.weight \(32, 32\);"):
        read_ddpm(TINY, tmp_path / "w.safetensors")


def test_the_published_network():
    described = published("celebahq256").network
    shapes = checkpoint_format("celebahq256").shapes
    assert len(shapes) == 450
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 113_673_219
    # Ho et al. 2020, appendix B: 128 · (1, 1, 2, 2, 4, 4) channels, two blocks a level, attention at 16×16
    assert described["block_out_channels"] == [128 * multiplier for multiplier in (1, 1, 2, 2, 4, 4)]
    sides = [256 >> level for level in range(6)]
    attending = [side for side, block in zip(sides, described["down_block_types"], strict=True) if "Attn" in block]
    assert attending == [16]
    attending = [side for side, block in zip(sides[::-1], described["up_block_types"], strict=True) if "Attn" in block]
    assert attending == [16]
    assert shapes["down_blocks.4.attentions.1.to_q.weight"] == (512, 512)
    assert earlier_name("down_blocks.4.attentions.1.to_out.0.bias") == "down_blocks.4.attentions.1.proj_attn.bias"
    assert earlier_name("down_blocks.4.resnets.1.conv1.bias") == "down_blocks.4.resnets.1.conv1.bias"


@pytest.mark.parametrize("where", ["cache", "folder", "file"])
def test_a_prior_is_loaded(monkeypatch, tmp_path, network, where):
    files = published("celebahq256").files
    monkeypatch.setattr("vml_bench.priors.ddpm.published", lambda name, _: PublishedNetwork(name, "ddpm", files, TINY))
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    weights = tmp_path / "diffusion_pytorch_model.bin"
    torch.save(network.state_dict(), weights)
    prior = load_ddpm_prior("celebahq256", {"cache": None, "folder": tmp_path, "file": weights}[where])
    assert prior.checkpoint == weights
    assert prior.image_shape == (3, 16, 16)
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        eps = network(x / 2**0.5, prior.timestep(1.0).float()).sample
        assert torch.allclose(prior(x, 1.0), x - eps, atol=1e-5)


def test_missing_weights_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"celebahq256 are missing.*`vml-bench fetch celebahq256-prior`, or place"):
        load_ddpm_prior("celebahq256")
    with pytest.raises(InputError, match="choose one of celebahq256"):
        load_ddpm_prior("ffhq256")
