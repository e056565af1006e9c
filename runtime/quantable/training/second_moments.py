"""Second moments of what a layer multiplies its weights with: all that a closed-form fit needs.

Of a layer with weights W and a bias b, the outputs are ``[x, 1] [W b]^T``, where a row x of X holds
what the weights of one output position meet. With rows x of the quantized network and f of the
float one, the squared error of any W, b against the float weights follows from ``X^T X`` and
``X^T F``, but for a constant. A fit takes these; a judgement, on fewer samples, takes the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import DataError, Graph, Operation, QuantableOperation, UnsupportedError
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.simulated import slot_quantizers
from quantable.reference.site import Site
from quantable.reference.tensors import Array, to_tensor
from quantable.reference.threads import one_thread
from quantable.reference.windows import Window

Reals = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
LEAST_ROWS = 4096
ROWS_PER_WEIGHT = 4
"""How many rows are looked at, of all that the samples have: enough for matrices of full rank."""
JUDGING_ROWS = 2048
_ROWS = 2048
"""Rows that are multiplied together: sums of so many float32 products are added up in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondMoments:
    """Sums of products over all rows, [groups, k + 1, k + 1]; the last row and column are sums.

    Attributes:
        quantized: X^T X of the quantized network.
        cross: X^T F, rows of the quantized network and columns of the float one.
        count: Number of rows.
    """

    quantized: Reals
    cross: Reals
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class LayerRows:
    """Rows of a layer, [groups, rows, k + 1], float32; the last column is ones.

    Attributes:
        quantized: X, of the quantized network.
        original: F, of the float network.
    """

    quantized: Floats
    original: Floats


def second_moments(
    graph: Graph,
    operation: str,
    quantized: Array,
    original: Array,
    samples: Sequence[int],
    *,
    rows: int | None = None,
    sums_only: bool = False,
) -> SecondMoments:
    """Return the second moments of a layer's inputs.

    Args:
        graph: A quantable graph.
        operation: Name of a Conv, ConvTranspose or quantable.Linear with constant weights.
        quantized: Its input 0 in the quantized network, [samples, ...]; what its slot does to it
            is done here.
        original: The same in the float network.
        samples: Which ones to sum over, in this order.
        rows: About how many output positions of all samples take part, evenly spread; by default
            as many as the number of weights of one output needs.
        sums_only: Make the last rows of the matrices alone, [groups, 1, k + 1].

    Returns:
        float64 sums; no bit depends on the number of threads. Rows are ordered as the weights of
        one output are: input channels of the group, then taps.

    Raises:
        DataError: An input is not finite.
        UnsupportedError: The operation is of another kind.
    """
    op = graph.operation_by_name[operation]
    rows_of, weights = _row_maker(graph, op)
    wanted = max(LEAST_ROWS, ROWS_PER_WEIGHT * weights) if rows is None else rows
    batches = _batches(graph, op, rows_of, (quantized, original), samples, wanted)
    sums = _summed(batches, sums_only=sums_only)
    if not sums.count:
        raise DataError("second moments: there are no samples", where=op.where())
    _require_finite(op, [*sums.products, *sums.plain])
    own, other = (part.numpy() for part in sums.plain)
    if sums_only:
        return SecondMoments(own[:, None], other[:, None], sums.count)
    squares, cross = (sums.moved_back(side).numpy() for side in (0, 1))
    # What factors it wants more than symmetry up to rounding, and a bias more than float32 sums.
    squares = squares + squares.transpose(0, 2, 1)
    squares /= 2
    squares[:, -1], squares[:, :, -1] = own, own
    cross[:, -1], cross[:, :, -1] = other, own
    return SecondMoments(squares, cross, sums.count)


@dataclass(slots=True, eq=False)
class _Sums:
    """Sums over rows x and f, [x, f] each.

    Columns are moved by `shifts` before they are multiplied, to about their means: of a column that
    hardly varies float32 products would leave only what their rounding adds up to.

    Attributes:
        products: Of [x^T x, x^T f], moved.
        plain: Of the columns themselves, float64.
        shifts: [groups, k + 1], 0 for the last.
        count: How many rows.
    """

    products: list[Tensor] = field(default_factory=list)
    plain: list[Tensor] = field(default_factory=list)
    shifts: list[Tensor] = field(default_factory=list)
    count: int = 0

    def moved_back(self, side: int) -> Tensor:
        """Return the sums of products of rows that were not moved."""
        rows, columns = self.shifts[0], self.shifts[side]
        left, right = self.plain[0], self.plain[side]
        return (
            self.products[side] + rows[:, :, None] * right[:, None, :]
            + (left - self.count * rows)[:, :, None] * columns[:, None, :]
        )  # fmt: skip


