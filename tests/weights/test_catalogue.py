"""The catalogue against what the project says elsewhere of the same files, and the command `fetch`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cleanfid.downloads_helper import inception_url

from vml_bench import cli, doctor
from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.priors.networks import published_names
from vml_bench.weights import obtain
from vml_bench.weights.catalogue import BY_HAND, FETCHABLE, TARGETS, Weights, find, names
from vml_bench.weights.lpips import TRUNKS, trunk_file


def test_the_inception_is_clean_fids():
    assert find("inception").sources == ((inception_url, Path(inception_url).name),)


@pytest.mark.parametrize("name", ["inception", "inception-pytorch", "inception-torchvision"])
def test_the_hash_of_everything_that_a_metric_reads_is_known(name):
    assert find(name).sha256


def test_every_published_network_has_weights_to_be_fetched():
    assert {f"{name}-prior" for name in published_names()} == {
        entry.name for entry in FETCHABLE if entry.name.endswith("-prior")
    }


def test_every_trunk_of_lpips_has_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    assert tuple(trunk_file(net).name for net in TRUNKS) == find("lpips").files


def test_every_data_set_to_fetch_by_hand_has_a_configuration():
    for entry in BY_HAND:
        assert (config_dir() / "dataset" / f"{entry.name}.yaml").is_file()
        with pytest.raises(InputError) as caught:
            obtain.fetch(entry.name)
        assert entry.licence in caught.value.problem
        assert f"{entry.name}/" in caught.value.remedy


def test_names_are_each_used_once_and_others_refused():
    assert len(set(names())) == len(names())
    with pytest.raises(InputError, match="nothing to fetch called 'nonsense'; choose among lpips, inception"):
        obtain.fetch("nonsense")
    for entry in FETCHABLE:
        if isinstance(entry, Weights):
            assert all(url.startswith("https://") for url, _ in entry.sources)


def test_fetch_goes_on_after_a_failure_and_reports_all_at_the_end(monkeypatch, capsys):
    def fetched(name, mirror):
        assert mirror == "http://m"
        if name.startswith("i"):
            raise InputError(f"{name} is out of reach", "wait")
        return Path("/cache") / name

    monkeypatch.setattr(obtain, "fetch", fetched)
    with pytest.raises(SystemExit) as caught:
        cli.main(["fetch", "--mirror", "http://m"])
    said = capsys.readouterr()
    assert caught.value.code == 2
    for entry in FETCHABLE:
        assert entry.name in (said.err if entry.name.startswith("i") else said.out)
    assert len(said.err.splitlines()) == 1


def test_other_papers_networks_are_fetched_by_name_alone_and_listed_by_doctor(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(obtain, "fetch", lambda name, mirror: Path("/cache") / find(name).name)
    others = {name for target in TARGETS.values() for name in target.priors}
    assert "celebahq256_sdedit-prior" in others
    cli.main(["fetch"])
    fetched = {line.split(":")[0] for line in capsys.readouterr().out.splitlines() if "/cache/" in line}
    assert fetched == {entry.name for entry in FETCHABLE} - others
    for name in others:
        cli.main(["fetch", name])
        assert capsys.readouterr().out == f"{name}: /cache/{name}\n"
    for target, entry in TARGETS.items():
        if entry.priors:
            needs = {need.what: need for need in doctor.examine(target)}
            for name in entry.priors:
                need = needs[f"{name} (optional)"]
                assert (need.state, need.command, need.missing) == ("missing", f"vml-bench fetch {name}", False)


def test_no_two_weights_share_a_file():
    files = [file for entry in FETCHABLE for file in dict.fromkeys(entry.files)]
    assert len(set(files)) == len(files)


def test_a_target_fetches_all_its_weights_once(monkeypatch, capsys):
    monkeypatch.setattr(obtain, "fetch", lambda name, mirror: Path("/cache") / find(name).name)
    cli.main(["fetch", "ffhq", "demo", "inception-pytorch"])
    fetched = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(fetched) == ["ffhq256-prior", "inception", "inception-pytorch", "lpips"]


def test_every_target_is_made_of_entries_of_the_catalogue():
    for target in TARGETS.values():
        assert (config_dir() / "dataset" / f"{target.dataset}.yaml").is_file()
        assert {*target.weights, *target.optional, *target.priors} <= {entry.name for entry in FETCHABLE}


def test_list_names_everything_with_size_and_licence(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    (tmp_path / "ffhq_10m.pt").write_bytes(b"")
    cli.main(["fetch", "--list"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert {*names()} <= lines.keys()
    assert "yes" in lines["ffhq256-prior"].split()
    assert "no" in lines["imagenet256-prior"].split()
    assert "2211" in lines["imagenet256-prior"].split()


def test_help_and_list_load_no_torch():
    program = (
        "import sys; from vml_bench.cli import main\n"
        "main(['fetch', '--list'])\n"
        "import vml_bench.weights.obtain\n"
        "assert not {'torch', 'hydra', 'pandas'} & set(sys.modules), sorted(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True)
