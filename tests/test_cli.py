"""The command as a user meets it: in its own process, by its exit code and what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.priors.test_unet import rewrite
from vml_bench import cli
from vml_bench.cli.sweeps import as_written, home
from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.priors.unet import shipped_checkpoint


def vml_bench(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "vml_bench.cli", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
    )


def renamed(tmp_path):
    path = tmp_path / "renamed.safetensors"

    def rename(tensors):
        tensors["conv_up.weight"] = tensors.pop("conv_in.weight")
        return tensors

    rewrite(shipped_checkpoint(), path, rename)
    return [f"prior.checkpoint={path}"]


def unreadable(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    return ["dataset=folder", f"dataset.root={tmp_path}"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["task=nonsense"], ["task/nonsense", "Available options", "sr4", "inpaint_box"]),
        (["method=nonsense"], ["method/nonsense", "vml_map_pre", "dps"]),
        (["prior.checkpoint=/none.safetensors"], ["/none.safetensors does not exist", "prior.checkpoint"]),
        (renamed, ["missing conv_in.weight", "unknown conv_up.weight"]),
        (unreadable, ["b.png cannot be read"]),
        (["task.noise_std=-1"], ["task.noise_std=-1", "σ_y ≥ 0"]),
        (["runner.batch_size=0"], ["runner.batch_size=0", "more than 0"]),
        (["runner.batch=4"], ["runner.batch"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[0],
)
def test_bad_input_ends_with_one_clear_line_and_exit_code_2(tmp_path, overrides, says):
    overrides = overrides(tmp_path) if callable(overrides) else overrides
    results = tmp_path / "results"
    base = ["dataset=photos64", "task=sr4", "method=ddrm", f"runner.results_dir={results}"]
    kept = [item for item in base if not any(item.split("=")[0] == given.split("=")[0] for given in overrides)]
    answer = vml_bench("run", *kept, *overrides, folder=tmp_path)
    lines = answer.stderr.strip().splitlines()
    assert answer.returncode == 2
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("vml-bench: ")
    for text in says:
        assert text in lines[0]
    assert not list(tmp_path.glob("results/runs/**/*.parquet"))


def test_a_sweep_ends_in_a_leaderboard(tmp_path):
    cells = ["-m", "task=sr4,denoise", "method=ddrm,vml_fixed_point", "method.sampler.schedule.levels=3"]
    answer = vml_bench("run", *cells, "runner.limit=2", "runner.results_dir=results", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "cell 4 of 4" in answer.stderr
    assert "left" in answer.stderr.split("cell 2 of 4")[1].splitlines()[0]
    lines, table = answer.stdout.split("s/image  images")
    assert lines.count("results in results/runs/photos64/") == 4
    assert lines.count("PSNR ") >= 4
    picture = table.split("a picture: ")[1].splitlines()[0]
    assert Image.open(tmp_path / picture).size == (64, 64)
    assert "next: vml-bench leaderboard" in table
    answer = vml_bench("leaderboard", "--results", "results", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("vml_fixed_point") >= 2
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "figures/sr4-0.05.png"):
        assert (tmp_path / "results/photos64" / name).is_file(), name


def test_help_names_the_commands(tmp_path):
    answer = vml_bench("--help", folder=tmp_path)
    assert answer.returncode == 0
    for command in (
        "run",
        "plan",
        "leaderboard",
        "report",
        "compare",
        "cite",
        "track",
        "tuning",
        "protocols",
        "fetch",
    ):
        assert command in answer.stdout


def test_no_output_depends_on_the_terminals_encoding(tmp_path):
    cell = ["dataset=gmm_2d", "task=denoise", "method=pinv", "runner.limit=2", "runner.results_dir=results"]
    answer = vml_bench("run", *cell, folder=tmp_path, PYTHONIOENCODING="ascii")
    assert answer.returncode == 0, answer.stderr
    assert "denoise sigma_y=0.2 - pinv: " in answer.stdout
    tables = ["leaderboard", "--results", "results", "--no-figures"]
    answer = vml_bench(*tables, folder=tmp_path, PYTHONIOENCODING="cp1252")
    assert answer.returncode == 0, answer.stderr
    assert "denoise · sigma_y = 0.2" in answer.stdout
    assert "σ_y" in (tmp_path / "results/gmm_2d/leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["methods", "tasks", "datasets", "priors", "metrics"])
def test_what_can_be_chosen_is_listed_with_what_it_is(kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(["list", kind])
    lines = capsys.readouterr().out.splitlines()
    group = config_dir() / (kind if kind == "metrics" else kind[:-1])
    assert {line.split()[0] for line in lines} == {
        file.relative_to(group).with_suffix("").as_posix() for file in group.rglob("*.yaml")
    }
    assert all(len(line) <= 80 and len(line.split()) > 2 for line in lines)


def test_a_folder_of_ones_own_is_listed_too(tmp_path, capsys):
    (tmp_path / "method").mkdir()
    (tmp_path / "method/mine.yaml").write_text("# Plug and play (Doe et al. 2026), in 20 steps. More.\nname: mine\n")
    cli.main(["list", "methods", "--config-dir", str(tmp_path)])
    assert (
        capsys.readouterr().out.splitlines()[-1].split("  ")[-1].strip()
        == "Plug and play (Doe et al. 2026), in 20 steps."
    )


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_shows_the_groups_and_the_comments_of_the_configuration(command, capsys):
    cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert said.startswith(f"vml-bench {command}: ")
    for text in ("    method: ", "published/ddrm", "results_dir: results", "# images restored at once", "--config-dir"):
        assert text in said


def test_an_argument_that_hydras_grammar_refuses_is_answered_as_it_must_be_written(tmp_path):
    refused = "dataset.root=/my/pictures (1)"
    answer = vml_bench("run", "dataset=folder", refused, folder=tmp_path)
    assert answer.returncode == 2
    assert "quote the value: 'dataset.root=\"/my/pictures (1)\"'" in answer.stderr
    answer = vml_bench("run", "dataset=folder", 'dataset.root="/my/pictures (1)"', folder=tmp_path)
    assert "/my/pictures (1)" in answer.stderr
    assert "grammar" not in answer.stderr
    assert "key=value" in str(as_written("method"))
    assert isinstance(as_written('a="b'), InputError)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert home(["dataset.root=~/a", "+x=~", "task=sr4", "x=a~/b"]) == [
        f"dataset.root={tmp_path}/a",
        f"+x={tmp_path}",
        "task=sr4",
        "x=a~/b",
    ]
    with pytest.raises(SystemExit):
        cli.main(["leaderboard", "--results", "~/none"])
    assert f"{tmp_path}/none" in capsys.readouterr().err


def test_a_plan_of_a_sweep_is_in_the_sweeps_order(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    sweep = ["-m", "dataset=photos64", "task=sr4,denoise", "method=ddrm,pinv", "method=ddrm,dps", "runner.device=cpu"]
    cli.main(["plan", *sweep, "method.sampler.schedule.levels=2,3", "hydra/launcher=processes"])
    said = capsys.readouterr().out
    rows = [line.split() for line in said.split("\n\n")[0].splitlines()[2:]]
    assert [(row[0], row[2], row[4]) for row in rows] == [
        (task, method, levels) for task in ("sr4", "denoise") for method in ("ddrm", "dps") for levels in "23"
    ]
    assert max(map(len, said.splitlines())) <= 80
    assert "8 cells" in said
