"""The reference runtime: compiles a graph once into steps, runs it any number of times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quantable.ir import (
    DataError,
    Graph,
    Operation,
    OptionError,
    UnknownNameError,
    UnsupportedError,
)
from quantable.reference.batch import Cut, run_parts
from quantable.reference.borders import Given, check_items
from quantable.reference.fusion import fused
from quantable.reference.site import Item
from quantable.reference.steps import BROKEN, Step, compile_steps
from quantable.reference.tensors import Array, to_array
from quantable.reference.threads import one_thread, single_threaded_pool


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


class ReferenceRuntime:
    """Runs a graph of any level.

    May be run from several threads at once. Every operation uses one thread of torch. A batch is
    cut into parts where the graph treats each sample alone, in a way that depends on shapes only:
    no bit of a result depends on the number of threads.

    Args:
        graph: The graph; never changed.
        hooks: Called for every slot that is there; the later ones see what the earlier replaced.
            They are shown whole batches.
        threads: How many parts of a batch, or samples of `run_each`, are run at the same time.

    Raises:
        UnsupportedError: The runtime lacks operations; all of them are listed.
        OptionError: There is no thread.
    """

    def __init__(self, graph: Graph, *, hooks: Sequence[Hook] = (), threads: int = 1) -> None:
        if threads < 1:
            raise OptionError(f"option 'threads': expected at least 1, found {threads}")
        self.graph = graph
        self._threads = threads
        self._hooks = tuple(hooks)
        self._cut = None if hooks else Cut.of(graph)
        # Kept from run to run: a thread that is begun anew takes fresh memory for its part, and its
        # place on a processor is looked for again. It ends with the runtime.
        helps = self._cut is not None and threads > 1
        self._helpers = single_threaded_pool(threads - 1) if helps else None
        self._parameters: dict[str, Tensor] = {}
        compiled = graph if self._cut is None else self._cut.graph
        self._steps = compile_steps(compiled, self._parameters, region_kernels)
        self._fusion = None if hooks else fused(compiled, self._steps)

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
        return self._arrays(self.run_items(inputs, outputs))

    def run_each(
        self, samples: Iterable[Mapping[str, Array]], outputs: Iterable[str] | None = None
    ) -> Iterator[dict[str, Array]]:
        """Run the graph on samples, as many at the same time as there are threads; see `run`.

        Args:
            samples: Inputs, one mapping a run; read as the runs need them.
            outputs: Names of any values of the graph; by default the graph's outputs.

        Yields:
            What `run` returns for each, in order.
        """
        wanted = self._wanted(outputs)

        def run(sample: Mapping[str, Array]) -> dict[str, Array]:
            return self._arrays(self._results(check_items(self.graph, sample), wanted))

        with one_thread(), single_threaded_pool(self._threads) as pool:
            # A few ahead at most, so that results do not pile up.
            ahead: deque[Future[dict[str, Array]]] = deque()
            for sample in samples:
                ahead.append(pool.submit(run, sample))
                if len(ahead) > self._threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def run_items(
        self, inputs: Mapping[str, Given], outputs: Iterable[str] | None = None
    ) -> dict[str, Array | list[Array] | None]:
        """Run a graph whose inputs and outputs may be sequences or optional values; see `run`."""
        given = check_items(self.graph, inputs)
        wanted = self._wanted(outputs)
        with one_thread():
            return self._results(given, wanted)

    def _wanted(self, outputs: Iterable[str] | None) -> tuple[str, ...]:
        wanted = tuple(self.graph.outputs if outputs is None else outputs)
        for name in wanted:
            if name not in self.graph.values:
                raise UnknownNameError("value", name, self.graph.values)
        return wanted

    def _results(
        self, given: Mapping[str, Item], wanted: Sequence[str]
    ) -> dict[str, Array | list[Array] | None]:
        """Return values that share no memory with anything; the caller provides `one_thread`."""
        with torch.inference_mode():
            parts = [] if self._cut is None else self._cut.parts(given, wanted)
            found: Mapping[str, Item] = (
                self._execute(given, wanted)
                if len(parts) < 2
                else run_parts(
                    self._execute, given, wanted, parts, self._helpers, self._threads - 1
                )
            )
            shared = (*_tensors(given.values()), *self._shared())
            held = {t.untyped_storage().data_ptr() for t in shared}
            return {name: _own(found[name], held) for name in wanted}

    def _arrays(self, found: Mapping[str, Array | list[Array] | None]) -> dict[str, Array]:
        for name, item in found.items():
            if item is None or isinstance(item, list):
                raise UnsupportedError(
                    f"output '{name}' is no tensor: expected one, found "
                    f"{self.graph.values[name].container.value}",
                    where=f"graph '{self.graph.name}'",
                    help="ReferenceRuntime.run_items returns sequences and optional values",
                )  # fmt: skip
        return {name: item for name, item in found.items() if isinstance(item, np.ndarray)}

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
        """Run the graph and show every value to `visit` as soon as it is made.

        A value is freed, and its memory written to, when the last operation has read it.

        Inputs are not checked; the caller provides `one_thread`.
        """
        with torch.inference_mode():
            for name, tensor in inputs.items():
                visit(name, tensor)
            environment: dict[str, Item] = {**self._parameters, **inputs}
            for step in self._steps:
                results = self._apply(step, environment, frozenset())
                for name, item in zip(step.outputs, results, strict=False):
                    if name:
                        environment[name] = item
                        if isinstance(item, Tensor):
                            visit(name, item)
                for name in step.frees:
                    del environment[name]

    def _shared(self) -> Iterable[Tensor]:
        return self._parameters.values()

    def _execute(self, given: Mapping[str, Item], wanted: Sequence[str]) -> Mapping[str, Item]:
        environment: dict[str, Item] = {**self._parameters, **given}
        kept = frozenset(wanted)
        is_fused = self._fusion is not None and self._fusion.serves(given, kept)
        steps = self._fusion.steps if self._fusion is not None and is_fused else self._steps
        for step in steps[: _last_step(steps, kept)]:
            results = self._apply(step, environment, kept)
            environment.update(zip(step.outputs, results, strict=False))
            for name in step.frees:
                if name not in kept:
                    del environment[name]
        return environment

    def _apply(
        self, step: Step, environment: Mapping[str, Item], kept: frozenset[str]
    ) -> Sequence[Item]:
        kernel = step.kernel
        if step.over_kernel is not None and not self._hooks and step.over not in kept:
            kernel = step.over_kernel
        tensors: Sequence[Item] = [environment[key] if key else None for key in step.inputs]
        if any(step.before):
            tensors = self._quantized(step, tensors)
        if self._hooks:
            tensors = self._show(step.operation, "in", step.operation.inputs, tensors)
        try:
            result = kernel(*tensors)
            results: Sequence[Item] = result if isinstance(result, tuple) else (result,)
            if any(step.after):
                pairs = zip(step.after, results, strict=False)
                results = [q(r) if q and isinstance(r, Tensor) else r for q, r in pairs]
        except BROKEN as error:
            raise _failure(step.operation, tensors, error) from error
        if self._hooks:
            results = self._show(step.operation, "out", step.operation.outputs, results)
        return results

    @staticmethod
    def _quantized(step: Step, tensors: Sequence[Item]) -> list[Item]:
        pairs = zip(step.before, tensors, strict=True)
        try:
            return [q(t) if q and isinstance(t, Tensor) else t for q, t in pairs]
        except BROKEN as error:
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


def _last_step(steps: Sequence[Step], wanted: frozenset[str]) -> int:
    """Return how many steps must run until every wanted value is there."""
    for index in range(len(steps), 0, -1):
        if not wanted.isdisjoint(steps[index - 1].outputs):
            return index
    return 0


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


def region_kernels(graph: Graph, op: Operation) -> dict[str, Callable[..., Sequence[Item]]]:
    """Return what runs the regions of an operation, by attribute name. Hooks see no region."""
    regions = op.regions.items()
    return {name: ReferenceRuntime(graph.graph_of(held)).run_region for name, held in regions}
