import math

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from vml_bench.contract import Prior
from vml_bench.denoiser import Denoiser
from vml_bench.identity import form_of
from vml_bench.priors.adm import ADMConfig
from vml_bench.priors.vp import VPPrior
from vml_bench.schedule import DDPMSchedule


class Recorder(torch.nn.Module):
    """A network that answers with its input, repeated to six channels, and records what it was told."""

    def forward(self, x, t):
        self.x, self.t = x, t
        return type("Output", (), {"sample": torch.cat((x, 100 + x), dim=1)})


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        out_channels=6,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
    )
    return VPPrior(network.double(), (3, 8, 8)).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def adm():
    torch.manual_seed(0)
    network = ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, groups=8).network()
    return VPPrior(network.double(), (3, 16, 16)).requires_grad_(False).eval()


def test_it_is_a_prior_over_the_diffusions_range(tiny):
    assert isinstance(tiny, Prior)
    assert tiny.checkpoint is None
    assert tiny.sigma_min == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4)), rel=1e-12)
    assert tiny.sigma_max == pytest.approx(157.4, abs=0.05)
    assert (tiny.sigmas.diff() > 0).all()


def test_d_is_the_ddpms_x0_at_every_integer_step(tiny):
    alphas_bar = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02).betas.double()
    betas = torch.tensor([1e-4 + (0.02 - 1e-4) * t / 999 for t in range(1000)], dtype=torch.float64)
    assert torch.allclose(alphas_bar, betas, rtol=1e-5)  # diffusers' own β, in single precision
    alphas_bar = (1 - betas).cumprod(0).reshape(-1, 1, 1, 1)
    x_vp = torch.randn(1000, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        eps = tiny.network(x_vp, torch.arange(1000)).sample[:, :3]
        x_0 = (x_vp - (1 - alphas_bar).sqrt() * eps) / alphas_bar.sqrt()
        sigma = ((1 - alphas_bar) / alphas_bar).sqrt()
        x = x_vp / alphas_bar.sqrt()
        together = tiny(x, sigma.flatten())
        assert ((together - x_0).abs() / sigma).max() < 1e-12
        for t in (0, 1, 500, 999):
            assert torch.allclose(tiny(x[t : t + 1], sigma[t].item()), x_0[t : t + 1], atol=1e-11)


def test_the_timestep_is_exact_at_integers_even_in_single_precision(tiny):
    t = torch.arange(1000, dtype=torch.float64)
    assert torch.equal(tiny.timestep(tiny.sigmas), t)
    assert torch.equal(tiny.timestep(tiny.sigmas.float()).float().round(), t.float())
    assert (tiny.timestep(tiny.sigmas.float()) - t).abs().max() < 2e-5


def test_the_timestep_is_continuous_and_linear_in_log_sigma_between(tiny):
    middle = (tiny.sigmas[:-1] * tiny.sigmas[1:]).sqrt()
    assert torch.allclose(tiny.timestep(middle), torch.arange(999, dtype=torch.float64) + 0.5, atol=1e-9)
    assert tiny.timestep(tiny.sigma_min / 2) == 0
    assert tiny.timestep(2 * tiny.sigma_max) == 999


def test_the_network_is_told_what_it_was_trained_on():
    network = Recorder()
    prior = VPPrior(network, (3, 4, 4))
    x = torch.randn(2, 3, 4, 4)
    denoised = prior(x, 3.0)
    assert torch.allclose(network.x, x / math.sqrt(10))
    assert network.t.shape == (2,)
    assert network.t.is_floating_point()
    assert torch.allclose(denoised, x - 3 * x / math.sqrt(10), atol=1e-6)  # the first three channels are ε
    prior(x, torch.tensor([prior.sigma_min, prior.sigma_max]))
    assert torch.allclose(network.t, torch.tensor([0.0, 999.0]), atol=1e-4)


def test_timesteps_may_be_counted_from_one_and_nothing_else_changes():
    asked, priors = Recorder(), {}
    for first in (0, 1):
        priors[first] = VPPrior(asked, (3, 4, 4), first_timestep=first)
    x = torch.randn(2, 3, 4, 4)
    denoised = {first: prior(x, torch.tensor([prior.sigma_min, prior.sigma_max])) for first, prior in priors.items()}
    assert torch.allclose(asked.t, torch.tensor([1.0, 1000.0]), atol=1e-4)
    assert torch.equal(denoised[0], denoised[1])  # this network answers alike whatever t is
    levels = DDPMSchedule(20, spacing="trailing")(priors[1])
    told = [(priors[1](x, sigma), asked.t[0].item())[1] for sigma in levels]
    assert told == pytest.approx(range(1000, 0, -50), abs=1e-4)
    assert torch.equal(priors[0].timestep(1.0), priors[1].timestep(1.0))


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "vml_bench.priors.adm.load_adm_prior", "name": "ffhq256", "checkpoint": None},
        {"_target_": "vml_bench.priors.ddpm.load_ddpm_prior", "name": "celebahq256", "checkpoint": None},
        {"_target_": "vml_bench.priors.folder.load_diffusers_prior", "checkpoint": None},
    ],
)
def test_counting_from_one_is_another_prior_and_counting_from_zero_the_same_as_before(node):
    first, second = (form_of(node | {"first_timestep": first}, files=False) for first in (0, 1))
    assert first == form_of(node, files=False)
    assert "first_timestep" not in next(iter(first.values()))
    assert next(iter(second.values()))["first_timestep"] == 1


