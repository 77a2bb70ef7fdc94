"""`vml-bench show` says of one run how it was made, what came of it and where its pictures lie."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.run_folders import write_oracle_run, write_run
from vml_bench.cli import main
from vml_bench.errors import InputError
from vml_bench.runner.command import command_line
from vml_bench.show import INDENT, WIDTH, show

RECORD = {
    "method": "ddrm",
    "command": {"overrides": ["task=sr4", "method=ddrm", "method.sampler.eta=0.5"], "config_dir": None},
    "date": "2026-11-25T18:13:48+00:00",
    "settings": {"eta": 0.5},
    "form": {"method": {"DDRM": {"eta": 0.5, "schedule": {"DDPMSchedule": {"levels": 20}}}}, "compute": {}},
    "prior": {"name": "shipped", "hash": "0f1e2d3c4b", "form": {"load_edm_prior": {}, "weights": "ab" * 32}},
    "compute": {"dtype": "float32", "tf32": True, "compile": False, "difference": {}},
    "environment": {"device": "x86_64", "device_type": "cpu", "git": "667acc2", "packages": {"torch": "2.14.1"}},
    "runner": {"limit": 3},
    "wall_seconds": 1.25,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results lie under the folder that a command is given in."""
    monkeypatch.chdir(tmp_path)


def written(**record: object) -> Path:
    return write_run(Path("results"), "ddrm", "aa11223344", pictures=True, diverged=("c",), record={**RECORD, **record})


