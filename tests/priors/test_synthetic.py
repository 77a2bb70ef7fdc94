import pytest
import torch

from vml_bench.priors.adm import load_adm_prior
from vml_bench.priors.checkpoint import read_tensors
from vml_bench.priors.ddpm import load_ddpm_prior
from vml_bench.priors.networks import PublishedNetwork
from vml_bench.priors.synthetic import main, synthetic_prior, write_synthetic

ADM = {"image_size": 16, "channels": 64, "multipliers": [1, 2], "res_blocks": 1, "attention": [8], "groups": 16}
DDPM = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [64, 64],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "attention_head_dim": None,
}
LOAD = {"adm": load_adm_prior, "ddpm": load_ddpm_prior}


@pytest.fixture(params=["adm", "ddpm"])
def kind(request, monkeypatch):
    """Small networks in place of the published ones."""
    network = PublishedNetwork(request.param, request.param, ("w.pt",), {"adm": ADM, "ddpm": DDPM}[request.param])
    for module in ("adm", "ddpm", "synthetic"):
        monkeypatch.setattr(f"vml_bench.priors.{module}.published", lambda name, *_: network)
    return request.param


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_it_loads_as_the_network_it_stands_for(kind, tmp_path, suffix):
    prior = LOAD[kind]("tiny", write_synthetic("tiny", tmp_path / f"w{suffix}"))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for sigma in (prior.sigma_min, 0.3, 5.0, prior.sigma_max):
            noisy = x * (0.25 + sigma**2) ** 0.5
            eps = (noisy - prior(noisy, sigma)) / sigma
            assert (eps - x).square().mean() < 0.2  # ε is near x / rms(x) …
            assert (eps - x).square().mean() > 1e-4  # … and the rest of the network has its say


def test_the_prior_made_in_memory_is_the_one_in_the_file(kind, tmp_path):
    made, read = synthetic_prior("tiny", 5), LOAD[kind]("tiny", write_synthetic("tiny", tmp_path / "w.pt", 5))
    assert made.checkpoint is None
    assert made.image_shape == read.image_shape
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(made(x, 0.5), read(x, 0.5))


def test_its_numbers_are_its_seeds(kind, tmp_path):
    once, again, other = (
        read_tensors(write_synthetic("tiny", tmp_path / f"{i}.pt", seed)) for i, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not any(torch.equal(once[name], other[name]) for name in once)


def test_the_command_line_writes_a_file_and_says_how_to_use_it(kind, tmp_path, capsys):
    main(["ffhq256", str(tmp_path / "w.pt"), "--seed", "4"])
    assert LOAD[kind]("tiny", tmp_path / "w.pt").checkpoint == tmp_path / "w.pt"
    assert f"prior.checkpoint={tmp_path / 'w.pt'} prior.synthetic=true" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["nonsense", str(tmp_path / "w.pt")])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ffhq256", "celebahq256"])
def test_the_published_networks_run_at_their_size(name, tmp_path):
    prior = (load_ddpm_prior if name == "celebahq256" else load_adm_prior)(
        name, write_synthetic(name, tmp_path / "w.pt")
    )
    x = torch.randn(1, *prior.image_shape)
    with torch.no_grad():
        assert ((x * 10.0 - prior(x * 10.0, 10.0)) / 10.0 - x).square().mean() < 0.2
