"""The lowest IR version and operator set that carry a file: what old devices can read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper

LOWEST_OPSET = 13
"""The first with Q/DQ per channel; ONNX Runtime reads it since 1.7."""


def lower(model: ModelProto) -> None:
    """Give a file the lowest versions that mean the same, and drop domains that it does not use.

    An operator means the same in every operator set from the one that defined it last. So the
    highest of these is enough for the file, and no node has to be changed.

    Args:
        model: changed in place.
    """
    written = {entry.domain: entry.version for entry in model.opset_import}
    nodes = [*_nodes(model.graph), *(each for one in model.functions for each in one.node)]
    used = {node.domain for node in nodes}
    enough = max([LOWEST_OPSET, *_defined(nodes, written.get("", LOWEST_OPSET))])
    opsets = [helper.make_opsetid("", min(enough, written.get("", enough)))]
    others = sorted(used & written.keys() - {""})
    opsets += [helper.make_opsetid(name, written[name]) for name in others]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    own = [entry for entry in opsets if not entry.domain]
    model.ir_version = min(model.ir_version, helper.find_min_ir_version_for(own))


def _defined(nodes: Iterable[NodeProto], opset: int) -> Iterator[int]:
    """Yield the operator set that defined each standard operator last, as `opset` has it."""
    for node in nodes:
        if not node.domain:
            yield onnx.defs.get_schema(node.op_type, opset, "").since_version


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
