"""Elementwise arithmetic and activation functions of ONNX."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site, fixed
from quantable.reference.unsigned import with_unsigned

Binary = Callable[[Tensor, Tensor], Tensor]


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _power(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point():
        return torch.pow(a, b.to(a.dtype))
    return torch.pow(a.to(torch.float64), b.to(torch.float64)).to(a.dtype)


def _numpy_power(a: Any, b: Any) -> Any:
    return np.power(a, b).astype(a.dtype)


def _variadic(function: Binary) -> Builder:
    def run(*inputs: Tensor) -> Tensor:
        return functools.reduce(function, inputs)

    return fixed(run)


def _mean(*inputs: Tensor) -> Tensor:
    return functools.reduce(torch.add, inputs) / len(inputs)


def _modulo(site: Site) -> Kernel:
    if site.operation.int_attribute("fmod"):
        return with_unsigned(torch.fmod, np.fmod)
    return with_unsigned(torch.remainder, np.remainder)


def clip_bounds(site: Site) -> tuple[float | None, float | None] | None:
    """Return the bounds of a Clip, None for none; None in their place where they are computed."""
    op = site.operation
    if "min" in op.attributes or "max" in op.attributes:  # opset 6 and before
        return op.float_attribute("min", -math.inf), op.float_attribute("max", math.inf)
    constants = [site.constants.get(slot) for slot in (1, 2)]
    if any(site.has(slot) and site.constants.get(slot) is None for slot in (1, 2)):
        return None
    low, high = (None if constant is None else constant.item() for constant in constants)
    return low, high


def clamp_bounds(site: Site) -> tuple[float, float] | None:
    """Return (low, high) where an operation is min(max(x, low), high), None where it is not."""
    if site.operation.kind == "Relu":
        return 0.0, math.inf
    bounds = clip_bounds(site) if site.operation.kind == "Clip" else None
    if bounds is None:
        return None
    low, high = bounds
    return -math.inf if low is None else low, math.inf if high is None else high


def _clip(site: Site) -> Kernel:
    bounds = clip_bounds(site)
    if bounds == (None, None):
        return lambda x, *_: x
    if bounds is not None:
        return lambda x, *_: torch.clamp(x, *bounds)

    def run(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        # In this order: where the bounds cross, every element becomes the upper one.
        x = x if low is None else torch.maximum(x, low.reshape(()))
        return x if high is None else torch.minimum(x, high.reshape(()))

    return run


def _leaky_relu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, alpha)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _elu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.0)
    return lambda x: functional.elu(x, alpha)


def _celu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.0)
    return lambda x: functional.celu(x, alpha)


def _selu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.67326319217681884765625)
    gamma = site.operation.float_attribute("gamma", 1.05070102214813232421875)
    return lambda x: gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


def _hard_sigmoid(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 0.2)
    beta = site.operation.float_attribute("beta", 0.5)
    return lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0)


def _hard_swish(x: Tensor) -> Tensor:
    return x * torch.clamp(x * (1.0 / 6.0) + 0.5, 0.0, 1.0)


def _thresholded_relu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


def _shrink(site: Site) -> Kernel:
    bias = site.operation.float_attribute("bias", 0.0)
    limit = site.operation.float_attribute("lambd", 0.5)

    def run(x: Tensor) -> Tensor:
        zero = torch.zeros_like(x)
        return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, zero))

    return run


def _swish(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.0)
    return lambda x: x * torch.sigmoid(alpha * x)


def _swiglu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 1.0)
    return lambda gate, x: gate * torch.sigmoid(alpha * gate) * x


def _gelu(site: Site) -> Kernel:
    form = site.operation.string_attribute("approximate", "none")
    if form not in ("none", "tanh"):
        raise site.refuse(f"attribute 'approximate': expected none or tanh, found {form}")
    return lambda x: functional.gelu(x, approximate=form)


def _dropout(site: Site) -> Kernel:
    has_mask = len([name for name in site.operation.outputs if name]) > 1

    def run(
        x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        drops = ratio is None or bool(ratio)
        if training is not None and bool(training) and drops:
            raise site.refuse("training mode draws random numbers; export the model for inference")
        return (x, torch.ones(x.shape, dtype=torch.bool)) if has_mask else x

    return run


TABLE: dict[str, Builder] = {
    "Abs": fixed(torch.abs),
    "Acos": fixed(torch.acos),
    "Acosh": fixed(torch.acosh),
    "Add": fixed(with_unsigned(torch.add, np.add)),
    "Asin": fixed(torch.asin),
    "Asinh": fixed(torch.asinh),
    "Atan": fixed(torch.atan),
    "Atanh": fixed(torch.atanh),
    "Ceil": fixed(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": fixed(torch.cos),
    "Cosh": fixed(torch.cosh),
    "Div": fixed(with_unsigned(_divide, np.floor_divide)),
    "Dropout": _dropout,
    "Elu": _elu,
    "Erf": fixed(torch.erf),
    "Exp": fixed(torch.exp),
    "Floor": fixed(torch.floor),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": fixed(_hard_swish),
    "Identity": fixed(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Log": fixed(torch.log),
    "Max": _variadic(with_unsigned(torch.maximum, np.maximum)),
    "Mean": fixed(_mean),
    "Min": _variadic(with_unsigned(torch.minimum, np.minimum)),
    "Mish": fixed(functional.mish),
    "Mod": _modulo,
    "Mul": fixed(with_unsigned(torch.mul, np.multiply)),
    "Neg": fixed(torch.neg),
    "PRelu": fixed(_prelu),
    "Pow": fixed(with_unsigned(_power, _numpy_power)),
    "Reciprocal": fixed(torch.reciprocal),
    "Relu": fixed(torch.relu),
    "Round": fixed(torch.round),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": fixed(torch.sigmoid),
    "Sign": fixed(torch.sign),
    "Sin": fixed(torch.sin),
    "Sinh": fixed(torch.sinh),
    "Softplus": fixed(lambda x: functional.softplus(x, threshold=40.0)),
    "Softsign": fixed(functional.softsign),
    "Sqrt": fixed(torch.sqrt),
    "Sub": fixed(with_unsigned(torch.sub, np.subtract)),
    "Sum": _variadic(torch.add),
    "SwiGLU": _swiglu,
    "Swish": _swish,
    "Tan": fixed(torch.tan),
    "Tanh": fixed(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
}
