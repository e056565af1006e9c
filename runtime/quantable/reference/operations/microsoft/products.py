"""Products of com.microsoft with integers in them, and weights packed into bits of bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.ir import DType
from quantable.reference.operations import quantization
from quantable.reference.operations.quantized import along, centred, dynamic_quantize
from quantable.reference.site import Builder, Kernel, Site


def _product(a: Tensor, za: Tensor | None, b: Tensor, zb: Tensor | None) -> Tensor:
    return torch.matmul(centred(a, za, None), centred(b, zb, -1))


def _matmul_to_float(_: Site) -> Kernel:
    def run(
        a: Tensor, b: Tensor, sa: Tensor, sb: Tensor, za: Tensor | None = None,
        zb: Tensor | None = None, bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        total = _product(a, za, b, zb).to(torch.float32)
        y = total * (sa.reshape(()) * along(sb, total.dim(), -1))
        return y if bias is None else y + bias

    return run


def _dynamic_matmul(_: Site) -> Kernel:
    def run(
        a: Tensor, b: Tensor, sb: Tensor, zb: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        steps, sa, za = dynamic_quantize(a)
        total = _product(steps, za, b, zb).to(torch.float32)
        y = total * (sa * along(sb, total.dim(), -1))
        return y if bias is None else y + bias

    return run


def _matmul_integer16(_: Site) -> Kernel:
    return lambda a, b: torch.matmul(a.to(torch.int64), b.to(torch.int64)).to(torch.int32)


def unpacked(packed: Tensor, bits: int) -> Tensor:
    """Return the unsigned numbers of `bits` in bytes, the lower index in the lower bits.

    Args:
        packed: [.., n] of uint8.

    Returns:
        [.., n * 8 / bits] of int64.
    """
    shifts = torch.arange(0, 8, bits)
    spread = (packed.to(torch.int64).unsqueeze(-1) >> shifts) & ((1 << bits) - 1)
    return spread.flatten(-2)


def _matmul_bits(site: Site) -> Kernel:
    op = site.operation
    rows, columns = op.int_attribute("K"), op.int_attribute("N")
    bits, block = op.int_attribute("bits", 4), op.int_attribute("block_size")
    if op.int_attribute("weight_prepacked"):
        raise site.refuse("attribute 'weight_prepacked': expected 0: the form belongs to a GPU")
    if bits not in (2, 4, 8):
        raise site.refuse(f"attribute 'bits': expected 2, 4 or 8, found {bits}")
    blocks = -(-rows // block)

    def run(
        a: Tensor, b: Tensor, scales: Tensor, zeros: Tensor | None = None,
        groups: Tensor | None = None, bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        steps = unpacked(b.reshape(columns, blocks, -1), bits)
        offset = torch.tensor(float(1 << (bits - 1)))
        if zeros is not None and zeros.dtype is torch.uint8:
            packed = unpacked(zeros.reshape(columns, -1), bits)[:, :blocks]
            offset = packed.to(torch.float32).unsqueeze(-1)
        elif zeros is not None:
            offset = zeros.reshape(columns, blocks, 1).to(torch.float32)
        wide = scales.to(torch.float32).reshape(columns, blocks, 1)
        if groups is None:
            real = ((steps - offset) * wide).reshape(columns, -1)[:, :rows]
        else:  # rows in another order: each says which block it belongs to
            own = groups.to(torch.int64)[:rows]
            flat = steps.reshape(columns, -1)[:, :rows]
            zero = offset.reshape(columns, blocks)[:, own] if offset.dim() else offset
            real = (flat - zero) * wide.reshape(columns, blocks)[:, own]
        y = torch.matmul(a.to(torch.float32), real.t())
        return (y if bias is None else y + bias.to(torch.float32)).to(a.dtype)

    return run


def _gather_blocks(site: Site) -> Kernel:
    op = site.operation
    bits, block = op.int_attribute("bits", 4), op.int_attribute("block_size", 128)
    gather, quantized = op.int_attribute("gather_axis"), op.int_attribute("quantize_axis", 1)
    is_packed = site.input_type() is DType.UINT8

    def run(data: Tensor, indices: Tensor, scales: Tensor, zeros: Tensor | None = None) -> Tensor:
        steps = unpacked(data, bits) if is_packed else data.to(torch.int64)
        axis = quantized % steps.dim()
        length = steps.shape[axis]

        def spread(values: Tensor) -> Tensor:
            return values.repeat_interleave(block, axis).narrow(axis, 0, length)

        if zeros is not None:
            unfolded = unpacked(zeros, bits) if is_packed else zeros.to(torch.int64)
            # A last byte may hold more zero points than there are blocks.
            steps = steps - spread(unfolded.narrow(-1, 0, scales.shape[-1]))
        elif is_packed:
            steps = steps - (1 << (bits - 1))
        real = steps.to(scales.dtype) * spread(scales)
        first = gather % real.dim()
        wanted = indices.to(torch.int64)
        wanted = torch.where(wanted < 0, wanted + real.shape[first], wanted)
        picked = real.index_select(first, wanted.reshape(-1))
        shape = (*picked.shape[:first], *wanted.shape, *picked.shape[first + 1 :])
        return picked.reshape(shape)

    return run


TABLE: dict[str, Builder] = {
    f"com.microsoft.{kind}": builder
    for kind, builder in {
        "DequantizeLinear": quantization.TABLE["DequantizeLinear"],
        "DynamicQuantizeMatMul": _dynamic_matmul,
        "GatherBlockQuantized": _gather_blocks,
        "MatMulInteger16": _matmul_integer16,
        "MatMulIntegerToFloat": _matmul_to_float,
        "MatMulNBits": _matmul_bits,
        "QuantizeLinear": quantization.TABLE["QuantizeLinear"],
    }.items()
}
