"""Weight files as users come by them: what is safe is put right and said, the rest is refused with what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.hostile.conftest import Refused
from vml_bench.errors import InputError
from vml_bench.priors.adm import ADMConfig, ADMFormat, read_adm
from vml_bench.priors.ddpm import DDPMFormat, meta_network, read_ddpm
from vml_bench.priors.synthetic import arbitrary_tensors

ADM = ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, groups=8)
DDPM = {
    "sample_size": 16,
    "block_out_channels": [16, 32],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": None,
}
Tensors = dict[str, Tensor]
READ = {"adm": lambda path: read_adm(ADM, path), "diffusers": lambda path: read_ddpm(DDPM, path)}
READ["ddim"] = READ["diffusers"]


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.fixture(params=["adm", "diffusers", "ddim"])
def form(request: pytest.FixtureRequest) -> str:
    """How the tensors are named."""
    return request.param


@pytest.fixture
def tensors(form: str) -> Tensors:
    """A whole small checkpoint."""
    shapes = ADMFormat(ADM).shapes if form == "adm" else DDPMFormat(meta_network(DDPM), form).shapes
    return arbitrary_tensors(shapes, seed=2)


Reading = tuple[Tensor, tuple[str, ...]]


@pytest.fixture
def read(form: str, tmp_path: Path) -> Callable[[object], Reading]:
    """Saves a content, and reads it: what the network answers, and the notes."""

    def reading(content: object) -> Reading:
        torch.save(content, tmp_path / "w.pt")
        network, notes = READ[form](tmp_path / "w.pt")
        x = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
        with torch.no_grad():
            return network.eval()(x, torch.tensor([3.0])).sample, notes

    return reading


OPTIMISER = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
MENDED = {
    "DataParallel": (lambda ts: prefixed("module.", ts), ["names without 'module.'"]),
    "model": (lambda ts: prefixed("model.", ts), ["names without 'model.'"]),
    "two prefixes": (lambda ts: prefixed("module.model.", ts), ["names without 'module.model.'"]),
    "state_dict": (lambda ts: {"state_dict": ts, "epoch": 3}, ["taken from its member 'state_dict'"]),
    "model among others": (
        lambda ts: {"model": ts, "optimizer": OPTIMISER, "step": torch.tensor(7), "args": {"lr": 1e-4}},
        ["taken from its member 'model'"],
    ),
    "only averages": (lambda ts: {"ema": ts}, ["taken from its member 'ema'"]),
    "list": (lambda ts: [ts, OPTIMISER, 4, 1000], ["taken from its member '0'"]),
    "both": (
        lambda ts: {"state_dict": prefixed("module.", ts)},
        ["taken from its member 'state_dict'", "names without 'module.'"],
    ),
}


@pytest.mark.parametrize("fault", MENDED)
def test_what_is_unambiguous_is_put_right_and_said(
    tensors: Tensors, read: Callable[[object], Reading], fault: str
) -> None:
    spoil, said = MENDED[fault]
    answer, notes = read(tensors)
    assert notes == ()
    mended, notes = read(spoil(tensors))
    assert notes == tuple(said)
    assert torch.equal(mended, answer)


AMBIGUOUS = {
    "averages in a dictionary beside": (lambda ts: {**ts, "ema": ts}, r"tensors: it holds ema; set prior\.checkpoint"),
    "averages beside": (lambda ts: {"model": ts, "ema": ts}, r"several sets of weights: 'model', 'ema'; save the one"),
    "averages without names": (
        lambda ts: {"model": ts, "ema": {"decay": 0.999, "shadow_params": list(ts.values())}},
        r"several sets of weights: 'model', 'ema'; save",
    ),
    "a list with averages": (lambda ts: [ts, OPTIMISER, 4, 1000, ts], r"several sets of weights: '0', '4'; save"),
    "two prefixes": (
        lambda ts: prefixed("model.", ts) | prefixed("ema_model.", ts),
        r"several sets of weights: 'model\.', 'ema_model\.'; save the one to use, mostly the averaged",
    ),
    "plain and prefixed": (lambda ts: ts | prefixed("ema.", ts), r"several sets of weights: no prefix, 'ema\.'; save"),
    "averages in other names": (
        lambda ts: prefixed("model.", ts) | {f"model_ema.{n.replace('.', '')}": t for n, t in ts.items()},
        r"unknown model_ema\..*; it has averaged weights \(EMA\) beside the plain ones: save the set to use",
    ),
}


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_of_several_sets_none_is_chosen_silently(
    tensors: Tensors, read: Callable[[object], Reading], fault: str
) -> None:
    spoil, says = AMBIGUOUS[fault]
    with pytest.raises(InputError, match=says) as caught:
        read(spoil(tensors))
    assert str(caught.value).isprintable()


def test_a_prefix_hides_no_difference(tensors: Tensors, read: Callable[[object], Reading]) -> None:
    lost = sorted(tensors)[20]
    less = {name: tensor for name, tensor in tensors.items() if name != lost}
    with pytest.raises(InputError, match=rf"network: missing {lost} \("):
        read(prefixed("module.", less))
    with pytest.raises(InputError, match=r"network: unknown betas \(10,\);"):
        read(prefixed("model.", tensors) | {"betas": torch.zeros(10)})
    with pytest.raises(InputError, match="does not fit the network"):  # one name twice, with and without the prefix
        read(prefixed("model.", tensors) | {lost: tensors[lost]})


def test_a_name_of_dots_costs_nothing(read: Callable[[object], Reading]) -> None:
    with pytest.raises(InputError, match="does not fit the network"):
        read({"." * 300_000: torch.zeros(2), "." * 300_000 + "a": torch.zeros(2)})


PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 374331000\n"
NO_WEIGHTS = {
    "web page": (PAGE, r"is a web page or a server's error message.*gdown"),
    "web page with space before": (b"\r\n  <html>" + bytes(5000), r"is a web page .*Hugging Face at .*resolve"),
    "error of a bucket": (
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "is a web page or a server's error message",
    ),
    "pointer": (POINTER, r"is a Git LFS pointer.*`git lfs pull`"),
}


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("fault", NO_WEIGHTS)
def test_what_was_saved_in_place_of_weights_is_called_by_its_name(
    form: str, tmp_path: Path, suffix: str, fault: str
) -> None:
    content, says = NO_WEIGHTS[fault]
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=rf"w\{suffix} {says}"):
        READ[form](tmp_path / f"w{suffix}")


def test_a_broken_download_says_that_it_ends_early(form: str, tensors: Tensors, tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    for part in (100, len(data) // 2, len(data) - 5):
        (tmp_path / "w.pt").write_bytes(data[:part])
        with pytest.raises(InputError, match=r"w\.pt ends early: .*`curl -L -C - -O URL`"):
            READ[form](tmp_path / "w.pt")


def test_a_pickle_of_other_objects_is_not_run(form: str, tensors: Tensors, tmp_path: Path) -> None:
    class Model:
        def __reduce__(self) -> tuple:
            return (tmp_path / "ran").mkdir, ()

    for content in (Model(), {"state_dict": tensors, "model": Model()}):
        (tmp_path / "w.pt").write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=r"something other than tensors.*nothing of it was run.*state_dict"):
            READ[form](tmp_path / "w.pt")
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(InputError, match=r"something other than tensors.*nothing of it was run.*state_dict"):
            READ[form](tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Model()))  # it was live
    assert (tmp_path / "ran").exists()


def test_another_architecture_is_told_by_tensors_and_shapes(tmp_path: Path) -> None:
    wider = ADMFormat(ADMConfig(16, 64, (1, 2), 1, (8,), head_width=16, groups=8)).shapes
    torch.save(arbitrary_tensors(wider), tmp_path / "w.pt")
    shown = r"input_blocks\.0\.0\.bias is \(64,\) where \(32,\) is needed"
    with pytest.raises(InputError, match=rf"network: {shown}, .* more; it is of another architecture: set prior"):
        read_adm(ADM, tmp_path / "w.pt")


OTHERS = {
    "ADM": (
        ("input_blocks.0.0.weight", "time_embed.0.weight"),
        r"of guided-diffusion \(ADM\): choose a prior of that kind",
    ),
    "DDIM": (("temb.dense.0.weight", "conv_in.weight"), r"of the DDIM program: choose prior=celebahq256_sdedit"),
    "diffusers": (("conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"), r"of diffusers: choose prior=diffusers"),
    "LDM": (
        ("first_stage_model.encoder.conv_in.weight", "model.diffusion_model.input_blocks.0.0.weight"),
        r"of a latent diffusion model \(LDM\): convert it to diffusers",
    ),
    "score_sde": (("module.all_modules.0.weight", "module.sigmas"), r"of score_sde: convert it"),
    "EDM": (("model.map_layer0.weight", "model.enc.256x256_conv.weight"), r"of EDM: convert it"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_family_is_called_by_its_name(form: str, tmp_path: Path, other: str) -> None:
    names, says = OTHERS[other]
    torch.save({name: torch.zeros(2, 3) for name in names}, tmp_path / "w.pt")
    read_alike = {"adm": {"ADM"}, "diffusers": {"diffusers", "DDIM"}, "ddim": {"diffusers", "DDIM"}}[form]
    with pytest.raises(InputError, match="does not fit the network" if other in read_alike else says):
        READ[form](tmp_path / "w.pt")


@pytest.mark.parametrize("prior", ["celebahq256_p2", "celebahq256_sdedit"])
def test_a_command_refuses_it_in_one_line(refused: Refused, tmp_path: Path, prior: str) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(PAGE)
    said = refused("run", "task=sr4", "method=ddrm", f"prior={prior}", f"prior.checkpoint={weights}", "tracker=none")
    assert f"{weights} is a web page" in said
