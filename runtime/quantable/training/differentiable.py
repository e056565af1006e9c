"""A graph compiled so that gradients flow: through its kernels, its quantizers and its parameters.

Quantizers pass gradients straight through inside their range (straight-through estimator, Bengio et
al. 2013), and give those of Learned Step Size Quantization (Esser et al. 2020) to their scales.
The forward values are those of simulated quantization up to the last bit of a quotient: what is
trained here is measured in the reference runtime before anybody takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quantable.ir import (
    Graph,
    Operation,
    QuantableOperation,
    Rounding,
    TensorQuantizationConfig,
    UnsupportedError,
)
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.simulated import slot_quantizer
from quantable.reference.site import Kernel, Site
from quantable.reference.tensors import to_tensor
from quantable.reference.user_operations import user_builder

Key = tuple[str, int]
"""(operation, input slot) of a parameter."""


class _Quantize(torch.autograd.Function):
    """Quantize and dequantize. torch's own operator for it is not vectorized on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
        steps = x / scale
        found = torch.round(steps).clamp_(low, high).mul_(scale)
        ctx.save_for_backward(steps, found, scale)
        ctx.bounds, ctx.levels = (low - 0.5, high + 0.5), max(high, 1.0)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        steps, found, scale = ctx.saved_tensors
        low, high = ctx.bounds
        is_inside = (steps >= low).logical_and_(steps <= high)
        for_x = gradient * is_inside
        for_scale = None
        if ctx.needs_input_grad[1]:
            total = (gradient * found).sum() / scale - (for_x * steps).sum()
            for_scale = (total / (steps.numel() * ctx.levels) ** 0.5).reshape(scale.shape)
        return for_x, for_scale, None, None


def _quantize(x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    found: Tensor = _Quantize.apply(x, scale, low, high)  # type: ignore[no-untyped-call] # torch's own
    return found


@dataclass(frozen=True, slots=True)
class ActivationQuantizer:
    """What quantizes an activation slot while gradients flow.

    Attributes:
        config: The slot's config.
        row: Id of its row, the key of its scale.
        low, high: Bounds of the integers, less the zero point.
        exact: The quantizer of the reference runtime, for what the operator does not do.
    """

    config: TensorQuantizationConfig
    row: str
    low: float
    high: float
    exact: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, scale: Tensor | None, keep: Tensor | None) -> Tensor:
        """Quantize; elements where `keep` is true stay as they are."""
        if scale is None:
            found = _straight_through(x, self.exact)
        else:
            found = _quantize(x, scale, self.low, self.high)
        return found if keep is None else torch.where(keep, x, found)

    @property
    def is_learnable(self) -> bool:
        """Whether its scale can be trained."""
        return is_plain(self.config) and self.config.channel_axis is None


def is_plain(config: TensorQuantizationConfig) -> bool:
    """Whether integers are the nearest ones, but for ties and the last bit of a quotient."""
    policy = config.policy
    return not (
        policy.is_floating or policy.dynamic or config.bits > 16
        or config.rounding in (Rounding.UP, Rounding.DOWN)
    )  # fmt: skip


