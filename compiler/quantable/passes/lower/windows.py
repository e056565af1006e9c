"""Windows of convolutions and pools: explicit kernel, strides, pads and dilations."""

from __future__ import annotations

from collections.abc import Sequence

from quantable.ir import Attribute, Operation, Shape, UnsupportedError


def static_dims(operation: Operation, shape: Shape | None, axes: Sequence[int]) -> tuple[int, ...]:
    """Return the dimensions of some axes.

    Raises:
        UnsupportedError: One is not known.
    """
    dims = [None if shape is None else shape[axis] for axis in axes]
    known = tuple(dim for dim in dims if isinstance(dim, int))
    if len(known) != len(dims):
        raise UnsupportedError(
            f"expected known dimensions on axes {list(axes)}, found shape {shape}",
            where=operation.where(),
            help="give the input a static shape, or run 'fold-shapes' before",
        )
    return known


def window_attributes(
    operation: Operation, shape: Shape | None, kernel: Sequence[int]
) -> dict[str, Attribute]:
    """Return kernel_shape, strides, pads and dilations with automatic padding made explicit.

    Args:
        operation: A Conv or a pool.
        shape: Shape of its input, [N, C, spatial ..].
        kernel: The spatial extents of the window.
    """
    rank = len(kernel)
    strides = operation.ints_attribute("strides") or (1,) * rank
    dilations = operation.ints_attribute("dilations") or (1,) * rank
    pads = operation.ints_attribute("pads") or (0,) * (2 * rank)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    mode = operation.attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0,) * (2 * rank)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        sizes = static_dims(operation, shape, range(2, 2 + rank))
        pads = _same_pads(sizes, extents, strides, is_upper=mode == "SAME_UPPER")
    if operation.int_attribute("ceil_mode"):
        sizes = static_dims(operation, shape, range(2, 2 + rank))
        pads = _ceil_pads(operation, sizes, extents, strides, pads)
    return {
        "kernel_shape": tuple(kernel), "strides": strides, "pads": pads, "dilations": dilations,
    }  # fmt: skip


def _same_pads(
    sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int], *, is_upper: bool
) -> tuple[int, ...]:
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, extent, stride in zip(sizes, extents, strides, strict=True)
    ]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (*small, *large) if is_upper else (*large, *small)


def _ceil_pads(
    operation: Operation,
    sizes: Sequence[int],
    extents: Sequence[int],
    strides: Sequence[int],
    pads: tuple[int, ...],
) -> tuple[int, ...]:
    """Return pads with which rounding down gives as many windows as rounding up did.

    A last window that would start in the end padding is dropped, as ONNX Runtime and PyTorch do.
    """
    rank, ends = len(sizes), []
    for i, (size, extent, stride) in enumerate(zip(sizes, extents, strides, strict=True)):
        begin, end = pads[i], pads[rank + i]
        count = -(-(size + begin + end - extent) // stride) + 1
        if (count - 1) * stride >= size + begin:
            count -= 1
        ends.append(max(end, (count - 1) * stride + extent - size - begin))
    changed = tuple(ends) != pads[rank:]
    if changed and operation.int_attribute("count_include_pad"):
        raise UnsupportedError(
            "ceil_mode together with count_include_pad counts positions that no padding holds",
            where=operation.where(),
        )
    return (*pads[:rank], *ends)
