"""TensorBoard: event files in the run's folder. Figures and text; it keeps no other files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compressor.observers.tracking.tracker import Begun, Ended, Parameter
from runtime.text import command

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
"""In the run's folder; below it a folder for each tracked run: 1, 2 and so on."""


class Backend:
    """Writes with torch.utils.tensorboard; each figure is on disk when it is logged."""

    name = "tensorboard"

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        self._parameters: Mapping[str, Parameter] = {}

    def begin(self, run: Begun) -> tuple[str, str]:
        """Open an event file: of a new run, or one more of a run that goes on."""
        from torch.utils.tensorboard import SummaryWriter

        folder, number = run.folder / FOLDER, run.id
        if number is None or not (folder / number).is_dir():
            used = [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]
            number = str(max(used, default=0) + 1)
        self._writer = SummaryWriter(str(folder / number))
        self._parameters = run.parameters
        rows = "\n".join(f"| {key} | {value} |" for key, value in run.parameters.items())
        self._writer.add_text("recipe", f"| key | value |\n| --- | --- |\n{rows}", 0)
        self._writer.flush()
        return number, command("tensorboard", "--logdir", folder)

    def log(self, figures: Mapping[str, float], epoch: int) -> None:
        """Keep the figures of an epoch."""
        assert self._writer is not None
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def end(self, ended: Ended) -> None:
        """Keep figures, facts and report, beside the recipe as hyperparameters, and close."""
        from torch.utils.tensorboard import summary as summaries

        assert self._writer is not None
        writer: Any = self._writer  # torch has no types for what is below
        made: Any = summaries.hparams
        said = {"outcome": ended.outcome, "reason": ended.reason, **ended.facts}
        for name, text in {**said, "report": ended.text}.items():
            if text:
                writer.add_text(name, text, 0)
        for name, value in ended.figures.items():
            writer.add_scalar(name, value, 0)
        if ended.figures:
            for summary in made(dict(self._parameters), dict(ended.figures)):
                writer._get_file_writer().add_summary(summary)
        writer.close()