def said(text: str, label: str) -> str:
    """What stands beside a label, on one line."""
    found, labels = [], []
    for line in text.splitlines():
        labels.append(line[:INDENT].strip() or (labels[-1] if labels and line else ""))
        if labels[-1] == label:
            found.append(line[INDENT:])
    assert found, f"nothing is said of {label}"
    return " ".join(found)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command is refused."""
    with pytest.raises(SystemExit) as ended:
        main(["show", *arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_run_is_found_by_its_folder_its_name_and_its_first_digits(capsys: pytest.CaptureFixture[str]) -> None:
    folder = written()
    for which in (str(folder), folder.name, folder.name[:3]):
        main(["show", which])
    first, second, third = capsys.readouterr().out.split(f"{'run':{INDENT}}")[1:]
    assert first == second == third
    assert first.startswith("toy/sr4/ddrm/aa11223344\n")


def test_a_run_is_found_from_within_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written())
    assert said(show(Path("results"), "."), "run") == "toy/sr4/ddrm/aa11223344"


def test_it_is_said_how_a_run_was_made() -> None:
    text = show(Path("results"), written().name)
    assert said(text, "command") == "vml-bench run task=sr4 method=ddrm method.sampler.eta=0.5 runner.limit=3"
    assert said(text, "date") == "2026-11-25T18:13:48+00:00"
    assert said(text, "data set") == "toy (images 1111111111)"
    assert said(text, "task") == "sr4: BlockAverage factor=4"
    assert said(text, "noise") == "σ_y = 0.05, seed 0"
    assert said(text, "prior") == "shipped (0f1e2d3c4b): load_edm_prior, weights ababababab"
    assert said(text, "method") == "ddrm (DDRM): DDRM eta=0.5, schedule=DDPMSchedule, schedule.levels=20"
    assert said(text, "settings") == "eta=0.5"
    assert said(text, "computed") == "float32, tf32, on x86_64 (cpu), torch 2.14.1, git 667acc2, 1.2 s in all"


def test_its_problem_is_named_as_its_measurements_are() -> None:
    text = show(Path("results"), written().name)
    assert said(text, "measurements") == f"results/measurements/toy/sr4/{said(text, 'problem')}"


def test_scores_are_means_over_the_images_that_did_not_diverge_with_their_units() -> None:
    text = show(Path("results"), written().name)
    assert said(text, "images") == "3 of 3 done, 1 diverged"
    rows = [line[INDENT:].split(maxsplit=1) for line in text.splitlines()]
    scores = {row[0]: row[1] for row in rows if len(row) > 1}
    assert scores["psnr"] == "21.00 dB  mean over images"
    assert scores["lpips_alex"].startswith("0.250 ")
    assert scores["seconds"] == "0.25 s    mean over images"


def test_a_metric_of_ones_own_is_shown_as_it_declares_itself() -> None:
    column = {"name": "ssim", "title": "taken", "better": 1, "digits": 9, "unit": "km"}
    own = {"name": "sharp", "title": "Sharpness", "better": 1, "digits": 1, "unit": "px"}
    folder = written(columns=[column, own])
    file = folder / "images.parquet"
    pd.read_parquet(file).assign(sharp=[1.0, 2.0, 30.0]).to_parquet(file, index=False)
    text = show(Path("results"), folder.name)
    assert "sharp       1.5 px" in text
    assert "km" not in text


def test_pictures_are_where_it_says() -> None:
    lines = show(Path("results"), written().name).splitlines()
    for label in ("restored", "ground truth", "measured"):
        files = [Path(line[INDENT:]) for line in lines if line.startswith(f"  {label} ")]
        assert [file.name for file in files] == ["a.png", "b.png", "c.png"]
        assert all(file.is_file() for file in files)


def test_a_picture_that_is_gone_is_said_to_be() -> None:
    folder = written()
    (folder / "recon" / "b.png").unlink()
    text = show(Path("results"), folder.name)
    assert f"{folder}/recon/b.png  (not there)" in text
    assert text.count("(not there)") == 1


def test_an_image_is_shown_with_its_row_and_its_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    folder = written()
    main(["show", folder.name, "--image", "b"])
    text = capsys.readouterr().out
    assert "psnr        22.00 dB" in text
    assert "status      ok" in text
    assert f"  restored     {folder}/recon/b.png\n" in text
    assert "a.png" not in text
    line = refused(capsys, folder.name, "--image", "bb")
    assert "has no image 'bb' among its 3; the nearest is 'b'" in line


def test_of_many_images_the_first_are_shown() -> None:
    ids = [f"i{i}" for i in range(5)]
    write_run(Path("results"), ids=ids, psnr=[20.0] * 5, lpips=[0.1] * 5, pictures=True)
    text = show(Path("results"), "0123456789")
    assert text.count("  restored ") == 3
    assert text.endswith("and 2 more images; --image ID shows one")


def test_a_run_against_an_exact_posterior_has_no_pictures_and_medians_and_scenes() -> None:
    write_oracle_run(Path("results"), gaps=((1.0, 2.0), (3.0, 50.0)), sw2=(0.2, 0.4))
    text = show(Path("results"), "0123456789")
    assert "map_gap           2.50 nats  median over images" in text
    assert "sw2               0.300      mean over scenes" in text
    assert "against Oracle samples=256" in said(text, "problem")
    assert said(text, "pictures").startswith("none: ")
    assert ".png" not in text


def test_it_fits_120_columns_and_a_long_command_is_still_one_command() -> None:
    overrides = [f"method.sampler.option_{i}='a value {i}'" for i in range(20)]
    command = {"overrides": overrides, "config_dir": "conf of mine"}
    form = {"DDRM": {f"a_rather_long_option_{i}": i / 7 for i in range(40)}}
    text = show(Path("results"), written(command=command, form={**RECORD["form"], "method": form}).name)
    assert max(map(len, text.splitlines())) <= WIDTH
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("command"))
    last = next(i for i, line in enumerate(lines) if line.startswith("date"))
    given = "\n".join(lines[first:last]).removeprefix("command").replace("\\\n", "")
    assert last - first > 5
    assert shlex.split(given) == shlex.split(command_line(command, limit=3))


def test_a_run_without_a_command_says_so() -> None:
    assert "records none" in said(show(Path("results"), written(command=None).name), "command")


def test_an_unknown_run_and_an_ambiguous_one_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    written()
    write_run(Path("results"), run="aa99887766")
    assert "no run 'bb' under results" in refused(capsys, "bb")
    assert "no run '' under results" in refused(capsys, "")
    assert "'aa' means 2 runs" in refused(capsys, "aa")
    assert "no run 'aa11' under elsewhere" in refused(capsys, "aa11", "--results", "elsewhere")


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"problem": 3}', '{"problem": {"name": "a", "form": {"images": "b"}}}'], ids=str
)
def test_a_run_that_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    folder = written()
    (folder / "run.json").write_text(text)
    assert "cannot be read" in refused(capsys, folder.name)


@pytest.mark.parametrize("key", ["form", "prior", "compute", "environment", "settings", "command", "about", "problem"])
@pytest.mark.parametrize("value", [3, "x", [1], {"a": 1}], ids=str)
def test_whatever_a_record_says_it_is_shown_or_refused(key: str, value: object) -> None:
    folder = written(**{key: value})
    try:
        assert show(Path("results"), folder.name)
    except InputError as error:
        assert "cannot be read" in str(error)  # noqa: PT017


def test_names_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(date="\x1b[2J", command={"overrides": ["a=\x1b[2J\u202e"], "config_dir": None})
    main(["show", folder.name])
    assert not {"\x1b", "\u202e"} & set(capsys.readouterr().out)


def test_a_copy_outside_a_results_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = written().rename(tmp_path / "copy")
    assert "is no <results>/runs/" in refused(capsys, str(copy))
