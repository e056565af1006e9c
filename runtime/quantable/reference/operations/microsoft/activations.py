"""Activation functions of com.microsoft, and those that its fused operations end with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from quantable.ir import Operation
from quantable.reference.operations import elementwise
from quantable.reference.site import Builder, Kernel, Site, fixed


def activation(site: Site, kind: str, attributes: Mapping[str, float]) -> Kernel:
    """Return the function that a fused operation applies to its sums.

    Args:
        site: The fused operation.
        kind: The operation of ai.onnx that does the same, '' for none.
        attributes: Those of that operation.
    """
    if not kind:
        return lambda x: x
    builder = elementwise.TABLE.get(kind)
    if builder is None or kind not in _FUNCTIONS:
        known = ", ".join(sorted(_FUNCTIONS))
        raise site.refuse(f"attribute 'activation': expected one of {known}, found {kind:.40}")
    operation = Operation(site.operation.name, kind, ("x",), ("y",), dict(attributes))
    return builder(replace(site, operation=operation, constants={}))


_FUNCTIONS = frozenset({
    "Clip", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh",
    "ThresholdedRelu",
})  # fmt: skip


def _bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    return functional.gelu(x + bias)


def _fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


def _quick_gelu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.702)
    return lambda x: x * torch.sigmoid(alpha * x)


TABLE: dict[str, Builder] = {
    "com.microsoft.BiasGelu": fixed(_bias_gelu),
    "com.microsoft.FastGelu": fixed(_fast_gelu),
    "com.microsoft.Gelu": fixed(functional.gelu),
    "com.microsoft.QuickGelu": _quick_gelu,
}
