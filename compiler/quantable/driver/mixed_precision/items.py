"""What a search over bit widths chooses: the scheme of every operand of a compute operation."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from quantable.backends.c.costs import DEPTHWISE
from quantable.ir import Graph, Operation, QuantableOperation
from quantable.ir.profile import INPUT_CHANNEL_AXIS
from quantable.passes.quantize.assignments import slot_candidates
from quantable.passes.slot_editor import Slot
from quantable.targets.description import FLOAT, Target

WEIGHT, ACTIVATION = "weight", "activation"
FLOAT_BITS = 32
WIDTHS = (4, 5, 6, 8, 16)
"""Numbers of bits that are tried by default."""
PRODUCTS = (*INPUT_CHANNEL_AXIS, "Gemm", "MatMul")
"""Kinds of operation whose operands count, quantized or not."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A scheme that an operand may have, and its bits; 32 for 'float'."""

    scheme: str
    bits: int


@dataclass(frozen=True, slots=True)
class Item:
    """One operand of a compute operation.

    Attributes:
        slot: Where it is read.
        kind: Of the operation; a depthwise Conv is a kind of its own.
        role: WEIGHT for a parameter, else ACTIVATION.
        elements: Elements of the operand, of one sample; dimensions that are not fixed count 1.
        products: Products of one run of the operation.
        choices: What it may be; the first is what the target gives. One where there is no choice.
    """

    slot: Slot
    kind: str
    role: str
    elements: int
    products: int
    choices: tuple[Choice, ...]

    @property
    def label(self) -> str:
        """OPERATION.SLOT, as assignments spell it."""
        return f"{self.slot.operation}.{self.slot.side}{self.slot.index}"

    def entry(self, pick: int) -> str:
        """Return the assignment of a choice."""
        return f"{self.label}={self.choices[pick].scheme}"


def items_of(graph: Graph, target: Target, widths: Collection[int] = WIDTHS) -> list[Item]:
    """Return the operands of all compute operations, in graph order.

    Args:
        graph: A graph that was quantized for the target, calibrated or not.
        target: The target.
        widths: Numbers of bits that may be chosen, besides what the target gives; 32 is float.
    """
    candidates = slot_candidates(graph, target)
    return [
        Item(slot, _kernel(graph, op), role, _elements(graph, name), products(graph, op),
             _choices(target, op, slot, candidates.get(slot, ()), widths))
        for op in graph.operations
        for slot, name, role in _operands(graph, op)
    ]  # fmt: skip


def _operands(graph: Graph, op: Operation) -> Iterator[tuple[Slot, str, str]]:
    if op.kind in PRODUCTS:
        for index, name in enumerate(op.inputs[:2]):
            role = WEIGHT if graph.is_parameter(name) else ACTIVATION
            yield Slot(op.name, "in", index), name, role


def _choices(
    target: Target, op: Operation, slot: Slot, names: tuple[str, ...], widths: Collection[int]
) -> tuple[Choice, ...]:
    """Return the choices of an operand: one for every number of bits, the target's own first.

    Schemes of one width differ in what the target uses them for; the first one is the right one.
    """
    if not isinstance(op, QuantableOperation):
        return (Choice(FLOAT, FLOAT_BITS),)
    held = op.config.inputs[slot.index]
    given = Choice("", held.bits if held.is_quantized else FLOAT_BITS)
    if not names or names[0] == FLOAT or target.schemes[names[0]].is_fixed:
        return (given,)
    found: dict[int, Choice] = {}
    for name in names:
        bits = FLOAT_BITS if name == FLOAT else target.schemes[name].bits
        if not found or bits in widths:
            found.setdefault(bits, Choice(name, bits))
    return tuple(found.values())


def _kernel(graph: Graph, op: Operation) -> str:
    shape = graph.shape(op.inputs[1]) or ()
    is_depthwise = op.kind == "Conv" and shape[:2] == (op.int_attribute("group", 1), 1)
    return DEPTHWISE if is_depthwise and shape[0] != 1 else op.kind


def products(graph: Graph, op: Operation) -> int:
    """Return how many products a run of an operation on one sample adds up."""
    out, weight = _elements(graph, op.outputs[0]), graph.shape(op.inputs[1]) or ()
    fixed = [size if isinstance(size, int) else 1 for size in weight]
    if op.kind == "Conv":
        return out * math.prod(fixed[1:])
    if op.kind == "ConvTranspose":
        return _elements(graph, op.inputs[0]) * math.prod(fixed[1:])
    if op.kind == "Gemm":
        return out * fixed[1 if op.attributes.get("transB") else 0]
    return out * fixed[-2 if len(fixed) > 1 else 0]


def _elements(graph: Graph, name: str) -> int:
    shape = graph.shape(name) or ()
    return math.prod(size if isinstance(size, int) else 1 for size in shape)
