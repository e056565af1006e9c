"""The reference runtime: compiles a graph once into steps, runs it any number of times."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quantable.ir import (
    DataError,
    DType,
    Graph,
    Operation,
    QuantableOperation,
    Shape,
    UnknownNameError,
    UnsupportedError,
)
from quantable.reference.borders import Given, check_items
from quantable.reference.integer.table import INTEGER_OPERATIONS
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.simulated import SlotQuantizer, slot_quantizers, taken_parameters
from quantable.reference.site import Item, Kernel, Site
from quantable.reference.tensors import Array, to_array, to_tensor
from quantable.reference.threads import one_thread

Quantizer = SlotQuantizer | None

_BROKEN = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError,
           AssertionError, StopIteration, MemoryError)  # fmt: skip
"""What kernels raise for an operation with inputs or attributes that it cannot have. What broke
stays the cause of the error that is raised instead."""


class Hook(Protocol):
    """Called for every slot, in the order of execution."""

    def __call__(
        self, operation: Operation, side: str, index: int, value: str, tensor: Tensor
    ) -> Tensor | None:
        """Look at the tensor of a slot; return another one to replace it for this slot.

        Args:
            operation: The operation.
            side: 'in' (what the operation is about to see, simulated quantization done) or 'out'
                (what its consumers will get).
            index: The slot.
            value: Name of the value.
            tensor: Its elements; must not be written to.
        """
        ...


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
    """

    operation: Operation
    kernel: Kernel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    before: tuple[Quantizer, ...]
    after: tuple[Quantizer, ...]
    frees: tuple[str, ...]


