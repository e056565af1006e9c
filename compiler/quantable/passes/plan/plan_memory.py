"""Bind symbols, and place every activation in one arena.

Before:
    x.quantized: u8[N, 64] -> int.Requantize -> a: u8[N, 64] -> int.Requantize -> b: u8[N, 64]
        -> int.Requantize -> y.quantized: u8[N, 64]
After (batch=1):
    the same operations with N = 1; arena of 64 bytes, a at 0, b at 0 (b overwrites a)

Preconditions:
1. Integer level; every dimension that is not known is a symbol; all symbols are bound to `batch`.
2. The tensors at the border (behind int.Quantize of an input, before int.Dequantize of an output)
   belong to the caller and are not in the arena.
3. A Reshape shares the storage of its input: both have the same offset, or neither has one where
   the storage is the border's.

Numerics: bit-exact.
See: `quantable.passes.plan.arena`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import (
    ContentRef,
    Graph,
    Level,
    MemoryPlan,
    OptionError,
    Stream,
    UnsupportedError,
    Value,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.plan.arena import place
from quantable.passes.plan.budget import over_budget
from quantable.passes.plan.schedule import schedule
from quantable.passes.plan.static_shapes import Static, output_shapes
from quantable.passes.plan.storage import Buffer, arena_buffers
from quantable.passes.plan.streams import find_streams
from quantable.targets.kernel_sets import KernelSet

ALIGNMENT = 16
"""Without a target."""


@dataclass(frozen=True)
class PlanMemory(Pass):
    """See the module.

    Attributes:
        batch: What every symbolic dimension becomes.
        in_place: Whether an output may overwrite what its operation needs no more.
        stream: Whether operations may run in turns, some rows at a time.
        arena_budget: The most bytes that the arena may have; 0 for any number.
    """

    name: ClassVar[str] = "plan-memory"
    summary: ClassVar[str] = "bind symbols, and place every activation in one arena"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.INTEGER})

    batch: int = 1
    in_place: bool = True
    stream: bool = True
    arena_budget: int = 0

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def check(self) -> None:
        if self.batch < 1:
            raise OptionError(f"batch: expected at least 1, found {self.batch}")
        if self.arena_budget < 0:
            raise OptionError(f"arena-budget: expected at least 0, found {self.arena_budget}")

    def run(self, graph: Graph, context: PassContext) -> Graph:
        if not context.rewrites.admit(*(op.name for op in graph.operations)):
            return graph
        bound = bind(graph, self.batch)
        if not context.rewrites.admit(*(op.name for op in graph.operations)):
            return bound
        kernels = context.target.kernels if context.target else None
        alignment = kernels.alignment if kernels else ALIGNMENT
        ordered = replace(bound, operations=schedule(bound, alignment, in_place=self.in_place))
        return replace(ordered, level=Level.PLANNED, plan=self._plan(ordered, alignment, kernels))

    def _plan(self, graph: Graph, alignment: int, kernels: KernelSet | None) -> MemoryPlan:
        """Return the smallest plan; with a budget, one that keeps to it, if there is one."""
        is_ordered = self.in_place and kernels is not None and kernels.is_ordered
        found = [self._placed(graph, alignment, (), is_ordered=is_ordered)]
        if kernels is not None and self.stream and is_ordered:
            for is_tight in (False, True):
                if is_tight and not self._exceeds(found[-1][0]):
                    break
                streams = find_streams(graph, kernels.tile_pixels, is_tight=is_tight)
                if streams:
                    found.append(self._placed(graph, alignment, streams, is_ordered=True))
        plan, buffers = min(found, key=lambda pair: pair[0].arena_bytes)
        if self._exceeds(plan):
            raise over_budget(graph, plan, buffers, self.arena_budget)
        return plan

    def _exceeds(self, plan: MemoryPlan) -> bool:
        return 0 < self.arena_budget < plan.arena_bytes

    def _placed(
        self, graph: Graph, alignment: int, streams: tuple[Stream, ...], *, is_ordered: bool
    ) -> tuple[MemoryPlan, list[Buffer]]:
        buffers = arena_buffers(
            graph, graph.operations, in_place=self.in_place, streams=streams, is_ordered=is_ordered
        )
        size, offsets = place(buffers, alignment)
        by_value = {
            name: offset
            for buffer, offset in zip(buffers, offsets, strict=True)
            for name in buffer.values
        }
        plan = MemoryPlan(size, alignment, dict(sorted(by_value.items())), is_ordered, streams)
        return plan, buffers


def bind(graph: Graph, batch: int) -> Graph:
    """Return the graph with static shapes: symbols bound, all else computed from the inputs.

    Raises:
        UnsupportedError: An input has no known rank.
        OptionError: The batch contradicts a shape that the model fixes.
    """
    shapes = {name: ref.shape for name, ref in graph.parameters.items()}
    for name in graph.inputs:
        shapes[name] = _bound_input(graph, name, batch)
    constants = {name: graph.array(name) for name in graph.parameters if _is_index(graph, name)}
    parameters = dict(graph.parameters)
    for op in graph.operations:
        inputs = [shapes[name] if name else () for name in op.inputs]
        results = output_shapes(op, inputs, constants, graph)
        shapes.update(zip(op.outputs, results, strict=True))
        if op.kind == "Reshape" and len(graph.uses(op.inputs[1])) == 1:
            target = np.array(results[0], np.int64)
            parameters[op.inputs[1]] = graph.store.put(target)
    return _with_shapes(graph, shapes, parameters)


def _with_shapes(
    graph: Graph, shapes: Mapping[str, Static], parameters: Mapping[str, ContentRef]
) -> Graph:
    values = {
        name: Value(name, value.dtype, shapes.get(name, value.shape))
        for name, value in graph.values.items()
    }
    for name, ref in parameters.items():
        values[name] = Value(name, ref.dtype, ref.shape)
    return replace(graph, values=values, parameters=parameters)


def _is_index(graph: Graph, name: str) -> bool:
    """Whether a parameter may hold shape arithmetic: small and int64."""
    return graph.values[name].dtype.value == "i64"


def _bound_input(graph: Graph, name: str, batch: int) -> Static:
    shape = graph.shape(name)
    if shape is None:
        raise UnsupportedError(
            "expected an input of known rank, found none", where=f"input '{name}'"
        )
    return tuple(batch if isinstance(dim, str) else dim for dim in shape)
