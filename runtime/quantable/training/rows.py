"""Rows of a layer: what the weights of one output position meet, for positions of many samples."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from quantable.ir import Graph, Operation, QuantableOperation, UnsupportedError
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.simulated import slot_quantizers
from quantable.reference.site import Site
from quantable.reference.tensors import Array, to_tensor
from quantable.reference.windows import Window
from quantable.training.storage import release

Maker = Callable[[Tensor, int, int], Tensor]
"""Takes one sample's input, its index, and how many rows are wanted at most; returns what the
weights meet at evenly spread positions, [groups, rows, k]."""
_ROWS = 2048
"""About how many rows are made, and multiplied, at a time: sums of so many float32 products are
added up in float64."""


class RowReader:
    """Makes the rows of one layer.

    Args:
        graph: A quantable graph.
        operation: Name of a Conv, ConvTranspose or quantable.Linear with constant weights.

    Attributes:
        operation: The layer.
        weights: How many weights one output has.

    Raises:
        UnsupportedError: The operation is of another kind.
    """

    def __init__(self, graph: Graph, operation: str) -> None:
        self.operation = op = graph.operation_by_name[operation]
        self._make, self.weights = _maker(graph, op)
        self._deliver = None
        if isinstance(op, QuantableOperation):
            self._deliver = slot_quantizers(graph, op)[0][0]

    def batches(
        self,
        pool: ThreadPoolExecutor,
        inputs: tuple[Array, Array],
        samples: Sequence[int],
        rows: int,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x, f), each [groups, rows, k + 1] with a last column of ones.

        Args:
            pool: Its threads make x and f, one each.
            inputs: Input 0 in the quantized network, to which is done what its slot does, and in
                the float network; [samples, ...].
            samples: Which ones, in this order.
            rows: About how many output positions of all samples take part.
        """
        positions = max(1, rows // max(1, len(samples)))
        at_once = max(1, _ROWS // positions)
        quantized, original = inputs
        for start in range(0, len(samples), at_once):
            part = samples[start : start + at_once]
            x = pool.submit(self._rows, quantized, part, positions, self._deliver)
            f = pool.submit(self._rows, original, part, positions, None)
            yield x.result(), f.result()

    def _rows(
        self,
        array: Array,
        samples: Sequence[int],
        positions: int,
        deliver: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        parts = []
        with torch.no_grad():
            for index in samples:
                x = to_tensor(array[index]).to(torch.float32)
                parts.append(self._make(x if deliver is None else deliver(x), index, positions))
            stacked = _stacked(parts)
        release(array)  # rows are no views of it any more
        return stacked


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Return [groups, rows, k + 1] of parts [groups, rows, k], with ones behind."""
    groups, _, k = parts[0].shape
    found = torch.ones(groups, sum(part.shape[1] for part in parts), k + 1)
    start = 0
    for part in parts:
        found[:, start : start + part.shape[1], :k] = part
        start += part.shape[1]
    return found


def _maker(graph: Graph, op: Operation) -> tuple[Maker, int]:
    """Return what makes the rows of a layer, and how many weights one output has."""
    shape = graph.parameters[op.inputs[1]].shape
    if op.kind == "quantable.Linear":
        return _linear_rows, shape[0]
    if op.kind == "Conv":
        return _window_rows(graph, op, shape), math.prod(shape[1:])
    if op.kind == "ConvTranspose":
        group = op.int_attribute("group", 1)
        return _transposed_rows(graph, op, shape), shape[0] // group * math.prod(shape[2:])
    raise UnsupportedError("second moments of another kind than a layer", where=op.where())


def _linear_rows(x: Tensor, index: int, most: int) -> Tensor:
    lines = x.reshape(-1, x.shape[-1])
    return lines[_spread(len(lines), index, most)].unsqueeze(0)


def _window_rows(graph: Graph, op: Operation, shape: tuple[int, ...]) -> Maker:
    """Return what makes the rows of a Conv: only the positions that are wanted are copied."""
    group = op.int_attribute("group", 1)
    window = Window.of(Site(op, graph.opset), shape[2:])

    @functools.cache
    def places(size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return where windows begin in a padded map [N, *spatial], and where their taps are."""
        numbers = torch.arange(math.prod(size)).reshape(size[0], 1, *size[1:])
        seen = window.without_pads().taps(numbers).flatten(-len(window.kernel)).squeeze(1)
        starts = seen[..., 0].reshape(-1).contiguous()
        return starts, seen.reshape(len(starts), -1)[0] - starts[0]

    def run(x: Tensor, index: int, most: int) -> Tensor:
        padded = window.padded(x)
        starts, taps = places((padded.shape[0], *padded.shape[2:]))
        by_channel = padded.transpose(0, 1).reshape(padded.shape[1], -1)
        spread = _spread(len(starts), index, most)
        if len(taps) == 1 and len(starts) == by_channel.shape[1]:  # every place is a position
            return by_channel.reshape(group, -1, len(starts))[:, :, spread].transpose(1, 2)
        chosen = starts[spread]
        met = by_channel.index_select(1, (chosen[:, None] + taps).reshape(-1))
        return met.reshape(group, -1, len(chosen), len(taps)).transpose(1, 2).flatten(2)

    return run


def _transposed_rows(graph: Graph, op: Operation, shape: tuple[int, ...]) -> Maker:
    """Return what makes the rows of a ConvTranspose.

    A depthwise operation with one weight of 1 in each kernel shows its taps, one a channel, by the
    very geometry of the layer.
    """
    taps, group, channels = math.prod(shape[2:]), op.int_attribute("group", 1), shape[0]
    rank = len(shape) - 2
    one_hot = torch.eye(taps).reshape(1, taps, *shape[2:]).repeat(channels, 1, *[1] * rank)
    attributes = {**op.attributes, "group": channels}
    plain = Operation(op.name, op.kind, op.inputs[:2], op.outputs, attributes, op.sources)
    kernel = FLOAT_OPERATIONS[op.kind](Site(plain, graph.opset))

    def run(x: Tensor, index: int, most: int) -> Tensor:
        shown = kernel(x, one_hot)
        assert isinstance(shown, Tensor)
        by_channel = shown.reshape(shown.shape[0], channels * taps, -1)
        rows = by_channel.transpose(0, 1).reshape(group, channels // group * taps, -1)
        return rows[:, :, _spread(rows.shape[2], index, most)].transpose(1, 2)

    return run


def _spread(count: int, index: int, most: int) -> slice:
    """Return at most `most` of so many positions.

    Every n-th position, n coprime to their number, so that they are spread over lines and columns;
    each sample starts at another one.
    """
    stride = max(1, -(-count // most))
    while math.gcd(stride, count) != 1:
        stride += 1
    return slice(index % stride, None, stride)
