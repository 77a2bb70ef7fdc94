"""Finished runs to check, what is found in them, and what is printed about it."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vml_bench.cli import main
from vml_bench.contract import ImageSet
from vml_bench.noise import ImageNoise
from vml_bench.verify import verify

PICTURES = ("task=sr4", "method=wiener", "runner.limit=3", "runner.batch_size=2")
EXACT = ("dataset=gmm_vector", "dataset.scenes=2", "dataset.repeats=3", "task=random_projection", "method=pinv")


@dataclass(frozen=True)
class OffGrid(ImageSet):
    """Images whose values are on no 8-bit grid."""

    name: str = "off_grid"
    ids: tuple[str, ...] = ("a", "b", "c")
    image_shape: tuple[int, int, int] = (3, 32, 32)

    def load(self, image_id):
        return ImageNoise(0, [image_id], "image").randn_like(torch.zeros(1, *self.image_shape))[0].tanh()


def run(results, *overrides):
    """Run a cell as the command line does."""
    main(["run", *overrides, f"runner.results_dir={results}"])
    return results


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A results folder with one run whose pictures are kept and one against an exact posterior."""
    results = tmp_path_factory.mktemp("finished")
    for cell in (PICTURES, EXACT):
        run(results, *cell)
    return results


@pytest.fixture(scope="session")
def off_grid(tmp_path_factory):
    """A results folder with a run on all images of a data set that no PNG can hold."""
    images = ("dataset.name=off_grid", "dataset.images._target_=tests.verify.conftest.OffGrid", "~dataset.images.split")
    return run(tmp_path_factory.mktemp("off_grid"), "task=sr4", "method=pinv", *images)


@pytest.fixture
def results(finished, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(finished, tmp_path / "results")


def folder_of(results, dataset="photos64"):
    (folder,) = results.glob(f"runs/{dataset}/*/*/*")
    return folder


def snapshot(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def defects(results, dataset=None):
    return [defect for checked in verify(results, dataset) for defect in checked.defects]


def notes(results):
    return [f for checked in verify(results) for f in checked.findings if f not in checked.defects]


def printed(capsys, results, *arguments):
    """What the command says of a folder with defects."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--results", str(results), *arguments])
    assert ended.value.code == 1
    return capsys.readouterr().out


def mend(text):
    """Do what is printed, line by line."""
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith(("rm ", "vml-bench run "))]
    for words in commands:
        if words[0] == "vml-bench":
            main(words[1:])
        elif words[1] == "-r":
            shutil.rmtree(words[-1])
        else:
            Path(words[-1]).unlink()
    assert commands
