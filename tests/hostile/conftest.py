"""The command line, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vml_bench.cli import main

Refused = Callable[..., str]
"""Runs a command that must be refused, and returns the line it was refused with."""


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """A command's refusal: one line on stderr, exit code 2, and nothing left in the results folder."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["vml-bench"])
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        said = capsys.readouterr().err
        assert caught.value.code == 2
        assert said.startswith("vml-bench: ")
        assert said.endswith("\n")
        assert said[:-1].isprintable(), said
        assert not [file for file in (tmp_path / "results").rglob("*") if file.is_file()]
        return said

    return run
