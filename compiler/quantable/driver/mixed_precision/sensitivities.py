"""What each choice for an operand does to the network's outputs while all else is float.

Every measurement runs the network from the operation at hand on, with the float values in front of
it, on held-out samples. Weights are rounded together (`gptq`) by second moments on other samples,
which are taken once for all widths; bias and scales of the layer go with them. Results are kept in
a checkpoint, one by one: a search that is stopped goes on from there, another budget measures
nothing, and neither changes a bit of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from quantable.driver.judging import evenly
from quantable.driver.mixed_precision.items import FLOAT_BITS, WEIGHT, Item
from quantable.ir import Graph, QuantableOperation, graph_digest
from quantable.ir.numerics import rounded
from quantable.passes.laboratory import (
    Checkpoint,
    Laboratory,
    SecondMoments,
    fitting_samples,
    held_out_samples,
)
from quantable.passes.network_noise import judged_values
from quantable.passes.subgraph import subgraph
from quantable.passes.tune.gptq import Gptq
from quantable.passes.tune.layer import Layer, is_quantized, reason

Array = npt.NDArray[np.generic]
Values = Mapping[str, Array]
Progress = Callable[[int, int], None]
VERSION = 1
"""Of how a sensitivity is measured; part of every key."""
_FITTING = 2
"""Samples that weights are rounded by, for each one that judges."""
_ROUNDED = "~"
"""Marks the quantized form of a value in a name."""


@dataclass(frozen=True)
class Question:
    """A choice for an item that is to be measured.

    Attributes:
        number: Of the item.
        pick: Number of the choice.
        key: Names all that the answer depends on.
    """

    number: int
    pick: int
    key: str


@dataclass(frozen=True)
class _Bench:
    """What all measurements share.

    Attributes:
        graph: The float network.
        laboratory: Runs it.
        fitting, judging: Samples that weights are rounded by, and those that measure.
        targets: The judged values on the judging samples.
    """

    graph: Graph
    laboratory: Laboratory
    fitting: Sequence[int]
    judging: Sequence[int]
    targets: Values


class Sensitivities:
    """Measures every choice of every item.

    Args:
        graph: The float network.
        levels: It, quantized and calibrated; in graph k every item has choice k, or its last one.
        items: What is chosen.
        laboratory: Runs graphs.
        checkpoint: Where results are kept.
        samples: How many held-out samples judge, at most.
    """

    def __init__(
        self,
        graph: Graph,
        levels: Sequence[Graph],
        items: Sequence[Item],
        laboratory: Laboratory,
        checkpoint: Checkpoint,
        samples: int,
    ) -> None:
        self._levels, self._items, self._laboratory = levels, items, laboratory
        self._checkpoint = checkpoint
        self._float = graph
        self._judging = evenly(held_out_samples(laboratory.count), samples)
        self._fitting = evenly(fitting_samples(laboratory.count), _FITTING * samples)
        self._questions = self._asked()

    def measured(self, progress: Progress) -> list[list[float]]:
        """Return by item the noise of the network's outputs for each of its choices.

        A choice that makes outputs infinite has infinite noise.

        Args:
            progress: Told about each measurement.
        """
        kept = [(question, self._checkpoint.load(question.key)) for question in self._questions]
        answers = {q: float(held["noise"].item()) for q, held in kept if held is not None}
        pending = [question for question in self._questions if question not in answers]
        with threadpool_limits(limits=1, user_api="blas"):
            for question, noise in self._answered(pending):
                self._checkpoint.store(question.key, {"noise": np.array(noise)})
                answers[question] = noise
                progress(len(answers), len(self._questions))
        found = [[0.0] * len(item.choices) for item in self._items]
        for question in self._questions:
            found[question.number][question.pick] = answers[question]
        return found

    def _asked(self) -> list[Question]:
        digests = [graph_digest(level) for level in self._levels]
        data = f"{self._laboratory.digest} {self._fitting} {self._judging}"
        return [
            Question(number, pick, f"mixed-precision {VERSION} {digests[pick]} {data} "
                                   f"{item.entry(pick)}")
            for number, item in enumerate(self._items) if len(item.choices) > 1
            for pick, choice in enumerate(item.choices) if choice.bits != FLOAT_BITS
        ]  # fmt: skip

    def _answered(self, pending: Sequence[Question]) -> Iterator[tuple[Question, float]]:
        by_operation: dict[str, list[Question]] = {}
        for question in pending:
            name = self._items[question.number].slot.operation
            by_operation.setdefault(name, []).append(question)
        if not by_operation:
            return
        targets = self._laboratory.values(self._float, judged_values(self._float), self._judging)
        bench = _Bench(self._float, self._laboratory, self._fitting, self._judging, targets)
        for position, held in self._walk(by_operation):
            cut = _Cut(bench, position, held)
            for question in by_operation[self._float.operations[position].name]:
                yield question, self._noise(cut, question)

    def _walk(self, wanted: Mapping[str, object]) -> Iterator[tuple[int, Values]]:
        """Yield (position, float values that are read from there on) of wanted operations."""
        graph, laboratory = self._float, self._laboratory
        samples = [*self._fitting, *self._judging]
        held: Values = laboratory.values(graph, graph.inputs, samples)
        start = 0
        for position, op in enumerate(graph.operations):
            if op.name not in wanted:
                continue
            part = subgraph(graph, {item.name for item in graph.operations[start:position]})
            live = _live(graph, position)
            made = [n for n in live if n not in held]
            found: Values = {}
            if made:
                feeds = {name: held[name] for name in part.inputs}
                found = laboratory.values(part, made, range(len(samples)), feeds)
            held = {n: found[n] if n in found else held[n] for n in live}
            yield position, held
            start = position

    def _noise(self, cut: _Cut, question: Question) -> float:
        item, level = self._items[question.number], self._levels[question.pick]
        op = level.operation_by_name[item.slot.operation]
        assert isinstance(op, QuantableOperation)
        slot = item.slot.index
        if item.role == WEIGHT:
            return cut.noise(cut.with_weights(level, op, slot), {})
        config = op.config.inputs[slot]
        real = cut.judging(op.inputs[slot]).astype(np.float32, copy=False)
        fed = rounded(real, config, level.rows[config.row])
        return cut.noise(cut.with_operand(slot), {op.inputs[slot] + _ROUNDED: fed})


class _Cut:
    """The float network from an operation on, and the values that reach it."""

    def __init__(self, bench: _Bench, position: int, held: Values) -> None:
        self._bench, self._held = bench, held
        self._op = bench.graph.operations[position]
        self._rest = subgraph(bench.graph, {op.name for op in bench.graph.operations[position:]})
        self._moments: SecondMoments | None = None

    def judging(self, name: str) -> Array:
        """Return a value on the samples that judge."""
        return self._held[name][len(self._bench.fitting) :]

    def noise(self, graph: Graph, fed: Values) -> float:
        """Return the noise of the judged values; those in front of the cut are right."""
        feeds = {**fed, **{n: self.judging(n) for n in graph.inputs if n not in fed}}
        targets = {n: v for n, v in self._bench.targets.items() if n in graph.producers}
        samples = range(len(self._bench.judging))
        found = self._bench.laboratory.noise(graph, targets, samples, feeds)
        mean = math.fsum(found.values()) / len(self._bench.targets)
        return mean if math.isfinite(mean) else math.inf

    def with_operand(self, slot: int) -> Graph:
        """Return the network with another input, for one slot of the operation alone."""
        graph, name = self._rest, self._op.inputs[slot]
        value = replace(graph.values[name], name=name + _ROUNDED)
        inputs = (*self._op.inputs[:slot], value.name, *self._op.inputs[slot + 1 :])
        changed = graph.with_operation(replace(self._op, inputs=inputs))
        read = {n for op in changed.operations for n in op.inputs}
        return replace(
            changed, values={**graph.values, value.name: value},
            inputs=(*(n for n in graph.inputs if n in read), value.name),
        )  # fmt: skip

    def with_weights(self, level: Graph, op: QuantableOperation, slot: int) -> Graph:
        """Return the network with the weights of the operation as the target computes with them."""
        if is_quantized(level, op) and not reason(level, op):
            layer = Layer.of(level, op)
            proposal = Gptq().rounded(layer, self._fit(level))
            layer = layer if proposal is None else proposal.layer
            hard = rounded(layer.weights, layer.config, layer.row)
            return replace(layer, weights=hard).put_into(self._rest)
        config, name = op.config.inputs[slot], op.inputs[slot]
        weights = level.array(name).astype(np.float32, copy=False)
        held = {name: level.store.put(rounded(weights, config, level.rows[config.row]))}
        return replace(self._rest, parameters={**self._rest.parameters, **held})

    def _fit(self, level: Graph) -> SecondMoments:
        if self._moments is None:
            value, bench = self._held[self._op.inputs[0]], self._bench
            fitting = range(len(bench.fitting))
            self._moments = bench.laboratory.second_moments(
                level.dequantized(), self._op.name, value, value, fitting
            )
        return self._moments


def _live(graph: Graph, position: int) -> list[str]:
    """Return the values that are made before a position and read from there on."""
    rest = graph.operations[position:]
    made = {name for op in rest for name in op.outputs}
    read = dict.fromkeys(name for op in rest for name in op.inputs if name)
    return [n for n in read if n not in made and n not in graph.parameters]
