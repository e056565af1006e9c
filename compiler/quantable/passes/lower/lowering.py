"""The state of one lowering: integer tensors by the float values they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    Attribute,
    ContentRef,
    DType,
    Graph,
    InternalError,
    InvariantError,
    Level,
    Operation,
    QuantableOperation,
    Shape,
    State,
    TensorQuantizationConfig,
    UnsupportedError,
    Value,
    numerics,
)
from quantable.passes.base import Executor, PassContext
from quantable.passes.lower.grids import Grid, activation_grid, check_integers
from quantable.passes.lower.requantization import Ratio, requantization_of

CLAMPING = ("Relu", "Clip")
"""Kinds that a producer can do with its clamp."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An integer value and its grid."""

    name: str
    grid: Grid
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation writes: the float value it stands for, the grid, and the clamp.

    Attributes:
        value: Name of the float value (behind a fused Relu, that of the Relu).
        grid: Where the integers lie.
        clamp_min, clamp_max: Inside the grid's range.
        requantization: The attribute of its operation, see `Requantization`.
        sources: Provenance of operations that are done by the clamp.
    """

    value: str
    grid: Grid
    clamp_min: int
    clamp_max: int
    requantization: str = ""
    sources: tuple[str, ...] = ()

    @property
    def attributes(self) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {
            "y_zero_point": self.grid.zero_point,
            "clamp_min": self.clamp_min,
            "clamp_max": self.clamp_max,
        }
        if self.requantization:
            found["requantization"] = self.requantization
        return found


class Lowering:
    """Reads a quantable graph, one operation at a time, and collects an integer one."""

    def __init__(self, graph: Graph, context: PassContext) -> None:
        self.graph = graph
        self.context = context
        arithmetic = context.target.arithmetic if context.target else None
        self.requantization = requantization_of(arithmetic.requantization if arithmetic else None)
        self.absorbed: set[str] = set()
        self._tensors: dict[str, Tensor] = {}
        self._converted: dict[tuple[str, Grid], Tensor] = {}
        self._operations: list[Operation] = []
        self._values: dict[str, Value] = {name: graph.values[name] for name in graph.inputs}
        self._parameters: dict[str, ContentRef] = {}
        self._operation_names: set[str] = set()
        self._reserved = set(graph.values)

    # ---------------------------------------------------------------- reading

    @property
    def executor(self) -> Executor:
        if self.context.executor is None:
            raise InternalError(
                "the lowering computes tables and needs a runtime, but the context has none",
                help="pass PassContext(executor=...)",
            )
        return self.context.executor

    def grid(self, operation: QuantableOperation, side: str, slot: int) -> Grid:
        """Return the grid of the row that a slot holds.

        Raises:
            UnsupportedError: The slot is not quantized.
        """
        configs = operation.config.inputs if side == "in" else operation.config.outputs
        config, where = configs[slot], f"{operation.where()} {side}{slot}"
        if config.suspended is not None:
            raise UnsupportedError(
                "expected a quantized slot, found a dequantized one",
                where=where,
                help="call restore_quantize_state() before lowering",
            )
        if not config.is_quantized:
            raise UnsupportedError(
                "expected a quantized slot, found one in state fp32",
                where=where,
                help="an integer-only target quantizes every slot; check dispatch and target",
            )
        row = self.graph.rows[config.row]
        if not row.is_filled:
            raise UnsupportedError(
                f"expected a calibrated row, found '{row.id}' without a scale",
                where=where,
                help="run 'calibrate', 'align', 'passive-parameters' and 'bake' before",
            )
        return activation_grid(config, row, where)

    def read(self, operation: QuantableOperation, slot: int) -> Tensor:
        """Return the integers that an input slot sees, converted to its row where it executes."""
        name = operation.inputs[slot]
        if self.graph.is_parameter(name):
            return self._constant(operation, slot)
        config = operation.config.inputs[slot]
        held = self._tensors.get(name)
        if held is None:
            return self._quantized_input(name, self.grid(operation, "in", slot))
        grid = self.grid(operation, "in", slot)
        return self.converted(held, grid) if config.state.is_in_force else held

    def reals(self, operation: QuantableOperation, slot: int) -> npt.NDArray[np.float32] | None:
        """Return a parameter as the simulation sees it, or None where the slot is empty."""
        if slot >= len(operation.inputs) or not operation.inputs[slot]:
            return None
        config = operation.config.inputs[slot]
        name = operation.inputs[slot]
        if not self.graph.is_parameter(name):
            raise UnsupportedError(
                f"expected a constant in slot {slot}, found '{name}'", where=operation.where()
            )
        if config.state.is_baked or config.state.is_in_force:
            row = self.graph.rows[config.row]
            return numerics.dequantize(self.integers(operation, slot), config, row)
        array: npt.NDArray[np.float32] = self.graph.array(name).astype(np.float32)
        return array

    def integers(self, operation: QuantableOperation, slot: int) -> npt.NDArray[np.int64]:
        """Return a parameter's integers: the baked ones, or those its slot quantizes to."""
        config = operation.config.inputs[slot]
        check_integers(config, f"{operation.where()} in{slot}")
        baked = operation.baked_parameter(slot)
        if baked is not None:
            return self.graph.store.get(baked.content).astype(np.int64)
        if not config.state.is_in_force:
            raise UnsupportedError(
                f"expected a quantized parameter, found state {config.state.value}",
                where=f"{operation.where()} in{slot}",
                help="run 'bake' before lowering, and choose an integer-only target",
            )
        values = self.graph.array(operation.inputs[slot]).astype(np.float32)
        return numerics.quantize(values, config, self.graph.rows[config.row])

    def _constant(self, operation: QuantableOperation, slot: int) -> Tensor:
        grid = self.grid(operation, "in", slot)
        integers = self.integers(operation, slot)
        shape = integers.shape or (1,)
        name = self.add_parameter(operation.inputs[slot], integers.reshape(shape), grid.dtype)
        return Tensor(name, grid, shape)

    def _quantized_input(self, name: str, grid: Grid) -> Tensor:
        """Quantize a float input of the network, once for each grid."""
        key = (name, grid)
        if key not in self._converted:
            shape = self.graph.shape(name)
            result = self.add_value(f"{name}.quantized", grid.dtype, shape)
            self.add_operation(
                f"{name}.quantize", "int.Quantize", [name], [result],
                {"scale": grid.scale, "zero_point": grid.zero_point,
                 "clamp_min": grid.low, "clamp_max": grid.high},
            )  # fmt: skip
            self._converted[key] = Tensor(result, grid, shape)
        return self._converted[key]

    def converted(self, tensor: Tensor, grid: Grid) -> Tensor:
        """Return a tensor on another grid, through an int.Requantize where they differ."""
        if tensor.grid == grid:
            return tensor
        key = (tensor.name, grid)
        if key not in self._converted:
            result = self.add_value(f"{tensor.name}.requantized", grid.dtype, tensor.shape)
            self.add_operation(
                f"{tensor.name}.requantize", "int.Requantize", [tensor.name], [result],
                self._change(tensor.grid, self._whole("", grid)),
            )  # fmt: skip
            self._converted[key] = Tensor(result, grid, tensor.shape)
        return self._converted[key]

    def _whole(self, value: str, grid: Grid) -> Target:
        """Return a target that is clamped to its grid alone."""
        return Target(value, grid, grid.low, grid.high, self.requantization.attribute)

    def _change(self, grid: Grid, target: Target) -> dict[str, Attribute]:
        """Return the attributes of an int.Requantize."""
        multiplier = self.multiplier(lambda real: real(grid.scale) / real(target.grid.scale))
        return {"x_zero_point": grid.zero_point, "multiplier": multiplier, **target.attributes}

    def multiplier(self, ratio: Ratio) -> float:
        """Return the multiplier of one change of scale, see `Requantization.multipliers`."""
        return float(self.requantization.multipliers(ratio))

    # ---------------------------------------------------------------- writing

    def is_written(self, value: str) -> bool:
        """Return whether a float value has its integers."""
        return value in self._tensors

    def target(self, operation: QuantableOperation, slot: int = 0) -> Target:
        """Return what an output slot is written as, with fused Relus and Clips in its clamp."""
        grid = self.grid(operation, "out", slot)
        value = operation.outputs[slot]
        target = self._whole(value, grid)
        follower = self._fused_follower(operation.config.outputs[slot], value)
        if follower is None:
            return target
        self.absorbed.add(follower.name)
        low, high = clamp_bounds(self, follower, grid)
        behind = self.target(follower)
        return replace(
            behind,
            clamp_min=min(max(low, behind.clamp_min), behind.clamp_max),
            clamp_max=max(min(high, behind.clamp_max), behind.clamp_min),
            sources=(*follower.sources, *behind.sources),
        )

    def _fused_follower(
        self, config: TensorQuantizationConfig, value: str
    ) -> QuantableOperation | None:
        """Return the only reader, a Relu or Clip, if nothing is quantized in front of it."""
        uses = self.graph.uses(value)
        if config.state is not State.OVERLAPPED or len(uses) != 1 or value in self.graph.outputs:
            return None
        follower, slot = uses[0]
        if not isinstance(follower, QuantableOperation) or follower.kind not in CLAMPING:
            return None
        inside = follower.config.inputs[slot].state is State.OVERLAPPED
        return follower if slot == 0 and inside else None

    def emit(
        self,
        operation: Operation,
        kind: str,
        inputs: Sequence[str],
        target: Target,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Add the operation that makes a target."""
        result = self._claim(target.value, target.grid.dtype)
        sources = (*operation.sources, *target.sources)
        self.add_operation(operation.name, kind, inputs, [result], attributes or {}, sources)
        self._tensors[target.value] = Tensor(result, target.grid, self.graph.shape(target.value))

    def emit_split(self, operation: Operation, inputs: Sequence[str], grid: Grid) -> None:
        """Add a movement operation with several outputs, all on one grid."""
        results = [self._claim(name, grid.dtype) for name in operation.outputs]
        self.add_operation(
            operation.name, operation.kind, inputs, results, operation.attributes,
            operation.sources,
        )  # fmt: skip
        for name, result in zip(operation.outputs, results, strict=True):
            self._tensors[name] = Tensor(result, grid, self.graph.shape(name))

    def emit_moved(
        self,
        operation: QuantableOperation,
        kind: str,
        inputs: Sequence[str],
        grid: Grid,
        attributes: Mapping[str, Attribute],
    ) -> None:
        """Add an operation whose output is on its input's grid, and convert to the slot's own.

        An overlapped slot quantizes nothing: its value stays where it is.
        """
        wanted, value = self.grid(operation, "out", 0), operation.outputs[0]
        if wanted == grid or operation.config.outputs[0].state is State.OVERLAPPED:
            self.emit(operation, kind, inputs, self._whole(value, grid), attributes)
            return
        shape = self.graph.shape(value)
        moved = self.add_value(f"{value}.moved", grid.dtype, shape)
        self.add_operation(operation.name, kind, inputs, [moved], attributes, operation.sources)
        target = self._whole(value, wanted)
        self.emit(operation, "int.Requantize", [moved], target, self._change(grid, target))

    def _claim(self, value: str, dtype: DType) -> str:
        """Return the name of the integer value that stands for a float value."""
        shape = self.graph.shape(value)
        if value in self.graph.outputs or value in self._values:
            return self.add_value(f"{value}.quantized", dtype, shape)
        self._values[value] = Value(value, dtype, shape)
        return value

    def add_value(self, hint: str, dtype: DType, shape: Shape | None) -> str:
        """Add a value that stands for no float value by name, and return its name."""
        name = _fresh(hint, self._reserved)
        self._values[name] = Value(name, dtype, shape)
        return name

    def add_parameter(self, hint: str, contents: npt.ArrayLike, dtype: DType) -> str:
        """Add a parameter and return its name: the hint where that is a free parameter's name."""
        ref = self.graph.store.put(contents, dtype)
        is_free = self.graph.is_parameter(hint) and hint not in self._values
        name = hint if is_free else _fresh(hint, self._reserved)
        self._values[name] = Value(name, ref.dtype, ref.shape)
        self._parameters[name] = ref
        return name

    def add_operation(
        self,
        hint: str,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        attributes: Mapping[str, Attribute],
        sources: tuple[str, ...] = (),
    ) -> None:
        """Add an integer operation."""
        name = _fresh(hint, self._operation_names)
        self._operations.append(
            Operation(name, kind, tuple(inputs), tuple(outputs), attributes, sources)
        )

    def finish(self) -> Graph:
        """Return the integer graph: every float output is dequantized."""
        for name in dict.fromkeys(self.graph.outputs):
            if name in self.graph.inputs:
                continue
            tensor = self._tensors.get(name)
            if tensor is None:
                raise InvariantError(f"output '{name}' has no integer value")
            self._values[name] = self.graph.values[name]
            self.add_operation(
                f"{name}.dequantize", "int.Dequantize", [tensor.name], [name],
                {"scale": tensor.grid.scale, "zero_point": tensor.grid.zero_point},
            )  # fmt: skip
        return replace(
            self.graph,
            level=Level.INTEGER,
            operations=tuple(self._operations),
            values=self._values,
            parameters=self._parameters,
            rows={},
        )


def clamp_bounds(lowering: Lowering, operation: QuantableOperation, grid: Grid) -> tuple[int, int]:
    """Return the integers that a Relu or Clip clamps to on a grid.

    Quantization is monotone, so clamping before it is the same as clamping its result.
    """
    low: npt.ArrayLike | None = None
    high: npt.ArrayLike | None = None
    if operation.kind == "Relu":
        low = 0.0
    else:
        low, high = lowering.reals(operation, 1), lowering.reals(operation, 2)
    clamp_min = grid.low if low is None else int(grid.quantize(low).reshape(()))
    clamp_max = grid.high if high is None else int(grid.quantize(high).reshape(()))
    return clamp_min, max(clamp_min, clamp_max)


def _fresh(hint: str, taken: set[str]) -> str:
    name, counter = hint, 1
    while name in taken:
        name, counter = f"{hint}.{counter}", counter + 1
    taken.add(name)
    return name
