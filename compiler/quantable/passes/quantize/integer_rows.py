"""What keeps a model that is quantized already from a target that computes in integers alone."""

from __future__ import annotations

from quantable.ir import Graph, QuantableOperation, Relation, UnsupportedError
from quantable.passes.quantize.adopted_weights import WEIGHT, shifted_weight
from quantable.passes.quantize.legality import find_faults
from quantable.targets.description import FLOAT, Target

_COMPLETE = (
    "calibrate what the model does not quantize: compile --calibration DATA, or quantize "
    "--complete, then calibrate"
)
_FOLD = (
    "compile, or the passes canonicalize,fold-channel-scales, bring scales of channels into the "
    "weights between a convolution and a depthwise one"
)
_HELP = (
    "let the tool that made the model quantize these, or choose a target that can leave them "
    "float, for instance onnxruntime",
    "or quantize its float network anew: compile --requantize, or the passes "
    "discard-quantizers,canonicalize before quantize",
)


def require_integers(graph: Graph, target: Target, *, is_partial: bool = False) -> None:
    """Refuse what an integer target cannot run, and tensors that the model does not quantize.

    Args:
        graph: With the configs of a model's quantizers.
        target: With an integer level.
        is_partial: Whether tensors without a row are no fault yet.

    Raises:
        UnsupportedError: Names every place.
    """
    faults = find_faults(graph, target, set())
    lines = [
        f"  {op.where()}: {faults[op.name][0]}" for op in graph.operations if op.name in faults
    ]
    helps = [text for _, text in faults.values()]
    for op in graph.quantable_operations:
        if op.name not in faults:
            missing = [] if is_partial else missing_rows(graph, op, target)
            helps += [_COMPLETE] if missing else []
            found = [f"{slot}: the model does not quantize '{name}'" for slot, name in missing]
            by_channel = _activation_faults(graph, op)
            helps += [_FOLD] if by_channel else []
            found += [*_weight_faults(graph, op, target), *by_channel]
            lines += [f"  {op.where()} {text}" for text in found]
    if lines:
        raise UnsupportedError(
            f"target '{target.name}' computes in integers alone, and {len(lines)} places of "
            f"'{graph.name}' have none:\n" + "\n".join(lines),
            help="\n        ".join(dict.fromkeys((*helps, *_HELP))),
        )


def missing_rows(graph: Graph, op: QuantableOperation, target: Target) -> list[tuple[str, str]]:
    """Return (slot, value) of the tensors that a rule wants quantized, and that have no row."""
    rule = target.rules[op.kind]
    found = []
    for side, names in (("in", op.inputs), ("out", op.outputs)):
        for index, name in enumerate(names):
            scheme = rule.input_scheme(index) if side == "in" else rule.output_scheme(index)
            is_free = scheme in (FLOAT, "bias", "passive") or not name
            if is_free or not graph.values[name].is_real:
                continue
            held = op.config.inputs if side == "in" else op.config.outputs
            if not held[index].row:
                found.append((f"{side}{index}", name))
    return found


def _weight_faults(graph: Graph, op: QuantableOperation, target: Target) -> list[str]:
    """Return what integer kernels cannot do with a weight."""
    if "weight" not in target.rules[op.kind].inputs[WEIGHT : WEIGHT + 1]:
        return []
    config = op.config.inputs[WEIGHT]
    found = []
    shifted = shifted_weight(graph, op, target)
    if shifted is not None:
        half = 1 << (config.bits - 1)
        found.append(
            f"in{WEIGHT}: its weight less its zero point is {shifted.min()} to {shifted.max()}, "
            f"expected {-half} to {half - 1} (symmetric integers of {config.bits} bits)"
        )
    if config.policy.is_per_block or config.policy.is_floating:
        found.append(
            f"in{WEIGHT}: its weight is in blocks or in small floats, expected integers by channel"
        )
    return found


def _activation_faults(graph: Graph, op: QuantableOperation) -> list[str]:
    """Return what integer kernels cannot do with the tensors that a slot quantizes."""
    names = {"in": op.inputs, "out": op.outputs}
    return [
        f"{side}{index}: the model quantizes '{names[side][index]}' by channel, expected one scale"
        for side, index, config in op.config.slots()
        if config.relation is Relation.OWN
        and config.policy.has_axis
        and not graph.is_parameter(names[side][index])
    ]
