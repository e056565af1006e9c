"""What became of one block, as arrays that a checkpoint keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import Decision, Graph

Array = npt.NDArray[np.generic]
_FACTS = "facts"
_CONTENTS, _SCALES = "contents/", "scales/"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found for a block, and whether it is taken.

    Attributes:
        decision: What is said about it.
        contents, scales: What changes where it is accepted: contents of parameters by name, and
            scales by id of the row.
    """

    decision: Decision
    contents: Mapping[str, Array] = field(default_factory=dict)
    scales: Mapping[str, Array] = field(default_factory=dict)

    def put_into(self, graph: Graph, provenance: str) -> Graph:
        """Return the graph with what was found."""
        return changed(graph, self.contents, self.scales, provenance)

    def arrays(self) -> dict[str, Array]:
        """Return everything as arrays."""
        d = self.decision
        facts = {
            "subject": d.subject, "tried": d.tried, "measure": d.measure,
            "before": d.before.hex(), "after": d.after.hex(), "is_accepted": d.is_accepted,
            "reason": d.reason,
        }  # fmt: skip
        return {
            _FACTS: np.frombuffer(json.dumps(facts).encode(), np.uint8),
            **{_CONTENTS + name: array for name, array in self.contents.items()},
            **{_SCALES + name: array for name, array in self.scales.items()},
        }

    @staticmethod
    def of(arrays: Mapping[str, Array]) -> Outcome:
        """Return the outcome that arrays hold."""
        facts = json.loads(np.asarray(arrays[_FACTS], np.uint8).tobytes())
        facts["subject"] = tuple(facts["subject"])
        facts |= {name: float.fromhex(facts[name]) for name in ("before", "after")}
        return Outcome(Decision(**facts), _under(arrays, _CONTENTS), _under(arrays, _SCALES))


def changed(
    graph: Graph, contents: Mapping[str, Array], scales: Mapping[str, Array], provenance: str
) -> Graph:
    """Return a graph with other contents of parameters, and other scales of rows."""
    held = {
        name: graph.store.put(array.astype(graph.array(name).dtype))
        for name, array in sorted(contents.items())
    }
    rows = [graph.rows[name] for name in sorted(scales)]
    rescaled = graph.with_rows(
        row.filled(scales[row.id], row.zero_point_array, f"{row.provenance}, {provenance}")
        for row in rows
    )
    return replace(rescaled, parameters={**graph.parameters, **held})


def _under(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
