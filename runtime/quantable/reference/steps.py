"""Compiles a graph into the steps that the reference runtime runs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from quantable.ir import (
    DType,
    Graph,
    Operation,
    QuantableOperation,
    Shape,
    UnsupportedError,
)
from quantable.reference.integer.table import INTEGER_OPERATIONS
from quantable.reference.operations.elementwise import clamp_bounds
from quantable.reference.operations.overwriting import FRESH, makes_fresh, overwriting
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.simulated import SlotQuantizer, slot_quantizers, taken_parameters
from quantable.reference.site import Item, Kernel, Site
from quantable.reference.tensors import to_tensor
from quantable.reference.user_operations import user_builder

Quantizer = SlotQuantizer | None
Regions = Callable[[Graph, Operation], Mapping[str, Callable[..., Sequence[Item]]]]

BROKEN = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError,
           AssertionError, StopIteration, MemoryError)  # fmt: skip
"""What kernels raise for an operation with inputs or attributes that it cannot have. What broke
stays the cause of the error that is raised instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, compiled.

    Attributes:
        operation: Where it came from.
        kernel: What runs.
        inputs: Keys in the environment, '' where a slot is absent. Parameters that an operation
            takes in a form of its own have a key of their own.
        outputs: Names of values, '' where nobody reads the output.
        before, after: What quantizes each input and output, None for nothing.
        frees: Values that nobody reads after this step.
        over: The one of them whose memory the result may take, '' for none.
        over_kernel: What runs in the kernel's place where nobody else has hold of that value.
        clamp: (low, high) where that is all the operation does, None for another one.
    """

    operation: Operation
    kernel: Kernel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    before: tuple[Quantizer, ...]
    after: tuple[Quantizer, ...]
    frees: tuple[str, ...]
    over: str = ""
    over_kernel: Kernel | None = None
    clamp: tuple[float, float] | None = None


def compile_steps(graph: Graph, parameters: dict[str, Tensor], regions: Regions) -> list[Step]:
    """Compile a graph.

    Args:
        graph: Of any level.
        parameters: Is given what the steps read, by key.
        regions: Returns what runs the regions of an operation, by attribute name.

    Raises:
        UnsupportedError: The runtime lacks operations; all of them are listed.
    """
    read = {name for op in graph.operations for name in op.inputs if name}
    parameters.update(
        (name, to_tensor(graph.array(name), ref.dtype))
        for name, ref in graph.parameters.items()
        if name in read or name in graph.outputs
    )
    frees, single = _liveness(graph), _owned(graph)
    steps, missing = [], []
    for op in graph.operations:
        try:
            step, site = _step(graph, op, parameters, frees.get(op.name, ()), regions)
            steps.append(_with_reuse(step, site, single))
        except UnsupportedError as error:
            missing.append(error)
        except BROKEN as error:
            raise UnsupportedError(
                f"the operation cannot be executed: {type(error).__name__}: {error}".split("\n")[0],
                where=op.where(),
                help="check its inputs and its attributes against the ONNX specification",
            ) from error
    if missing:
        places = "; ".join(f"{error.where}: {error.message}" for error in missing)
        raise UnsupportedError(
            f"the reference runtime cannot execute {len(missing)} operations: {places}",
            where=f"graph '{graph.name}'",
            help="`quantable list standard-operations` shows the supported ones",
        )
    return steps


def _step(
    graph: Graph,
    op: Operation,
    parameters: dict[str, Tensor],
    frees: tuple[str, ...],
    regions: Regions,
) -> tuple[Step, Site]:
    builder = INTEGER_OPERATIONS.get(op.kind) or FLOAT_OPERATIONS.get(op.kind)
    builder = builder or user_builder(graph, op.kind)
    if builder is None:
        raise UnsupportedError("the kind of operation is unknown", where=op.where())
    keys = list(op.inputs)
    if isinstance(op, QuantableOperation):
        for slot, tensor in taken_parameters(graph, op).items():
            keys[slot] = f"{op.name}\0{slot}"  # no value has a zero character in its name
            parameters[keys[slot]] = tensor
    constants = {slot: parameters[key] for slot, key in enumerate(keys) if key in parameters}
    types = functools.partial(_types, graph)
    site = Site(
        op, graph.opset, constants, types(op.inputs), types(op.outputs), graph.store,
        _shapes(graph, op.inputs), _shapes(graph, op.outputs), regions(graph, op),
    )  # fmt: skip
    before: tuple[Quantizer, ...] = (None,) * len(op.inputs)
    after: tuple[Quantizer, ...] = (None,) * len(op.outputs)
    if isinstance(op, QuantableOperation):
        before, after = slot_quantizers(graph, op, fresh=makes_fresh(site))
    step = Step(op, builder(site), tuple(keys), op.outputs, before, after, frees)
    return replace(step, clamp=clamp_bounds(site)), site


def _owned(graph: Graph) -> frozenset[str]:
    """Return the values whose memory one operation makes and one other alone reads."""
    reads = Counter(name for op in graph.operations for name in op.inputs)
    made = (op.outputs[0] for op in graph.operations if op.kind in FRESH and op.outputs)
    return frozenset(name for name in made if reads[name] == 1).difference(graph.outputs)


def _with_reuse(step: Step, site: Site, owned: frozenset[str]) -> Step:
    """Let the result take the memory of an input where one is free for it."""
    for slot, name in enumerate(step.operation.inputs):
        kernel = overwriting(site, slot) if name in owned and name in step.frees else None
        if kernel is not None:
            return replace(step, over=name, over_kernel=kernel)
    return step


def _shapes(graph: Graph, names: Sequence[str]) -> tuple[Shape | None, ...]:
    return tuple(graph.values[name].shape if name else None for name in names)


def _types(graph: Graph, names: Sequence[str]) -> tuple[DType | None, ...]:
    return tuple(graph.values[name].dtype if name else None for name in names)


def _liveness(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return, by operation, the values that nobody reads after it."""
    last: dict[str, str] = {}
    for op in graph.operations:
        for name in (*op.inputs, *op.outputs):
            if name and name not in graph.parameters:
                last[name] = op.name
    frees: dict[str, tuple[str, ...]] = {}
    for name, reader in last.items():
        if name not in graph.outputs:
            frees[reader] = (*frees.get(reader, ()), name)
    return frees
