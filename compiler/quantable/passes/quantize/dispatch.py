"""Decide which platform each operation runs on.

Before:
    c = Conv(x, w, b)
    y = Softmax(c)
After (target onnxruntime):
    c on onnxruntime
    y on float

No slot is quantized yet. The digest of the float graph, which profiles name, goes into the
metadata.

Preconditions:
    1. An operation on integer tensors, or one that only feeds shape inputs, is never dispatched.
    2. The target has a rule for the kind and the operation fulfils the rule's conditions. Where a
       target is integer-only, every operation must; all that do not are reported at once.
    3. The method (`dispatch_methods`) chooses the operation: 'conservative' takes compute
       operations and what follows them through dispatched operations, 'aggressive' through others,
       too, 'pplnn' what lies between two compute operations, 'pointwise' compute operations alone,
       'perseus' goes by the flow of values and of shapes, 'all-in' takes every kind that the target
       knows. An integer-only target takes everything.
    4. Where the target leaves tails float: a compute operation can be reached from the operation.
    5. Entries of the table ("operation=platform"; an operation's name or that of an ONNX node it
       came from; a platform is the target's name or 'float') override 3 and 4.

Numerics: bit-exact (nothing is quantized yet).
See: PPQ's dispatchers of the same names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import (
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    OptionError,
    QuantableOperation,
    UnknownNameError,
    UnsupportedError,
    graph_digest,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.dispatch_methods import METHODS
from quantable.passes.quantize.legality import find_faults, index_operations
from quantable.passes.quantize.names import operations_by_name
from quantable.targets.description import FLOAT, Target


@dataclass(frozen=True)
class Dispatch(Pass):
    """See the module's docstring.

    Attributes:
        method: A name of `dispatch_methods.METHODS`.
        table: Entries "operation=platform".
    """

    name: ClassVar[str] = "dispatch"
    summary: ClassVar[str] = "decide which platform each operation runs on"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.FLOAT})
    method: str = "conservative"
    table: tuple[str, ...] = ()

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def check(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("dispatch method", self.method, METHODS)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        self.check()
        index = index_operations(graph, target)
        faults = find_faults(graph, target, index)
        table = _read_table(graph, target, self.table, faults)
        if target.integer_only and faults:
            raise _all_faults(graph, target, faults)
        able = {op.name for op in graph.operations if op.name not in faults}
        chosen = METHODS[self.method].choose(graph, target, able)
        reached = chosen
        if target.integer_only:
            chosen = able
        elif target.schemes["activation"].tail == FLOAT:
            chosen = _without_tails(graph, target, chosen)
        chosen = (chosen | {n for n, p in table.items() if p != FLOAT}) - {
            n for n, p in table.items() if p == FLOAT
        }
        admit = context.rewrites.admit
        taken = {op.name for op in graph.operations if op.name in chosen and admit(op.name)}
        for op in graph.operations:
            if op.name not in chosen:
                reason = faults.get(op.name, (self._reason(op, table, reached), ""))[0]
                context.remarks.append((self.name, op.where(), reason))
        return replace(
            graph.with_operations(_quantable(graph, op, target) for op in graph.operations
                                  if op.name in taken),
            level=Level.QUANTABLE,
            target=target.name,
            metadata={**graph.metadata, "float_digest": graph_digest(graph)},
        )  # fmt: skip

    def _reason(self, op: Operation, table: dict[str, str], reached: set[str]) -> str:
        """Return why an operation that the target can do stays float."""
        if table.get(op.name) == FLOAT:
            return "the dispatch table says float"
        if op.name not in reached:
            return f"dispatch method '{self.method}': {METHODS[self.method].reason}"
        return "the target leaves tails float: there is no compute operation after it"


def chosen_target(context: PassContext) -> Target:
    """Return the context's target.

    Raises:
        OptionError: None was chosen.
    """
    if context.target is None:
        raise OptionError("no target was chosen", help="give one, for instance --target x86-vnni")
    return context.target


def _quantable(graph: Graph, op: Operation, target: Target) -> QuantableOperation:
    config = OperationQuantizationConfig.of_floats(len(op.inputs), len(op.outputs))
    return QuantableOperation.create(op, config, target.name, graph.parameters)


def _readers(graph: Graph, op: Operation) -> Iterable[Operation]:
    return (reader for out in op.outputs for reader, _ in graph.uses(out))


def _without_tails(graph: Graph, target: Target, chosen: set[str]) -> set[str]:
    kept: set[str] = set()
    for op in reversed(graph.operations):
        if op.name in chosen:
            leads = any(reader.name in kept for reader in _readers(graph, op))
            if leads or target.rules[op.kind].role == "compute":
                kept.add(op.name)
    return kept


def _read_table(
    graph: Graph, target: Target, table: tuple[str, ...], faults: dict[str, tuple[str, str]]
) -> dict[str, str]:
    by_name = operations_by_name(graph)
    found: dict[str, str] = {}
    for entry in table:
        name, separator, platform = entry.rpartition("=")
        if not separator:
            raise OptionError(
                f"dispatch table: expected 'operation=platform', found '{entry}'",
                help='for instance table=["conv1=float"]',
            )
        if name not in by_name:
            raise UnknownNameError("operation", name, by_name, where="dispatch table")
        if platform not in (FLOAT, target.name):
            raise UnknownNameError("platform", platform, (FLOAT, target.name),
                                   where=f"dispatch table entry '{entry}'")  # fmt: skip
        for op in by_name[name]:
            _check_entry(target, op, platform, faults)
            found[op.name] = platform
    return found


def _check_entry(
    target: Target, op: Operation, platform: str, faults: dict[str, tuple[str, str]]
) -> None:
    where = f"dispatch table, {op.where()}"
    if platform == FLOAT and target.integer_only:
        raise OptionError(
            f"target '{target.name}' runs every operation in integers: expected platform "
            f"'{target.name}', found 'float'", where=where,
            help="choose a target that can leave operations float, for instance onnxruntime",
        )  # fmt: skip
    if platform != FLOAT and op.name in faults:
        reason, help_text = faults[op.name]
        raise UnsupportedError(f"target '{target.name}': {reason}", where=where, help=help_text)


def _all_faults(
    graph: Graph, target: Target, faults: dict[str, tuple[str, str]]
) -> UnsupportedError:
    """Return the error that lists every fault; what many have in common is said once."""
    found = [(op.where(), *faults[op.name]) for op in graph.operations if op.name in faults]
    count = f"{len(found)} operation{'s' if len(found) > 1 else ''}"
    lines = [f"  {place}: {reason}" for place, reason, _ in found]
    return UnsupportedError(
        "\n".join([f"target '{target.name}' cannot run {count} of '{graph.name}':", *lines]),
        help="\n        ".join(dict.fromkeys(text for _, _, text in found)),
    )
