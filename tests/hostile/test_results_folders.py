"""Results folders that came from elsewhere: read, shown harmlessly or left out; nothing in them is acted upon."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.run_folders import write_run
from vml_bench.cli import main
from vml_bench.configuration import DEEPEST, LARGEST, read_config
from vml_bench.errors import InputError
from vml_bench.show import show
from vml_bench.store.layout import RunPlace
from vml_bench.store.runs import UNREADABLE, open_run
from vml_bench.tracker.record import subject_of
from vml_bench.verify import mending, verify

SCRIPT = "<script>alert(1)</script>"
COMMANDS = (("leaderboard", "--no-figures"), ("report",), ("compare",), ("cite",), ("verify",))


def reading(results: Path, command: Sequence[str]) -> None:
    """Run a command on a results folder, whatever exit code it ends with."""
    try:
        main([command[0], "--results", str(results), *command[1:]])
    except SystemExit as ended:
        assert ended.code in (0, 1, 2, None), command  # noqa: PT017


def change(run: Path, **changes: object) -> None:
    """Change values in a run's config.yaml."""
    config = json.loads((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_configuration_in_a_results_folder_builds_and_looks_up_nothing(
    tmp_path: Path, command: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_target_` runs nothing, and a secret of this machine's environment ends in no file and no output."""
    monkeypatch.setenv("SOME_SECRET", "hunter2hunter2")
    monkeypatch.chdir(tmp_path)
    results, trace = tmp_path / "results", tmp_path / "trace"
    run = write_run(results, "pinv", pictures=True)
    write_run(results, "wiener", psnr=(21.0, 23.0, 25.0))
    sampler = {"_target_": "os.system", "command": f"touch {trace}", "secret": "${oc.env:SOME_SECRET}"}
    change(run, method={"name": "pinv", "sampler": sampler}, prior={"model": {**sampler, "_target_": "os.mkdir"}})
    reading(results, command)
    assert not trace.exists()
    told = [file for file in tmp_path.rglob("*") if file.is_file() and b"hunter2hunter2" in file.read_bytes()]
    assert not told


def test_a_tracker_is_told_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "hunter2hunter2")
    run = write_run(tmp_path)
    extra = {"secret": "${oc.env:SOME_SECRET}", "_target_": "os.system"}
    change(run, extra=extra)
    assert subject_of(run).config["configuration"]["extra"] == extra


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "alias"),
        ("a: " + "[" * 100_000, "nest"),
        ("{a: " * 100_000, "nest"),
        ("- " * 100_000, "nest"),
        ("a: !!python/object/apply:os.system ['touch trace']", "constructor"),
        ("a: !!python/name:os.system", "constructor"),
        ("x" * (LARGEST + 1), "bytes"),
        ("[1, 2]", "no configuration"),
        ("a: \0", "character"),
        ("a: [", "parsing"),
        ("", "no configuration"),
    ],
    ids=["aliases", "brackets", "braces", "dashes", "call", "name", "long", "list", "nul", "cut", "empty"],
)
def test_a_hostile_configuration_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_config(tmp_path / "config.yaml")


def test_a_runs_own_configuration_is_read_as_it_is(tmp_path: Path, cell_config: Callable) -> None:
    from omegaconf import OmegaConf

    config = cell_config("method=lmaps", "task=deblur_aniso", "method.sampler.prior_std=inf", "task.noise_std=1e-5")
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    assert read_config(tmp_path / "config.yaml") == OmegaConf.to_container(config, resolve=True)
    nested = "".join(f"{'  ' * depth}a:\n" for depth in range(DEEPEST - 1)) + "  " * DEEPEST + "b: 1\n"
    (tmp_path / "config.yaml").write_text(nested)
    assert read_config(tmp_path / "config.yaml")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "noise_std", "x"]), inner),
    max_leaves=6,
)
configs = st.fixed_dictionaries(
    {},
    optional={key: values for key in ("dataset", "task", "method", "seed")},
)
forms = st.fixed_dictionaries(
    {}, optional={key: values for key in ("images", "operator", "noise_std", "seed", "reference", "problem", "method")}
)
SAID = ("ids", "synthetic", "dataset", "task", "settings", "columns", "about", "command", "runner", "compute")
records = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SAID, values),
        "problem": values | st.fixed_dictionaries({"name": values, "form": values | forms}),
        "prior": values | st.fixed_dictionaries({"name": values, "hash": values, "form": values}),
        "form": values | forms,
    },
)


@pytest.fixture(scope="module")
def handed_around(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("results"))


RECORDED = {
    "dataset": "toy",
    "task": "sr4",
    "method": "pinv",
    "problem": {"name": "p", "form": {"images": "i", "noise_std": 0.05, "seed": 0}},
    "form": {"problem": "p", "method": {"Pinv": {}}, "prior": None, "compute": {}},
    "ids": ["a", "b", "c"],
}


@settings(deadline=None, derandomize=True, max_examples=300)
@given(config=configs | values, record=records | values)
def test_whatever_stands_in_a_run_it_is_read_or_unreadable(handed_around: Path, config: object, record: object) -> None:
    if isinstance(config, dict):
        config = {"seed": 0, "dataset": {"name": "a"}, "task": {"name": "b", "noise_std": 0}, **config}
    if isinstance(record, dict):
        record = {**RECORDED, **record}
    (handed_around / "config.yaml").write_text(json.dumps(config))
    (handed_around / "run.json").write_text(json.dumps(record))
    with suppress(*UNREADABLE):  # and nothing else
        assert isinstance(open_run(handed_around).noise_std, float)
    for checked in verify(RunPlace.of(handed_around).results):
        assert all(mending(checked, handed_around))
    with suppress(InputError):
        assert show(Path(), str(handed_around))


RECORDS = ("[" * 100_000, "[1]", "3", '"x"', "null", "{", "", '{"ids": 3}', '{"ids": "abc"}', '{"ids": [[]]}')


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_hostile_records_end_no_command(
    tmp_path: Path, command: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("pinv", "wiener"):
        write_run(tmp_path, method, psnr=(21.0, 23.0, 25.0))
    for number, record in enumerate(RECORDS):
        (write_run(tmp_path, "ddrm", run=f"{number:010d}") / "run.json").write_text(record)
    reading(tmp_path, command)
    printed = capsys.readouterr()
    if command[0] in ("leaderboard", "compare", "verify"):
        assert "ddrm/0000000000" in printed.out + printed.err, "it does not say which run cannot be read"


def test_an_error_is_one_line_that_steers_no_terminal() -> None:
    error = InputError("no run of 'a\nb\x1b[2J\u202e'", "remove\rit")
    assert str(error) == "no run of 'a?b?[2J?'; remove?it"


def test_names_are_shown_and_never_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Method, task and image ids with markup, a column break, TeX and a terminal's control sequence."""
    hostile, task = f"{SCRIPT}|\\input{{x}}$&\x1b[2J", "<i onclick=alert(1)>|\x1b[2J"
    ids = (f"{SCRIPT}|", "../../outside", "b")
    for method in (hostile, "pinv"):
        record = {"method": method, "task": task}
        write_run(tmp_path, "m" if method == hostile else method, task="t", ids=ids, record=record)
    for command in (("leaderboard", "--no-figures"), ("report",), ("compare",)):
        reading(tmp_path, command)
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    files = {
        file.name: file.read_text() for file in tmp_path.rglob("*") if file.suffix in (".html", ".md", ".tex", ".js")
    }
    assert {"index.html", "leaderboard.md", "leaderboard.tex"} <= files.keys()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in files["index.html"]
    shown = {name: text for name, text in files.items() if name not in ("plotly.min.js", "core.js")}
    assert not [name for name, text in shown.items() if SCRIPT in text or "<i onclick" in text]
    rows = [line for line in files["leaderboard.md"].splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1, "a name broke the table's columns"
    assert "\\input{" not in files["leaderboard.tex"]
    assert not (tmp_path.parent / "outside.png").exists()


def test_a_picture_that_is_a_link_is_not_brought_into_the_report(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("private key")
    run = write_run(tmp_path / "results", pictures=True)
    (run / "recon" / "a.png").unlink()
    (run / "recon" / "a.png").symlink_to(secret)
    reading(tmp_path / "results", ("report",))
    report = tmp_path / "results" / "report"
    assert list(report.rglob("*.png"))
    assert not [file for file in report.rglob("*") if file.is_file() and b"private key" in file.read_bytes()]


def test_no_command_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a program was started"))
    for command in (("leaderboard", "--no-figures"), ("cite",), ("verify",)):
        reading(tmp_path, command)
