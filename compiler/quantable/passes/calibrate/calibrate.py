"""Fill the rows of weights and activations.

Before (target c-portable):
    c = Conv(x, w, b)
    y = Conv(c, w2, b2)
    c.in0 initial own c.in0
    c.in1 initial own c.in1
    c.in2 passive-init derived c.in2
    y.in0 overlapped overlapped c.out0
After (x in [0, 127.5], largest weights of the channels 31.75 and 15.875):
    c.in0 activated own c.in0 = 0.5
    c.in1 activated own c.in1 = 0.25 0.125
    c.in2 passive-init derived c.in2
    y.in0 overlapped overlapped c.out0 = 0.5

Preconditions:
    1. The profile was measured on the float graph that the quantable one was made from.
    2. The profile holds the value of every activation slot in state initial.
    3. Slots that share a row that is filled now become passive; a bias waits for
       `passive-parameters`.
    4. Attention masks, and the sums that a Softmax reads, get ranges of their own: see `masks`.
    5. Rows that are filled stay, unless `again` is set; baked and suspended slots stay always.

Numerics: lossy (this is where quantization starts).
See: `methods`, `weights`. PPQ's ParameterQuantizePass is the part for parameters in state initial
(weights, constant operands), which needs no profile; its RuntimeCalibrationPass the part for
activations. What PPQ calls passive parameters is `passive-parameters`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np

from quantable.ir import (
    DataError,
    Graph,
    Level,
    OptionError,
    Profile,
    Relation,
    State,
    TensorQuantizationConfig,
    UnknownNameError,
)
from quantable.ir.numerics import scale_from_range
from quantable.passes.base import Pass, PassContext
from quantable.passes.calibrate.masks import masked_ranges
from quantable.passes.calibrate.methods import METHODS, PINNED
from quantable.passes.calibrate.weights import WEIGHT_METHODS, raised_for_bias
from quantable.passes.slot_editor import Slot, SlotEditor
from quantable.targets.scheme_rules import FLOATING_OBSERVERS

Method = TypeVar("Method")
_DIGEST = "_digest"


@dataclass(frozen=True)
class Calibrate(Pass):
    """See the module's docstring.

    Attributes:
        method: Method for activations ('' for that of each slot's config, which the target gave).
            Floating slots keep theirs, unless it is one of 'floating', 'constant' and 'minmax'.
        weights: Method for parameters ('' as above).
        percentile: For the method 'percentile', in percent.
        again: Calibrate rows that are filled already, too.
    """

    name: ClassVar[str] = "calibrate"
    summary: ClassVar[str] = "fill the rows of weights and activations"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    method: str = ""
    weights: str = ""
    percentile: float = 99.99
    again: bool = False

    def data_digest(self, context: PassContext) -> str:
        return profile_digest(context.profile) if context.profile else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        editor = SlotEditor(graph)
        if self.again:
            _restart(editor)
        filler = _Filler(self, graph, editor, context.profile)
        filler.check_profile()
        for slot, config in context.rewrites.over(editor, editor.slots()):
            if config.state is State.INITIAL:
                filler.fill(slot, config)
        for slot, config in context.rewrites.over(editor, editor.slots()):
            filler.raise_for_bias(slot, config)
        for slot, config in editor.slots():
            _activate_shared(graph, editor, slot, config)
        return editor.finish()

    def check(self) -> None:
        if self.method == "isotone":
            raise OptionError(
                "calibration method 'isotone' needs the samples themselves, a profile has counts",
                help="run the pass isotone-calibration after calibrate; it is given the samples",
            )
        if self.method:
            _known(METHODS, self.method)
        if self.weights:
            _known(WEIGHT_METHODS, self.weights)
        if not 50.0 < self.percentile <= 100.0:
            raise OptionError(
                f"percentile: expected more than 50, at most 100, found {self.percentile:g}"
            )


def _known(table: Mapping[str, Method], name: str) -> Method:
    if name not in table:
        raise UnknownNameError("calibration method", name, table)
    return table[name]


def profile_digest(profile: Profile) -> str:
    """Return sha256 over a profile, computed once: profiles are immutable."""
    known = profile.__dict__.get(_DIGEST)
    if isinstance(known, str):
        return known
    h = hashlib.sha256(f"{profile.graph_digest} {profile.sample_count}".encode())
    for name, held in profile.statistics.items():
        h.update(
            f"\0{name}\0{held.count} {held.minimum!r} {held.maximum!r} {len(held.bins)}".encode()
        )
        h.update(held.bins.astype("<u2", copy=False).data)
        h.update(held.counts.astype("<i8", copy=False).data)
    for (name, axis), means in profile.channel_means.items():
        h.update(f"\0{name}\0{axis} {means.sums}".encode())
    profile.__dict__[_DIGEST] = h.hexdigest()
    return h.hexdigest()


def _value(editor: SlotEditor, slot: Slot) -> str:
    op = editor.operation(slot.operation)
    return (op.inputs if slot.side == "in" else op.outputs)[slot.index]


def _restart(editor: SlotEditor) -> None:
    for slot, config in editor.slots():
        is_fixed = config.observer == "fixed"
        if config.state is State.ACTIVATED and not is_fixed:
            editor.rows[config.row] = editor.rows[config.row].cleared()
            editor.put(slot, config.moved(State.INITIAL, editor.where(slot)))
        elif config.state is State.PASSIVE:
            if config.relation is Relation.DERIVED:
                editor.rows[config.row] = editor.rows[config.row].cleared()
            editor.put(slot, config.moved(State.PASSIVE_INIT, editor.where(slot)))


def _activate_shared(
    graph: Graph, editor: SlotEditor, slot: Slot, config: TensorQuantizationConfig
) -> None:
    is_waiting = config.state is State.PASSIVE_INIT and config.relation is Relation.SHARED
    if is_waiting and not graph.is_parameter(_value(editor, slot)):
        editor.share(slot, config.row)


class _Filler:
    def __init__(
        self, item: Calibrate, graph: Graph, editor: SlotEditor, profile: Profile | None
    ) -> None:
        self.item, self.graph, self.editor, self.profile = item, graph, editor, profile
        self.masked = masked_ranges(graph, profile)

    def check_profile(self) -> None:
        """Refuse a missing profile, and one of another graph."""
        waiting = [
            slot
            for slot, config in self.editor.slots()
            if config.state is State.INITIAL
            and not self.graph.is_parameter(_value(self.editor, slot))
        ]
        if self.profile is None:
            if waiting:
                raise DataError("calibration needs a profile, found none",
                                help="make one with quantable observe")  # fmt: skip
            return
        expected = self.graph.metadata.get("float_digest", "")
        if self.profile.graph_digest != expected:
            raise DataError(
                "the profile was measured on another graph: expected one of graph "
                f"{expected[:12]}, found one of graph {self.profile.graph_digest[:12]}",
                help="run quantable observe on the float graph that was quantized",
            )
        names = {_value(self.editor, slot): slot for slot in waiting}
        missing = [name for name in names if name not in self.profile.statistics]
        if missing:
            raise DataError(
                f"the profile lacks {len(missing)} values, the first is '{missing[0]}'",
                where=self.editor.where(names[missing[0]]),
                help="run quantable observe again, without leaving values out",
            )

    def fill(self, slot: Slot, config: TensorQuantizationConfig) -> None:
        """Fill the row of one slot that owns it."""
        name = _value(self.editor, slot)
        if name in self.masked and config.observer not in PINNED:
            method = "minmax"
            low, high = (np.asarray([end]) for end in self.masked[name])
        elif self.graph.is_parameter(name):
            method = self._method(config, self.item.weights, "grid")
            weights = self.graph.array(name).astype(np.float32, copy=False)
            low, high = _known(WEIGHT_METHODS, method)(weights, config)
        else:
            method = self._method(config, self.item.method, "mse")
            assert self.profile is not None
            held = self.profile.statistics[name]
            # A tensor without elements has no range; a range of zero gives a valid row.
            of = _known(METHODS, method)
            ends = of(held, config, self.item.percentile) if held.count else (0.0, 0.0)
            low, high = np.asarray(ends[:1]), np.asarray(ends[1:])
        scale, zero = scale_from_range(low, high, config)
        what = "masks, " if name in self.masked else ""
        text = f"calibrate: {what}{method} [{float(low.min()):.6g}, {float(high.max()):.6g}]"
        self.editor.rows[config.row] = self.editor.rows[config.row].filled(scale, zero, text)
        moved = replace(config, observer=method).moved(State.ACTIVATED, self.editor.where(slot))
        self.editor.put(slot, moved)

    @staticmethod
    def _method(config: TensorQuantizationConfig, asked: str, usual: str) -> str:
        is_floating = config.policy.is_floating
        held = config.observer or ("floating" if is_floating else usual)
        suits = asked in FLOATING_OBSERVERS or not is_floating
        return asked if asked and suits and held not in PINNED else held

    def raise_for_bias(self, slot: Slot, config: TensorQuantizationConfig) -> None:
        """Raise the weight scales of channels whose bias would not fit."""
        if config.relation is not Relation.DERIVED or config.state is not State.PASSIVE_INIT:
            return
        op = self.editor.operation(slot.operation)
        source, weight = (
            self.editor.rows[name] for name in self.editor.rows[config.row].derived_from
        )
        held = op.config.inputs[1]
        if (
            not source.is_filled
            or not held.policy.is_per_channel
            or held.state is not State.ACTIVATED
        ):
            return
        weights = self.graph.array(op.inputs[1])
        axes = tuple(axis for axis in range(weights.ndim) if axis != held.channel_axis)
        scale = raised_for_bias(
            weight.scale_array, np.logical_not(weights.any(axis=axes)), source.scale[0],
            self.graph.array(op.inputs[slot.index]).astype(np.float32), config.quant_max,
        )  # fmt: skip
        if not np.array_equal(scale, weight.scale_array):
            count = int((scale != weight.scale_array).sum())
            text = f"{weight.provenance}, {count} channels raised for the bias"
            self.editor.rows[weight.id] = weight.filled(scale, weight.zero_point_array, text)
            self.editor.journal.append(op.name)
