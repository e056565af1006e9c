"""Comparisons, logic, selection and conversion of ONNX."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, fixed
from quantable.reference.tensors import onnx_type
from quantable.reference.unsigned import with_unsigned


def _cast(site: Site) -> Kernel:
    to = onnx_type(site.operation.int_attribute("to"), site.operation.where())
    return lambda x: x if x.dtype is to else x.to(to)


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
    "CastLike": fixed(lambda x, like: x.to(like.dtype)),
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
