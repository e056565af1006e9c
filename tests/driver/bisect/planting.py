"""Passes with a planted fault, and an oracle that sees wrong numbers.

A fault spoils one call of one function that a pass makes its changes with, always the same call:
the n-th one that can be spoiled. The number of the rewrite in which that happens is noted, for the
tests to compare with.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantable.driver import runtime
from quantable.ir import Graph, GraphEditor, Level, Operation, QuantableError
from quantable.passes.base import PassContext
from quantable.passes.lower.lowering import Lowering
from quantable.passes.plan.layout_writer import LayoutWriter
from quantable.passes.quantize import dispatch
from quantable.passes.quantize.config_assigner import ConfigAssigner
from quantable.passes.registry import pass_class
from quantable.passes.slot_editor import SlotEditor

Array = npt.NDArray[np.generic]
Sample = Mapping[str, Array]
Arguments = tuple[Any, ...]
Spoil = Callable[[Arguments], Arguments | None]
"""Returns the arguments, spoiled; None where there is nothing to spoil. Changes nothing."""


def _operation(change: Callable[[Any, Operation], Operation | None]) -> Spoil:
    def spoil(arguments: Arguments) -> Arguments | None:
        editor, op, *rest = arguments
        changed = change(editor, op)
        return None if changed is None or changed == op else (editor, changed, *rest)

    return spoil


def _parameter(
    editor: GraphEditor, op: Operation, slot: int, change: Callable[[Array], Array]
) -> Operation | None:
    if slot >= len(op.inputs) or op.inputs[slot] not in editor.parameters:
        return None
    held = editor.array(op.inputs[slot])
    if not np.issubdtype(held.dtype, np.floating):
        return None
    name = editor.add_parameter("planted", change(held).astype(held.dtype))
    return replace(op, inputs=tuple(name if i == slot else n for i, n in enumerate(op.inputs)))


def _wrong_weight(editor: GraphEditor, op: Operation) -> Operation | None:
    return _parameter(editor, op, 1, lambda array: -array)


def _wrong_axis(editor: GraphEditor, op: Operation) -> Operation | None:
    return _parameter(editor, op, 1, lambda array: np.flip(array, 0))


def _lost_bias(editor: GraphEditor, op: Operation) -> Operation | None:
    return _parameter(editor, op, 2, np.zeros_like)


def _wrong_bound(editor: GraphEditor, op: Operation) -> Operation | None:
    return _parameter(editor, op, 2, lambda array: array * 0.05) if op.kind == "Clip" else None


def _wrong_pads(editor: GraphEditor, op: Operation) -> Operation | None:
    pads = op.attributes.get("pads")
    if not isinstance(pads, tuple) or not any(pads):
        return None
    half = len(pads) // 2
    moved = tuple(2 * p for p in pads[:half] if isinstance(p, int))
    return replace(op, attributes={**op.attributes, "pads": (*moved, *(0,) * half)})


def _swapped(editor: GraphEditor, op: Operation) -> Operation | None:
    return (
        replace(op, inputs=(op.inputs[1], op.inputs[0], *op.inputs[2:])) if op.inputs[1:] else None
    )


def _skipped(editor: GraphEditor, op: Operation) -> Operation | None:
    """The operation reads what its producer reads."""
    before = editor.producer(op.inputs[0])
    if before is None or not before.inputs:
        return None
    a, b = editor.values[before.inputs[0]], editor.values[op.inputs[0]]
    return replace(op, inputs=(a.name, *op.inputs[1:])) if a.shape == b.shape else None


def _constant(arguments: Arguments) -> Arguments | None:
    editor, value, contents = arguments
    held = np.asarray(contents)
    return (editor, value, -held) if np.issubdtype(held.dtype, np.floating) else None


def _row(factor: float, steps: int) -> Spoil:
    """The row of a slot gets another scale and zero point."""

    def spoil(arguments: Arguments) -> Arguments | None:
        editor, slot, config = arguments
        row = editor.rows.get(config.row)
        if row is None or not row.is_filled or row.derived_from or len(row.scale) != 1:
            return None
        zero = np.clip(row.zero_point_array + steps, config.quant_min, config.quant_max)
        wrong = row.filled(row.scale_array * np.float32(factor), zero, "planted")
        return (editor, slot, _WithRow(config, wrong))

    return spoil


@dataclass
class _WithRow:
    """A config to put together with a row."""

    config: Any
    row: Any


def _narrow(arguments: Arguments) -> Arguments | None:
    """A slot gets two bits."""
    editor, slot, config = arguments
    return (editor, slot, replace(config, bits=2, quant_max=1, quant_min=0)) if config.row else None


def _other_row(arguments: Arguments) -> Arguments | None:
    """A slot is left to an owner that has nothing to do with it."""
    editor, slot, row = arguments
    held = editor.config(slot).row
    others = [name for name, other in editor.rows.items()
              if name not in (row, held) and not other.derived_from]  # fmt: skip
    return (editor, slot, others[0]) if others else None


def _wrong_scheme(arguments: Arguments) -> Arguments | None:
    assigner, op, side, index, scheme, *rest = arguments
    return (assigner, op, side, index, "weight", *rest) if scheme == "activation" else None


def _wrong_kind(arguments: Arguments) -> Arguments | None:
    graph, op, target = arguments
    return (graph, replace(op, kind="Mul"), target) if op.kind == "Add" else None


def _attribute(name: str, change: Callable[[Any], Any]) -> Spoil:
    def spoil(arguments: Arguments) -> Arguments | None:
        *first, attributes = arguments
        if name not in attributes:
            return None
        return (*first, {**attributes, name: change(attributes[name])})

    return spoil


def _target(**changes: Callable[[Any], Any]) -> Spoil:
    """What a lowered operation writes is described wrongly."""

    def spoil(arguments: Arguments) -> Arguments | None:
        lowering, op, kind, inputs, target, *rest = arguments
        found = {name: change(target) for name, change in changes.items()}
        return (lowering, op, kind, inputs, replace(target, **found), *rest)

    return spoil


def _zero_point(target: Any) -> Any:
    return replace(target.grid, zero_point=min(target.grid.zero_point + 9, target.grid.high))


def _contents(kind: str, change: Callable[[Array], Array]) -> Spoil:
    def spoil(arguments: Arguments) -> Arguments | None:
        lowering, hint, contents, dtype = arguments
        fits = dtype.value == kind and np.asarray(contents).any()
        return (lowering, hint, change(np.asarray(contents)), dtype) if fits else None

    return spoil


REPLACE = (GraphEditor, "replace")
PUT = (SlotEditor, "put")
EMIT = (Lowering, "emit")
STORE = (Lowering, "add_parameter")
KINDS: dict[str, tuple[tuple[Any, str], Spoil]] = {
    "wrong weight": (REPLACE, _operation(_wrong_weight)),
    "wrong axis": (REPLACE, _operation(_wrong_axis)),
    "lost bias": (REPLACE, _operation(_lost_bias)),
    "wrong bound": (REPLACE, _operation(_wrong_bound)),
    "wrong pads": (REPLACE, _operation(_wrong_pads)),
    "swapped inputs": (REPLACE, _operation(_swapped)),
    "skipped operation": (REPLACE, _operation(_skipped)),
    "wrong constant": ((GraphEditor, "make_parameter"), _constant),
    "wrong scale": (PUT, _row(0.1, 0)),
    "wrong zero point": (PUT, _row(1.0, 100)),
    "two bits": (PUT, _narrow),
    "wrong row": ((SlotEditor, "overlap"), _other_row),
    "wrong share": ((SlotEditor, "share"), _other_row),
    "wrong scheme": ((ConfigAssigner, "_own"), _wrong_scheme),
    "wrong kind": ((dispatch, "_quantable"), _wrong_kind),
    "wrong multiplier": (STORE, _contents("f32", lambda array: array * np.float32(1.5))),
    "lost integer bias": (STORE, _contents("i32", np.zeros_like)),
    "wrong integer weight": (STORE, _contents("i8", np.negative)),
    "off zero point": (EMIT, _target(grid=_zero_point)),
    "dropped clip": (EMIT, _target(clamp_min=lambda t: (t.clamp_min + t.clamp_max) // 2)),
    "wrong sum": (EMIT, _attribute("b_multiplier", lambda value: value // 4)),
    "wrong input zero point": (EMIT, _attribute("x_zero_point", lambda value: value + 40)),
    "wrong layout": ((LayoutWriter, "add"), _operation(_wrong_pads)),
}
"""By the name of a fault: what is patched, and how a call is spoiled."""


@dataclass
class Fault:
    """A planted fault.

    Attributes:
        pass_name: Where.
        kind: A name in `KINDS`.
        victim: Which of the calls that can be spoiled, from 0.
        rewrite: The rewrite in which it happened, noted when the pass runs.
    """

    pass_name: str
    kind: str
    victim: int
    rewrite: int = field(default=0, compare=False)


def plant(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Put a fault into a pass."""
    cls = pass_class(fault.pass_name)
    (owner, name), spoil = KINDS[fault.kind]
    run, original = cls.run, getattr(owner, name)
    running: list[PassContext] = []
    seen: list[int] = []

    def watched(self: Any, graph: Graph, context: PassContext) -> Graph:
        running.append(context)
        seen[:] = [0]
        try:
            return run(self, graph, context)
        finally:
            running.pop()

    def spoiled(*arguments: Any) -> Any:
        found = spoil(arguments) if running and seen[0] <= fault.victim else None
        if found is None:
            return original(*arguments)
        seen[0] += 1
        if seen[0] <= fault.victim:
            return original(*arguments)
        # A lowered operation is counted before, all others after they are done.
        ahead = (
            0 if fault.pass_name in ("lower-to-integer", "assign-layout", "assign-configs") else 1
        )
        done = running[-1].rewrites.done
        fault.rewrite = len(done) + ahead
        if fault.pass_name == "dispatch":  # counts all of them first
            fault.rewrite = next(r.number for r in done if found[1].name in r.operations)
        if isinstance(found[-1], _WithRow):
            found[0].rows[found[-1].row.id] = found[-1].row
            found = (*found[:-1], found[-1].config)
        return original(*found)

    monkeypatch.setattr(cls, "run", watched)
    monkeypatch.setattr(owner, name, spoiled)


