"""Weights & Biases: a folder in the run's folder, offline unless WANDB_MODE says otherwise.

`wandb sync FOLDER` sends it later. Addresses and credentials are wandb's own: WANDB_BASE_URL,
WANDB_API_KEY, `wandb login`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from compressor.observers.tracking.tracker import Begun, Ended
from runtime.text import command

if TYPE_CHECKING:
    import wandb

PROJECT = "edge-compressor"
"""If WANDB_PROJECT names none."""
_PATIENCE_S = 30.0


class Backend:
    """Writes with a run object of its own.

    Code, git remote, machine and console are not recorded: a remote may hold a password, and none
    of them was asked for.
    """

    name = "wandb"

    def __init__(self) -> None:
        self._run: wandb.Run | None = None

    def begin(self, run: Begun) -> tuple[str, str]:
        """Create a run; one that goes on has the same id, so that its parts sync into one."""
        import wandb

        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        run_id = run.id or uuid4().hex[:8]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=run_id,
            resume="allow" if mode == "online" else None,
            mode=mode,
            dir=os.environ.get("WANDB_DIR", str(run.folder)),
            config=dict(run.parameters),
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                save_code=False,
                init_timeout=_PATIENCE_S,
                login_timeout=_PATIENCE_S,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )
        folder = self._run.settings.sync_dir
        where = self._run.url if mode == "online" else command("wandb", "sync", folder)
        return run_id, f"{where or folder}"

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Keep the figures of an epoch."""
        assert self._run is not None
        self._run.log({"epoch": epoch, **figures})

    def end(self, ended: Ended) -> None:
        """Keep figures and facts in the summary, files as artefacts, and end the run."""
        import wandb

        assert self._run is not None
        run, self._run = self._run, None
        said = {"outcome": ended.outcome, "reason": ended.reason, **ended.facts}
        run.summary.update({**said, **ended.figures})
        record = wandb.Artifact(f"record-{run.id}", "record")
        for path in ended.files:
            if path.is_dir():
                bundle = wandb.Artifact(f"{path.name}-{run.id}", "model")
                bundle.add_dir(str(path))
                run.log_artifact(bundle)
            else:
                record.add_file(str(path))
        run.log_artifact(record)
        run.finish(exit_code=1 if ended.outcome in ("failed", "stopped") else 0)