def test_an_adm_networks_further_channels_are_its_learned_variance(adm):
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    assert adm.learned_variance
    with torch.no_grad():
        for t in (0, 250, 999):
            sigma = adm.sigmas[t].item()
            raw = adm.network(x / math.sqrt(1 + sigma**2), torch.tensor([float(t)] * 2)).sample
            denoised, variance = adm.with_variance(x, sigma)
            assert raw[:, 3:].std() > 0.01
            assert torch.allclose(variance, raw[:, 3:], atol=1e-10)
            assert torch.allclose(denoised, x - sigma * raw[:, :3], atol=1e-9)
            assert denoised.equal(adm(x, sigma))


def test_methods_get_it_with_the_jacobian_of_the_denoiser_alone(adm):
    x, v = torch.randn(2, 1, 3, 16, 16, dtype=torch.float64)
    denoised, variance, pull_back = Denoiser(adm).vjp_with_variance(x, 0.7)
    wanted, pull_back_alone = Denoiser(adm).vjp(x, 0.7)
    assert denoised.equal(wanted)
    assert variance.shape == x.shape
    assert torch.allclose(pull_back(v), pull_back_alone(v), atol=1e-12)


def test_a_network_of_three_channels_has_none():
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
    )
    assert not VPPrior(network, (3, 8, 8)).learned_variance


def test_sigma_may_be_one_number_or_one_per_image(tiny):
    x, sigmas = torch.randn(3, 3, 8, 8, dtype=torch.float64), torch.tensor([0.02, 1.0, 40.0], dtype=torch.float64)
    with torch.no_grad():
        together = tiny(x, sigmas)
        for i, sigma in enumerate(sigmas.tolist()):
            assert torch.allclose(together[i : i + 1], tiny(x[i : i + 1], sigma), atol=1e-12)


def test_the_vector_jacobian_product_is_the_derivative(tiny):
    x, v, w = torch.randn(3, 1, 3, 8, 8, dtype=torch.float64)
    denoiser = Denoiser(tiny)
    _, pull_back = denoiser.vjp(x, 0.7)
    step = 1e-5
    difference = (denoiser(x + step * w, 0.7) - denoiser(x - step * w, 0.7)) / (2 * step)
    assert (v * difference).sum().item() == pytest.approx((pull_back(v) * w).sum().item(), rel=1e-6)


def test_the_papers_schedule_visits_integer_timesteps(tiny):
    levels = torch.tensor(DDPMSchedule(levels=20)(tiny), dtype=torch.float64)
    t = tiny.timestep(levels)
    assert torch.allclose(t, t.round(), atol=1e-6)
    assert t[0] == 999
    assert t[-1] == 0
