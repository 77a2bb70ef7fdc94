"""The configurations of conf/method/library: what they build, what they ask, and that their answers meet y."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate

from tests.baselines.seen import Recorder
from tests.methods.problems import problem
from vml_bench.cards import card
from vml_bench.configuration import config_dir, named_options, option
from vml_bench.denoiser import Denoiser
from vml_bench.noise import ImageNoise
from vml_bench.schedule import DDPMSchedule

CHOICES = sorted(f"library/{file.stem}" for file in (config_dir() / "method" / "library").glob("*.yaml"))
COMPUTE = {  # evaluations and products of levels × (steps + the evaluation between levels)
    "library/mapga": (20 * (2 * 50 + 1), 20 * 50),
    "library/vml_map": (20 * (50 + 1), 20 * 50),
    "library/vml_map_pre": (20 * (50 + 1), 20 * 50),
    "library/ddrm": (200, 0),
    "library/pigdm": (200, 200),
}


def restored(choice, case):
    """The answer, the denoiser that counted, and the levels in the order in which they were first asked."""
    recorder = Recorder(case.prior)
    denoiser = Denoiser(recorder)
    noise = ImageNoise(0, [str(i) for i in range(len(case.y))], "method")
    answer = instantiate(option("method", choice)["sampler"]).restore(
        case.y, case.operator, case.noise_std, denoiser, noise
    )
    return answer, denoiser, list(dict.fromkeys(sigma for _, sigma in recorder.asked))


@pytest.mark.parametrize("choice", CHOICES)
def test_without_noise_the_answer_meets_the_measurement_and_visits_the_librarys_levels(choice):
    case = problem(0, images=2, noise_std=0.0)
    answer, denoiser, levels = restored(choice, case)
    assert case.operator.residual(answer, case.y).max() < 1e-10
    assert torch.isfinite(answer).all()
    config = option("method", choice)["sampler"]
    expected = DDPMSchedule(config["schedule"]["levels"], spacing="trailing")(case.prior)
    assert [sigma for sigma in levels if sigma != config.get("prior_std")] == expected
    if choice in COMPUTE:
        assert (denoiser.nfe, denoiser.vjps) == COMPUTE[choice]


@pytest.mark.parametrize("choice", CHOICES)
def test_it_is_a_variant_of_a_method_and_stands_beside_it(choice):
    look = card(option("method", choice)["name"])
    assert look.name == f"{look.variant_of}_library"
    assert 0 < look.order - card(look.variant_of).order < 10


def test_no_two_methods_have_one_place():
    places = [card(name).order for name, node in named_options("method").items() if node.get("about")]
    assert len(set(places)) == len(places)
