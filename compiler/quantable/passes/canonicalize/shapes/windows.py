"""Shapes of convolutions and pools, and the explicit form of their windows."""

from __future__ import annotations

from dataclasses import dataclass

from quantable.ir import DType, Operation
from quantable.passes.canonicalize.shapes.site import ShapeFunction, Site, Sizes, Tensor
from quantable.passes.canonicalize.shapes.symbols import Expression


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window, every attribute explicit; one number an axis (two for pads)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None

    @property
    def reach(self) -> tuple[int, ...]:
        """Input positions that the window spans, an axis."""
        pairs = zip(self.kernel, self.dilations, strict=True)
        return tuple((k - 1) * d + 1 for k, d in pairs)


def window_of(operation: Operation, kernel: tuple[int, ...]) -> Window:
    """Return an operation's window; `pads` is None where ``auto_pad`` asks for SAME."""
    rank = len(kernel)
    mode = operation.string_attribute("auto_pad", "NOTSET")
    pads: tuple[int, ...] | None = operation.ints_attribute("pads") or (0,) * (2 * rank)
    if mode == "VALID":
        pads = (0,) * (2 * rank)
    elif mode.startswith("SAME"):
        pads = None
    return Window(
        kernel,
        operation.ints_attribute("strides") or (1,) * rank,
        operation.ints_attribute("dilations") or (1,) * rank,
        pads,
    )


def _kernel(site: Site) -> tuple[int, ...]:
    given = site.operation.ints_attribute("kernel_shape")
    if given:
        return given
    sizes = [size.constant for size in site.tensor(1).sizes[2:]]
    if None in sizes:
        raise site.error("expected a kernel of known size")
    return tuple(size for size in sizes if size is not None)


def _output_sizes(site: Site, window: Window, spatial: Sizes) -> Sizes:
    ceil_mode = site.operation.int_attribute("ceil_mode")
    result = []
    for axis, size in enumerate(spatial):
        stride = window.strides[axis]
        if window.pads is None:
            result.append((size + stride - 1).floor_quotient(stride))
            continue
        begin, end = window.pads[axis], window.pads[axis + len(spatial)]
        room = size + begin + end - window.reach[axis]
        if not ceil_mode:
            result.append(room.floor_quotient(stride) + 1)
        elif room.constant is None or size.constant is None:
            result.append(site.unknown(0, axis + 2))
        else:
            count = -(-room.constant // stride) + 1
            # A window that starts in the padding at the end is left out.
            count -= (count - 1) * stride >= size.constant + begin
            result.append(Expression.of(count))
    return tuple(result)


def convolution(site: Site) -> tuple[Tensor, ...]:
    """Conv: x [N, C, spatial..], weight [O, C/group, kernel..]."""
    x, weight = site.tensor(0), site.tensor(1)
    group = site.operation.int_attribute("group", 1)
    site.equate(x.sizes[1], weight.sizes[1] * group)
    window = window_of(site.operation, _kernel(site))
    spatial = _output_sizes(site, window, x.sizes[2:])
    return (Tensor(x.dtype, (x.sizes[0], weight.sizes[0], *spatial)),)


def transposed_convolution(site: Site) -> tuple[Tensor, ...]:
    """ConvTranspose: x [N, C, spatial..], weight [C, O/group, kernel..]."""
    x, weight, op = site.tensor(0), site.tensor(1), site.operation
    window = window_of(op, _kernel(site))
    rank = len(window.kernel)
    extra = op.ints_attribute("output_padding") or (0,) * rank
    given = op.ints_attribute("output_shape")
    spatial = []
    for axis, size in enumerate(x.sizes[2:]):
        full = (size - 1) * window.strides[axis] + window.reach[axis] + extra[axis]
        if given:
            spatial.append(Expression.of(given[axis]))
        elif window.pads is None:
            spatial.append(size * window.strides[axis])
        else:
            spatial.append(full - window.pads[axis] - window.pads[axis + rank])
    channels = weight.sizes[1] * op.int_attribute("group", 1)
    return (Tensor(x.dtype, (x.sizes[0], channels, *spatial)),)


def pool(site: Site) -> tuple[Tensor, ...]:
    """MaxPool, AveragePool; a second output holds indices."""
    x = site.tensor(0)
    window = window_of(site.operation, site.operation.ints_attribute("kernel_shape"))
    sizes = (*x.sizes[:2], *_output_sizes(site, window, x.sizes[2:]))
    return (Tensor(x.dtype, sizes), Tensor(DType.INT64, sizes))[: len(site.operation.outputs)]


def global_pool(site: Site) -> tuple[Tensor, ...]:
    """GlobalAveragePool, GlobalMaxPool: every spatial size becomes 1."""
    x = site.tensor(0)
    ones = (Expression.of(1) for _ in x.sizes[2:])
    return (Tensor(x.dtype, (*x.sizes[:2], *ones)),)


FUNCTIONS: dict[str, ShapeFunction] = {
    "AveragePool": pool,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "MaxPool": pool,
}
"""Shape functions by operation kind."""
