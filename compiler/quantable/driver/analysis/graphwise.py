"""Error at the output of every operation, the whole network quantized: errors accumulate."""

from __future__ import annotations

from dataclasses import dataclass

from quantable.driver.analysis.measures import Totals
from quantable.driver.analysis.subject import Pair, Subject, named
from quantable.ir import Operation


@dataclass(frozen=True)
class Point:
    """A value of the network.

    Attributes:
        value: Its name.
        operation: What makes it.
        group: Name of the group that the operation belongs to, '' for a float one.
        is_inside: Whether it lies inside a fused group, where the target does not quantize it.
        totals: How far the quantized network's is from the float network's.
    """

    value: str
    operation: Operation
    group: str
    is_inside: bool
    totals: Totals


class Graphwise:
    """Measures every value.

    Attributes:
        points: In topological order.
    """

    def __init__(self, subject: Subject) -> None:
        group_of = {name: group for group in subject.groups for name in group.operations}
        graph = subject.graph
        self.points: list[Point] = []
        for op in graph.operations:
            group = group_of.get(op.name)
            for name in op.outputs:
                if name in subject.ranges and graph.values[name].is_real:
                    is_inside = group is not None and name not in group.outputs
                    label = "" if group is None else group.name
                    self.points.append(Point(name, op, label, is_inside, subject.totals(name)))

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        for point in self.points:
            point.totals.add(pair.real[point.value], pair.quantized[point.value])

    def facts(self) -> list[dict[str, object]]:
        """Return the points as JSON values."""
        return [
            {
                "value": point.value, **named(point.operation), "group": point.group,
                "is_inside_group": point.is_inside, **point.totals.facts(),
            }
            for point in self.points
        ]  # fmt: skip
