import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

from tests.priors.ddim_reference import DDIM
from vml_bench.errors import InputError
from vml_bench.priors.ddpm import EARLIER, load_ddpm_prior, read_ddpm, renamed
from vml_bench.priors.networks import PublishedNetwork, published
from vml_bench.priors.synthetic import arbitrary_tensors, checkpoint_format

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
        torch.testing.assert_close(read_ddpm(TINY, path)[0](x, t).sample, network(x, t).sample)


def test_old_names_mean_what_diffusers_itself_takes_them_for(network, tmp_path):
    """diffusers' own loader, given a folder in the old names, builds the same network."""
    network.save_pretrained(tmp_path)
    save_file(
        in_old_names(network.state_dict()), tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"}
    )
    theirs = UNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    ours, _ = read_ddpm(TINY, tmp_path / "diffusion_pytorch_model.safetensors")
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
    assert renamed("down_blocks.4.attentions.1.to_out.0.bias", EARLIER) == "down_blocks.4.attentions.1.proj_attn.bias"
    assert renamed("down_blocks.4.resnets.1.conv1.bias", EARLIER) == "down_blocks.4.resnets.1.conv1.bias"


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
    with pytest.raises(InputError, match=r"choose one of celebahq256, celebahq256_ema, celebahq256_sdedit$"):
        load_ddpm_prior("ffhq256")


ARCHITECTURES = {
    "as celebahq256, smaller": (32, 32, (1, 1, 2, 2, 4, 4), 2, (2,)),
    "attention at both ends": (16, 32, (1, 3, 2), 1, (16, 4)),
    "attention only in the middle": (16, 64, (1, 2), 3, ()),
}


def filled(side, ch, ch_mult, blocks, attention):
    """The reference with arbitrary weights, none of them zero or one."""
    network = DDIM(side, ch, ch_mult, blocks, attention)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(arbitrary_tensors(shapes, seed=4))
    return network.eval()


def diffusers_of(side, ch, ch_mult, blocks, attention):
    """The same architecture in the words of celebahq256's description."""
    attends = [side >> level in attention for level in range(len(ch_mult))]
    return published("celebahq256").network | {
        "sample_size": side,
        "block_out_channels": [ch * multiplier for multiplier in ch_mult],
        "layers_per_block": blocks,
        "down_block_types": ["AttnDownBlock2D" if at else "DownBlock2D" for at in attends],
        "up_block_types": ["AttnUpBlock2D" if at else "UpBlock2D" for at in reversed(attends)],
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("wrap", [dict, lambda tensors: {"state_dict": tensors, "step": 3}], ids=["flat", "wrapped"])
def test_a_checkpoint_of_the_ddim_program_is_the_network_it_was(tmp_path, architecture, wrap):
    theirs, unet = filled(*architecture), diffusers_of(*architecture)
    torch.save(wrap(theirs.state_dict()), tmp_path / "celeba_hq.ckpt")
    ours, notes = read_ddpm(unet, tmp_path / "celeba_hq.ckpt")
    assert notes == (() if wrap is dict else ("taken from its member 'state_dict'",))
    x = torch.randn(2, 3, architecture[0], architecture[0])
    with torch.no_grad():
        for t in (torch.tensor([0.0, 731.4]), torch.tensor([999.0, 17.0])):
            wanted = theirs(x, t)
            assert wanted.std() > 0.1
            assert (ours(x, t).sample - wanted).abs().max() < 1e-5
        # at t = 0 both embeddings are exact; elsewhere their frequencies are rounded to single precision otherwise
        x, t = x.double(), torch.zeros(2)
        assert (ours.double()(x, t).sample - theirs.double()(x, t)).abs().max() < 1e-11


def test_the_whole_of_sdedits_checkpoint_has_the_references_names_and_shapes():
    with torch.device("meta"):
        theirs = DDIM(256, 128, (1, 1, 2, 2, 4, 4), 2, (16,)).state_dict()
    assert checkpoint_format("celebahq256_sdedit").shapes == {name: tuple(at.shape) for name, at in theirs.items()}
    assert len(theirs) == 450


def test_a_ddim_checkpoint_that_differs_by_a_tensor_is_refused_in_its_own_names(tmp_path):
    architecture = ARCHITECTURES["attention at both ends"]
    tensors, unet = filled(*architecture).state_dict(), diffusers_of(*architecture)

    def refused(changed, message):
        torch.save(changed, tmp_path / "celeba_hq.ckpt")
        with pytest.raises(InputError, match=message):
            read_ddpm(unet, tmp_path / "celeba_hq.ckpt")

    q = "up.2.attn.1.q.weight"
    refused(
        {name: at for name, at in tensors.items() if name != q}, rf"network: missing {q} \(64, 64, 1, 1\); set prior"
    )
    refused(tensors | {q: tensors[q][..., 0]}, rf"network: {q} is \(64, 64, 1\) where \(64, 64, 1, 1\) is needed;")
    refused(tensors | {"logvar": torch.zeros(1000)}, r"network: unknown logvar \(1000,\);")
