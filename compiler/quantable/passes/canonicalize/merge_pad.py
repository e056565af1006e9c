"""Merge zero padding into the convolution or pool that reads it.

Before:
    x: f32[N,3,8,8]; p: i64[8] = [0, 0, 1, 1, 0, 0, 1, 1]; w: f32[4,3,3,3] = random
    a = Pad(x, p) {mode="constant"}
    y = Conv(a, w) {pads=[0,0,0,0]}
    return y
After:
    x: f32[N,3,8,8]; w: f32[4,3,3,3] = random
    y = Conv(x, w) {pads=[1,1,1,1]}
    return y

Preconditions:
    1. The pad is constant, with value 0, not negative, and on spatial axes only; nothing else reads
       its result, and the reader's padding is explicit.
    2. A Conv reads it.
    3. Or an AveragePool that counts its padding or has none, and rounds its size down; it counts
       padding afterwards.

A MaxPool never takes a pad over: its own padding does not take part in the maximum.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    integers_parameter,
    merged_sources,
    rank_of,
    rewritten,
    scalar_parameter,
    sole_user,
)


@dataclass(frozen=True)
class MergePad(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "merge-pad"
    summary: ClassVar[str] = "merge zero padding into the convolution or pool that reads it"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite the reader of every Pad; a chain of pads ends in one."""
        return rewritten(graph, context, self.name, ("Pad",), _merged, from_end=True)


def _merged(editor: GraphEditor, pad: Operation) -> str:
    """Merge a Pad into its reader; return why not, '' where it was done."""
    pads = _zero_pads(editor, pad)
    if pads is None:
        return "it is no constant padding with 0"
    reader = sole_user(editor, pad.outputs[0])
    if reader is None or reader.kind not in ("Conv", "AveragePool"):
        return "no convolution or average pool alone reads it"
    spatial = len(pads) // 2 - 2
    begins, ends = pads[: spatial + 2], pads[spatial + 2 :]
    if any((*begins[:2], *ends[:2])) or min(pads) < 0:
        return "it pads other than spatial axes, or crops"
    if reader.string_attribute("auto_pad", "NOTSET") != "NOTSET":
        return "the padding of its reader is automatic"
    own = reader.ints_attribute("pads") or (0,) * (2 * spatial)
    attributes = dict(reader.attributes)
    if reader.kind == "AveragePool":
        counts = reader.int_attribute("count_include_pad")
        if (any(own) and not counts) or reader.int_attribute("ceil_mode"):
            return "the pool does not count padding, or rounds its size up"
        attributes["count_include_pad"] = 1
    total = zip(own, (*begins[2:], *ends[2:]), strict=True)
    attributes["pads"] = tuple(a + b for a, b in total)
    editor.remove(pad)
    inputs = (pad.inputs[0], *reader.inputs[1:])
    sources = merged_sources(pad, reader)
    editor.replace(replace(reader, inputs=inputs, attributes=attributes, sources=sources))
    return ""


def _zero_pads(editor: GraphEditor, pad: Operation) -> tuple[int, ...] | None:
    """Return the pads of every axis, begins then ends, where the padding is 0."""
    rank = rank_of(editor, pad.inputs[0])
    given = integers_parameter(editor, pad.inputs[1])
    if rank is None or given is None or pad.string_attribute("mode", "constant") != "constant":
        return None
    if len(pad.inputs) > 2 and pad.inputs[2] and scalar_parameter(editor, pad.inputs[2]) != 0.0:
        return None
    if len(pad.inputs) < 4:
        return given
    axes = integers_parameter(editor, pad.inputs[3])
    if axes is None:
        return None
    result = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        result[axis % rank] = given[index]
        result[axis % rank + rank] = given[index + len(axes)]
    return tuple(result)
