"""`python -m runtime`: what a device can do with a bundle, without any training package."""

from __future__ import annotations

from pathlib import Path

import click

import runtime
from runtime.cli import (
    bar,
    check_folder,
    conclude,
    guarded,
    openvino_option,
    out_option,
    say,
    sustained_option,
)
from runtime.errors import InputError
from runtime.text import command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(runtime.__version__, prog_name="edge-compressor runtime")
def main() -> None:
    """Check a bundle on this device, and predict with its student."""


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@out_option
@sustained_option
@openvino_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def check(
    bundle: Path, out: Path | None, sustained_s: float, openvino: bool, as_json: bool
) -> None:
    """Verify BUNDLE, run it on this machine and judge it against its requirements."""
    from runtime.checking import check as check_bundle

    folder = check_folder(bundle, out)
    report = check_bundle(bundle, out=folder, sustained_s=sustained_s, openvino=openvino, track=bar)
    conclude(report, bundle, folder, "this machine", as_json=as_json)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1)
@click.option("--file", help="Which of its files, such as onnx-int8. Default: the recommended.")
@click.option("--openvino", is_flag=True, help="Let OpenVINO run it, in place of ONNX Runtime.")
@click.option("--nearest", default=3, show_default=True, help="Training images to name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, a list.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV, a line as soon as it is known.")
@click.option(
    "--annotate",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a copy of each image there, with its answer on it.",
)
@click.option(
    "--monitor",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Tell changes of the images, and keep those worth labelling there.",
)
@click.option(
    "--every", type=click.FloatRange(0), default=1.0, help="Seconds between frames; 0: all. [1]"
)
@click.option(
    "--frames", type=click.IntRange(1), help="Of a video or camera, at most. Default: to its end."
)
def predict(
    bundle: Path,
    images: tuple[str, ...],
    file: str | None,
    openvino: bool,
    nearest: int,
    as_json: bool,
    as_csv: bool,
    annotate: Path | None,
    monitor: Path | None,
    every: float,
    frames: int | None,
) -> None:
    """Predict each IMAGE with the student of BUNDLE. `?` marks images that are not of its task.

    An IMAGE may be a folder, with all that lie below it, or a pattern such as 'photos/*.jpg'; a
    video file; a camera such as /dev/video0 or rtsp://host/stream, until Ctrl-C, with answers as
    of --csv. One that cannot be read is an error on stderr; the others are answered, and the exit
    code is 2.
    """
    from runtime.monitoring.monitor import Monitor
    from runtime.prediction import many, shown, streams
    from runtime.prediction.student import load

    if not images:
        raise click.UsageError("name at least one image")
    if as_json and as_csv:
        raise click.UsageError("--json and --csv cannot both be printed")
    if annotate is not None:
        many.require_new(annotate, bundle)
    named = {word: streams.stream_of(word) for word in images}
    videos = [stream for stream in named.values() if stream is not None]
    if videos:
        streams.require_package()
    as_csv = as_csv or (not as_json and any(stream.live for stream in videos))  # it has no end
    paths = many.find_images([Path(word) for word, stream in named.items() if stream is None])
    student = load(bundle, file=file, neighbours=nearest, openvino=openvino)
    if student.no_outliers:
        say(f"warning: {student.no_outliers}", err=True)
    output = shown.CsvLines(say) if as_csv else shown.Json(say) if as_json else shown.Table(say)
    watch = None if monitor is None else Monitor(student, monitor)
    total, unread, uncopied = 0, 0, 0
    try:
        for answer in many.all_of(student, paths, videos, every_s=every, most=frames, track=bar):
            total += 1
            output.add(answer)
            if answer.error:
                unread += 1
                say(f"error: {answer.error}", err=True)
                continue
            if annotate is not None:
                try:
                    many.annotate(answer, annotate)
                except InputError as error:  # its file was removed in the meantime
                    uncopied += 1
                    say(f"error: no copy of {error}", err=True)
            if watch is not None and answer.prediction is not None:
                image = answer.path if answer.frame is None else answer.frame
                for alarm in watch.see(answer.prediction, image):
                    say(f"changed: {alarm.text}", err=True)
    finally:
        output.end()  # a camera is stopped with Ctrl-C
    if unread:
        say(f"{unread} of {total} images could not be predicted", err=True)
    if unread or uncopied:
        raise SystemExit(InputError.exit_code)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--file", help="Which of its files, such as onnx-int8. Default: the recommended.")
