"""`python -m runtime`: what a device can do with a bundle, without any training package."""

from __future__ import annotations

import json
from pathlib import Path

import click

import runtime
from runtime.command import exit_code, guarded, out_option


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(runtime.__version__, prog_name="edge-compressor runtime")
def main() -> None:
    """Check a bundle on this device."""


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@out_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
def check(bundle: Path, out: Path | None, as_json: bool) -> None:
    """Verify BUNDLE, run it on this machine and judge it against its requirements."""
    from runtime import bundle as bundles
    from runtime import golden, report
    from runtime.check import check as check_bundle

    loaded = bundles.load(bundle)
    held_out = golden.load(bundle / "golden")
    found = check_bundle(loaded, held_out)
    whole = bundle.resolve()  # `.` has no name
    folder = out if out is not None else whole.parent / f"{whole.name}-check"
    report.write(found, folder, images=held_out.root)
    click.echo(json.dumps(found) if as_json else report.text(found))
    click.echo(
        f"{found['recipe']['name']} on this machine: {report.verdict_line(found)}\n"
        f"report: {folder / 'report.md'}",
        err=True,
    )
    raise SystemExit(exit_code(found))


if __name__ == "__main__":
    guarded(main)
