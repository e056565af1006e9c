"""Second moments of what a layer multiplies its weights with: all that a closed-form fit needs.

Of a layer with weights W and a bias b, the outputs are ``[x, 1] [W b]^T``, where a row x of X holds
what the weights of one output position meet. With rows x of the quantized network and f of the
float one, the squared error of any W, b against the float weights follows from ``X^T X`` and
``X^T F``, but for a constant. A fit takes these; a judgement, on fewer samples, takes the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quantable.ir import DataError, Graph, Operation
from quantable.reference.tensors import Array
from quantable.reference.threads import one_thread, single_threaded_pool
from quantable.training.rows import RowReader

Reals = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
LEAST_ROWS = 4096
ROWS_PER_WEIGHT = 4
"""How many rows are looked at, of all that the samples have: enough for matrices of full rank."""
JUDGING_ROWS = 2048
_THREADS = 2
"""One for each matrix, whatever the machine has."""


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
    reader = RowReader(graph, operation)
    wanted = max(LEAST_ROWS, ROWS_PER_WEIGHT * reader.weights) if rows is None else rows
    with one_thread(), single_threaded_pool(_THREADS) as pool:
        batches = reader.batches(pool, (quantized, original), samples, wanted)
        sums = _plain_sums(pool, batches) if sums_only else _summed(pool, batches)
    if not sums.count:
        raise DataError("second moments: there are no samples", where=reader.operation.where())
    _require_finite(reader.operation, [*sums.products, *sums.plain])
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


def _summed(pool: ThreadPoolExecutor, batches: Iterator[tuple[Tensor, Tensor]]) -> _Sums:
    """Return sums over all rows; each matrix has a thread, and so adds in its own fixed order."""
    sums = _Sums()
    for batch in batches:
        columns = list(pool.map(_column_sums, batch))
        sums.plain = _added(sums.plain, [part.clone() for part in columns])
        sums.count += batch[0].shape[1]
        sums.shifts = sums.shifts or [_shift(part, batch[0].shape[1]) for part in columns]
        list(pool.map(_move, batch, sums.shifts))
        sums.products = _added(sums.products, list(pool.map(_product, (batch[0],) * 2, batch)))
    return sums


def _plain_sums(pool: ThreadPoolExecutor, batches: Iterator[tuple[Tensor, Tensor]]) -> _Sums:
    """Return sums over all rows, without products."""
    sums = _Sums()
    for batch in batches:
        sums.plain = _added(sums.plain, list(pool.map(_column_sums, batch)))
        sums.count += batch[0].shape[1]
    return sums


def _column_sums(part: Tensor) -> Tensor:
    return part.sum(dim=1, dtype=torch.float64)


def _move(part: Tensor, shift: Tensor) -> None:
    part.sub_(shift[:, None, :].to(torch.float32))


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
    reader = RowReader(graph, operation)
    with one_thread(), single_threaded_pool(_THREADS) as pool:
        parts = list(reader.batches(pool, (quantized, original), samples, JUDGING_ROWS))
    if not parts:
        raise DataError("rows of a layer: there are no samples", where=reader.operation.where())
    joined = [torch.cat([part[side] for part in parts], dim=1) for side in (0, 1)]
    _require_finite(reader.operation, joined)
    return LayerRows(*(part.numpy() for part in joined))


def _added(sums: list[Tensor], more: list[Tensor]) -> list[Tensor]:
    return [a.add_(b) for a, b in zip(sums, more, strict=True)] if sums else more


def _product(x: Tensor, other: Tensor) -> Tensor:
    return (x.transpose(1, 2) @ other).to(torch.float64)


def _require_finite(op: Operation, parts: Sequence[Tensor]) -> None:
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise DataError(
            f"value '{op.inputs[0]}': expected finite numbers, found NaN or infinity",
            where=op.where(),
            help="look for samples outside the range that the network was trained on",
        )
