"""The states of a quantized slot and the one table of their transitions."""

from __future__ import annotations

import enum

from quantable.ir.errors import StateError


class State(enum.Enum):
    """What the quantization of one slot does now."""

    INITIAL = "initial"  # created, no scale yet: an observer must fill the row
    ACTIVATED = "activated"  # quantizes with its own row
    OVERLAPPED = "overlapped"  # another slot quantizes this tensor; not executed
    PASSIVE_INIT = "passive-init"  # will use or derive from another row, which has no scale yet
    PASSIVE = "passive"  # quantizes with a shared or derived row
    BAKED = "baked"  # parameter is stored as integers, own row
    PASSIVE_BAKED = "passive-baked"  # parameter is stored as integers, shared or derived row
    FP32 = "fp32"  # not quantized, or suspended

    @property
    def is_in_force(self) -> bool:
        """Whether the runtime quantizes here (a baked parameter already is)."""
        return self in (State.ACTIVATED, State.PASSIVE)

    @property
    def is_baked(self) -> bool:
        return self in (State.BAKED, State.PASSIVE_BAKED)


TRANSITIONS: dict[tuple[State, State], str] = {
    (State.FP32, State.INITIAL): "a pass decides to quantize the slot",
    (State.FP32, State.PASSIVE_INIT): "a pass decides to derive or share the slot's row",
    (State.INITIAL, State.ACTIVATED): "calibration fills the row",
    (State.INITIAL, State.OVERLAPPED): "fusion: another slot quantizes this tensor",
    (State.INITIAL, State.PASSIVE_INIT): "alignment with a row that has no scale yet",
    (State.INITIAL, State.PASSIVE): "alignment with a row that has a scale",
    (State.INITIAL, State.FP32): "a pass decides not to quantize the slot",
    (State.ACTIVATED, State.INITIAL): "calibration starts again",
    (State.ACTIVATED, State.OVERLAPPED): "another slot with the same row quantizes this tensor",
    (State.ACTIVATED, State.PASSIVE): "alignment with another row",
    (State.ACTIVATED, State.BAKED): "the parameter is stored as integers",
    (State.ACTIVATED, State.FP32): "a pass decides not to quantize the slot",
    (State.OVERLAPPED, State.INITIAL): "the slot quantizes by itself again",
    (State.OVERLAPPED, State.PASSIVE): "the slot executes with another slot's row",
    (State.OVERLAPPED, State.PASSIVE_INIT): "the slot will execute with another slot's row",
    (State.OVERLAPPED, State.FP32): "a pass decides not to quantize the slot",
    (State.PASSIVE_INIT, State.PASSIVE): "the row it depends on has a scale now",
    (State.PASSIVE_INIT, State.INITIAL): "the slot gets a row of its own",
    (State.PASSIVE_INIT, State.OVERLAPPED): "another slot quantizes this tensor",
    (State.PASSIVE_INIT, State.FP32): "a pass decides not to quantize the slot",
    (State.PASSIVE, State.PASSIVE_INIT): "calibration starts again",
    (State.PASSIVE, State.OVERLAPPED): "another slot with the same row quantizes this tensor",
    (State.PASSIVE, State.INITIAL): "the slot gets a row of its own",
    (State.PASSIVE, State.PASSIVE_BAKED): "the parameter is stored as integers",
    (State.PASSIVE, State.FP32): "a pass decides not to quantize the slot",
    (State.BAKED, State.ACTIVATED): "the baked integers are given up",
    (State.PASSIVE_BAKED, State.PASSIVE): "the baked integers are given up",
}
"""Every legal transition and its cause. Suspension (any state to FP32 and back to exactly the
suspended state) is separate: see `TensorQuantizationConfig.suspend`."""


def check_transition(origin: State, to: State, where: str = "") -> None:
    """Raise unless the table holds the transition.

    Raises:
        StateError: The transition is illegal; the message names `where`, from and to.
    """
    if (origin, to) not in TRANSITIONS:
        legal = ", ".join(b.value for a, b in TRANSITIONS if a is origin) or "none"
        raise StateError(
            f"illegal transition of a quantization state: from {origin.value} to {to.value}",
            where=where,
            help=f"legal from {origin.value}: {legal}",
        )
