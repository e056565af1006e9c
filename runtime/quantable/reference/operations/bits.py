"""Operations of ONNX on the bits of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, fixed
from quantable.reference.unsigned import by_numpy, with_unsigned


def _shifted(x: Any, amount: Any, is_left: bool) -> Any:
    """Shift; an amount that is negative or the width of the type leaves the sign alone."""
    bits = x.dtype.itemsize * 8
    is_inside = amount < bits
    if x.dtype.kind == "i":
        is_inside &= amount >= 0
    function = np.left_shift if is_left else np.right_shift
    moved = function(x, np.where(is_inside, amount, 0).astype(x.dtype))
    beyond = np.zeros_like(x) if is_left or x.dtype.kind == "u" else -(x < 0).astype(x.dtype)
    return np.where(is_inside, moved, beyond).astype(x.dtype)


def _bit_shift(site: Site) -> Kernel:
    direction = site.operation.string_attribute("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise site.refuse(f"attribute 'direction': expected LEFT or RIGHT, found {direction}")
    return lambda x, y: by_numpy(lambda a, b: _shifted(a, b, direction == "LEFT"), x, y)


def _bit_cast(site: Site) -> Kernel:
    to = site.number_type("to")
    source = site.input_type()

    def run(x: Tensor) -> Tensor:
        if to.bits >= 8:
            return x.contiguous().view(site.torch_type(to))
        # Narrower elements are held one a byte: bring the bits to the form of the other type.
        assert source is not None
        bits = x.view(torch.uint8) & ((1 << to.bits) - 1)
        if not to.is_signed or to.is_float:
            return bits
        sign = 1 << (to.bits - 1)
        return (bits.to(torch.int8) ^ sign) - sign

    return run


TABLE: dict[str, Builder] = {
    "BitCast": _bit_cast,
    "BitShift": _bit_shift,
    "BitwiseAnd": fixed(with_unsigned(torch.bitwise_and, np.bitwise_and)),
    "BitwiseNot": fixed(with_unsigned(torch.bitwise_not, np.bitwise_not)),
    "BitwiseOr": fixed(with_unsigned(torch.bitwise_or, np.bitwise_or)),
    "BitwiseXor": fixed(with_unsigned(torch.bitwise_xor, np.bitwise_xor)),
}