def _summed(batches: Iterator[tuple[Tensor, Tensor]], *, sums_only: bool) -> _Sums:
    """Return sums over all rows."""
    sums = _Sums()
    # Two threads, one for each matrix, whatever the machine has: each adds in its own fixed order.
    with ThreadPoolExecutor(2) as pool:
        for batch in batches:
            with one_thread():
                columns = [part.sum(dim=1, dtype=torch.float64) for part in batch]
                sums.plain = _added(sums.plain, [part.clone() for part in columns])
                sums.count += batch[0].shape[1]
                if sums_only:
                    continue
                sums.shifts = sums.shifts or [_shift(part, batch[0].shape[1]) for part in columns]
                for part, shift in zip(batch, sums.shifts, strict=True):
                    part.sub_(shift[:, None, :].to(torch.float32))
            futures = [pool.submit(_product, batch[0], other) for other in batch]
            sums.products = _added(sums.products, [future.result() for future in futures])
    return sums


def _shift(sums: Tensor, count: int) -> Tensor:
    """Return what the columns of a batch are about, as float32 has it; 0 for the ones."""
    found = (sums / count).to(torch.float32).to(torch.float64)
    found[:, -1] = 0.0
    return found


def layer_rows(
    graph: Graph, operation: str, quantized: Array, original: Array, samples: Sequence[int]
) -> LayerRows:
    """Return about `JUDGING_ROWS` rows of a layer, evenly spread; see `second_moments`.

    Raises:
        DataError, UnsupportedError: As there.
    """
    op = graph.operation_by_name[operation]
    rows_of, _ = _row_maker(graph, op)
    inputs = (quantized, original)
    parts = list(_batches(graph, op, rows_of, inputs, samples, JUDGING_ROWS))
    if not parts:
        raise DataError("rows of a layer: there are no samples", where=op.where())
    joined = [torch.cat([part[side] for part in parts], dim=1) for side in (0, 1)]
    _require_finite(op, joined)
    return LayerRows(*(part.numpy() for part in joined))


def _added(sums: list[Tensor], more: list[Tensor]) -> list[Tensor]:
    return [a.add_(b) for a, b in zip(sums, more, strict=True)] if sums else more


def _product(x: Tensor, other: Tensor) -> Tensor:
    with one_thread(), torch.no_grad():
        return (x.transpose(1, 2) @ other).to(torch.float64)


def _require_finite(op: Operation, parts: Sequence[Tensor]) -> None:
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise DataError(
            f"value '{op.inputs[0]}': expected finite numbers, found NaN or infinity",
            where=op.where(),
            help="look for samples outside the range that the network was trained on",
        )


RowMaker = Callable[[Tensor, int, int], Tensor]
"""Takes one sample's input, its index, and how many rows are wanted at most; returns what the
weights meet at evenly spread positions, [groups, rows, k]."""


def _row_maker(graph: Graph, op: Operation) -> tuple[RowMaker, int]:
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


def _window_rows(graph: Graph, op: Operation, shape: tuple[int, ...]) -> RowMaker:
    """Return what makes the rows of a Conv: only the positions that are wanted are copied."""
    group, site = op.int_attribute("group", 1), Site(op, graph.opset)

    def run(x: Tensor, index: int, most: int) -> Tensor:
        window = Window.of(site, shape[2:])
        taps = window.without_pads().taps(window.padded(x))  # [N, C, *output, *kernel]
        sizes = (taps.shape[0], *taps.shape[2 : 2 + len(shape[2:])])
        chosen = _spread(math.prod(sizes), index, most)
        batch, *places = torch.unravel_index(torch.arange(math.prod(sizes))[chosen], sizes)
        # Channels last, so that the positions are neighbouring axes: [rows, *kernel, C].
        rows = taps.movedim(1, -1)[batch, *places].movedim(-1, 1)
        return rows.reshape(len(batch), group, -1).transpose(0, 1)

    return run


def _transposed_rows(graph: Graph, op: Operation, shape: tuple[int, ...]) -> RowMaker:
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


def _batches(
    graph: Graph,
    op: Operation,
    rows_of: RowMaker,
    inputs: tuple[Array, Array],
    samples: Sequence[int],
    rows: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (x, f), each [groups, rows, k + 1] with a last column of ones."""
    positions = max(1, rows // max(1, len(samples)))
    deliver = slot_quantizers(graph, op)[0][0] if isinstance(op, QuantableOperation) else None
    waiting: tuple[list[Tensor], list[Tensor]] = ([], [])
    held = 0
    for index in samples:
        with one_thread(), torch.no_grad():
            x, f = (to_tensor(array[index]).to(torch.float32) for array in inputs)
            given = (x if deliver is None else deliver(x), f)
            for part, tensor in zip(waiting, given, strict=True):
                part.append(rows_of(tensor, index, positions))
        held += waiting[0][-1].shape[1]
        if held >= _ROWS:
            yield _stacked(waiting[0]), _stacked(waiting[1])
            waiting, held = ([], []), 0
    if held:
        yield _stacked(waiting[0]), _stacked(waiting[1])


def _stacked(parts: list[Tensor]) -> Tensor:
    """Return [groups, rows, k + 1] of parts [groups, rows, k], with ones behind."""
    groups, _, k = parts[0].shape
    count = sum(part.shape[1] for part in parts)
    found = torch.ones(groups, count, k + 1)
    start = 0
    for part in parts:
        found[:, start : start + part.shape[1], :k] = part
        start += part.shape[1]
    return found