class NumbersOracle:
    """Says bad where the outputs are further from the right ones than the level explains.

    Args:
        graph: The float graph that is right.
        simulated: The refined quantable graph that is right.
        samples: Inputs.
    """

    # A later level may not be stricter: it would be blamed for what an earlier one did.
    FLOAT, QUANTABLE, INTEGER = 60.0, 20.0, 15.0

    def __init__(self, graph: Graph, simulated: Graph, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self._float = self._outputs(graph)
        self._simulated = self._outputs(simulated)

    def _outputs(self, graph: Graph) -> Array:
        reference = runtime.reference(graph)
        rows = [np.concatenate([a.reshape(-1) for a in reference.run(s).values()])
                for s in self.samples]  # fmt: skip
        return np.concatenate(rows).astype(np.float64)

    def noise(self, graph: Graph) -> float:
        """Return the SQNR of a graph's outputs in dB, less what its level explains."""
        found = self._outputs(graph)
        if graph.level is Level.FLOAT:
            return _sqnr(self._float, found) - self.FLOAT
        if any(op.kind.startswith("int.") for op in graph.operations):
            return _sqnr(self._simulated, found) - self.INTEGER
        return _sqnr(self._float, found) - self.QUANTABLE

    def __call__(self, graph: Graph) -> bool:
        """Whether the outputs are right."""
        try:
            return self.noise(graph) > 0
        except QuantableError:
            return False


def _sqnr(right: Array, found: Array) -> float:
    error = float(np.square(right - found).sum())
    return 200.0 if error == 0 else 10 * float(np.log10(float(np.square(right).sum()) / error))


def module_of(name: str) -> Any:
    """Return a module of the passes, for tests that patch it."""
    return importlib.import_module(f"quantable.passes.{name}")
