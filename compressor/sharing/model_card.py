"""The model card: what a student is, what was kept, of which data, under which licence."""

from __future__ import annotations

import json

from msgspec import UNSET

import runtime
from compressor.sharing.licence import Licence
from runtime.bundle.bundle import Bundle
from runtime.bundle.schema import extras
from runtime.evaluation import metric_table
from runtime.report import tables
from runtime.report.view import requirements_table, view_of
from runtime.results.report import NetworkOrigin, Report
from runtime.text import in_code, inert

_USE = """```sh
pip install '{wheel}'
python -m runtime check bundle    # measures it again on your machine
```

```python
import runtime

student = runtime.load("bundle")
print(student.predict(["a.jpg"])[0])
```"""


def write(report: Report, bundle: Bundle, licence: Licence) -> str:
    """Return the card, Markdown with a YAML header as huggingface.co reads it."""
    parts = [
        _header(report, bundle, licence),
        f"# {inert(report.recipe.name)}",
        view_of(report).first_look,
        _about(report, bundle),
        _kept(report),
        _data(report),
        _origin(report, licence),
        _section("Use", _use(report, bundle)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(report: Report, bundle: Bundle, licence: Licence) -> str:
    """Return the YAML header; every value is JSON, which YAML reads as it is."""
    bases = [
        network.hub_id
        for network in (report.student, report.teacher)
        if network is not UNSET and network.hub_id
    ]
    task = "image-classification" if bundle.classes else "image-feature-extraction"
    fields: dict[str, object] = {
        **licence.header,
        "pipeline_tag": task,
        "tags": ["edge-compressor", "knowledge-distillation", "onnx"],
        **({"base_model": list(dict.fromkeys(bases))} if bases else {}),
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _about(report: Report, bundle: Bundle) -> str:
    document = bundle.document
    outputs = (
        f"{len(bundle.classes)} classes and an embedding" if bundle.classes else "an embedding"
    )
    return (
        f"A student, distilled with edge-compressor "
        f"{runtime.__version__} from a vision foundation model, for the target "
        f"`{in_code(report.target.name)}`: images of {document.preprocess.size_px} × "
        f"{document.preprocess.size_px} pixels to {outputs}. "
        f"Recommended file: `{in_code(report.recommended.file)}` "
        f"({inert(report.recommended.why)})."
    )


def _kept(report: Report) -> str:
    """Return the figures of teacher and recommended file, with intervals, and the gates."""
    best = report.recommended_entry
    entries = [each for each in report.ledger if each.stage in ("teacher", best.stage)]
    table = tables.ledger(entries, metric_table.METRICS).turned()
    images = f"On {report.golden.images} held-out images that nothing was trained on"
    if report.golden.ood_images:
        images += f", and {report.golden.ood_images} that are not of the task"
    view = view_of(report)
    doubts = [f"- {doubt.markdown}" for doubt in view.warnings]
    return _section(
        "What was kept",
        f"{images}; in brackets the 95 % interval over images. `report.html` has all of it.",
        table.markdown,
        requirements_table(view.requirements).markdown,
        *(["Doubts:", "\n".join(doubts)] if doubts else []),
    )


def _data(report: Report) -> str:
    data = {} if report.data is UNSET else dict(report.data)
    digest = data.pop("digest", None)
    lines = [f"- {inert(key)}: {value}" for key, value in data.items() if isinstance(value, int)]
    if digest:
        lines.append(f"- digest of all images, labels and splits: `{in_code(str(digest))}`")
    lines.append(f"- digest of the held-out set: `{in_code(report.golden.digest)}`")
    return _section("Data", "\n".join(lines))


def _origin(report: Report, licence: Licence) -> str:
    lines = [f"**Licence of the student: {inert(licence.name)}.** {licence.why}"]
    for role, network in (("Teacher", report.teacher), ("Student", report.student)):
        if network is not UNSET:
            lines.append(f"- {role}: {_network(network)}")
    return _section("Licence and origin", lines[0], "\n".join(lines[1:]))


def _network(network: NetworkOrigin) -> str:
    if network.weights == "none":
        return f"`{in_code(network.model)}`, trained from scratch"
    named = inert(network.hub_id or network.package or network.weights)
    licence = inert(network.license or "licence not known")
    return f"`{in_code(network.model)}`, weights {named} ({licence})"


def _use(report: Report, bundle: Bundle) -> str:
    name = f"edge-compressor[{extras([report.recommended.file], bundle.target.provider)}]"
    return _USE.format(wheel=name)


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])