def _straight_through(x: Tensor, exact: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad():
        found = exact(x)
    # Clipped elements do not move their result.
    inside = (found - x).abs() <= (found - x).abs().mean() * 16
    return torch.where(inside, x + (found - x).detach(), found)


@dataclass(frozen=True, slots=True)
class _Step:
    operation: Operation
    kernel: Kernel
    before: tuple[ActivationQuantizer | None, ...]
    after: tuple[ActivationQuantizer | None, ...]


class DifferentiableGraph:
    """A quantable graph, compiled for training.

    Args:
        graph: The graph, or a part of one; its parameters are handed in at every run.

    Raises:
        UnsupportedError: The runtime lacks an operation.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._steps = [_compiled(graph, op) for op in graph.operations]
        self._outputs = graph.outputs

    def learnable_rows(self) -> dict[str, ActivationQuantizer]:
        """Return the rows of activations whose scales can be trained, with one quantizer each."""
        found: dict[str, ActivationQuantizer] = {}
        for step in self._steps:
            for quantizer in (*step.before, *step.after):
                if quantizer is not None and quantizer.is_learnable:
                    found.setdefault(quantizer.row, quantizer)
        return found

    def run(
        self,
        inputs: Mapping[str, Tensor],
        parameters: Mapping[Key, Tensor],
        scales: Mapping[str, Tensor],
        wanted: Sequence[str],
        drop: Callable[[Tensor], Tensor | None] = lambda _: None,
    ) -> dict[str, Tensor]:
        """Run the graph with gradients.

        Args:
            inputs: By name.
            parameters: What operations take instead of their parameters.
            scales: Of activation rows, by id; rows that are not there are quantized exactly.
            wanted: Values to return.
            drop: Returns which elements of a tensor stay unquantized (None: all are quantized).
        """
        held = dict(inputs)
        for step in self._steps:
            op = step.operation
            given: list[Tensor | None] = []
            for slot, name in enumerate(op.inputs):
                tensor = parameters.get((op.name, slot)) if name in self.graph.parameters else None
                if tensor is None and name:
                    tensor = held[name]
                quantizer = step.before[slot]
                if quantizer is not None and tensor is not None:
                    tensor = quantizer(tensor, scales.get(quantizer.row), drop(tensor))
                given.append(tensor)
            result = _computed(step, given)
            results = result if isinstance(result, tuple) else (result,)
            for name, quantizer, tensor in zip(op.outputs, step.after, results, strict=False):
                if quantizer is not None:
                    tensor = quantizer(tensor, scales.get(quantizer.row), drop(tensor))
                if name:
                    held[name] = tensor
        return {name: held[name] for name in wanted}


def _computed(step: _Step, given: Sequence[Tensor | None]) -> Tensor | tuple[Tensor, ...]:
    try:
        result: Tensor | tuple[Tensor, ...] = step.kernel(*given)
        return result
    except RuntimeError as error:
        # Kernels that write in place or leave torch compute, and have no gradient.
        first = str(error).splitlines()[0]
        raise UnsupportedError(f"no gradient: {first}", where=step.operation.where()) from error


def parameter_tensors(graph: Graph) -> dict[Key, Tensor]:
    """Return the current contents of every parameter, by where it is read; not quantized."""
    return {
        (op.name, slot): to_tensor(graph.array(name), graph.parameters[name].dtype)
        for op in graph.operations
        for slot, name in enumerate(op.inputs)
        if name in graph.parameters
    }


def _compiled(graph: Graph, op: Operation) -> _Step:
    builder = FLOAT_OPERATIONS.get(op.kind) or user_builder(graph, op.kind)
    if builder is None:
        raise UnsupportedError("the kind of operation is unknown", where=op.where())
    named = [name for name in (*op.inputs, *op.outputs) if name]
    if op.regions or not all(graph.values[name].is_tensor for name in named):
        raise UnsupportedError("no gradient goes through regions or sequences", where=op.where())
    # Float parameters are arguments: a kernel that prepared them would give them no gradients.
    constants = {
        slot: to_tensor(graph.array(name), graph.parameters[name].dtype)
        for slot, name in enumerate(op.inputs)
        if name in graph.parameters and not graph.parameters[name].dtype.is_float
    }
    types = [
        tuple(graph.values[name].dtype if name else None for name in names)
        for names in (op.inputs, op.outputs)
    ]
    shapes = tuple(graph.values[name].shape if name else None for name in op.inputs)
    site = Site(op, graph.opset, constants, types[0], types[1], graph.store, shapes)
    before: tuple[ActivationQuantizer | None, ...] = (None,) * len(op.inputs)
    after: tuple[ActivationQuantizer | None, ...] = (None,) * len(op.outputs)
    if isinstance(op, QuantableOperation):
        before = tuple(
            _quantizer(graph, *pair) for pair in zip(op.config.inputs, op.inputs, strict=True)
        )
        after = tuple(
            _quantizer(graph, *pair) for pair in zip(op.config.outputs, op.outputs, strict=True)
        )
    return _Step(op, builder(site), before, after)


def _quantizer(
    graph: Graph, config: TensorQuantizationConfig, name: str
) -> ActivationQuantizer | None:
    if not name or name in graph.parameters or not config.state.is_in_force:
        return None
    row = graph.rows[config.row]
    zero = row.zero_point[0] if row.zero_point else 0
    return ActivationQuantizer(
        config, config.row, config.quant_min - zero, config.quant_max - zero,
        slot_quantizer(config, row),
    )  # fmt: skip
