"""Write a graph again with its values in chosen forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.ir import Attribute, ContentRef, DType, Graph, InternalError, Operation, Value
from quantable.passes.plan.labelling import Labelling
from quantable.passes.plan.layout_rules import (
    Freedom,
    demand,
    freedom,
    has_shaped_constants,
    shape_of,
)
from quantable.passes.plan.layouts import (
    Perm,
    between,
    identity,
    moves_no_data,
    reshape_target,
    stored_shape,
    suffix,
)
from quantable.passes.plan.static_shapes import pad_extents


class LayoutWriter:
    """Collects operations on stored forms; a form is made when it is first read.

    A value in its logical form keeps its name; ``.nhwc`` and the like are appended in others.
    """

    def __init__(self, graph: Graph, labelling: Labelling) -> None:
        self.graph = graph
        self.labelling = labelling
        self._stored: dict[tuple[str, Perm], str] = {
            (name, identity(len(shape_of(graph, name)))): name for name in graph.inputs
        }
        self._operations: list[Operation] = []
        self._values: dict[str, Value] = dict(graph.values)
        self._parameters: dict[str, ContentRef] = dict(graph.parameters)
        self._names = {op.name for op in graph.operations}

    def add(self, op: Operation) -> None:
        """Write one operation on stored forms."""
        wanted = demand(self.graph, op, self.labelling.form)
        reads = dict(wanted.reads)
        if op.kind == "Transpose":
            ((x, p),), ((y, q),) = wanted.reads, wanted.makes
            self._stored[y, q] = self._read(x, p)
            return
        inputs = [self._read(n, reads[n]) if n in reads else n for n in op.inputs]
        attributes = dict(op.attributes)
        perm = wanted.makes[0][1] if wanted.makes else ()
        kind = freedom(self.graph, op)
        if kind is Freedom.SPATIAL:
            attributes["layout"] = "NHWC"
        elif op.kind == "int.ReduceMean":
            perm = reads[op.inputs[0]]
            axes = op.ints_attribute("axes")
            attributes["axes"] = tuple(sorted(perm.index(axis) for axis in axes))
        elif kind is Freedom.FREE and perm != identity(len(perm)):
            inputs = self._free(op, inputs, perm, attributes)
        elif op.kind == "Reshape" and (suffix(perm) or suffix(reads[op.inputs[0]])):
            inputs[1] = self._reshape_shape(op, inputs[0], perm)
            attributes.pop("allowzero", None)  # in the new shape a zero copies a dimension
        outputs = [self._make(name, form) for name, form in wanted.makes]
        self._operations.append(
            replace(op, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes)
        )

    def finish(self) -> Graph:
        """Return the written graph, without what nothing names any more."""
        named = {n for op in self._operations for n in (*op.inputs, *op.outputs) if n}
        named |= {*self.graph.inputs, *self.graph.outputs}
        return replace(
            self.graph,
            operations=tuple(self._operations),
            values={n: v for n, v in self._values.items() if n in named},
            parameters={n: r for n, r in self._parameters.items() if n in named},
        )

    # ---------------------------------------------------------------- forms of values

    def _make(self, name: str, perm: Perm) -> str:
        """Add a value in a form and return its name."""
        stored = f"{name}{suffix(perm)}"
        while stored != name and stored in self._values:
            stored += "_"
        shape = stored_shape(shape_of(self.graph, name), perm)
        self._values[stored] = Value(stored, self.graph.values[name].dtype, shape)
        self._stored[name, perm] = stored
        return stored

    def _read(self, name: str, perm: Perm) -> str:
        """Return a value in a form, converted from one in which it is stored."""
        if (name, perm) in self._stored:
            return self._stored[name, perm]
        shape = shape_of(self.graph, name)
        forms = [form for value, form in self._stored if value == name]
        free = [form for form in forms if moves_no_data(shape, form, perm)]
        source = (free or forms)[0]
        held = self._stored[name, source]
        result = self._make(name, perm)
        target = reshape_target(stored_shape(shape, source), stored_shape(shape, perm))
        if free and target is not None:
            parameter = self._parameter(f"{result}.shape", np.array(target, np.int64))
            self._convert("Reshape", [held, parameter], result, {})
        else:
            self._convert("Transpose", [held], result, {"perm": between(source, perm)})
        return result

    def _convert(
        self, kind: str, inputs: Sequence[str], result: str, attributes: dict[str, Attribute]
    ) -> None:
        name = f"{result}.{kind.lower()}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        self._operations.append(Operation(name, kind, tuple(inputs), (result,), attributes))

    # ---------------------------------------------------------------- operands

    def _parameter(
        self, hint: str, contents: npt.NDArray[np.generic], dtype: DType | None = None
    ) -> str:
        name = hint
        while name in self._values:
            name += "_"
        ref = self.graph.store.put(contents, dtype)
        self._values[name] = Value(name, ref.dtype, ref.shape)
        self._parameters[name] = ref
        return name

    def _free(
        self, op: Operation, inputs: list[str], perm: Perm, attributes: dict[str, Attribute]
    ) -> list[str]:
        """Bring axes and constants of an operation to a form."""
        if has_shaped_constants(op):
            inputs = [self._constant(n, perm) if self._is_constant(n) else n for n in inputs]
        if "axis" in attributes:
            attributes["axis"] = perm.index(op.int_attribute("axis") % len(perm))
        elif op.kind == "Split":
            attributes["axis"] = perm.index(0)
        rule = _AXIS_OPERANDS.get(op.kind)
        if rule is not None:
            slot, contents = rule(self, op, perm)
            inputs = [*inputs, *[""] * (slot + 1 - len(inputs))]
            inputs[slot] = self._parameter(f"{op.name}.{_SLOT_NAMES[slot]}", contents)
            inputs = inputs[:3] if op.kind == "Pad" else inputs
        return inputs

    def _is_constant(self, name: str) -> bool:
        return bool(name) and self.graph.is_parameter(name)

    def _constant(self, name: str, perm: Perm) -> str:
        """Return a broadcasting constant in a form."""
        contents = self.graph.array(name)
        if contents.size == 1:
            return name
        full = contents.reshape((1,) * (len(perm) - contents.ndim) + contents.shape)
        dtype = self.graph.values[name].dtype
        return self._parameter(f"{name}{suffix(perm)}", full.transpose(perm), dtype)

    def slice_axes(self, op: Operation, perm: Perm) -> tuple[int, npt.NDArray[np.int64]]:
        """Return (slot, axes) of a Slice in a form."""
        count = self.graph.array(op.inputs[1]).size
        has_axes = len(op.inputs) > 3 and op.inputs[3]
        axes = self.graph.array(op.inputs[3]).reshape(-1) if has_axes else np.arange(count)
        return 3, np.array([perm.index(int(axis) % len(perm)) for axis in axes], np.int64)

    def pads(self, op: Operation, perm: Perm) -> tuple[int, npt.NDArray[np.int64]]:
        """Return (slot, pads of every axis) of a Pad in a form."""
        constants = {name: self.graph.array(name) for name in op.inputs[1:] if name}
        extents = pad_extents(op, len(perm), constants)
        both = [extents[axis] for axis in perm]
        return 1, np.array([a for a, _ in both] + [b for _, b in both], np.int64)

    def _reshape_shape(self, op: Operation, source: str, perm: Perm) -> str:
        result = stored_shape(shape_of(self.graph, op.outputs[0]), perm)
        held = self._values[source].shape
        target = None if held is None else reshape_target(held, result)
        if target is None:
            raise InternalError(f"no target from {held} to {result}", where=op.where())
        return self._parameter(f"{op.name}.shape", np.array(target, np.int64))


_SLOT_NAMES = {1: "pads", 3: "axes"}
_AXIS_OPERANDS: dict[
    str, Callable[[LayoutWriter, Operation, Perm], tuple[int, npt.NDArray[np.int64]]]
] = {"Slice": LayoutWriter.slice_axes, "Pad": LayoutWriter.pads}
