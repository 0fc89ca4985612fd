"""Figures in the text format that Prometheus reads (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Mapping


def metric(name: str, kind: str, meaning: str, values: Mapping[str, float], label: str = "") -> str:
    """Return one metric as text.

    Args:
        name: without the prefix of all our metrics.
        kind: `counter` or `gauge`.
        meaning: one line.
        values: by the value of the label; `""` alone where there is none.
        label: its name.
    """
    name = f"edge_compressor_{name}"
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    for value, number in sorted(values.items()):
        labels = f'{{{label}="{_escaped(value)}"}}' if label else ""
        lines.append(f"{name}{labels} {float(number):.10g}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
