"""manifest.json: what was emitted, for programs that run or measure it."""

from __future__ import annotations

from quantable.backends.c.border import BorderTensor
from quantable.backends.c.header import ABI_VERSION
from quantable.backends.c.push import Push
from quantable.backends.c.unit import Step, Unit
from quantable.ir import graph_digest

FORMAT = "quantable-c"


def manifest(unit: Unit, steps: list[Step], files: list[str]) -> dict[str, object]:
    """Return the manifest as JSON data."""
    plan = unit.graph.plan
    assert plan is not None  # plan_unit checked it
    number = {step.operation.name: step.index for step in steps}
    return {
        "format": FORMAT,
        "abi_version": ABI_VERSION,
        "name": unit.graph.name,
        "prefix": unit.prefix,
        "target": unit.graph.target,
        "kernels": unit.kernels.name,
        "contract": unit.contract.name,
        "graph_digest": graph_digest(unit.graph),
        "arena_bytes": plan.arena_bytes,
        "arena_alignment": plan.alignment,
        "weight_bytes": sum(constant.array.nbytes for constant in unit.constants),
        "macs": sum(step.macs for step in steps),
        "inputs": [_tensor(t) for t in unit.border.inputs],
        "outputs": [_tensor(t) for t in unit.border.outputs],
        "layers": [_layer(step) for step in steps],
        "streams": [
            {"steps": [number[name] for name in stream.operations], "rows": stream.rows}
            for stream in plan.streams
        ],
        "push": _push(unit.push),
        "sources": [name for name in files if name in ("model.c", "model_weights.c")],
        "files": files,
    }


def _push(push: Push | None) -> dict[str, int] | None:
    """Return what `push_row` takes; None where the code has none."""
    if push is None:
        return None
    return {"rows": push.height, "row_size": push.row, "kept_rows": push.kept}


def _tensor(tensor: BorderTensor) -> dict[str, object]:
    return {
        "name": tensor.name,
        "value": tensor.value,
        "dtype": tensor.dtype.numpy.name,
        "shape": list(tensor.shape),
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
        "clamp_min": tensor.clamp_min,
        "clamp_max": tensor.clamp_max,
    }


def _layer(step: Step) -> dict[str, object]:
    op = step.operation
    outputs = [step.output(i) for i, name in enumerate(op.outputs) if name]
    return {
        "step": step.index,
        "name": op.name,
        "kind": op.kind,
        "sources": list(op.sources),
        "outputs": [
            {"value": v.name, "dtype": v.dtype.value, "shape": list(v.shape or ())} for v in outputs
        ],
        "macs": step.macs,
        "weight_bytes": step.weight_bytes,
    }