class ReferenceRuntime:
    """Runs a graph of any level.

    May be run from several threads at once. Every run uses one thread of torch.

    Args:
        graph: The graph; never changed.
        hooks: Called for every slot that is there; the later ones see what the earlier replaced.

    Raises:
        UnsupportedError: The runtime lacks operations; all of them are listed.
    """

    def __init__(self, graph: Graph, *, hooks: Sequence[Hook] = ()) -> None:
        self.graph = graph
        self._hooks = tuple(hooks)
        self._parameters: dict[str, Tensor] = {}
        self._steps = _compile(graph, self._parameters)

    def run(
        self, inputs: Mapping[str, Array], outputs: Iterable[str] | None = None
    ) -> dict[str, Array]:
        """Run the graph.

        Args:
            inputs: One array a graph input.
            outputs: Names of any values of the graph; by default the graph's outputs.

        Returns:
            Arrays by name, in the order asked for.

        Raises:
            DataError: An input is missing or unknown, or has a wrong shape or element type.
            UnknownNameError: No value has the name of a wanted output.
        """
        found = self.run_items(inputs, outputs)
        for name, item in found.items():
            if item is None or isinstance(item, list):
                raise UnsupportedError(
                    f"output '{name}' is no tensor: expected one, found "
                    f"{self.graph.values[name].container.value}",
                    where=f"graph '{self.graph.name}'",
                    help="ReferenceRuntime.run_items returns sequences and optional values",
                )  # fmt: skip
        return {name: item for name, item in found.items() if isinstance(item, np.ndarray)}

    def run_items(
        self, inputs: Mapping[str, Given], outputs: Iterable[str] | None = None
    ) -> dict[str, Array | list[Array] | None]:
        """Run a graph whose inputs and outputs may be sequences or optional values; see `run`."""
        given = check_items(self.graph, inputs)
        wanted = tuple(self.graph.outputs if outputs is None else outputs)
        for name in wanted:
            if name not in self.graph.values:
                raise UnknownNameError("value", name, self.graph.values)
        with one_thread(), torch.inference_mode():
            found = self._execute(given, wanted)
            shared = (*_tensors(given.values()), *self._shared())
            held = {t.untyped_storage().data_ptr() for t in shared}
            return {name: _own(found[name], held) for name in wanted}

    def execute(self, inputs: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        """Return values by name, running no more steps than they need.

        Inputs are not checked; the caller provides `one_thread`. A tensor may share its memory with
        an input or a parameter: it must not be written to.
        """
        found = self._execute(inputs, wanted)
        return {name: _tensor(found[name], name) for name in wanted}

    def run_region(self, *given: Item) -> list[Item]:
        """Run the graph of a region: takes its inputs, returns its outputs, in order."""
        inputs = dict(zip(self.graph.inputs, given, strict=True))
        found = self._execute(inputs, self.graph.outputs)
        return [found[name] for name in self.graph.outputs]

    def run_tensors(self, inputs: Mapping[str, Tensor], visit: Visitor) -> None:
        """Run the graph and show every value to `visit` as soon as it is made, freeing it after.

        Inputs are not checked; the caller provides `one_thread`.
        """
        with torch.inference_mode():
            for name, tensor in inputs.items():
                visit(name, tensor)
            environment: dict[str, Item] = {**self._parameters, **inputs}
            for step in self._steps:
                for name, item in zip(step.outputs, self._apply(step, environment), strict=False):
                    if name:
                        environment[name] = item
                        if isinstance(item, Tensor):
                            visit(name, item)
                for name in step.frees:
                    del environment[name]

    def _shared(self) -> Iterable[Tensor]:
        return self._parameters.values()

    def _execute(self, given: Mapping[str, Item], wanted: Sequence[str]) -> dict[str, Item]:
        environment: dict[str, Item] = {**self._parameters, **given}
        kept = set(wanted)
        last = self._last_step(kept)
        for step in self._steps[:last]:
            results = self._apply(step, environment)
            environment.update(zip(step.outputs, results, strict=False))
            for name in step.frees:
                if name not in kept:
                    del environment[name]
        return environment

    def _last_step(self, wanted: set[str]) -> int:
        """Return how many steps must run until every wanted value is there."""
        for index in range(len(self._steps), 0, -1):
            if not wanted.isdisjoint(self._steps[index - 1].outputs):
                return index
        return 0

    def _apply(self, step: Step, environment: Mapping[str, Item]) -> Sequence[Item]:
        tensors: Sequence[Item] = [environment[key] if key else None for key in step.inputs]
        if any(step.before):
            tensors = self._quantized(step, tensors)
        if self._hooks:
            tensors = self._show(step.operation, "in", step.operation.inputs, tensors)
        try:
            result = step.kernel(*tensors)
            results: Sequence[Item] = result if isinstance(result, tuple) else (result,)
            if any(step.after):
                pairs = zip(step.after, results, strict=False)
                results = [q(r) if q and isinstance(r, Tensor) else r for q, r in pairs]
        except _BROKEN as error:
            raise _failure(step.operation, tensors, error) from error
        if self._hooks:
            results = self._show(step.operation, "out", step.operation.outputs, results)
        return results

    @staticmethod
    def _quantized(step: Step, tensors: Sequence[Item]) -> list[Item]:
        pairs = zip(step.before, tensors, strict=True)
        try:
            return [q(t) if q and isinstance(t, Tensor) else t for q, t in pairs]
        except _BROKEN as error:
            raise _failure(step.operation, tensors, error) from error

    def _show(
        self,
        operation: Operation,
        side: str,
        names: Sequence[str],
        tensors: Sequence[Item],
    ) -> list[Item]:
        shown: list[Item] = []
        for index, (name, tensor) in enumerate(zip(names, tensors, strict=False)):
            for hook in self._hooks:
                if name and isinstance(tensor, Tensor):
                    replacement = hook(operation, side, index, name, tensor)
                    tensor = tensor if replacement is None else replacement
            shown.append(tensor)
        return shown


def _failure(operation: Operation, tensors: Sequence[Item], error: Exception) -> DataError:
    found = ", ".join(map(_shape_text, tensors))
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(
        f"the operation cannot be executed on inputs of shape {found}: {reason}",
        where=operation.where(),
        help="check the shapes of the model's inputs; some models demand a batch of 1",
    )


def _shape_text(item: Item) -> str:
    if isinstance(item, list):
        return f"sequence of {len(item)}"
    return "absent" if item is None else str(list(item.shape))


def _tensors(items: Iterable[Item]) -> Iterable[Tensor]:
    for item in items:
        if isinstance(item, list):
            yield from item
        elif item is not None:
            yield item


def _tensor(item: Item, name: str) -> Tensor:
    if not isinstance(item, Tensor):
        raise UnsupportedError(f"value '{name}' is no tensor")
    return item


class Visitor(Protocol):
    """Called with every value of a run."""

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Look at a value; it must not be written to."""
        ...


def _own(item: Item, held: set[int]) -> Array | list[Array] | None:
    """Return arrays that share no memory with inputs or parameters."""
    if isinstance(item, list):
        return [to_array(tensor).copy() for tensor in item]
    if item is None:
        return None
    array = to_array(item)
    return array.copy() if item.untyped_storage().data_ptr() in held else array


def _compile(graph: Graph, parameters: dict[str, Tensor]) -> list[Step]:
    read = {name for op in graph.operations for name in op.inputs if name}
    parameters.update(
        (name, to_tensor(graph.array(name), ref.dtype))
        for name, ref in graph.parameters.items()
        if name in read or name in graph.outputs
    )
    frees = _liveness(graph)
    steps, missing = [], []
    for op in graph.operations:
        try:
            steps.append(_step(graph, op, parameters, frees.get(op.name, ())))
        except UnsupportedError as error:
            missing.append(error)
        except _BROKEN as error:
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
    graph: Graph, op: Operation, parameters: dict[str, Tensor], frees: tuple[str, ...]
) -> Step:
    builder = INTEGER_OPERATIONS.get(op.kind) or FLOAT_OPERATIONS.get(op.kind)
    if builder is None:
        raise UnsupportedError("the kind of operation is unknown", where=op.where())
    keys = list(op.inputs)
    before: tuple[Quantizer, ...] = (None,) * len(op.inputs)
    after: tuple[Quantizer, ...] = (None,) * len(op.outputs)
    if isinstance(op, QuantableOperation):
        for slot, tensor in taken_parameters(graph, op).items():
            keys[slot] = f"{op.name}\0{slot}"  # no value has a zero character in its name
            parameters[keys[slot]] = tensor
        before, after = slot_quantizers(graph, op)
    constants = {slot: parameters[key] for slot, key in enumerate(keys) if key in parameters}
    types = functools.partial(_types, graph)
    site = Site(
        op, graph.opset, constants, types(op.inputs), types(op.outputs), graph.store,
        _shapes(graph, op.inputs), _shapes(graph, op.outputs), region_kernels(graph, op),
    )  # fmt: skip
    return Step(op, builder(site), tuple(keys), op.outputs, before, after, frees)


def region_kernels(graph: Graph, op: Operation) -> dict[str, Callable[..., Sequence[Item]]]:
    """Return what runs the regions of an operation, by attribute name. Hooks see no region."""
    regions = op.regions.items()
    return {name: ReferenceRuntime(graph.graph_of(held)).run_region for name, held in regions}


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
