"""Shapes of the operations of com.microsoft on integers, whose operands bring their scales."""

from __future__ import annotations

from dataclasses import replace

from quantable.ir import DType
from quantable.passes.canonicalize.shapes import elementwise, matrices, windows
from quantable.passes.canonicalize.shapes.broadcasting import broadcast
from quantable.passes.canonicalize.shapes.site import ShapeFunction, Site, Sizes, Tensor
from quantable.passes.canonicalize.shapes.symbols import Expression


def _of(site: Site, *slots: int) -> Site:
    """Return the operation as seen by a function that has these operands alone."""
    return replace(site, inputs=tuple(site.tensor(slot) for slot in slots))


def _typed(tensors: tuple[Tensor, ...], dtype: DType) -> tuple[Tensor, ...]:
    return tuple(Tensor(dtype, tensor.sizes) for tensor in tensors)


def _channels_last(site: Site, function: ShapeFunction) -> tuple[Tensor, ...]:
    """Apply a function of [N, C, spatial..] where the attribute says [N, spatial.., C]."""
    x = site.tensor(0)
    if not site.operation.int_attribute("channels_last"):
        return function(site)
    first = Tensor(x.dtype, (x.sizes[0], x.sizes[-1], *x.sizes[1:-1]))
    made = function(replace(site, inputs=(first, *site.inputs[1:])))
    return tuple(Tensor(t.dtype, (t.sizes[0], *t.sizes[2:], t.sizes[1])) for t in made)


def quantize(site: Site) -> tuple[Tensor, ...]:
    """QuantizeLinear: the type of the zero point, uint8 without one."""
    dtype = site.tensor(2).dtype if site.has(2) else DType.UINT8
    return (Tensor(dtype, site.tensor(0).sizes),)


def _binary(site: Site) -> tuple[Tensor, ...]:
    a, b = site.tensor(0), site.tensor(3)
    return (Tensor(a.dtype, broadcast(site, a.sizes, b.sizes)),)


def _where(site: Site) -> tuple[Tensor, ...]:
    sizes = broadcast(site, *(site.tensor(slot).sizes for slot in (0, 1, 4)))
    return (Tensor(site.tensor(1).dtype, sizes),)


def _concat(site: Site) -> tuple[Tensor, ...]:
    parts = [site.tensor(slot) for slot in range(2, len(site.inputs), 3)]
    rank = len(parts[0].sizes)
    axis = site.axis(site.operation.int_attribute("axis"), rank)
    sizes = list(parts[0].sizes)
    for part in parts[1:]:
        sizes[axis] = sizes[axis] + part.sizes[axis]
    return (Tensor(parts[0].dtype, tuple(sizes)),)


def _average_pool(site: Site) -> tuple[Tensor, ...]:
    return _channels_last(_of(site, 0), windows.pool)


def _global_average_pool(site: Site) -> tuple[Tensor, ...]:
    return _channels_last(_of(site, 0), windows.global_pool)


def _convolution(site: Site) -> tuple[Tensor, ...]:
    made = _channels_last(_of(site, 0, 3), windows.convolution)
    return _typed(made, site.tensor(7).dtype)


def _gemm(site: Site) -> tuple[Tensor, ...]:
    is_quantized = site.has(7)
    zero = site.tensor(8).dtype if site.has(8) else site.tensor(0).dtype
    return _typed(matrices.gemm(_of(site, 0, 3)), zero if is_quantized else DType.FLOAT32)


def _integer_matmul(site: Site) -> tuple[Tensor, ...]:
    return _typed(matrices.matmul(_of(site, 0, 1)), DType.INT32)


def _float_matmul(site: Site) -> tuple[Tensor, ...]:
    return _typed(matrices.matmul(_of(site, 0, 1)), DType.FLOAT32)


def _packed_matmul(site: Site) -> tuple[Tensor, ...]:
    """MatMulNBits: a [.., K], b [N, blocks, bytes of a block]."""
    a, op = site.tensor(0), site.operation
    site.equate(a.sizes[-1], Expression.of(op.int_attribute("K")))
    return (Tensor(a.dtype, (*a.sizes[:-1], Expression.of(op.int_attribute("N")))),)


def _packed_gather(site: Site) -> tuple[Tensor, ...]:
    """GatherBlockQuantized: bytes hold several elements along the last axis."""
    data, indices, op = site.tensor(0), site.tensor(1), site.operation
    rank = len(data.sizes)
    axis = site.axis(op.int_attribute("gather_axis"), rank)
    per_byte = 8 // op.int_attribute("bits", 4) if data.dtype is DType.UINT8 else 1
    sizes: Sizes = (*data.sizes[:-1], data.sizes[-1] * per_byte)
    return (Tensor(site.tensor(2).dtype, (*sizes[:axis], *indices.sizes, *sizes[axis + 1 :])),)


FUNCTIONS: dict[str, ShapeFunction] = {
    f"com.microsoft.{kind}": function
    for kind, function in {
        "DequantizeLinear": elementwise.dequantize,
        "DynamicQuantizeMatMul": _float_matmul,
        "GatherBlockQuantized": _packed_gather,
        "MatMulInteger16": _integer_matmul,
        "MatMulIntegerToFloat": _float_matmul,
        "MatMulNBits": _packed_matmul,
        "QGemm": _gemm,
        "QLinearAdd": _binary,
        "QLinearAveragePool": _average_pool,
        "QLinearConcat": _concat,
        "QLinearConv": _convolution,
        "QLinearGlobalAveragePool": _global_average_pool,
        "QLinearLeakyRelu": elementwise.same,
        "QLinearMul": _binary,
        "QLinearSigmoid": elementwise.same,
        "QLinearSoftmax": elementwise.same,
        "QLinearWhere": _where,
        "QuantizeLinear": quantize,
    }.items()
}
"""Shape functions by operation kind."""
