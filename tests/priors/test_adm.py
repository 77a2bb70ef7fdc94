import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from tests.priors.adm_reference import ADM, sinusoids
from vml_bench.contract import Prior
from vml_bench.errors import InputError
from vml_bench.priors.adm import ADMConfig, ADMFormat, adm_config, load_adm_prior, read_adm
from vml_bench.priors.networks import PublishedNetwork, published
from vml_bench.priors.synthetic import arbitrary_tensors, checkpoint_format

ARCHITECTURES = {
    "attention at the bottom": ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, groups=8),
    "attention at every level": ADMConfig(16, 32, (1, 2, 2), 2, (16, 8, 4), head_width=32),
    "attention only in the middle": ADMConfig(16, 32, (1, 2, 3), 2, (), head_width=8),
    "attention inside": ADMConfig(32, 32, (1, 1, 2, 4), 1, (8,), head_width=64),
    "a consistency model's": ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, scale_shift=False, flash=True),
}


def reference(config: ADMConfig) -> ADM:
    return ADM(**dataclasses.asdict(config))


def filled(config: ADMConfig) -> ADM:
    """The reference with arbitrary weights, none of them zero or one."""
    network = reference(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(arbitrary_tensors(shapes, seed=3))
    return network.eval()


def converted(network: ADM, config: ADMConfig) -> torch.nn.Module:
    form = ADMFormat(config)
    form.network.load_state_dict(form.to_diffusers(network.state_dict()), assign=True)
    return form.network.eval()


@pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_converted_network_is_adm(config, dtype, tolerance):
    theirs = filled(config).to(dtype)
    ours = converted(theirs, config)
    x = torch.randn(2, 3, config.image_size, config.image_size, dtype=dtype)
    t = torch.tensor([0.0, 731.4])
    with torch.no_grad():
        wanted = theirs(x, t)
        assert wanted.shape == (2, 6, config.image_size, config.image_size)
        assert wanted.std() > 0.1
        assert (ours(x, t).sample - wanted).abs().max() < tolerance


@pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_the_converted_network_has_adms_gradient(config):
    theirs = filled(config).double()
    ours = converted(theirs, config)
    x = torch.randn(1, 3, config.image_size, config.image_size, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([200.5])
    v = torch.randn(1, 6, *x.shape[2:], dtype=torch.float64)
    (wanted,) = torch.autograd.grad(theirs(x, t), x, v)
    (found,) = torch.autograd.grad(ours(x, t).sample, x, v)
    assert (found - wanted).abs().max() < 1e-10
    ours.enable_gradient_checkpointing()
    (recomputed,) = torch.autograd.grad(ours(x, t).sample, x, v)
    assert (recomputed - wanted).abs().max() < 1e-10


@pytest.fixture(scope="module")
def pair():
    """Reference and converted network whose parts can be compared one by one."""
    config = ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, groups=8)
    theirs = filled(config).double()
    return theirs, converted(theirs, config)


def test_attention_splits_heads_as_adm_does(pair):
    theirs, ours = pair
    x = torch.randn(2, 64, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        wanted = theirs.middle_block[1](x)
        assert (wanted - x).std() > 0.1
        assert (ours.mid_block.attentions[0](x) - wanted).abs().max() < 1e-12
        # one row of qkv in another order (all q first, then all k, then all v) is another function
        rows = theirs.middle_block[1].qkv.weight.reshape(4, 3, 16, 64)
        regrouped = rows.transpose(0, 1).reshape(192, 64, 1)
        other = filled(ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, groups=8)).double().middle_block[1]
        other.qkv.weight.copy_(regrouped)
        assert (other(x) - wanted).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("theirs_at", "ours_at", "width", "side"),
    [
        ("input_blocks.1.0", "down_blocks.0.resnets.0", 32, 16),  # scale-shift, constant width
        ("input_blocks.3.0", "down_blocks.1.resnets.0", 32, 8),  # scale-shift, 1×1 shortcut
        ("input_blocks.2.0", "down_blocks.0.downsamplers.0", 32, 8),
        ("output_blocks.1.2", "up_blocks.0.upsamplers.0", 64, 16),
        ("output_blocks.2.0", "up_blocks.1.resnets.0", 96, 16),
    ],
    ids=["scale-shift", "shortcut", "downsampling", "upsampling", "after a skip"],
)
def test_residual_blocks_are_adms(pair, theirs_at, ours_at, width, side):
    theirs, ours = pair
    block = theirs.get_submodule(theirs_at)
    before = {"down": 2 * side, "up": side // 2, "none": side}[block.resample]
    x, embedding = torch.randn(2, width, before, before).double(), torch.randn(2, 128).double()
    with torch.no_grad():
        wanted = block(x, embedding)
        assert wanted.shape[-1] == side
        assert (ours.get_submodule(ours_at)(x, embedding) - wanted).abs().max() < 1e-12
        assert (block(x, embedding.flip(0)) - wanted).abs().max() > 1e-2  # the embedding matters


def test_timesteps_may_be_fractional(pair):
    _, ours = pair
    t = torch.tensor([0.0, 0.25, 17.5, 500.125, 999.0])
    assert torch.equal(ours.time_proj(t), sinusoids(t, 32))


@pytest.mark.parametrize(
    ("name", "tensors", "millions"),
    [
        ("ffhq256", 362, 93.6),
        ("ffhq256_p2", 362, 93.6),
        ("celebahq256_p2", 362, 93.6),
        ("celebahq256_repaint", 566, 552.8),
        ("imagenet256", 566, 552.8),
    ],
)
def test_the_published_architectures(name, tensors, millions):
    config = adm_config(name)
    with torch.device("meta"):
        wanted = {key: tuple(value.shape) for key, value in reference(config).state_dict().items()}
    assert ADMFormat(config).shapes == wanted
    assert checkpoint_format(name).shapes == wanted
    assert len(wanted) == tensors
    assert round(sum(torch.Size(shape).numel() for shape in wanted.values()) / 1e6, 1) == millions
    form = ADMFormat(config)
    filled_names = [target for targets in form.targets.values() for target in targets]
    assert sorted(filled_names) == sorted(form.network.state_dict())


TINY = {"image_size": 16, "channels": 32, "multipliers": [1, 2], "res_blocks": 1, "attention": [8], "head_width": 16}


@pytest.fixture
def tiny_config():
    return ADMConfig(**TINY | {"multipliers": (1, 2), "attention": (8,)})


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_prior_is_loaded_from_a_checkpoint(monkeypatch, tmp_path, tiny_config, suffix):
    monkeypatch.setattr(
        "vml_bench.priors.adm.published", lambda name, _: PublishedNetwork(name, "adm", ("tiny.pt",), TINY)
    )
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    network = filled(tiny_config)
    write = torch.save if suffix == ".pt" else save_file
    write(network.state_dict(), tmp_path / f"tiny{suffix}")
    prior = load_adm_prior("tiny")
    assert isinstance(prior, Prior)
    assert prior.checkpoint == tmp_path / f"tiny{suffix}"
    assert prior.image_shape == (3, 16, 16)
    assert not prior.training
    assert not any(parameter.requires_grad for parameter in prior.parameters())
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        eps = network(x / (1 + 4.0) ** 0.5, prior.timestep(2.0).reshape(1))[:, :3]
        assert torch.allclose(prior(x, 2.0), x - 2 * eps, atol=1e-5)


def test_a_checkpoint_in_half_precision_is_run_in_single(tmp_path, tiny_config):
    tensors = {name: tensor.half() for name, tensor in filled(tiny_config).state_dict().items()}
    torch.save(tensors, tmp_path / "half.pt")
    network, _ = read_adm(tiny_config, tmp_path / "half.pt")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_checkpoint_that_differs_by_a_tensor_is_refused_in_its_own_names(tmp_path, tiny_config):
    good = filled(tiny_config).state_dict()

    def refused(change, message):
        tensors = dict(good)
        change(tensors)
        torch.save(tensors, tmp_path / "bad.pt")
        with pytest.raises(InputError, match=message):
            read_adm(tiny_config, tmp_path / "bad.pt")

    refused(lambda tensors: tensors.pop("middle_block.1.qkv.bias"), r"missing middle_block.1.qkv.bias \(192,\)")
    refused(lambda tensors: tensors.update(label_emb=torch.zeros(10, 128)), r"unknown label_emb \(10, 128\)")
    refused(
        lambda tensors: tensors.update({"middle_block.1.qkv.weight": torch.zeros(192, 64)}),
        r"middle_block.1.qkv.weight is \(192, 64\) where \(192, 64, 1\) is needed",
    )
    refused(lambda tensors: [tensors.pop(name) for name in list(tensors)[:20]], r"missing .* and 12 more")


@pytest.mark.parametrize("name", ["ffhq256", "imagenet256", "celebahq256_p2", "celebahq256_repaint"])
def test_missing_weights_say_how_to_get_them(monkeypatch, tmp_path, name):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    file = tmp_path / published(name).files[0]
    with pytest.raises(InputError, match=rf"{file}.*`vml-bench fetch {name}-prior`, or place .* at {file}"):
        load_adm_prior(name)
    with pytest.raises(InputError, match=r"no file .*elsewhere.pt; .*correct prior.checkpoint"):
        load_adm_prior(name, tmp_path / "elsewhere.pt")


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(InputError, match="one of celebahq256_p2, celebahq256_repaint, ffhq256, ffhq256_p2, imagenet"):
        load_adm_prior("celebahq256")


@pytest.mark.slow
def test_ffhqs_whole_network_is_adm():
    config = adm_config("ffhq256")
    theirs = filled(config)
    ours = converted(theirs, config)
    x, t = torch.randn(1, 3, 64, 64), torch.tensor([417.3])
    with torch.no_grad():
        assert (ours(x, t).sample - theirs(x, t)).abs().max() < 2e-5
