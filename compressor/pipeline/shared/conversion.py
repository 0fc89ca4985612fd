"""Files for other runtimes than ONNX Runtime: a student converted once, a file a precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from compressor.pipeline.context import Run
from compressor.pipeline.shared import attempt, calibration_images, deployed
from compressor.pipeline.step import NETWORK_LIBRARIES, Step
from runtime.bundle.schema import FileNotMade
from runtime.documents import Precision, plain
from runtime.errors import FileNotMadeError
from runtime.files import write_json

Source = TypeVar("Source")


@dataclass(frozen=True)
class Format:
    """A kind of files, and the step that makes them."""

    key: str
    """In `export.formats`; names the step, its folder and the files' entries in the ledger."""
    runtime: str
    """Its name for people."""
    summary: str
    version: int
    """Of the step."""
    libraries: tuple[str, ...]
    """Distributions beside those of networks whose version decides the files."""
    file_of: Callable[[str], str]
    """Precision -> name of the file."""

    def step(self, make: Callable[[Run, Path], None], *, int8: bool) -> Step:
        """Return the step.

        Args:
            make: writes the files into the folder of the format, in the folder that it is given.
            int8: whether it needs images to calibrate on.
        """

        def inputs(run: Run) -> dict[str, object]:
            return {
                "student": run.network_digest(run.plan.recipe.student),
                "weights": run.outputs("distill")["student.safetensors"],
                "probes": run.outputs("probes"),
                "precisions": list(run.plan.recipe.export.precisions),
                **({"calibration": calibration_images.inputs(run)} if int8 else {}),
            }

        return Step(
            name=self.key,
            summary=self.summary,
            version=self.version,
            products=(self.key,),
            needs=("images", "distill", "probes", "to_onnx") if int8 else ("distill", "probes"),
            inputs=inputs,
            make=make,
            libraries=(*NETWORK_LIBRARIES, *self.libraries),
        )

    def write(
        self,
        run: Run,
        work: Path,
        convert: Callable[[], Source],
        make: Callable[[Source, Precision, Path], None],
    ) -> None:
        """Make the file of each precision; one that cannot be made is told, and noted with why.

        Args:
            run: the run.
            work: holds the folder of the format.
            convert: makes what all files are made of.
            make: writes the file of a precision, and files beside it that begin with its stem.
        """
        folder, failed = work / self.key, list[FileNotMade]()
        folder.mkdir(parents=True, exist_ok=True)

        def tell(precision: Precision, error: FileNotMadeError) -> None:
            why = attempt.in_one_line(error, folder)
            run.warn(
                f"no {precision} file for {self.runtime}: {why}\n  The run goes on without it."
            )
            stage = f"{self.key}-{precision}"
            failed.append(FileNotMade(stage=stage, precision=precision, why=why))

        precisions = run.plan.recipe.export.precisions
        try:
            source = convert()
        except FileNotMadeError as error:
            for precision in precisions:
                tell(precision, error)
        else:
            for precision in precisions:
                path = folder / self.file_of(precision)
                try:
                    make(source, precision, path)
                except FileNotMadeError as error:
                    for made in folder.glob(f"{path.stem}*"):
                        made.unlink()
                    tell(precision, error)
        write_json(folder / deployed.NOT_MADE, plain(failed))
