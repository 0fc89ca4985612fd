"""Check a bundle on this machine, from its folder to a report."""

from __future__ import annotations

from pathlib import Path

from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.errors import from_file_system
from runtime.evaluation import check as evaluation
from runtime.files import require_writable
from runtime.progress import Track, silent
from runtime.results.report import Report


@from_file_system()
def check(
    bundle: str | Path,
    *,
    out: str | Path | None = None,
    sustained_s: float = 0,
    openvino: bool = False,
    track: Track = silent,
) -> Report:
    """Verify a bundle, run each of its files here and judge the best against its requirements.

    A missed requirement is not an error: it stands in the report's `verdict`.

    Args:
        bundle: the bundle's folder; nothing is written into it.
        out: folder for report.json, report.md and report.html; None: none is written.
        sustained_s: seconds to run the first file without a pause before anything is timed, so that
            the device is as warm as at work.
        openvino: whether OpenVINO runs the ONNX files too: entries of its own in the ledger, with
            what its layers really compute in.
        track: shows the progress.

    Returns:
        The report.

    Raises:
        InputError: this is not a bundle, it is damaged, or nothing can be written in `out`, which
            may not lie in the bundle.
        MissingDependencyError: the backend is not installed, its provider does not start here, or
            the disk is full.
    """
    from runtime.report import markdown
    from runtime.report.doubts import with_warnings

    loaded = bundles.load(Path(bundle))
    golden_set = golden.load(loaded.folder / "golden")
    if out is not None:
        bundles.require_outside(loaded.folder, Path(out))
        require_writable(Path(out))
    found = evaluation.check(
        loaded, golden_set, sustained_s=sustained_s, openvino=openvino, track=track
    )
    report = with_warnings(found)
    if out is not None:
        markdown.write(report, Path(out), images=golden_set.root)
    return report
