"""A Weights & Biases project, and the folder of what waits to be uploaded to it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from requests.utils import get_netrc_auth

from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.tracker.progress import Progress
from vml_bench.tracker.record import Outcome, Subject, finite

PROJECT = "vml-bench"
OFFLINE = "offline"


def require_wandb() -> None:
    """Refuse to go on without the wandb package.

    Raises:
        InputError: it is not installed.
    """
    try:
        version("wandb")
    except PackageNotFoundError:
        raise InputError("wandb is not installed", "pip install 'vml-bench[wandb]', or tracker=csv") from None


@dataclass(frozen=True)
class Workspace:
    """Where runs are logged.

    Every run has an id that follows from what it is about, so logging it again goes on with the same W&B run.
    What was logged is noted under <results>/wandb/logged.

    Attributes:
        results: results folder; W&B's own files lie in its folder wandb.
        project: W&B project; None: $WANDB_PROJECT, or "vml-bench".
        entity: W&B user or team; None: $WANDB_ENTITY, or the key's own.
        tag: shown as a tag and part of the ids: keeps equal runs of another machine apart.
        timeout: seconds to wait for W&B at the start of a run, and for the upload at its end.

    Raises:
        InputError: wandb is not installed, or the tag does not fit.
    """

    results: Path
    project: str | None = None
    entity: str | None = None
    tag: str | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        require_wandb()
        if self.tag is not None and not 1 <= len(self.tag) <= 64:
            raise InputError(f"the tag {self.tag!r} does not fit W&B", "use 1 to 64 characters")

    @cached_property
    def mode(self) -> str:
        """$WANDB_MODE where it is set; else "online" where W&B has a key, "offline" where it has none."""
        import wandb

        settings = wandb.setup().settings
        if settings.mode != "online":
            return settings.mode
        key = settings.api_key or settings.identity_token_file or get_netrc_auth(settings.base_url)
        return "online" if key else OFFLINE

    @property
    def destination(self) -> dict[str, str | None]:
        """Project and entity as they will be."""
        project = self.project or os.environ.get("WANDB_PROJECT") or PROJECT
        return {"project": project, "entity": self.entity or os.environ.get("WANDB_ENTITY")}

    @property
    def upload(self) -> str:
        """The command that uploads everything that waits for it and was not uploaded yet."""
        return f"wandb sync {shlex.quote(str(self.results / 'wandb'))}/offline-run-*"

    def run_id(self, subject: Subject) -> str:
        """The W&B id of what a subject is about."""
        key = json.dumps([*subject.key, *([self.tag] if self.tag else [])])
        return f"vml-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def is_logged(self, subject: Subject, outcome: Outcome) -> bool:
        """Whether exactly this was logged to this project; what only waits for its upload was not logged online."""
        note = self._note(subject)
        same = note.get("content") == outcome.digest(subject) and self._is_here(note)
        return same and (note["mode"] != OFFLINE or self.mode == OFFLINE)

    def log(self, subject: Subject, outcome: Outcome) -> str:
        """Log a finished subject; returns where it is, see `Session.close`."""
        session = Session(self, subject, live=False)
        progress = Progress()
        for row in outcome.rows:
            session.log_progress(progress.add(row))
        return session.close(outcome)

    def note(self, subject: Subject, outcome: Outcome | None, folder: Path) -> None:
        """Note what W&B's folder of a run holds; folders that wait for upload and hold less are removed.

        Args:
            subject: what it is about.
            outcome: what was logged; None where the run was stopped before its end.
            folder: the folder.
        """
        earlier = self._note(subject)
        earlier = earlier if self._is_here(earlier) else {}
        waiting = [name for name in earlier.get("waiting", []) if name != folder.name]
        if outcome is None:
            known = {"content": "", "mode": self.mode} | earlier
        else:
            known = {"content": outcome.digest(subject), "mode": self.mode}
            for name in waiting:
                shutil.rmtree(folder.with_name(Path(name).name), ignore_errors=True)
            waiting = []
        waiting += [folder.name] if self.mode == OFFLINE else []
        with replacing(self._note_file(subject)) as partial:
            note = {**known, "waiting": waiting, **self.destination}
            partial.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")

    def _note_file(self, subject: Subject) -> Path:
        return self.results / "wandb" / "logged" / f"{self.run_id(subject)}.json"

    def _note(self, subject: Subject) -> dict[str, Any]:
        file = self._note_file(subject)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def _is_here(self, note: dict[str, Any]) -> bool:
        return note.items() >= self.destination.items()


class Session:
    """One open W&B run.

    Args:
        workspace: where.
        subject: what it is about.
        live: the run goes on now on this machine, so that W&B's figures of the system are about it.
    """

    def __init__(self, workspace: Workspace, subject: Subject, live: bool) -> None:
        import wandb

        self.workspace, self.subject = workspace, subject
        online = workspace.mode == "online"
        agent = os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID")
        workspace.results.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            **({} if agent else workspace.destination),
            id=agent or workspace.run_id(subject),
            name=subject.name,
            group=subject.group,
            job_type=subject.job_type,
            tags=[*subject.tags, *([workspace.tag] if workspace.tag else [])],
            config=subject.config,
            allow_val_change=True,
            dir=str(workspace.results),
            mode=workspace.mode,
            resume="allow" if online and not agent else None,
            settings=wandb.Settings(
                silent=True,
                console="off",
                reinit="create_new",
                save_code=False,
                init_timeout=workspace.timeout,
                finish_timeout=workspace.timeout,
                finish_timeout_raises=True,
                x_disable_stats=not live,
                x_disable_meta=not live,
            ),
        )
        self._run.define_metric("progress/*", step_metric="progress/images")
        self._logged = int(self._run.summary.get("progress/images", 0)) if self._run.resumed else 0

    def log_progress(self, figures: dict[str, float]) -> None:
        """Log the running figures after one more image, unless the W&B run has them from an earlier start."""
        if figures["images"] > self._logged:
            known = {name: value for name, value in figures.items() if finite(value) is not None}
            self._run.log({f"progress/{name}": value for name, value in known.items()})

    def close(self, outcome: Outcome | None = None) -> str:
        """End the run with what it came to; None: it was stopped, and counts as failed.

        Returns:
            Its page, or the command that uploads it.
        """
        if outcome is not None:
            self._run.log(outcome.scores | self._media(outcome))
        folder, mode, page = Path(self._run.dir).parent, self.workspace.mode, None
        if mode == "online":
            page = self._run.url
        self._run.finish(exit_code=1 if outcome is None else 0)
        if mode == "disabled":
            return "W&B is disabled"
        self.workspace.note(self.subject, outcome, folder)
        return page or f"wandb sync {shlex.quote(str(folder))}"

    @staticmethod
    def _media(outcome: Outcome) -> dict[str, Any]:
        """The table of all images and the panel of a few, where there are any."""
        import wandb

        media: dict[str, Any] = {}
        if outcome.rows:
            cells = [[finite(value) for value in row.values()] for row in outcome.rows]
            media["images"] = wandb.Table(columns=list(outcome.rows[0]), data=cells)
        if outcome.pictures:
            media["panel"] = [
                wandb.Image(picture.strip(), caption=picture.caption, file_type="png") for picture in outcome.pictures
            ]
        return media
