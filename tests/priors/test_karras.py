"""EDM and consistency networks of openai/consistency_models: loaded by that program's names, and its formulas."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.mapga import MAPGA
from tests.priors.adm_reference import ADM
from vml_bench.contract import Prior, lacking
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import InpaintHalf
from vml_bench.priors.adm import ADMConfig, ADMFormat
from vml_bench.priors.karras import LSUN256, KarrasPrior, load_karras_prior
from vml_bench.priors.synthetic import arbitrary_tensors
from vml_bench.schedule import EDMSchedule

SMALL = {
    "image_size": 16,
    "channels": 32,
    "multipliers": [1, 2],
    "res_blocks": 1,
    "attention": [8],
    "head_width": 16,
    "groups": 8,
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The reference with arbitrary weights, and the file that holds them in half precision, as the published ones."""
    network = ADM(**SMALL, learned_sigma=False, scale_shift=False, flash=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    tensors = {name: tensor.half() for name, tensor in arbitrary_tensors(shapes, seed=3).items()}
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    path = tmp_path_factory.mktemp("weights") / "ct_small.pt"
    torch.save(tensors, path)
    return network.eval(), path


def expected(network, x, sigma, epsilon):
    """c_skip x + c_out F(c_in x, 250 log σ) of equation 7 in EDM; ε is 0 there, σ_min for a consistency model."""
    c_skip = 0.25 / ((sigma - epsilon) ** 2 + 0.25)
    c_out = 0.5 * (sigma - epsilon) / math.sqrt(sigma**2 + 0.25)
    with torch.no_grad():
        output = network(x / math.sqrt(sigma**2 + 0.25), torch.full((len(x),), 1000 * 0.25 * math.log(sigma)))
    return c_skip * x + c_out * output


@pytest.mark.parametrize("sigma", [0.002, 0.1, 3.0, 80.0])
@pytest.mark.parametrize("consistency", [False, True])
def test_it_computes_what_the_program_does(stored, sigma, consistency):
    network, path = stored
    prior = load_karras_prior(path, SMALL, consistency)
    x = sigma * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = expected(network, x, sigma, 0.002 if consistency else 0.0)
    assert (prior(x, sigma) - wanted).abs().max() < 1e-5 * max(1, sigma)
    assert torch.allclose(prior(x, torch.tensor([sigma, sigma])), prior(x, sigma))


def test_at_its_smallest_noise_level_a_consistency_model_gives_x_back(stored):
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model, denoiser = (load_karras_prior(stored[1], SMALL, consistency) for consistency in (True, False))
    assert torch.equal(model(x, model.sigma_min), x)
    assert not torch.equal(denoiser(x, denoiser.sigma_min), x)


def test_it_is_a_prior_of_its_file_and_map_ga_ascends_on_it(stored):
    prior = load_karras_prior(stored[1], SMALL, consistency=True)
    assert lacking(prior, Prior) == []
    assert (prior.checkpoint, prior.image_shape) == (stored[1], (3, 16, 16))
    operator = InpaintHalf((3, 16, 16))
    y = operator.forward(torch.zeros(1, 3, 16, 16) + 0.3)
    counted = Denoiser(prior)
    method = MAPGA(inner_steps=2, prior_step=False, replace_observed=True, schedule=EDMSchedule(4))
    answer = method.restore(y, operator, 0.0, counted, ImageNoise(0, ["a"], "method"))
    assert torch.isfinite(answer).all()
    assert operator.residual(answer, y).max() < 1e-6
    assert (counted.nfe, counted.vjps) == (3 * 3, 3 * 2)
    method.check(prior)
    MAPGA().check(load_karras_prior(stored[1], SMALL))
    with pytest.raises(InputError, match="mapga_np"):
        MAPGA().check(prior)


def test_the_networks_of_lsun_have_the_published_shapes():
    shapes = ADMFormat(ADMConfig(**LSUN256)).shapes
    assert shapes["input_blocks.0.0.weight"] == (256, 3, 3, 3)
    assert shapes["middle_block.1.qkv.weight"] == (3 * 1024, 1024, 1, 1)
    assert shapes["input_blocks.1.0.emb_layers.1.weight"] == (256, 1024)
    assert shapes["out.2.weight"] == (3, 256, 3, 3)
    assert "input_blocks.10.1.qkv.weight" in shapes  # 32 × 32, the first level with attention
    assert "input_blocks.8.1.qkv.weight" not in shapes


@pytest.mark.slow
def test_the_lsun_network_loads_at_its_size_and_map_ga_takes_a_step(tmp_path):
    shapes = ADMFormat(ADMConfig(**LSUN256)).shapes
    path = tmp_path / "ct_cat256.pt"
    torch.save({name: tensor.half() for name, tensor in arbitrary_tensors(shapes).items()}, path)
    prior = load_karras_prior(path, consistency=True)
    assert prior.notes == ()
    assert sum(parameter.numel() for parameter in prior.parameters()) == sum(map(math.prod, shapes.values()))
    x = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prior(x, prior.sigma_min), x)
    operator = InpaintHalf((3, 256, 256))
    method = MAPGA(inner_steps=1, prior_step=False, replace_observed=True, schedule=EDMSchedule(2))
    y = operator.forward(x.clamp(-1, 1))
    answer = method.restore(y, operator, 0.0, Denoiser(prior), ImageNoise(0, ["a"], "method"))
    assert torch.isfinite(answer).all()
    assert operator.residual(answer, y).max() < 1e-4


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: load_karras_prior(), "prior.checkpoint"),
        (lambda: load_karras_prior("nowhere.pt"), "does not exist"),
        (lambda: load_karras_prior("nowhere.pt", {"depth": 3}), "depth"),
    ],
)
def test_what_cannot_be_loaded_is_refused(build, said):
    with pytest.raises(InputError, match=said):
        build()


def test_a_file_of_another_network_is_refused(stored):
    with pytest.raises(InputError, match="does not fit the network"):
        load_karras_prior(stored[1], SMALL | {"multipliers": [1, 1]})


def test_a_network_may_be_given_in_python():
    torch.manual_seed(0)
    network = ADMConfig(**LSUN256 | {**SMALL, "multipliers": (1, 2), "attention": (8,)}).network()
    prior = KarrasPrior(network, (3, 16, 16)).eval()
    x = torch.randn(1, 3, 16, 16)
    _, pull_back = Denoiser(prior).vjp(x, 0.5)
    assert pull_back(x).isfinite().all()
