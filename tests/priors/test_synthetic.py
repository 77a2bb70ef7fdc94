import re
from pathlib import Path

import pytest
import torch

from vml_bench.errors import InputError
from vml_bench.priors.adm import load_adm_prior
from vml_bench.priors.checkpoint import read_tensors
from vml_bench.priors.ddpm import load_ddpm_prior
from vml_bench.priors.networks import PublishedNetwork, published, published_names
from vml_bench.priors.synthetic import checkpoint_format, main, synthetic_prior, write_synthetic
from vml_bench.weights.catalogue import find
from vml_bench.weights.check import size_problem

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
SMALL = {
    "adm": PublishedNetwork("small", "adm", ("w.pt",), ADM),
    "ddpm": PublishedNetwork("small", "ddpm", ("w.pt",), DDPM),
    "ddim": PublishedNetwork("small", "ddpm", ("w.ckpt",), DDPM, names="ddim"),
}
LOAD = {"adm": load_adm_prior, "ddpm": load_ddpm_prior, "ddim": load_ddpm_prior}


@pytest.fixture(params=SMALL)
def kind(request, monkeypatch):
    """Small networks in place of the published ones."""
    network = SMALL[request.param]
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
        read_tensors(write_synthetic("tiny", tmp_path / f"{i}.pt", seed)).tensors for i, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not any(torch.equal(once[name], other[name]) for name in once)


def test_the_command_line_writes_a_file_and_says_how_to_use_it(kind, tmp_path, capsys):
    main(["ffhq256", str(tmp_path / "w.pt"), "--seed", "4"])
    assert LOAD[kind]("tiny", tmp_path / "w.pt").checkpoint == tmp_path / "w.pt"
    assert f"prior.checkpoint={tmp_path / 'w.pt'} prior.synthetic=true" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["nonsense", str(tmp_path / "w.pt")])


def without(path: Path, name: str) -> None:
    """Take a tensor out of a checkpoint."""
    tensors = torch.load(path, weights_only=True, mmap=True)
    del tensors[name]
    torch.save(tensors, path.with_name("less.pt"))


def load(name, checkpoint=None):
    """A published prior, by the loader that its configuration names."""
    return (load_adm_prior if published(name).format == "adm" else load_ddpm_prior)(name, checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("name", published_names())
def test_the_published_networks_load_at_their_size_and_lack_no_tensor(name, tmp_path, monkeypatch):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    file = next(file for file in published(name).files if not file.endswith(".safetensors"))
    write_synthetic(name, tmp_path / file)
    assert size_problem((tmp_path / file).stat().st_size, find(f"{name}-prior").about, None) is None
    prior = load(name)
    assert prior.checkpoint == tmp_path / file
    assert prior.notes == ()
    assert prior.image_shape == (3, 256, 256)
    if published(name).network.get("channels") != 256:  # the largest are left to a GPU
        x = torch.randn(1, *prior.image_shape)
        with torch.no_grad():
            assert ((x * 10.0 - prior(x * 10.0, 10.0)) / 10.0 - x).square().mean() < 0.2
    del prior
    lost = list(checkpoint_format(name).shapes)[100]
    without(tmp_path / file, lost)
    with pytest.raises(InputError, match=rf"does not fit the network: missing {re.escape(lost)} \("):
        load(name, tmp_path / "less.pt")
