"""The configs that stand for a model's quantizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantable.ir import (
    Arithmetic,
    DType,
    Granularity,
    Graph,
    QuantizationPolicy,
    Symmetry,
    TensorQuantizationConfig,
)
from quantable.ir.floats import FLOAT_TYPES, largest_float
from quantable.passes.base import Array
from quantable.passes.canonicalize.quantizer_forms import Quantizer

_EXPONENT_BITS = {dtype: exponent for (_, exponent), dtype in FLOAT_TYPES.items()}


class AdoptedConfigs:
    """Makes configs of quantizers.

    ONNX says nothing of symmetry. A signed type counts as symmetric where all zero points of the
    model's parameters, or of its activations, of that type are 0; an unsigned one never does.

    Args:
        graph: The model.
        known: Its quantizers by operation.
    """

    def __init__(self, graph: Graph, known: Mapping[str, Quantizer]) -> None:
        self._shifted = {
            (quantizer.dtype, graph.operation_by_name[name].inputs[0] in graph.parameters)
            for name, quantizer in known.items()
            if quantizer.zero_point.any()
        }

    def of(self, quantizer: Quantizer, *, is_parameter: bool) -> TensorQuantizationConfig:
        """Return the config of a slot, its row left out."""
        dtype = quantizer.dtype
        is_symmetric = dtype.is_signed and (dtype, is_parameter) not in self._shifted
        policy = QuantizationPolicy(
            _granularity(quantizer),
            Arithmetic.FLOATING if dtype.is_small_float else Arithmetic.LINEAR,
            Symmetry.SYMMETRIC if is_symmetric else Symmetry.ASYMMETRIC,
            power_of_two=dtype.is_small_float,
        )  # fmt: skip
        low, high, exponent_bits = _range(dtype)
        return TensorQuantizationConfig(
            policy=policy, bits=dtype.bits, exponent_bits=exponent_bits, quant_min=low,
            quant_max=high, channel_axis=quantizer.axis, block_size=quantizer.block_size,
        )  # fmt: skip

    @staticmethod
    def narrowed(config: TensorQuantizationConfig, stored: Array) -> TensorQuantizationConfig:
        """Return the config of symmetric integers that leave out the smallest one of their type."""
        is_full = config.quant_min == -config.quant_max - 1 and config.storage is not DType.INT32
        if not (config.policy.is_symmetric and is_full) or config.policy.is_floating:
            return config
        if stored.size and int(stored.min()) > config.quant_min:
            return replace(config, quant_min=-config.quant_max)
        return config


def _granularity(quantizer: Quantizer) -> Granularity:
    if quantizer.axis is None:
        return Granularity.PER_TENSOR
    return Granularity.PER_BLOCK if quantizer.block_size else Granularity.PER_CHANNEL


def _range(dtype: DType) -> tuple[int, int, int]:
    """Return the smallest and the largest number of a type, and its exponent bits."""
    if not dtype.is_small_float:
        return dtype.minimum, dtype.maximum, 0
    exponent = _EXPONENT_BITS[dtype]
    largest = int(np.float64(largest_float(exponent, dtype.bits - exponent - 1)))
    return -largest, largest, exponent
