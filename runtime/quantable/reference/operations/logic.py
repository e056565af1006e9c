"""Comparisons, logic, selection and conversion of ONNX."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from quantable.reference.conversions import converted
from quantable.reference.site import Builder, Kernel, Site, fixed
from quantable.reference.tensors import IR_TYPES
from quantable.reference.unsigned import with_unsigned


def _cast(site: Site) -> Kernel:
    to, source = site.number_type("to"), site.input_type()
    saturates = bool(site.operation.int_attribute("saturate", 1))
    rounding = site.operation.string_attribute("round_mode", "up")
    return lambda x: converted(x, source, to, saturates, rounding)


def _cast_like(site: Site) -> Kernel:
    source, like = site.input_type(), site.input_type(1)
    saturates = bool(site.operation.int_attribute("saturate", 1))
    rounding = site.operation.string_attribute("round_mode", "up")

    def run(x: Tensor, other: Tensor) -> Tensor:
        return converted(x, source, like or IR_TYPES[other.dtype], saturates, rounding)

    return run


def _is_inf(site: Site) -> Kernel:
    negative = bool(site.operation.int_attribute("detect_negative", 1))
    positive = bool(site.operation.int_attribute("detect_positive", 1))

    def run(x: Tensor) -> Tensor:
        return torch.isinf(x) & (((x < 0) & negative) | ((x > 0) & positive))

    return run


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


TABLE: dict[str, Builder] = {
    "And": fixed(torch.logical_and),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Equal": fixed(with_unsigned(torch.eq, np.equal)),
    "Greater": fixed(with_unsigned(torch.gt, np.greater)),
    "GreaterOrEqual": fixed(with_unsigned(torch.ge, np.greater_equal)),
    "IsInf": _is_inf,
    "IsNaN": fixed(torch.isnan),
    "Less": fixed(with_unsigned(torch.lt, np.less)),
    "LessOrEqual": fixed(with_unsigned(torch.le, np.less_equal)),
    "Not": fixed(torch.logical_not),
    "Or": fixed(torch.logical_or),
    "Where": fixed(_where),
    "Xor": fixed(torch.logical_xor),
}
