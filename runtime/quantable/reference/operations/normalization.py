"""Normalizations and softmax of ONNX."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site


def _batch_normalization(site: Site) -> Kernel:
    if site.operation.int_attribute("training_mode"):
        raise site.refuse("training mode is not supported")
    epsilon = site.operation.float_attribute("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        if not x.numel():  # torch refuses to have no channels
            return x
        return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)

    return run


def _instance_normalization(site: Site) -> Kernel:
    epsilon = site.operation.float_attribute("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        return functional.instance_norm(x, None, None, scale, bias, True, 0.0, epsilon)

    return run


def _group_normalization(site: Site) -> Kernel:
    epsilon = site.operation.float_attribute("epsilon", 1e-5)
    groups = site.operation.int_attribute("num_groups")

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        if site.opset >= 21:
            return functional.group_norm(x, groups, scale, bias, epsilon)
        plain = functional.group_norm(x, groups, None, None, epsilon)
        grouped = plain.reshape(x.shape[0], groups, -1)
        return (grouped * scale.view(1, -1, 1) + bias.view(1, -1, 1)).reshape(x.shape)

    return run


def _layer_normalization(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -1)
    epsilon = site.operation.float_attribute("epsilon", 1e-5)
    statistics = len([name for name in site.operation.outputs if name]) > 1

    def run(
        x: Tensor, scale: Tensor, bias: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        shape = x.shape[axis % x.dim() :]
        if not statistics and scale.shape == shape and (bias is None or bias.shape == shape):
            return functional.layer_norm(x, shape, scale, bias, epsilon)
        axes = tuple(range(axis % x.dim(), x.dim()))
        mean = x.mean(axes, keepdim=True)
        centred = x - mean
        inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
        y = centred * inverse * scale
        return (y if bias is None else y + bias), mean, inverse

    return run if statistics else lambda *inputs: _first(run(*inputs))


def _first(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def _rms_normalization(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -1)
    epsilon = site.operation.float_attribute("epsilon", 1e-5)
    number = site.operation.int_attribute("stash_type", 1)
    stash = site.torch_type(site.number_type("stash_type")) if number != 1 else torch.float32

    def run(x: Tensor, scale: Tensor) -> Tensor:
        wide = x if x.dtype is torch.float64 else x.to(stash)
        axes = tuple(range(axis % x.dim(), x.dim()))
        inverse = torch.rsqrt((wide * wide).mean(axes, keepdim=True) + epsilon)
        return (wide * inverse).to(x.dtype) * scale

    return run


def _mean_variance_normalization(site: Site) -> Kernel:
    axes = site.operation.ints_attribute("axes", (0, 2, 3))

    def run(x: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        deviation = (centred * centred).mean(axes, keepdim=True).sqrt()
        return centred / (deviation + 1e-9)

    return run


def _lp_normalization(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -1)
    order = site.operation.int_attribute("p", 2)

    def run(x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, order, dim=axis, keepdim=True)
        return torch.where(norm == 0, torch.zeros_like(x), x / norm)

    return run


def _local_response_normalization(site: Site) -> Kernel:
    op = site.operation
    alpha, beta = op.float_attribute("alpha", 1e-4), op.float_attribute("beta", 0.75)
    bias, size = op.float_attribute("bias", 1.0), op.int_attribute("size")

    def run(x: Tensor) -> Tensor:
        channels = x.shape[1]
        pads = [0, 0] * (x.dim() - 2) + [(size - 1) // 2, size // 2]
        squares = functional.pad(x * x, pads)
        total = sum((squares.narrow(1, k, channels) for k in range(1, size)), squares.narrow(
            1, 0, channels))  # fmt: skip
        return x / (bias + alpha / size * total) ** beta

    return run


def _softmax(function: Callable[..., Tensor]) -> Builder:
    def build(site: Site) -> Kernel:
        if site.opset >= 13:
            axis = site.operation.int_attribute("axis", -1)
            return lambda x: function(x, axis)
        first = site.operation.int_attribute("axis", 1)

        def run(x: Tensor) -> Tensor:  # before opset 13, over all axes from the first one on
            matrix = x.reshape(*x.shape[: first % x.dim()], -1)
            return function(matrix, -1).reshape(x.shape)

        return run

    return build


def _hardmax(x: Tensor, axis: int) -> Tensor:
    best = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter_(axis, best, 1.0)


TABLE: dict[str, Builder] = {
    "BatchNormalization": _batch_normalization,
    "GroupNormalization": _group_normalization,
    "Hardmax": _softmax(_hardmax),
    "InstanceNormalization": _instance_normalization,
    "LRN": _local_response_normalization,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _softmax(torch.log_softmax),
    "LpNormalization": _lp_normalization,
    "MeanVarianceNormalization": _mean_variance_normalization,
    "RMSNormalization": _rms_normalization,
    "Softmax": _softmax(torch.softmax),
}
