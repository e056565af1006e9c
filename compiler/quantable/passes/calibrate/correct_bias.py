"""Take the mean error of rounded weights out of the bias.

Before (target c-portable, v = [[31.75, -2.1], [1.03, -15.875]], x has channel means 60 and 10):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
    b = 1.5 -2.25
After (v is stored as [[31.75, -2], [1, -15.875]]: 10 * 0.1 and 60 * -0.03 go):
    b = 0.5 -0.45

A rounded weight is wrong by up to half a step, always the same way. Where the input of a channel
has a mean, as it has behind every Relu, these errors move the mean of the output: by
``sum(error * mean of the input)``, which is subtracted from the bias.
Taps of a convolution that lie in the padding for a part of the output positions count as much less.

Preconditions:
    1. The operation multiplies channels by constant weights (`INPUT_CHANNEL_AXIS`), its weight has
       its row, and its bias, a parameter of its own, is still to be derived.
    2. The profile holds the means of the input's channels; one of format 1.0 does not, and one
       whose means are too large does not either. A remark says where a bias stays.
    3. Errors and the bias are counted from the originals, so that running it again, after another
       calibration, corrects anew and not twice.

Numerics: lossy; the mean of each output channel over the calibration data comes closer to float.
See: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
section 4.2, with measured means; PPQ's BiasCorrectionPass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    ContentRef,
    Graph,
    Level,
    Profile,
    QuantableOperation,
    State,
)
from quantable.ir.numerics import rounded
from quantable.ir.profile import INPUT_CHANNEL_AXIS
from quantable.passes.base import Pass, PassContext
from quantable.passes.calibrate.calibrate import profile_digest

Weights = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]
_WEIGHT, _BIAS = 1, 2


@dataclass(frozen=True)
class CorrectBias(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "correct-bias"
    summary: ClassVar[str] = "take the mean error of rounded weights out of the bias"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})

    def data_digest(self, context: PassContext) -> str:
        return profile_digest(context.profile) if context.profile else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Correct every bias that can be."""
        changed: dict[str, ContentRef] = {}
        for op in graph.quantable_operations:
            if op.kind not in INPUT_CHANNEL_AXIS or not _is_quantized(op):
                continue
            means = _means(op, context.profile)
            reason = _reason(graph, op, means)
            if reason:
                context.remarks.append((self.name, op.where(), f"the bias stays: {reason}"))
                continue
            assert means is not None
            name = op.inputs[_BIAS]
            bias = _corrected(graph, op, means)
            if not np.array_equal(bias, graph.array(name)) and context.rewrites.admit(op.name):
                changed[name] = graph.store.put(bias)
        return replace(graph, parameters={**graph.parameters, **changed}) if changed else graph


def _is_quantized(op: QuantableOperation) -> bool:
    """Whether the weight has its final integers, though it is not stored as them yet."""
    held = op.config.inputs[_WEIGHT]
    return held.state is State.ACTIVATED and not held.policy.dynamic and not op.is_dequantized


def _means(op: QuantableOperation, profile: Profile | None) -> Real | None:
    if profile is None:
        return None
    sums = profile.channel_means.get((op.inputs[0], INPUT_CHANNEL_AXIS[op.kind]))
    return sums.mean(profile.sample_count) if sums is not None and sums.sums else None


def _reason(graph: Graph, op: QuantableOperation, means: Real | None) -> str:
    """Return why a bias cannot be corrected, '' where it can."""
    if len(op.inputs) <= _BIAS or op.inputs[_BIAS] not in graph.parameters:
        return "there is none"
    if len(graph.uses(op.inputs[_BIAS])) > 1:
        return "other operations read it"
    held = op.config.inputs[_BIAS]
    if held.state.is_baked:
        return "it is baked"
    if means is None:
        return f"the profile has no means of the channels of '{op.inputs[0]}'"
    return ""


def _corrected(graph: Graph, op: QuantableOperation, means: Real) -> npt.NDArray[np.float32]:
    """Return the bias [O] without the mean error of the output."""
    error = _weight_error(graph, op)
    if op.kind == "quantable.Linear":
        shift = (error * means[:, None]).sum(axis=0)
    else:
        shift = _shift_of_window(graph, op, error, means)
    original = op.original(_BIAS)
    assert original is not None
    bias: Real = graph.store.get(original).astype(np.float64)
    corrected: npt.NDArray[np.float32] = (bias - shift.reshape(bias.shape)).astype(np.float32)
    return corrected


def _weight_error(graph: Graph, op: QuantableOperation) -> Weights:
    """Return how much larger each quantized weight is than the original."""
    config, original = op.config.inputs[_WEIGHT], op.original(_WEIGHT)
    assert original is not None
    row = graph.rows[config.row]
    weights = graph.array(op.inputs[_WEIGHT]).astype(np.float32, copy=False)
    error = rounded(weights, config, row)
    error -= graph.store.get(original).astype(np.float32, copy=False)
    return error


def _shift_of_window(graph: Graph, op: QuantableOperation, error: Weights, means: Real) -> Real:
    """Return the mean error of each output channel of a Conv or ConvTranspose."""
    group = op.int_attribute("group", 1)
    shares = _tap_shares(graph, op, error.shape[2:])
    taps: npt.NDArray[np.floating] = error.reshape(*error.shape[:2], -1)
    taps = (
        (taps * shares.reshape(-1)).sum(axis=2)
        if shares.size > 1
        else taps[:, :, 0] * shares.item()
    )
    if op.kind == "ConvTranspose":  # [I, O / group]
        by_input = (taps * means[:, None]).reshape(group, -1, taps.shape[1])
        shift: Real = by_input.sum(axis=1)
    else:
        by_output = taps.reshape(group, -1, taps.shape[1]) * means.reshape(group, 1, -1)
        shift = by_output.sum(axis=2)
    return shift.reshape(-1)


def _tap_shares(graph: Graph, op: QuantableOperation, kernel: tuple[int, ...]) -> Real:
    """Return, for each tap of a kernel, how many of the outputs it reaches the input for.

    A share is 1 where every output position sees the input through the tap; along an axis whose
    sizes are not known, the padding is left out of account.
    """
    shares: Real = np.ones(())
    rank = len(kernel)
    strides = op.ints_attribute("strides", (1,) * rank)
    dilations = op.ints_attribute("dilations", (1,) * rank)
    pads = op.ints_attribute("pads", (0,) * (2 * rank))
    sizes = [_sizes(graph, name, rank) for name in (op.inputs[0], op.outputs[0])]
    is_transposed = op.kind == "ConvTranspose"
    for axis, taps in enumerate(kernel):
        given, made = sizes[0][axis], sizes[1][axis]
        if given is None or made is None:
            share = np.full(taps, 1.0 / strides[axis] if is_transposed else 1.0)
        else:
            # Windows step over the larger side: the input of a Conv, the output of its transpose.
            steps, line = (given, made) if is_transposed else (made, given)
            starts = np.arange(steps)[:, None] * strides[axis] - pads[axis]
            places = starts + np.arange(taps)[None, :] * dilations[axis]
            share = ((places >= 0) & (places < line)).sum(axis=0) / max(made, 1)  # or none
        shares = shares[..., None] * share
    return shares


def _sizes(graph: Graph, value: str, rank: int) -> list[int | None]:
    shape = graph.values[value].shape
    if shape is None:
        return [None] * rank
    return [dim if isinstance(dim, int) else None for dim in shape[-rank:]]
