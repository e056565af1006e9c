"""int.Add, int.Mul, int.Requantize, the tables, and the border: int.Quantize, int.Dequantize."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.integer.requantize import (
    constant,
    exact_type,
    narrow,
    operand_type,
    output_type,
    reach,
    requantizer,
)
from quantable.reference.site import Builder, Kernel, Site


def _quantize(site: Site) -> Kernel:
    op = site.operation
    zero, to = op.int_attribute("zero_point"), output_type(site)
    low = float(op.int_attribute("clamp_min") - zero)
    high = float(op.int_attribute("clamp_max") - zero)
    scale = torch.tensor(op.float_attribute("scale"), dtype=torch.float32)

    def run(x: Tensor) -> Tensor:
        return narrow((x.to(torch.float32) / scale).clamp_(low, high).round_().add_(zero), to)

    return run


def _dequantize(site: Site) -> Kernel:
    op = site.operation
    zero = op.int_attribute("zero_point")
    scale = torch.tensor(op.float_attribute("scale"), dtype=torch.float32)
    work = exact_type(reach(operand_type(site, 0), zero), op.where())
    return lambda x: (x.to(work) - zero).to(torch.float32) * scale


def _add(site: Site) -> Kernel:
    op = site.operation
    zero_a, zero_b = op.int_attribute("a_zero_point"), op.int_attribute("b_zero_point")
    factor_a, factor_b = op.int_attribute("a_multiplier"), op.int_attribute("b_multiplier")
    bound = reach(operand_type(site, 0), zero_a) * abs(factor_a)
    bound += reach(operand_type(site, 1), zero_b) * abs(factor_b)
    work = exact_type(bound, op.where())
    multiplier, finish = op.float_attribute("multiplier"), requantizer(site)

    def run(a: Tensor, b: Tensor) -> Tensor:
        acc = (a.to(work) - zero_a) * factor_a + (b.to(work) - zero_b) * factor_b
        return finish(acc, multiplier)

    return run


def _multiply(site: Site) -> Kernel:
    op = site.operation
    zero_a, zero_b = op.int_attribute("a_zero_point"), op.int_attribute("b_zero_point")
    bound = reach(operand_type(site, 0), zero_a) * reach(operand_type(site, 1), zero_b)
    work = exact_type(bound, op.where())
    multiplier, finish = op.float_attribute("multiplier"), requantizer(site)

    def run(a: Tensor, b: Tensor) -> Tensor:
        return finish((a.to(work) - zero_a) * (b.to(work) - zero_b), multiplier)

    return run


def _requantize(site: Site) -> Kernel:
    op = site.operation
    zero = op.int_attribute("x_zero_point")
    work = exact_type(reach(operand_type(site, 0), zero), op.where())
    multiplier, finish = op.float_attribute("multiplier"), requantizer(site)
    return lambda x: finish(x.to(work) - zero, multiplier)


def _table(site: Site) -> Kernel:
    minimum = operand_type(site, 0).minimum
    table, to = constant(site, 1).to(torch.int64), output_type(site)
    return lambda x, *_: narrow(table[x.to(torch.int64) - minimum], to)


def _interpolated_table(site: Site) -> Kernel:
    minimum = operand_type(site, 0).minimum
    table, to = constant(site, 1).to(torch.int64), output_type(site)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        position = x.to(torch.int64) - minimum
        index, fraction = position >> 7, position & 127
        left = table[index]
        # The shift of a negative number rounds down: floor((..) / 128).
        return narrow(left + (((table[index + 1] - left) * fraction + 64) >> 7), to)

    return run


TABLE: dict[str, Builder] = {
    "int.Add": _add,
    "int.Dequantize": _dequantize,
    "int.InterpolatedTable": _interpolated_table,
    "int.Mul": _multiply,
    "int.Quantize": _quantize,
    "int.Requantize": _requantize,
    "int.Table": _table,
}
