"""Quantization as pairs of QuantizeLinear and DequantizeLinear.

A slot in force becomes one pair on its tensor, once a tensor and row; an overlapped slot needs
nothing. The value's name stays with what consumers of the quantized network see: the output of the
pair behind a producer's slot; a pair before a consumer's slot gets a name of its own. A parameter
is an initializer of integers or small floats behind DequantizeLinear, baked or not: ONNX Runtime
quantizes float weights again, in its own way. Blocks are those of DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from quantable.backends.onnx.names import NodeWriter
from quantable.backends.onnx.opsets import is_narrow
from quantable.ir import (
    ContentRef,
    DType,
    Graph,
    Operation,
    QuantableOperation,
    QuantizationParameters,
    Rounding,
    TensorQuantizationConfig,
    UnsupportedError,
    numerics,
)

_QUANTIZABLE = (DType.INT4, DType.UINT4, DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)
"""Types that QuantizeLinear writes; DequantizeLinear reads int32 as well."""


def check_expressible(graph: Graph) -> None:
    """Raise unless ONNX's quantizers can say what every slot in force does.

    Raises:
        UnsupportedError: Names every slot that they cannot express, and why.
    """
    found = [f"{where}: {what}" for where, what in _inexpressible(graph)]
    if found:
        raise UnsupportedError(
            f"{len(found)} slots cannot be written as QuantizeLinear: {'; '.join(found)}",
            where=f"graph '{graph.name}'",
            help="choose a target whose quantization is linear, static and rounds half to even",
        )


def _inexpressible(graph: Graph) -> Iterator[tuple[str, str]]:
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            if not (config.state.is_in_force or config.state.is_baked):
                continue
            is_parameter = side == "in" and op.inputs[index] in graph.parameters
            for what in _reasons(config, is_parameter=is_parameter):
                yield f"{op.where()} {side}{index}", what


def _reasons(config: TensorQuantizationConfig, *, is_parameter: bool) -> Iterator[str]:
    if config.policy.dynamic or not config.has_storage:
        yield f"policy '{config.policy}'"
        return
    if config.policy.is_floating and not is_parameter:
        yield f"policy '{config.policy}' of an activation"
        return
    if is_parameter:
        if config.policy.is_floating:
            return
        if config.storage not in (*_QUANTIZABLE, DType.INT32):
            yield f"storage {config.storage.value}"
        return
    if config.rounding is not Rounding.HALF_EVEN:
        yield f"rounding {config.rounding.value}"
    if config.storage not in _QUANTIZABLE:
        yield f"{config.bits} bits"
    elif config.policy.is_per_channel and is_narrow(config):
        yield "a range a channel that is narrower than its type"


def _real(integer: int, row: QuantizationParameters) -> npt.NDArray[np.float32]:
    steps = (integer - row.zero_point_array).astype(np.float32)
    return np.asarray(steps * row.scale_array, np.float32).reshape(())


class QdqWriter:
    """Writes the nodes of one graph's quantizers."""

    def __init__(self, graph: Graph, writer: NodeWriter) -> None:
        self._graph = graph
        self._writer = writer
        self._pairs: dict[tuple[str, str], str] = {}
        self._rows: dict[tuple[str, DType], tuple[str, ...]] = {}
        self.pair_count = 0
        self.real_values: dict[str, str] = {}  # before a producer's quantizer, by value

    def input(self, operation: Operation, slot: int) -> str:
        """Return the name that an operation's input slot reads, its quantizer written before."""
        name = operation.inputs[slot]
        if not name or not isinstance(operation, QuantableOperation):
            return name
        config = operation.config.inputs[slot]
        if name in self._graph.parameters:
            return self._parameter(operation, slot, config)
        if not config.state.is_in_force:
            return name
        key = (name, config.row)
        if key not in self._pairs:
            fresh = self._writer.fresh(f"{name}_dequantized")
            self._pairs[key] = fresh
            self._pair(name, name, fresh, config)
        return self._pairs[key]

    def output(self, operation: Operation, slot: int) -> str:
        """Return the name that an operation writes; `after` quantizes it where it differs."""
        name = operation.outputs[slot]
        if not self._quantizes(operation, slot):
            return name
        self.real_values[name] = self._writer.fresh(f"{name}_real")
        return self.real_values[name]

    def after(self, operation: Operation, slot: int, written: str) -> None:
        """Write the quantizer of an output slot, from the name that `output` returned."""
        if self._quantizes(operation, slot):
            assert isinstance(operation, QuantableOperation)
            name, config = operation.outputs[slot], operation.config.outputs[slot]
            self._pair(name, written, name, config)
            # A consumer that quantizes with the same row gets the very same numbers from it.
            self._pairs[name, config.row] = name

    @staticmethod
    def _quantizes(operation: Operation, slot: int) -> bool:
        if not isinstance(operation, QuantableOperation) or not operation.outputs[slot]:
            return False
        return operation.config.outputs[slot].state.is_in_force

    def _pair(self, name: str, source: str, target: str, config: TensorQuantizationConfig) -> None:
        """Write the pair of a value's name, from one value of the file to another."""
        row = self._graph.rows[config.row]
        if is_narrow(config):
            source = self._clipped(name, source, config, row)
        self.pair_count += 1
        quantized = self._writer.fresh(f"{name}_quantized")
        constants = self._row(config, row)
        axis = {} if config.channel_axis is None else {"axis": config.channel_axis}
        self._writer.node("QuantizeLinear", (source, *constants), (quantized,), axis)
        self._writer.node("DequantizeLinear", (quantized, *constants), (target,), axis)

    def _clipped(
        self,
        name: str,
        source: str,
        config: TensorQuantizationConfig,
        row: QuantizationParameters,
    ) -> str:
        """Saturate to a range narrower than the type, in real numbers, before the rounding."""
        edges = {"minimum": config.quant_min, "maximum": config.quant_max}
        bounds = [
            self._writer.constant(f"{row.id}.{word}", _real(edge, row))
            for word, edge in edges.items()
        ]
        clipped = self._writer.fresh(f"{name}_clipped")
        self._writer.node("Clip", (source, *bounds), (clipped,), {})
        return clipped

    def _parameter(
        self, operation: QuantableOperation, slot: int, config: TensorQuantizationConfig
    ) -> str:
        name = operation.inputs[slot]
        if config.suspended is None and not (config.state.is_in_force or config.state.is_baked):
            return name
        # Another reader may see the parameter in another way; it keeps the name then.
        target = name if len(self._graph.uses(name)) == 1 else self._writer.fresh(name)
        if config.suspended is not None:
            original = operation.original(slot)
            assert original is not None, f"{operation.where()} in{slot} has no original"
            return self._writer.parameter(target, original)
        row = self._graph.rows[config.row]
        integers = self._writer.parameter(
            self._writer.fresh(f"{name}_quantized"), self._integers(operation, slot, config, row)
        )
        constants = self._row(config, row, self._graph.parameters[name].shape)
        axis = {} if config.channel_axis is None else {"axis": config.channel_axis}
        if config.policy.is_per_block:
            axis["block_size"] = config.block_size
        self._writer.node("DequantizeLinear", (integers, *constants), (target,), axis)
        return target

    def _integers(
        self,
        operation: QuantableOperation,
        slot: int,
        config: TensorQuantizationConfig,
        row: QuantizationParameters,
    ) -> ContentRef:
        baked = operation.baked_parameter(slot)
        if baked is not None:
            return baked.content
        values = self._graph.array(operation.inputs[slot]).astype(np.float32)
        return self._graph.store.put(numerics.quantize(values, config, row), config.storage)

    def _row(
        self,
        config: TensorQuantizationConfig,
        row: QuantizationParameters,
        shape: tuple[int, ...] = (),
    ) -> tuple[str, ...]:
        """Return the names of a row's scale and zero point, written once.

        int32 takes no zero point, and floats need none. `shape` is that of a tensor in blocks.
        """
        storage = config.storage
        if (row.id, storage) not in self._rows:
            scales, zeros = row.scale_array, row.zero_point_array
            if config.channel_axis is None:
                scales, zeros = scales.reshape(()), zeros.reshape(())
            elif config.policy.is_per_block:
                blocks = config.block_shape(shape)
                scales, zeros = scales.reshape(blocks), zeros.reshape(blocks)
            names = [self._writer.constant(f"{row.id}.scale", scales)]
            if storage is not DType.INT32 and not storage.is_float:
                names.append(self._writer.constant(f"{row.id}.zero_point", zeros, storage))
            self._rows[row.id, storage] = tuple(names)
        return self._rows[row.id, storage]
