"""A file that misses its parity is told with the layer where it departs; a right one is not."""

from msgspec import UNSET

from compressor.pipeline.shared.departures import with_departures
from runtime.bundle import bundle as bundles
from runtime.bundle import golden
from runtime.evaluation.check import check
from runtime.report import markdown
from runtime.results.scores import to_json


def test_the_layer_where_a_file_departs_is_in_the_report(make_bundle, onnx_bytes):
    wrong = onnx_bytes(factor=-1)
    models = {"onnx-fp32": onnx_bytes(), "onnx-fp16": onnx_bytes(), "onnx-int8": wrong}
    folder = make_bundle(models=models)
    bundle, held_out = bundles.load(folder), golden.load(folder / "golden")
    report = with_departures(check(bundle, held_out), bundle, held_out)
    found = {entry.stage: entry.departs_at for entry in report.ledger}
    assert [stage for stage, departure in found.items() if departure is not UNSET] == ["onnx-int8"]
    departure = found["onnx-int8"]
    assert departure.is_own
    assert departure.error == 2.0  # -x in place of x
    assert "**`onnx-int8` departs** from the FP32 file at" in markdown.markdown(report)
    (line,) = [line for line in to_json(report)["ledger"] if line["stage"] == "onnx-int8"]
    assert line["departs_at"]["operator"] == departure.operator
