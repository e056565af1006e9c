"""The facts of a compilation, as data and as a page.

No clock and no path is in them: the same input gives the same bytes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quantable.ir import Decision, Graph, Profile, QuantableOperation, graph_digest

Facts = dict[str, Any]
Remark = tuple[str, str, str]


def graph_facts(graph: Graph) -> Facts:
    """Return what there is to say about one graph."""
    states = Counter(
        config.state.value
        for operation in graph.quantable_operations
        for _, _, config in operation.config.slots()
    )
    contents = graph.contents().values()
    return {
        "name": graph.name,
        "level": graph.level.value,
        "target": graph.target,
        "opset": graph.opset,
        "digest": graph_digest(graph),
        "inputs": [_value(graph, name) for name in graph.inputs],
        "outputs": [_value(graph, name) for name in graph.outputs],
        "operations": dict(sorted(Counter(op.kind for op in graph.operations).items())),
        "parameter_bytes": _parameter_bytes(graph),
        "content_bytes": sum(ref.size_bytes for ref in contents),
        "rows": len(graph.rows),
        "rows_filled": sum(row.is_filled for row in graph.rows.values()),
        "slot_states": dict(sorted(states.items())),
        "arena_bytes": graph.plan.arena_bytes if graph.plan else None,
        "history": [
            {
                "stage": f"{record.name}{record.options}",
                "digest": record.output_digest,
                "decisions": [decision_facts(decision) for decision in record.decisions],
            }
            for record in graph.history
        ],
    }


def decision_facts(decision: Decision) -> Facts:
    """Return a decision as JSON values; an error that is not finite is its name, as text."""
    return {
        "subject": list(decision.subject),
        "tried": decision.tried,
        "measure": decision.measure,
        "before": _number(decision.before),
        "after": _number(decision.after),
        "accepted": decision.is_accepted,
        "reason": decision.reason,
    }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _value(graph: Graph, name: str) -> Facts:
    value = graph.values[name]
    shape = None if value.shape is None else list(value.shape)
    return {"name": name, "dtype": value.dtype.value, "shape": shape}


def float_operations(graph: Graph, remarks: Iterable[Remark]) -> list[Facts]:
    """Return every operation that is not quantized, with the reason that the dispatcher gave.

    Args:
        graph: A quantable graph.
        remarks: What the passes said; the place names the operation.
    """
    said = list(remarks)
    found = []
    for op in graph.operations:
        if isinstance(op, QuantableOperation) and any(
            config.is_quantized for _, _, config in op.config.slots()
        ):
            continue
        reasons = [text for _, place, text in said if f"'{op.name}'" in place or place == op.name]
        found.append(
            {
                "operation": op.name,
                "kind": op.kind,
                "sources": list(op.sources),
                "reason": "; ".join(dict.fromkeys(reasons)) or "no rule of the target names it",
            }
        )
    return found


def compile_facts(
    stages: Sequence[tuple[str, Graph]],
    profile: Profile | None,
    manifest: Mapping[str, Any],
    remarks: Sequence[Remark],
) -> Facts:
    """Return the facts of a compilation.

    Args:
        stages: (file name, graph) of every stage that leaves a graph.
        profile: The calibration statistics; None where the model was quantized already.
        manifest: What was emitted.
        remarks: What the passes said.
    """
    graphs = dict(stages)
    quantized = graphs["04-opt.qir"]
    last = stages[-1][1]
    return {
        "network": last.name,
        "target": last.target,
        "tool_version": last.history[-1].tool_version,
        "source_digest": last.history[0].data_digest,
        "calibration": _calibration(profile),
        "stages": [
            {
                "file": name,
                "level": graph.level.value,
                "operations": len(graph.operations),
                "digest": graph_digest(graph),
            }
            for name, graph in stages
        ],
        "rows": len(quantized.rows),
        "float_parameter_bytes": _parameter_bytes(graphs["01-opt.qir"]),
        "integer_parameter_bytes": _integer_bytes(quantized),
        "arena_bytes": last.plan.arena_bytes if last.plan else None,
        "float_operations": float_operations(quantized, remarks),
        "emitted": dict(manifest["files"]),
        "remarks": [list(remark) for remark in remarks],
    }


def _calibration(profile: Profile | None) -> Facts | None:
    if profile is None:
        return None
    return {"samples": profile.sample_count, "graph": profile.graph_digest}


def _parameter_bytes(graph: Graph) -> int:
    return sum(ref.size_bytes for ref in graph.parameters.values())


def _integer_bytes(graph: Graph) -> int:
    return sum(
        entry.content.size_bytes for op in graph.quantable_operations for entry in op.baked
    )  # fmt: skip


def page(facts: Facts) -> str:
    """Return the facts as a Markdown page."""
    lines = [
        f"# {facts['network']} for {facts['target']}",
        "",
        "| fact | value |",
        "|---|---|",
        _calibrated(facts["calibration"]),
        f"| float parameters | {facts['float_parameter_bytes']} bytes |",
        f"| baked integer parameters | {facts['integer_parameter_bytes']} bytes |",
        *_arena(facts["arena_bytes"]),
        f"| sets of quantization parameters | {facts['rows']} |",
        "",
        "`quantable validate` on this folder proves on your data that the emitted code gives the"
        " results of the last stage.",
        "",
        "## Stages",
        "",
        "| file | level | operations | digest |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['file']} | {row['level']} | {row['operations']} | `{row['digest'][:16]}` |"
        for row in facts["stages"]
    ]
    lines += ["", "## Operations that stay float", ""]
    lines += [
        f"- {reason}: {', '.join(names)}" for reason, names in _by_reason(facts["float_operations"])
    ] or ["None."]
    lines += ["", "## Emitted files", "", "| file | bytes | sha256 |", "|---|---|---|"]
    lines += [
        f"| {name} | {entry['bytes']} | `{entry['sha256'][:16]}` |"
        for name, entry in facts["emitted"].items()
    ]
    lines += ["", "## What the passes say", ""]
    said = {text for row in facts["float_operations"] for text in row["reason"].split("; ")}
    lines += [
        f"- {name}: {place}: {text}" for name, place, text in facts["remarks"] if text not in said
    ] or ["Nothing more."]
    return "\n".join(lines) + "\n"


def _calibrated(calibration: Facts | None) -> str:
    if calibration is None:
        return "| quantized by | the model itself |"
    return f"| calibration samples | {calibration['samples']} |"


def _arena(size: int | None) -> list[str]:
    """Return the row of the arena; code for a runtime that plans its own memory has none."""
    return [] if size is None else [f"| arena | {size} bytes |"]


def _by_reason(operations: Iterable[Facts]) -> list[tuple[str, list[str]]]:
    """Group operations by why they stay float, in the order in which reasons first occur."""
    found: dict[str, list[str]] = {}
    for row in operations:
        found.setdefault(row["reason"], []).append(f"`{row['operation']}` ({row['kind']})")
    return list(found.items())
