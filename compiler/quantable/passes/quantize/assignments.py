"""Schemes that the user gives to slots, and those that each slot may have.

An entry is ``OPERATION.SLOT=SCHEME`` (``conv1.in0=wide``) or ``OPERATION=SCHEME`` for every slot
of the operation that the scheme is a candidate for. Candidates of a slot are the scheme that the
target's rule gives it, the `alternatives`, `tail` and `edge` of that scheme, and 'float' where the
target need not run everything in integers. A search over bit widths enumerates them with
`slot_candidates`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from quantable.ir import Graph, Operation, OptionError, QuantableOperation, UnknownNameError
from quantable.passes.quantize.fusions import fused_followers
from quantable.passes.quantize.names import operations_by_name
from quantable.passes.quantize.schemes import ActivationSchemes, rule_scheme
from quantable.passes.slot_editor import Slot
from quantable.targets.description import FLOAT, PASSIVE, Target

Candidates = Mapping[Slot, tuple[str, ...]]
SLOT = re.compile(r"(.+)\.(in|out)(\d+)")
"""The name of a slot: operation, side, index."""
_NO_CHOICE = (FLOAT, PASSIVE, "bias")
"""Schemes of rules without a choice: a bias follows its input and weight, bounds their tensor."""


def slot_candidates(graph: Graph, target: Target) -> dict[Slot, tuple[str, ...]]:
    """Return, for every slot that has a choice, the names of its schemes.

    Args:
        graph: A dispatched graph, whose operations have a config or not yet.
        target: The target.

    Returns:
        By slot, in graph order; the first scheme is the one that the target gives. Slots inside a
        fusion are left out: nothing is quantized there.
    """
    schemes = ActivationSchemes.of(graph, target)
    followers = fused_followers(graph, target)
    inner = {op.name for op in followers.values()}
    found: dict[Slot, tuple[str, ...]] = {}
    for op in graph.quantable_operations:
        for index in range(len(op.inputs)):
            scheme = rule_scheme(graph, target, op, index)
            if scheme not in _NO_CHOICE and (index or op.name not in inner):
                given = schemes.reads(op, index, scheme)
                found[Slot(op.name, "in", index)] = target.candidates(scheme, given)
        for index, name in enumerate(op.outputs):
            scheme = target.rules[op.kind].output_scheme(index)
            given = schemes.made.get(name, FLOAT)
            if scheme != FLOAT and name in schemes.made and op.name not in followers:
                found[Slot(op.name, "out", index)] = target.candidates(scheme, given)
    return found


def read_assignments(graph: Graph, target: Target, entries: Iterable[str]) -> dict[Slot, str]:
    """Return the scheme of each slot that entries name; later entries win.

    Raises:
        UnknownNameError: An operation or a slot does not exist; the nearest names are listed.
        OptionError: An entry is none, or a slot cannot have the scheme.
    """
    found: dict[Slot, str] = {}
    entries = tuple(entries)
    if not entries:
        return found
    reader = _Reader(graph, target)
    for entry in entries:
        found.update(dict.fromkeys(reader.slots(entry), entry.rpartition("=")[2]))
    for op in reversed(graph.quantable_operations):
        # Where the last of fused operations writes float, nothing is quantized inside either.
        then = reader.followers.get(op.name)
        if then is not None and Slot(then.name, "out", 0) in found:
            found[Slot(op.name, "out", 0)] = found[Slot(then.name, "out", 0)]
    return found


class _Reader:
    def __init__(self, graph: Graph, target: Target) -> None:
        self.target = target
        self.candidates = slot_candidates(graph, target)
        self.followers = fused_followers(graph, target)
        self.by_name = operations_by_name(graph)

    def slots(self, entry: str) -> list[Slot]:
        """Return the slots of one entry."""
        key, equals, scheme = entry.rpartition("=")
        where = f"assignment '{entry}'"
        if not equals or not scheme:
            raise OptionError(
                f"expected 'OPERATION.SLOT=SCHEME' or 'OPERATION=SCHEME', found '{entry}'",
                where=where, help="for instance conv1.in0=wide",
            )  # fmt: skip
        match = SLOT.fullmatch(key)
        if key in self.by_name or match is None:
            return [s for op in self._named(key, where) for s in self._whole(op, scheme, where)]
        side, index = match[2], int(match[3])
        named = self._named(match[1], where)
        exact = [op for op in named if op.name == match[1]]
        return [self._one(op, side, index, scheme, where) for op in exact or named]

    def _named(self, name: str, where: str) -> list[Operation]:
        if name not in self.by_name:
            raise UnknownNameError("operation", name, self.by_name, where=where)
        return self.by_name[name]

    def _whole(self, op: Operation, scheme: str, where: str) -> list[Slot]:
        self._check_platform(op, where)
        last = op
        while last.name in self.followers:
            last = self.followers[last.name]
        mine = [s for s in self.candidates if s.operation == op.name and s.side == "in"]
        mine += [s for s in self.candidates if s.operation == last.name and s.side == "out"]
        able = [slot for slot in mine if scheme in self.candidates[slot]]
        if not able:
            known = dict.fromkeys(name for slot in mine for name in self.candidates[slot])
            raise self._refused(f"no slot of {op.where()} can", scheme, tuple(known), where)
        return able

    def _one(self, op: Operation, side: str, index: int, scheme: str, where: str) -> Slot:
        self._check_platform(op, where)
        slot = Slot(op.name, side, index)
        names = op.inputs if side == "in" else op.outputs
        if slot in self.candidates:
            if scheme not in self.candidates[slot]:
                what = f"{op.where()} {side}{index} cannot"
                raise self._refused(what, scheme, self.candidates[slot], where)
            return slot
        mine = [s for s in self.candidates if s.operation == op.name]
        known = [f"{s.side}{s.index}" for s in mine]
        if index >= len(names):
            raise UnknownNameError(
                f"slot of operation '{op.name}'", f"{side}{index}", known, where=where
            )
        raise OptionError(
            f"{op.where()} {side}{index} has no scheme of its own", where=where,
            help=self._way_out(op, side, known),
        )  # fmt: skip

    def _way_out(self, op: Operation, side: str, known: list[str]) -> str:
        if side == "out" and op.name in self.followers:
            return (
                f"it runs fused with '{self.followers[op.name].name}': assign the output of the "
                f"last of them, or all slots: {op.name}=SCHEME"
            )
        return f"slots of the operation that have a choice: {', '.join(known) or 'none'}"

    def _check_platform(self, op: Operation, where: str) -> None:
        if not isinstance(op, QuantableOperation):
            raise OptionError(
                f"{op.where()} stays float", where=where,
                help=f"dispatch it first: {op.name}={self.target.name}, or --dispatch all-in",
            )  # fmt: skip

    def _refused(
        self, what: str, scheme: str, known: tuple[str, ...], where: str
    ) -> OptionError | UnknownNameError:
        if scheme not in self.target.schemes and scheme != FLOAT:
            return UnknownNameError("scheme", scheme, known, where=where)
        return OptionError(
            f"{what} have scheme '{scheme}' on target '{self.target.name}': expected one of "
            f"{', '.join(known) or 'none'}", where=where,
            help="the target's description lists them: `alternatives` of the slot's scheme",
        )  # fmt: skip
