"""Runs of a batch in parts, several at the same time, cut in one way that depends on shapes only.

A part's values stay in the caches, and parts need no barrier between operations. How a batch is
cut tells in which order floats are added, so it must not depend on the number of threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from quantable.ir import Graph, Level
from quantable.reference import placement
from quantable.reference.free_batch import with_free_batch
from quantable.reference.samples import batch_of, sample_values
from quantable.reference.site import Item

_ELEMENTS = 1 << 22
"""About how many elements the largest value of a part has at most."""
_PARTS = 4
"""Into how many parts a batch is cut at least, so that threads have something to share."""

Execute = Callable[[Mapping[str, Item], Sequence[str]], Mapping[str, Item]]
"""Returns values by name, the wanted ones among them."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How batches of a graph may be cut.

    Attributes:
        graph: The graph, for any number of samples.
        carried: Values whose first axis counts samples.
        largest: Elements of the largest of them, for one sample.
    """

    graph: Graph
    carried: frozenset[str]
    largest: int

    @staticmethod
    def of(graph: Graph) -> Cut | None:
        """Return how to cut, None where samples may see each other or where there is only one."""
        batch = batch_of(graph)
        if batch is None or batch == 1 or graph.level not in (Level.FLOAT, Level.QUANTABLE):
            return None
        free = with_free_batch(graph, batch) if isinstance(batch, int) else graph
        carried = sample_values(free)
        if carried is None:
            return None
        return Cut(free, carried, max(_elements(free, name) for name in carried))

    def parts(self, given: Mapping[str, Item], wanted: Sequence[str]) -> list[slice]:
        """Return the samples of every part; one part where all of them are needed at once."""
        lengths = {len(item) if isinstance(item, Tensor) and item.dim() else 0
                   for item in given.values()}  # fmt: skip
        count = lengths.pop() if len(lengths) == 1 else 0
        if count < 2 or not self.carried.issuperset(wanted):
            return [slice(0, count)]
        size = max(1, min(-(-count // _PARTS), _ELEMENTS // self.largest))
        return [slice(start, start + size) for start in range(0, count, size)]


def _elements(graph: Graph, name: str) -> int:
    shape = graph.values[name].shape or ()
    return math.prod(max(dim, 1) for dim in shape[1:] if isinstance(dim, int))


def run_parts(
    execute: Execute,
    given: Mapping[str, Item],
    wanted: Sequence[str],
    parts: Sequence[slice],
    helpers: ThreadPoolExecutor | None,
    count: int,
) -> dict[str, Item]:
    """Return the wanted values of a whole batch, [samples, ...].

    The caller provides `one_thread`.

    Args:
        execute: Runs one part.
        given: Inputs of the whole batch, tensors all.
        wanted: Names of values that carry samples.
        parts: The samples of every part.
        helpers: Threads that run parts beside the calling one, None for none; see
            `single_threaded_pool`. Others may use them at the same time.
        count: How many of them are asked at most.
    """
    queue, lock = iter(enumerate(parts)), threading.Lock()
    done: dict[int, dict[str, Tensor]] = {}
    errors: dict[int, Exception] = {}
    taken = placement.processor()

    def help_out() -> None:
        with placement.elsewhere(taken):
            work()

    def work() -> None:
        with torch.inference_mode():
            while not errors:
                with lock:
                    index, part = next(queue, (-1, slice(0)))
                if index < 0:
                    return
                try:
                    done[index] = _one(execute, given, wanted, part)
                except Exception as error:
                    errors[index] = error

    asked = [] if helpers is None else [
        helpers.submit(help_out) for _ in range(min(count, len(parts) - 1))
    ]  # fmt: skip
    # The calling thread works too: its memory comes from the main heap, see `observe`.
    work()
    for future in asked:
        if not future.cancel():  # where it has not begun, nothing is left for it
            future.result()
    if errors:
        raise errors[min(errors)]
    return {name: torch.cat([done[index][name] for index in range(len(parts))]) for name in wanted}


def _one(
    execute: Execute, given: Mapping[str, Item], wanted: Sequence[str], part: slice
) -> dict[str, Tensor]:
    sliced = {name: item[part] for name, item in given.items() if isinstance(item, Tensor)}
    found = execute(sliced, wanted)
    return {name: item for name in wanted if isinstance(item := found[name], Tensor)}
