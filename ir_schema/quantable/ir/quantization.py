"""The one representation of quantization: rows of parameters and the configs that refer to them."""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from quantable.ir.dtypes import DType
from quantable.ir.errors import StateError, UnsupportedError
from quantable.ir.floats import FLOAT_TYPES
from quantable.ir.policies import QuantizationPolicy, Rounding, Visibility
from quantable.ir.states import State, check_transition

MIN_BITS, MAX_BITS = 2, 32
MIN_BLOCK, MAX_BLOCK = 2, 1 << 31
ADDED_LATER = MappingProxyType({"added_later": True})
"""Metadata of a field that came after digests of graphs were in files: it has no part in the digest
while it holds its default."""


class Relation(enum.Enum):
    """How a slot holds its row."""

    NONE = "none"  # the slot is not quantized
    OWN = "own"
    OVERLAPPED = "overlapped"  # the row of the slot that quantizes this tensor; not executed
    SHARED = "shared"  # executed, with another slot's row
    DERIVED = "derived"  # a bias: input scale times weight scale


@dataclass(frozen=True)
class QuantizationParameters:
    """A named row: ``real = (quantized - zero_point) * scale``.

    Attributes:
        id: Name of the row, unique in the graph.
        scale: float32 values (others are rounded), one, one a channel, or one a block, in C order
            of the tensor with its blocks in the place of their elements; empty before calibration.
        zero_point: As many integers as there are scales.
        derived_from: Ids of the rows whose scales multiply to this one; empty for other rows.
        provenance: Which pass made it and from which statistic.
    """

    id: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    derived_from: tuple[str, ...] = ()
    provenance: str = ""

    def __post_init__(self) -> None:
        if self.scale:
            exact = np.asarray(self.scale, np.float32).tolist()
            object.__setattr__(self, "scale", tuple(exact))

    @property
    def is_filled(self) -> bool:
        return bool(self.scale)

    @property
    def scale_array(self) -> npt.NDArray[np.float32]:
        """Scales, float32, shape [channels] or [1]."""
        return np.asarray(self.scale, np.float32)

    @property
    def zero_point_array(self) -> npt.NDArray[np.int64]:
        """Zero points, int64, shape [channels] or [1]."""
        return np.asarray(self.zero_point, np.int64)

    def filled(
        self, scale: npt.ArrayLike, zero_point: npt.ArrayLike, provenance: str
    ) -> QuantizationParameters:
        """Return the row with scales (any shape, flattened, rounded to float32) and zero points."""
        scales = np.asarray(scale, np.float32).reshape(-1)
        zeros = np.broadcast_to(np.asarray(zero_point, np.int64).reshape(-1), scales.shape)
        return replace(
            self,
            scale=tuple(float(s) for s in scales),
            zero_point=tuple(int(z) for z in zeros),
            provenance=provenance,
        )

    def cleared(self) -> QuantizationParameters:
        """Return the row as it was before calibration."""
        return replace(self, scale=(), zero_point=(), provenance="")

    @property
    def digest(self) -> str:
        """sha256 over scales and zero points: what a baked parameter was baked with."""
        h = hashlib.sha256(struct.pack("<Q", len(self.scale)))
        h.update(self.scale_array.astype("<f4").tobytes())
        h.update(self.zero_point_array.astype("<i8").tobytes())
        return h.hexdigest()


