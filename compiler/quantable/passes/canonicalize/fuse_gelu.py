"""Replace the erf form of GELU by one operation.

Before:
    x: f32[N,4]; root: f32[] = 1.4142135; one: f32[] = 1; half: f32[] = 0.5
    a = Div(x, root)
    b = Erf(a)
    c = Add(b, one)
    d = Mul(x, c)
    y = Mul(d, half)
    return y
After:
    x: f32[N,4]
    y = Gelu(x) {approximate="none"}
    return y

Preconditions:
    1. Erf of x divided by the square root of 2, or multiplied by its reciprocal.
    2. 1 is added to it; nothing else reads what lies between.
    3. The result is multiplied by x and by 0.5, in any order and association; nothing else reads
       the partial products.

Numerics: real-equal (the constants agree to 1e-6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    merged_sources,
    rewritten,
    scalar_parameter,
    sole_user,
)

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class FuseGelu(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "fuse-gelu"
    summary: ClassVar[str] = "replace the erf form of GELU by one operation"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Start from every Erf."""
        return rewritten(graph, context, self.name, ("Erf",), _fused)


def _fused(editor: GraphEditor, erf: Operation) -> str:
    """Fuse around an Erf; return why not, '' where it was done."""
    scaled = editor.producer(erf.inputs[0])
    x = None if scaled is None else _unscaled(editor, scaled)
    if x is None or scaled is None or sole_user(editor, erf.inputs[0]) is None:
        return "its input is not x / sqrt(2)"
    plus = sole_user(editor, erf.outputs[0])
    if plus is None or plus.kind != "Add" or not _has_scalar(editor, plus, 1.0):
        return "1 is not added to it"
    for root, leaves, inner in _products(editor, plus.outputs[0]):
        if _is_gelu(editor, leaves, x, plus.outputs[0]):
            _replace(editor, (scaled, erf, plus, *inner), root, x)
            return ""
    return "it is not multiplied by x and 0.5"


def _unscaled(editor: GraphEditor, op: Operation) -> str | None:
    """Precondition 1: return x."""
    factors = {"Div": math.sqrt(2.0), "Mul": math.sqrt(0.5)}
    if op.kind not in factors:
        return None
    pairs = [tuple(op.inputs)] if op.kind == "Div" else [tuple(op.inputs), tuple(op.inputs[::-1])]
    for x, constant in pairs:
        if _is_close(scalar_parameter(editor, constant), factors[op.kind]):
            return str(x)
    return None


def _is_close(found: float | None, expected: float) -> bool:
    return found is not None and abs(found / expected - 1.0) <= _TOLERANCE


def _has_scalar(editor: GraphEditor, op: Operation, expected: float) -> bool:
    return any(_is_close(scalar_parameter(editor, name), expected) for name in op.inputs)


def _products(
    editor: GraphEditor, value: str
) -> Iterator[tuple[Operation, list[str], list[Operation]]]:
    """Yield every product that the value is a factor of: (root, factors, other Muls inside)."""
    root = sole_user(editor, value)
    while root is not None and root.kind == "Mul":
        inner: list[Operation] = []
        leaves = [leaf for name in root.inputs for leaf in _factors(editor, name, inner)]
        yield root, leaves, inner
        root = sole_user(editor, root.outputs[0])


def _factors(editor: GraphEditor, value: str, inner: list[Operation]) -> list[str]:
    producer = editor.producer(value)
    if producer is None or producer.kind != "Mul" or sole_user(editor, value) is None:
        return [value]
    inner.append(producer)
    return [leaf for name in producer.inputs for leaf in _factors(editor, name, inner)]


def _is_gelu(editor: GraphEditor, leaves: list[str], x: str, plus: str) -> bool:
    constant = 1.0
    others = []
    for leaf in leaves:
        number = scalar_parameter(editor, leaf)
        if number is None:
            others.append(leaf)
        else:
            constant *= number
    return sorted(others) == sorted((x, plus)) and _is_close(constant, 0.5)


def _replace(editor: GraphEditor, parts: tuple[Operation, ...], root: Operation, x: str) -> None:
    for part in parts:
        editor.remove(part)
    gelu = replace(
        root, kind="Gelu", inputs=(x,), attributes={"approximate": "none"},
        sources=merged_sources(*parts, root),
    )  # fmt: skip
    editor.replace(gelu)
