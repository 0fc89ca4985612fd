"""The tables of metrics and gates as docs/fidelity.md shows them; a test keeps the two equal."""

from __future__ import annotations

from runtime.evaluation import gates, metric_table


def metrics() -> str:
    """Return a Markdown table of the metrics."""
    lines = ["| metric | title | what it is | better |", "|---|---|---|---|"]
    for metric in metric_table.METRICS:
        needs = f" (needs {', '.join(metric.needs)})" if metric.needs else ""
        lines.append(
            f"| `{metric.key}` | {metric.title} | {metric.explanation}{needs} | {metric.better} |"
        )
    return "\n".join(lines)


def requirements() -> str:
    """Return a Markdown table of the gates."""
    lines = ["| gate | what is judged | rule | needs |", "|---|---|---|---|"]
    for gate in gates.GATES:
        needs = ", ".join(gate.needs) or ("always judged" if gate.wanted else "nothing more")
        lines.append(f"| `{gate.key}` | {gate.title} | {gate.rule} | {needs} |")
    return "\n".join(lines)