@dataclass(frozen=True, slots=True)
class TensorQuantizationConfig:
    """How one slot of one operation is quantized.

    Attributes:
        policy: Granularity, arithmetic, symmetry, power of two, dynamic.
        bits: 2 to 32.
        exponent_bits: 0 for a linear policy; a floating one has ``bits - exponent_bits - 1``
            mantissa bits.
        quant_min, quant_max: The closed integer range; the largest numbers of a floating policy.
        rounding: How a real number becomes an integer.
        channel_axis: The axis of a per-channel policy, or that along which the blocks of a
            per-block one lie; else None.
        observer: Name of the calibration method; empty where the row is not observed.
        visibility: Whether a backend writes this quantization out.
        state: What the quantization does now; change it with `moved`.
        relation, row: How the slot holds its row, and the row's id ('' for none).
        suspended: The state to restore, while the operation is dequantized; else None.
        block_size: Elements of a block (the last one may have fewer); 0 unless per block.
    """

    policy: QuantizationPolicy = QuantizationPolicy()
    bits: int = 8
    exponent_bits: int = 0
    quant_min: int = -128
    quant_max: int = 127
    rounding: Rounding = Rounding.HALF_EVEN
    channel_axis: int | None = None
    observer: str = ""
    visibility: Visibility = Visibility.EXPORT_WHEN_ACTIVE
    state: State = State.FP32
    relation: Relation = Relation.NONE
    row: str = ""
    suspended: State | None = None
    block_size: int = field(default=0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise ValueError(f"expected {MIN_BITS} to {MAX_BITS} bits, found {self.bits}")
        if self.quant_min >= self.quant_max:
            raise ValueError(f"empty range [{self.quant_min}, {self.quant_max}]")
        if not self.policy.is_floating and self.quant_max - self.quant_min >= 1 << self.bits:
            raise ValueError(
                f"range [{self.quant_min}, {self.quant_max}] does not fit {self.bits} bits"
            )
        if self.policy.has_axis != (self.channel_axis is not None):
            raise ValueError(f"policy '{self.policy}' with channel axis {self.channel_axis}")
        if self.policy.is_per_block != (MIN_BLOCK <= self.block_size <= MAX_BLOCK):
            raise ValueError(f"policy '{self.policy}' with blocks of {self.block_size}")
        if not self.policy.is_per_block and self.block_size:
            raise ValueError(f"policy '{self.policy}' with blocks of {self.block_size}")
        if self.policy.is_floating != (0 < self.exponent_bits < self.bits):
            raise ValueError(f"policy '{self.policy}' with {self.exponent_bits} exponent bits")
        if not self.policy.is_floating and self.exponent_bits:
            raise ValueError(f"policy '{self.policy}' with {self.exponent_bits} exponent bits")

    @property
    def storage(self) -> DType:
        """The type that quantized values are stored in.

        Raises:
            UnsupportedError: There is none for a floating policy of this width.
        """
        if self.policy.is_floating:
            if not self.has_storage:
                known = ", ".join(f"{b} with {e}" for b, e in FLOAT_TYPES)
                raise UnsupportedError(
                    f"no element type holds floats of {self.bits} bits with {self.exponent_bits} "
                    f"exponent bits: expected one of {known}"
                )
            return FLOAT_TYPES[self.bits, self.exponent_bits]
        return DType.holding(self.quant_min, self.quant_max)

    @property
    def has_storage(self) -> bool:
        """Whether there is a type that quantized values can be stored in."""
        return not self.policy.is_floating or (self.bits, self.exponent_bits) in FLOAT_TYPES

    @property
    def mantissa_bits(self) -> int:
        """Of a floating policy."""
        return self.bits - self.exponent_bits - 1

    def block_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a tensor of this shape with blocks in the place of elements."""
        assert self.channel_axis is not None
        axis = self.channel_axis % len(shape)
        return (*shape[:axis], -(-shape[axis] // self.block_size), *shape[axis + 1 :])

    @property
    def is_quantized(self) -> bool:
        """Whether the slot takes part in quantization, suspended or not."""
        return (self.suspended or self.state) is not State.FP32

    def same_scheme(self, other: TensorQuantizationConfig) -> bool:
        """Whether both map real numbers to integers in the same way, given the same row."""
        return _scheme(self) == _scheme(other)

    def moved(self, to: State, where: str = "") -> TensorQuantizationConfig:
        """Return the config in another state.

        Raises:
            StateError: The transition is not in the table, or the slot is suspended.
        """
        if self.suspended is not None:
            raise StateError(
                f"the slot is dequantized: expected state {self.suspended.value} restored first",
                where=where,
                help="call restore_quantize_state() on the operation",
            )
        if to is self.state:
            return self
        check_transition(self.state, to, where)
        return replace(self, state=to)

    def unquantized(self, where: str = "") -> TensorQuantizationConfig:
        """Return the config in state FP32, without a row."""
        return replace(self.moved(State.FP32, where), relation=Relation.NONE, row="")

    def overlapped_by(self, row: str, where: str = "") -> TensorQuantizationConfig:
        """Return the config of a tensor that the owner of `row` quantizes; not executed."""
        moved = self.moved(State.OVERLAPPED, where)
        return replace(moved, relation=Relation.OVERLAPPED, row=row)

    def sharing(self, row: QuantizationParameters, where: str = "") -> TensorQuantizationConfig:
        """Return the config that executes with another slot's row."""
        moved = self.moved(State.PASSIVE if row.is_filled else State.PASSIVE_INIT, where)
        return replace(moved, relation=Relation.SHARED, row=row.id)

    def suspend(self) -> TensorQuantizationConfig:
        """Return the config with its quantization suspended; twice is the same as once."""
        if self.suspended is not None:
            return self
        return replace(self, state=State.FP32, suspended=self.state)

    def restore(self) -> TensorQuantizationConfig:
        """Return the config with exactly the state that was suspended."""
        if self.suspended is None:
            return self
        return replace(self, state=self.suspended, suspended=None)


def _scheme(config: TensorQuantizationConfig) -> tuple[object, ...]:
    return (
        config.policy, config.bits, config.exponent_bits, config.quant_min, config.quant_max,
        config.rounding, config.channel_axis, config.block_size,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperationQuantizationConfig:
    """One config for every input and every output slot of an operation."""

    inputs: tuple[TensorQuantizationConfig, ...] = field(default=())
    outputs: tuple[TensorQuantizationConfig, ...] = field(default=())

    @staticmethod
    def of_floats(inputs: int, outputs: int) -> OperationQuantizationConfig:
        """Return the config of an operation with so many slots, none of them quantized."""
        none = TensorQuantizationConfig()
        return OperationQuantizationConfig((none,) * inputs, (none,) * outputs)

    def slots(self) -> Iterator[tuple[str, int, TensorQuantizationConfig]]:
        """Yield ('in' or 'out', index, config) for every slot."""
        for index, config in enumerate(self.inputs):
            yield "in", index, config
        for index, config in enumerate(self.outputs):
            yield "out", index, config

    def with_slot(
        self, side: str, index: int, config: TensorQuantizationConfig
    ) -> OperationQuantizationConfig:
        """Return a copy with one slot's config replaced."""
        if side == "in":
            return replace(self, inputs=_put(self.inputs, index, config))
        return replace(self, outputs=_put(self.outputs, index, config))


def _put(
    configs: tuple[TensorQuantizationConfig, ...], index: int, config: TensorQuantizationConfig
) -> tuple[TensorQuantizationConfig, ...]:
    return (*configs[:index], config, *configs[index + 1 :])
