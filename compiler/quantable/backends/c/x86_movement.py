"""Transposes of bytes for the kernels of x86-64."""

from __future__ import annotations

from quantable.backends.c.space import contiguous, merged
from quantable.backends.c.unit import Step
from quantable.ir import DType


def emit_transpose(step: Step) -> bool:
    """Transpose of bytes that swaps two neighbouring groups of axes, the last one among them."""
    x, y = step.input(0), step.output()
    if {x.dtype, y.dtype} - {DType.UINT8, DType.INT8}:
        return False
    shape = step.shape(x)
    perm = step.operation.ints_attribute("perm", tuple(reversed(range(len(shape)))))
    to = contiguous(step.shape(y))
    loops = merged(shape, contiguous(shape), [to[perm.index(axis)] for axis in range(len(shape))])
    matrices = loops[0][0] if len(loops) == 3 else 1
    if len(loops) not in (2, 3):
        return False
    (rows, *row), (columns, *column) = loops[-2:]
    if row != [columns, 1] or column != [1, rows] or loops[:-2] not in ([], _outer(loops)):
        return False
    parameters = step.parameters("q_transpose", [str(n) for n in (matrices, rows, columns)])
    function = step.shared("q_transpose_bytes", "q_transpose_bytes.h")
    step.shared_call(
        function, parameters, f"(const uint8_t *){step.pointer(x.name)}",
        f"(uint8_t *){step.pointer(y.name)}",
    )  # fmt: skip
    return True


def _outer(loops: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return the loop over matrices that lie one behind the other in both tensors."""
    size = loops[-2][0] * loops[-1][0]
    return [(loops[0][0], size, size)]
