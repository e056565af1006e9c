"""Unsigned integers of 16 and more bits: torch holds them, and NumPy computes with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quantable.reference.tensors import to_tensor

WIDE_UNSIGNED = frozenset({torch.uint16, torch.uint32, torch.uint64})


def with_unsigned(
    function: Callable[..., Tensor], other: Callable[..., Any]
) -> Callable[..., Tensor]:
    """Return a function that also takes tensors for which torch has no arithmetic.

    Args:
        function: What torch does.
        other: The function of NumPy that does the same.
    """

    def run(*inputs: Tensor) -> Tensor:
        if any(x.dtype in WIDE_UNSIGNED for x in inputs):
            return by_numpy(other, *inputs)
        return function(*inputs)

    return run


def by_numpy(function: Callable[..., Any], *inputs: Tensor) -> Tensor:
    """Return what a function of NumPy makes of tensors; integers wrap around."""
    with np.errstate(all="ignore"):
        return to_tensor(np.asarray(function(*(x.numpy() for x in inputs))))