@click.option("--openvino", is_flag=True, help="Let OpenVINO run it, in place of ONNX Runtime.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for all machines.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=8, help="Images at once, at most. [8]")
@click.option("--wait-ms", type=click.FloatRange(0), default=2.0, help="For more images. [2]")
@click.option("--requests", type=click.IntRange(1), default=64, help="At once, at most. [64]")
@click.option("--max-mb", type=click.FloatRange(0.001), default=20.0, help="Of an image. [20]")
@click.option(
    "--monitor",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Tell changes of the images, and keep those worth labelling there.",
)
def serve(
    bundle: Path,
    file: str | None,
    openvino: bool,
    host: str,
    port: int,
    batch: int,
    wait_ms: float,
    requests: int,
    max_mb: float,
    monitor: Path | None,
) -> None:
    """Answer images over HTTP with the student of BUNDLE: docs/serve.md.

    `curl --data-binary @a.jpg http://127.0.0.1:8000/predict` prints one object of `predict --json`.
    It has no passwords: let other machines reach it only where all of them may.
    """
    from runtime.monitoring.monitor import Monitor
    from runtime.prediction.student import load
    from runtime.serving import server
    from runtime.serving.limits import Limits

    server.require_packages()
    limits = Limits(batch=batch, wait_ms=wait_ms, requests=requests, body_mb=max_mb)
    student = load(bundle, file=file, openvino=openvino)
    if student.no_outliers:
        say(f"warning: {student.no_outliers}", err=True)
    stop = "Ctrl-C stops"
    server.serve(
        student,
        host,
        port,
        limits,
        monitor=Monitor(student, monitor) if monitor is not None else None,
        ready=lambda address: say(f"{student.file} of {bundle}: {address} ({stop})", err=True),
    )


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--tar", type=click.Path(path_type=Path), help="File to write. Default: BUNDLE.tar.")
def pack(bundle: Path, tar: Path | None) -> None:
    """Verify BUNDLE and pack it into one .tar file, to copy it to a device."""
    from runtime.bundle import archive
    from runtime.bundle import bundle as bundles
    from runtime.text import amount

    folder = bundles.load(bundle).folder.resolve()
    path = tar if tar is not None else folder.parent / f"{folder.name}.tar"
    archive.pack(folder, path)
    say(f"{path} ({amount(path.stat().st_size)})\nNext, on the device: ", nl=False, err=True)
    say(command("python", "-m", "runtime", "unpack", Path(path.name)), err=True)


@main.command()
@click.argument("tar", type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder to write to. Default: the current one.",
)
def unpack(tar: Path, into: Path) -> None:
    """Unpack a TAR of `pack` and verify it. Links and names that point outside are refused."""
    from runtime.bundle import archive

    folder = archive.unpack(tar, into)
    again = command("python", "-m", "runtime", "check", folder)
    say(f"{folder}\nNext: {again}", err=True)


@main.command("latency-table")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("latency.json"),
    show_default=True,
    help="File to write.",
)
def time_candidates(folder: Path, out: Path) -> None:
    """Time the candidates in FOLDER on this device, so that a student can be chosen for it."""
    from runtime.benchmark import latency_table
    from runtime.documents import plain
    from runtime.files import require_writable, write_json
    from runtime.text import table

    require_writable(out.parent)
    measured = latency_table.measure(folder, track=bar)
    write_json(out, plain(measured))
    rows = [
        [timed.model, f"{timed.size_mb:.2f}", f"{timed.median_ms:.2f}", f"{timed.p95_ms:.2f}"]
        for timed in measured.models
    ]
    say(table(["model", "MB", "median ms", "p95 ms"], rows))
    say(f"{out}\nNext, in the recipe: student.model: auto", err=True)
    say(f"                    student.latency_table: {out.name}", err=True)


if __name__ == "__main__":
    guarded(main)
