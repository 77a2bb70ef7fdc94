"""Renames, once, runs that an earlier version made: the names become names by content, the rows stay as they are.

    python -m vml_bench.migrate results                            # a results folder
    python -m vml_bench.migrate results/oracle/gmm/runs.tar.xz     # or an archive of runs, which is written anew

The earlier version named a run by the text of its configuration, and kept originals by the data set's name and
measurements by the task's. A run moves only if its images can be had and are those that its record tells of; the
others stay, each with a line that says why. It may be stopped and started again. No run may be at work meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import lzma
import os
import pkgutil
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench.configuration import config_dir, option, read_config, read_record
from vml_bench.contract import ImageSet, needs_prior
from vml_bench.errors import InputError
from vml_bench.files import replacing, write_json
from vml_bench.identity import Form, digests_of, form_of, name_of
from vml_bench.runner.cell import identify, plain
from vml_bench.runner.command import override_value
from vml_bench.runner.record import identity_record
from vml_bench.runner.resources import build
from vml_bench.store import layout, parts

TRUSTED = ("vml_bench.data", "vml_bench.priors")
"""Packages whose classes and functions build a data set. Folders of runs are handed around; nothing else is called."""

DROPPED = ("manifest", "files")
"""Of the earlier record: what the problem's images say now."""

EARLIER_KEYS = {"problems": "scenes"}
"""Parameters of data sets that have another name now."""
REFERENCES = "references"
"""The earlier folder of originals; that of measurements lay among a task's methods."""

PRESET = 9 | lzma.PRESET_EXTREME
"""Of archives: xz -9e."""

MOST_THREADS = 1024
"""Of a machine; a record may say anything."""

ILL = (*parts.DAMAGED, InputError, AttributeError, ImportError, OmegaConfBaseException)
"""What a run that cannot be identified raises."""


@dataclass
class Outcome:
    """What became of runs.

    Attributes:
        moved: how many have a new name now.
        before: how many had one already.
        lines: for each that stays as it was, and for what was removed or left lying, why.
        alone: how many stay as they were.
    """

    moved: int = 0
    before: int = 0
    alone: int = 0
    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.moved} runs renamed, {self.before} done before, {self.alone} left alone"


def migrate(results: Path) -> Outcome:
    """Rename the runs of a results folder, then what lies beside them."""
    outcome = Outcome()
    for folder in layout.run_folders(results):
        if not (folder / layout.RECORD).is_file():
            continue
        label = "/".join(folder.parts[-4:])
        try:
            record = read_record(folder / layout.RECORD)
            if "problem" in record:
                outcome.before += 1
                continue
            line = rename(folder, record)
        except ILL as error:
            outcome.alone += 1
            reason = " ".join(str(error).split()) or type(error).__name__
            outcome.lines.append(str(InputError(f"{label} left alone: {reason}", "")))
        else:
            outcome.moved += 1
            outcome.lines += [f"{label} {line}"] if line else []
    outcome.lines += move_pictures(results)
    return outcome


