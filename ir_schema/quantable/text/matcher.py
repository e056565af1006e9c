"""Find the operations of a graph that a pattern fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from quantable.ir.graph import Graph
from quantable.ir.operation import Operation, QuantableOperation
from quantable.text.match import ABSENT, ANY, REST, Pattern, Step


@dataclass(frozen=True)
class Match:
    """One place that a pattern fits.

    Attributes:
        operations: One for each step of the pattern, all different.
        values: Name of the value that each name of the pattern stands for, sigil included.
    """

    operations: tuple[Operation, ...]
    values: Mapping[str, str]


def find_matches(graph: Graph, pattern: Pattern) -> Iterator[Match]:
    """Yield every match, in the order of the operations of the graph.

    Two matches may share operations. The search goes from each operation that the first step
    fits along the edges of the graph: its time is the number of places times the readers there.
    """
    yield from _extended(graph, pattern, (), {})


def _extended(
    graph: Graph, pattern: Pattern, done: tuple[Operation, ...], bound: dict[str, str]
) -> Iterator[Match]:
    if len(done) == len(pattern.steps):
        yield Match(done, bound)
        return
    step = pattern.steps[len(done)]
    for operation in _candidates(graph, step, done, bound):
        if any(operation is other for other in done):
            continue
        names = _fitted(graph, step, operation, done, bound)
        if names is not None:
            yield from _extended(graph, pattern, (*done, operation), names)


def _candidates(
    graph: Graph, step: Step, done: tuple[Operation, ...], bound: Mapping[str, str]
) -> Iterable[Operation]:
    """Return what a step may be, by the shortest list known: all operations only at first."""
    if step.is_chained:
        return _readers(graph, done[-1].outputs[0]) if done[-1].outputs else ()
    if step.result in bound:
        producer = graph.producers.get(bound[step.result])
        return () if producer is None else (producer,)
    for word in step.operands or ():
        if word in bound:
            return _readers(graph, bound[word])
    return graph.operations


def _readers(graph: Graph, value: str) -> Iterable[Operation]:
    return {operation.name: operation for operation, _ in graph.uses(value)}.values()


def _fitted(
    graph: Graph, step: Step, operation: Operation, done: tuple[Operation, ...],
    bound: dict[str, str],
) -> dict[str, str] | None:  # fmt: skip
    """Return the names bound so far with those of this step; None where it does not fit."""
    if step.kinds and operation.kind not in step.kinds:
        return None
    if step.is_chained and (not operation.inputs or operation.inputs[0] != done[-1].outputs[0]):
        return None
    if not all(_holds(graph, name, operation) for name in step.properties):
        return None
    for name, value in step.attributes:
        held = operation.attributes.get(name)
        if type(held) is not type(value) or held != value:
            return None
    names = dict(bound)
    if step.result:
        result = operation.outputs[0] if operation.outputs else ""
        if not result or names.setdefault(step.result, result) != result:
            return None
    return names if _bind_operands(graph, step, operation, names) else None


def _bind_operands(graph: Graph, step: Step, operation: Operation, names: dict[str, str]) -> bool:
    if step.operands is None:
        return True
    words, values = step.operands, operation.inputs
    if words and words[-1] == REST:
        words, values = words[:-1], values[: len(words) - 1]
    if len(words) != len(values):
        return False
    for word, value in zip(words, values, strict=True):
        if word == ANY:
            continue
        if word == ABSENT or not value:
            if word != ABSENT or value:
                return False
        elif (word[0] == "@" and not graph.is_parameter(value)) or (
            names.setdefault(word, value) != value
        ):
            return False
    return True


def _holds(graph: Graph, name: str, operation: Operation) -> bool:
    if name == "single-use":
        result = operation.outputs[0] if operation.outputs else ""
        return bool(result) and len(graph.uses(result)) == 1 and result not in graph.outputs
    return isinstance(operation, QuantableOperation) == (name == "quantized")
