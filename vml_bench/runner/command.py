"""The command line of a run: what the record keeps of it, and how it is given again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HOW = ("runner.", "tracker", "hydra.", "hydra/")
"""Overrides that change no number: a command to give again says its own."""


def given() -> dict[str, Any] | None:
    """What this process's command line said of the cell that it runs; None where no command line composed it.

    Returns:
        "overrides", without those of `HOW`, and "config_dir", the folder of `--config-dir`, or None.
    """
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return recorded(hydra.overrides.task, folders[0] if folders else None)


def recorded(
    overrides: Iterable[str], config_dir: str | None = None, words: Sequence[str] = ("run",)
) -> dict[str, Any]:
    """A command as the record keeps it.

    Args:
        overrides: all that were given; those of `HOW` are left out.
        config_dir: the folder of `--config-dir`.
        words: what stands between "vml-bench" and the overrides, where that is not "run".
    """
    kept = [text for text in overrides if not text.lstrip("+~").startswith(HOW)]
    command = {"overrides": kept, "config_dir": config_dir}
    return command if list(words) == ["run"] else {"words": list(words), **command}


def command_line(command: Mapping[str, Any], results: Path | None = None, limit: int | None = None) -> str:
    """The command that does what a recorded one did, quoted for a shell.

    Args:
        command: from `recorded`.
        results: the results folder; None: the default.
        limit: the first n images; None: all, or what the configuration says.
    """
    words = ["vml-bench", *map(str, command.get("words", ["run"]))]
    if command.get("config_dir"):
        words += ["--config-dir", str(command["config_dir"])]
    words += map(str, command.get("overrides", []))
    if limit is not None:
        words.append(f"runner.limit={limit}")
    if results is not None and results != Path("results"):
        words.append(f"runner.results_dir={override_value(str(results))}")
    return shlex.join(words)


def again(record: Mapping[str, Any], results: Path) -> str | None:
    """The command that goes on with a run; None where its record has no command.

    Args:
        record: the run's record.
        results: the results folder.
    """
    command = record.get("command")
    if not isinstance(command, Mapping):
        return None
    return command_line(command, results, len(record["ids"]) if limited(record) else None)


def limited(record: Mapping[str, Any]) -> bool:
    """Whether a run was asked for its first images alone, or its record does not say."""
    runner = record.get("runner")
    return not isinstance(runner, Mapping) or runner.get("limit") is not None


def override_value(text: str) -> str:
    """A text as Hydra's grammar takes it: bare where it is plain, else in its quotes."""
    plain = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.-+@%")
    if text and set(text) <= plain:
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def option_folders() -> Sequence[Path]:
    """Folders of configuration besides the project's own, in this process."""
    command = given()
    return [Path(command["config_dir"])] if command and command["config_dir"] else []
