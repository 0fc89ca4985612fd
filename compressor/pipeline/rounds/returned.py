"""The next round of labels: images that a device kept are copied to the user's data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compressor.data.devices import copied, device_folder
from compressor.data.devices.copied import Copied
from compressor.data.devices.device_folder import LeftOut
from compressor.pipeline.context import Run
from compressor.pipeline.rounds import table
from runtime.bundle import golden
from runtime.errors import InputError
from runtime.files import sha256_of
from runtime.text import command, printable

_SHOWN = 5


def bring(run: Run, device: Path) -> Copied:
    """Copy the new images of a device's folder, tell what is left out, note what the device saw.

    Args:
        run: has a bundle; its folder must be locked.
        device: the folder of a monitor, or a copy of it.

    Raises:
        InputError: the run has no bundle, or no image of the folder can be used.
    """
    students, into = _students(run), run.plan.recipe.data.returned
    if into is None:
        raise ValueError("a recipe without resolved paths")
    found = device_folder.read(device)
    data = run.plan.recipe.data
    brought = copied.copy(
        found,
        into,
        known=_known(run),
        students=students,
        max_megapixels=data.max_megapixels,
        track=run.track,
    )
    for line in _told(brought, device):
        run.note(printable(line))
    if unknown := [note for note in found.notes if not note.student]:
        run.warn(f"{len(unknown)} notes are of an older version: they name no student")
    table.with_device(run.folder, found.kept, found.seen)
    return brought


def _students(run: Run) -> set[str]:
    """Return the digests of the students that this run has made."""
    made = {each.student for each in table.read(run.folder)}
    answers = golden.arrays_path(run.folder / "bundle" / "golden")
    if answers.is_file():
        made.add(sha256_of(answers))
    if not made:
        again = command("compressor", "run", Path(run.plan.origin.path), "--out", run.folder)
        raise InputError(
            f"{run.folder}: this run has made no bundle yet, so no device can have one of it.\n"
            f"  First: {again}\n"
            "  Or name the folder of the run whose bundle is on the device with --out."
        )
    return made


def _known(run: Run) -> dict[str, str]:
    """Return the name of each image of the run by the digest of its pixels."""
    if "images" not in run.files.steps:
        return {}
    known = {image.pixels_sha256: image.id for image in run.images().records}
    return known | {sha256: name for name, sha256 in run.ood_pixels()}


def _told(brought: Copied, device: Path) -> list[str]:
    count, others = len(brought.images), _grouped(brought.left_out)
    where = f": {brought.folder}" if brought.folder else ""
    return [f"{count} new images from {device}{where}", *others]


def _grouped(left_out: Sequence[LeftOut]) -> list[str]:
    """Return a line for each reason, with the first names."""
    groups = dict[str, list[str]]()
    for each in left_out:
        known = each.why.startswith(copied.KNOWN)
        groups.setdefault("known already" if known else each.why, []).append(each.name)
    lines = []
    for why, names in groups.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lines.append(f"  left out, {why}: {', '.join(names[:_SHOWN])}{more}")
    return lines