def rename(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Give a run its name by content, and write its record anew; a line where another run has that name.

    Raises:
        One of `ILL`: it cannot be told what it is, or another run of the same name has other images.
    """
    text = read_config(folder / layout.CONFIG)
    if "${" in json.dumps(text):
        raise ValueError(f"{layout.CONFIG} holds a reference that is not resolved")
    config = OmegaConf.create(text)
    images, digests = images_of(text["dataset"]["images"], record)
    prior = prior_of(text, record)
    identity = identify(config, images, digests, prior)
    known = identity_record(config, identity, [])
    written = {
        **known,
        "command": command_of(text, record, known["run"]),
        "date": record.get("date"),
        **{key: value for key, value in record.items() if key not in (*known, *DROPPED)},
        "environments": record.get("environments", [record["environment"]]),
    }
    target = folder.with_name(known["run"])
    line = None
    if target != folder:
        if target.exists():
            line = make_room(folder, target)
            if not folder.exists():
                return line
        os.replace(folder, target)
    write_json(target / layout.RECORD, written)
    return line


def make_room(folder: Path, target: Path) -> str:
    """Of two folders of one run, remove the one whose images are all in the other; returns the line that says so.

    Raises:
        ValueError: each has images of its own.
    """
    ours, theirs = (set(parts.read_rows(each)["image_id"]) for each in (folder, target))
    if not (ours <= theirs or theirs <= ours):
        raise ValueError(f"it is the run {target.name}, which is there with other images; remove one of them")
    gone, kept = (folder, target) if ours <= theirs else (target, folder)
    shutil.rmtree(gone)
    fewer, more = sorted((len(ours), len(theirs)))
    return f"is the run {target.name}, which was there: kept {kept.name} of {more} images, removed that of {fewer}"


def images_of(node: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[ImageSet, dict[str, str]]:
    """The data set of a run, and the digests of its images.

    Drawn images are computed, in float64, and their last bits depend on the number of threads: those of the run are
    tried too.

    Raises:
        InputError, ValueError: the images cannot be had, or are others than the run's.
    """
    refuse_foreign(node)
    node = {EARLIER_KEYS.get(key, key): value for key, value in node.items()}
    machines = [record.get("environment"), *record.get("environments", [])]
    threads = [machine["threads"] for machine in machines if isinstance(machine, dict) and "threads" in machine]
    for count in dict.fromkeys([torch.get_num_threads(), *(n for n in threads if n in range(1, MOST_THREADS))]):
        images, digests = built(json.dumps(node), count)
        if missing := [image_id for image_id in record["ids"] if image_id not in digests]:
            raise ValueError(f"its data set has no image '{missing[0]}' any more")
        if manifest(json.dumps(node), count, tuple(record["ids"])) == record["manifest"]:
            return images, digests
    raise ValueError("its data set has other images now than those that it restored, or draws them otherwise")


def refuse_foreign(node: Any) -> None:
    """Refuse a data set's node that names anything but data sets and priors of this package.

    Raises:
        ValueError: it does.
    """
    if isinstance(node, Mapping):
        target = node.get("_target_", "")
        if target:
            known = str(target).startswith(tuple(f"{name}." for name in TRUSTED))
            if not known or not getattr(pkgutil.resolve_name(target), "__module__", "").startswith(TRUSTED):
                raise ValueError(f"its data set is made by {target}, which is not of this package; run it again")
    for part in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        refuse_foreign(part)


@lru_cache(maxsize=64)
def built(node: str, threads: int) -> tuple[ImageSet, dict[str, str]]:
    """A data set of its node in JSON, and the digests of its images."""
    with threaded(threads):
        images = build(OmegaConf.create(json.loads(node)), "dataset")
        return images, digests_of(images)


@lru_cache(maxsize=64)
def manifest(node: str, threads: int, ids: tuple[str, ...]) -> str:
    """What the earlier version called so: sha256 over ids and pixels, in order."""
    images, _ = built(node, threads)
    digest = hashlib.sha256()
    for image_id in ids:
        digest.update(image_id.encode() + b"\0")
        digest.update(images.load(image_id).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def threaded(count: int) -> Iterator[None]:
    """Let torch use `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prior_of(config: Mapping[str, Any], record: Mapping[str, Any]) -> Form | None:
    """The form of a run's prior, by the recorded hash of its weights; None for a method that asks no prior."""
    if not needs_prior(pkgutil.resolve_name(config["method"]["sampler"]["_target_"])):
        return None
    weights = record.get("weights")
    return form_of(config["prior"]["model"]) | ({"weights": weights["sha256"]} if weights else {})


def command_of(config: Mapping[str, Any], record: Mapping[str, Any], run: str) -> dict[str, Any] | None:
    """The overrides that make a run of this name, as a record keeps them; None where none were found."""
    try:
        overrides = overrides_of(config)
        begun = composed(tuple(overrides))
        images, digests = images_of(plain(begun.dataset.images), record)
        identity = identify(begun, images, digests, prior_of(plain(begun), record))
    except (*ILL, HydraException):
        return None
    return {"overrides": overrides, "config_dir": None} if name_of(identity.run) == run else None


def overrides_of(config: Mapping[str, Any]) -> list[str]:
    """Overrides that turn the default configuration into a run's, in what changes a number.

    Raises:
        ValueError: no configuration resembles it.
    """
    groups = [f"{group}={choice_of(group, config[group])}" for group in ("dataset", "task", "method")]
    for group in ("prior", "metrics"):
        if not resembles(group, plain(composed(tuple(groups))[group]), config[group]):
            with suppress(ValueError):
                groups.append(f"{group}={choice_of(group, config[group])}")
    begun = composed(tuple(groups))
    raw, resolved = OmegaConf.to_container(begun, resolve=False), plain(begun)
    singles = ("seed", "dataset", "prior", "task", "method", "metrics", "compute")
    return [*groups, *(text for key in singles for text in differing(key, raw[key], resolved[key], config[key]))]


def differing(key: str, raw: Any, resolved: Any, ours: Any) -> Iterator[str]:
    """Overrides of the single values below `key` that differ; what follows from other values needs none."""
    if isinstance(raw, Mapping) and isinstance(ours, Mapping):
        for name in raw:
            if name in ours and name[0] != "_":
                yield from differing(f"{key}.{name}", raw[name], resolved[name], ours[name])
    elif resolved != ours and not (isinstance(raw, str) and "${" in raw and key.count(".") > 1):
        yield f"{key}={literal(ours)}"


def literal(value: Any) -> str:
    """A value as an override gives it."""
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    return override_value(value) if isinstance(value, str) else json.dumps(value)


def choice_of(group: str, ours: Mapping[str, Any]) -> str:
    """The option of a group that a run's configuration was made of: by its name, else by the class that it builds.

    Raises:
        ValueError: there is none.
    """
    options = options_of(group)
    for choice, node in options.items():
        if resembles(group, node, ours):
            return choice
    part = {"dataset": "images", "task": "operator", "method": "sampler", "prior": "model"}.get(group)
    for choice, node in options.items():
        if part and part in node and node[part]["_target_"] == ours[part]["_target_"]:
            return choice
    raise ValueError(f"no {group} is like the run's")


@lru_cache(maxsize=8)
def options_of(group: str) -> dict[str, dict[str, Any]]:
    """The options of a group of the project's own configuration."""
    root = config_dir() / group
    choices = [file.relative_to(root).with_suffix("").as_posix() for file in sorted(root.rglob("*.yaml"))]
    return {choice: option(group, choice) for choice in choices}


def resembles(group: str, node: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether an option has the name of the run's; of metrics, which have none, the class and the values."""
    if group != "metrics":
        return node["name"] == ours["name"]
    told = {key: value for key, value in node.items() if key in ours and "${" not in str(value) and key[0] != "_"}
    alike = str(node.get("_target_")).split(".")[-1] == str(ours["_target_"]).split(".")[-1]
    return alike and all(ours[key] == value for key, value in told.items() if not isinstance(value, Mapping))


@lru_cache(maxsize=256)
def composed(overrides: tuple[str, ...]) -> DictConfig:
    """The configuration that `vml-bench run` composes of overrides."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", list(overrides))


def move_pictures(results: Path) -> list[str]:
    """Move originals and measurements to where runs look for them now; a line for each folder that stays."""
    places: dict[Path, set[Path | None]] = {}  # where each earlier folder's pictures may belong; None: not known
    for folder in layout.run_folders(results):
        if not (folder / layout.RECORD).is_file():
            continue
        place = layout.RunPlace.of(folder)
        try:
            record = read_record(folder / layout.RECORD)
            form, name = record["problem"]["form"], record["problem"]["name"]
            originals = layout.originals(results, place.dataset, form["images"])
            measured = layout.measurements(results, place.dataset, place.task, name)
            asked = f"{form['noise_std']:g}-{form['seed']}"
        except ILL:
            places.setdefault(results / REFERENCES / place.dataset, set()).add(None)
            for lying in (results / layout.RUNS / place.dataset / place.task / layout.MEASUREMENTS).glob("*"):
                places.setdefault(lying, set()).add(None)
        else:
            places.setdefault(results / REFERENCES / place.dataset, set()).add(originals)
            places.setdefault(folder.parents[1] / layout.MEASUREMENTS / asked, set()).add(measured)
    return [line for earlier, targets in sorted(places.items()) if (line := move(earlier, targets))]


def move(earlier: Path, targets: set[Path | None]) -> str | None:
    """Move a folder of pictures to its one target; a line where that cannot be."""
    if not earlier.is_dir():
        return None
    target = next(iter(targets))
    if len(targets) > 1 or target is None:
        return f"{earlier} left where it is: it cannot be told whose pictures it holds; runs make them again"
    if target.exists():
        return f"{earlier} left where it is: {target} is there; it is not needed any more"
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(earlier, target)
    if not any(earlier.parent.iterdir()):
        earlier.parent.rmdir()
    return None


def migrate_archive(file: Path) -> Outcome:
    """Rename the runs in an archive, and write it anew where one has another name now.

    Its members are files of runs, <dataset>/<task>/<method>/<run>/<file>, all below one folder or none.

    Raises:
        InputError: it is no such archive.
    """
    with tempfile.TemporaryDirectory() as unpacked:
        prefix = unpack(file, Path(unpacked, layout.RUNS))
        outcome = migrate(Path(unpacked))
        if outcome.moved:
            with replacing(file, durable=True) as partial:
                pack(Path(unpacked, layout.RUNS), partial, prefix)
    return outcome


def unpack(file: Path, runs: Path) -> str:
    """Unpack an archive of runs; returns what stands before <dataset>/… in its names.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    prefixes = set()
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                if member.isdir():
                    continue
                path = PurePosixPath(member.name)
                inner = PurePosixPath(*path.parts[path.parts[:1] == (layout.RUNS,) :])
                prefixes.add(member.name.removesuffix(str(inner)))
                if not member.isreg() or len(inner.parts) < 5 or inner.is_absolute() or ".." in inner.parts:
                    raise ValueError(f"{member.name} is no file of a run")
                target = Path(runs, inner)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
        if len(prefixes) != 1:
            raise ValueError("its runs lie below several folders" if prefixes else "it is empty")
    except (OSError, EOFError, ValueError, lzma.LZMAError, tarfile.TarError) as error:
        raise InputError(f"{file} is no archive of runs ({error})", "give a results folder or an archive") from error
    return prefixes.pop()


def pack(runs: Path, file: Path, prefix: str = "") -> None:
    """Write runs as an archive, the same bytes for the same files: names sorted, no times, no owners."""
    with lzma.open(file, "wb", preset=PRESET) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(path for path in runs.rglob("*") if path.is_file()):
            content = path.read_bytes()
            member = tarfile.TarInfo(prefix + path.relative_to(runs).as_posix())
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 where runs stay as they were, 2 where a path is no results folder and no archive."""
    parser = argparse.ArgumentParser(prog="python -m vml_bench.migrate", description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="results folder, or an archive of runs")
    alone = 0
    for results in parser.parse_args(arguments).results:
        try:
            if not results.exists():
                raise InputError(f"{results} is not there", "give a results folder or an archive of runs")
            outcome = migrate(results) if results.is_dir() else migrate_archive(results)
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        for line in outcome.lines:
            print(line, file=sys.stderr)
        print(f"{results}: {outcome}")
        alone += outcome.alone
    return int(alone > 0)


if __name__ == "__main__":
    sys.exit(main())
