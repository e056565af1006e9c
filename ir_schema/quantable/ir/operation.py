"""Operations, and operations with a quantization config.

`QuantableOperation` follows PPQ's class of that name; what PPQ leaks is closed: originals are
immutable, suspension is part of each slot's config, and every method returns a new operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from quantable.ir import numerics
from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.errors import InvariantError, StateError, UnsupportedError
from quantable.ir.quantization import (
    OperationQuantizationConfig,
    QuantizationParameters,
    TensorQuantizationConfig,
)
from quantable.ir.region import CAPTURES, Region
from quantable.ir.states import State

Attribute = (
    int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | ContentRef | Region
)


@dataclass(frozen=True)
class Operation:
    """One operation in SSA form.

    Attributes:
        name: Unique in the graph.
        kind: ONNX operation type, prefixed with its domain where that is not ai.onnx
            (``Conv``, ``com.microsoft.Gelu``), or a Quantable kind (``quantable.Linear``,
            ``int.Conv``).
        inputs: Names of values; '' where an optional input is absent.
        outputs: Names of values; '' where an optional output is absent.
        attributes: By name; floats hold float32 values. NumPy numbers, booleans and lists are
            brought to the types of `Attribute`.
        sources: Names of the ONNX nodes that this operation came from, in the model's order.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ordered = {
            name: self._normal(name, value) for name, value in sorted(self.attributes.items())
        }
        object.__setattr__(self, "attributes", MappingProxyType(ordered))

    def _normal(self, name: str, value: object) -> Attribute:
        """Return an attribute in the one form that equal attributes have."""
        if type(value) in (str, ContentRef, Region):
            return value  # type: ignore[return-value] # narrowed by the line above
        if isinstance(value, (int, np.bool_, np.integer)):
            number = int(value)
            if -(1 << 63) <= number < 1 << 63:
                return number
        elif isinstance(value, (float, np.floating)):
            return float(value)
        elif isinstance(value, (tuple, list)):
            items = tuple(self._normal(name, item) for item in value)
            kinds = {type(item) for item in items}
            if kinds == {int, float}:
                return tuple(float(item) for item in items)  # type: ignore[arg-type] # numbers
            if not kinds or kinds in ({int}, {float}, {str}):
                return items  # type: ignore[return-value] # of one kind
        raise InvariantError(
            f"attribute '{name}': expected an int64, float, string, a tuple of one of them, "
            f"contents or a region, found {value!r:.80}",
            where=self.where(),
        )

    def where(self) -> str:
        """Return the place for messages: operation, kind and origin in the source model."""
        origin = f" from {', '.join(self.sources)}" if self.sources else ""
        return f"operation '{self.name}' ({self.kind}{origin})"

    @property
    def regions(self) -> Mapping[str, Region]:
        """The graphs inside it, by attribute name."""
        return {name: v for name, v in self.attributes.items() if isinstance(v, Region)}

    @property
    def captures(self) -> int:
        """How many of its last operands go to its regions as they are."""
        return self.int_attribute(CAPTURES)

    def attribute_contents(self) -> Iterator[ContentRef]:
        """Return what its attributes, and its regions, refer to in the store."""
        for value in self.attributes.values():
            if isinstance(value, ContentRef):
                yield value
            elif isinstance(value, Region):
                yield from value.contents()

    def int_attribute(self, name: str, default: int = 0) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise InvariantError(f"attribute '{name}': expected an integer", where=self.where())
        return value

    def ints_attribute(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        value = self.attributes.get(name, default)
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise InvariantError(f"attribute '{name}': expected integers", where=self.where())
        return tuple(int(v) for v in value)

    def float_attribute(self, name: str, default: float = 0.0) -> float:
        """Return a float attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)):
            raise InvariantError(f"attribute '{name}': expected a number", where=self.where())
        return float(value)

    def string_attribute(self, name: str, default: str = "") -> str:
        """Return a string attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise InvariantError(f"attribute '{name}': expected a string", where=self.where())
        return value


@dataclass(frozen=True, slots=True)
class BakedParameter:
    """A parameter stored as integers (bit patterns, where the policy is floating).

    Attributes:
        slot: Input slot of the operation.
        content: The integers, in the slot's storage type.
        row_digest: Digest of the row they were baked with; the row may not change any more.
    """

    slot: int
    content: ContentRef
    row_digest: str


@dataclass(frozen=True)
class QuantableOperation(Operation):
    """An operation with a config.

    Attributes:
        config: One config for every slot.
        platform: Name of the platform that the operation runs on.
        originals: (input slot, contents) of every parameter, as they were when the operation
            became quantable. Immutable.
        baked: Parameters stored as integers.
    """

    config: OperationQuantizationConfig = OperationQuantizationConfig()
    platform: str = ""
    originals: tuple[tuple[int, ContentRef], ...] = ()
    baked: tuple[BakedParameter, ...] = ()

    @staticmethod
    def create(
        operation: Operation,
        config: OperationQuantizationConfig,
        platform: str,
        parameters: Mapping[str, ContentRef],
    ) -> QuantableOperation:
        """Make an operation quantable; the present value of each parameter becomes its original.

        Args:
            operation: A plain operation.
            config: As many configs as the operation has input and output slots.
            platform: Where it runs.
            parameters: Contents by value name.
        """
        found = (len(config.inputs), len(config.outputs))
        expected = (len(operation.inputs), len(operation.outputs))
        if found != expected:
            raise InvariantError(
                f"expected configs for {expected} slots, found {found}", where=operation.where()
            )
        originals = tuple(
            (slot, parameters[name])
            for slot, name in enumerate(operation.inputs)
            if name in parameters
        )
        return QuantableOperation(
            operation.name, operation.kind, operation.inputs, operation.outputs,
            operation.attributes, operation.sources, config, platform, originals,
        )  # fmt: skip

    def plain(self) -> Operation:
        """Return the operation without its config."""
        return Operation(
            self.name, self.kind, self.inputs, self.outputs, self.attributes, self.sources
        )

    @property
    def is_dequantized(self) -> bool:
        """Whether any slot is suspended."""
        return any(config.suspended is not None for _, _, config in self.config.slots())

    def original(self, slot: int) -> ContentRef | None:
        """Return the contents that a parameter had when the operation became quantable."""
        return dict(self.originals).get(slot)

    def baked_parameter(self, slot: int) -> BakedParameter | None:
        """Return the integers stored for a parameter."""
        return next((b for b in self.baked if b.slot == slot), None)

    def store_originals(self, parameters: Mapping[str, ContentRef]) -> QuantableOperation:
        """Store the originals of an operation that has none (a copy).

        Raises:
            StateError: The operation has originals already, or is baked.
        """
        if self.originals or self.baked:
            raise StateError(
                "originals are stored once, when the operation becomes quantable; "
                "storing them again would lose them",
                where=self.where(),
                help="use dequantize() to run with the originals",
            )
        fresh = QuantableOperation.create(self.plain(), self.config, self.platform, parameters)
        return replace(self, originals=fresh.originals)

    def dequantize(self, *, parameters_only: bool = False) -> QuantableOperation:
        """Suspend quantization: the runtime sees originals and no quantization.

        Any number of calls is the same as one. After ``parameters_only=True``, a full call still
        suspends the rest.
        """
        parameter_slots = {slot for slot, _ in self.originals}
        config = self.config
        for side, index, slot in self.config.slots():
            if not parameters_only or (side == "in" and index in parameter_slots):
                config = config.with_slot(side, index, slot.suspend())
        return replace(self, config=config)

    def restore_quantize_state(self) -> QuantableOperation:
        """Bring back exactly the states that `dequantize` suspended."""
        config = self.config
        for side, index, slot in self.config.slots():
            config = config.with_slot(side, index, slot.restore())
        return replace(self, config=config)

    def bake_parameters(
        self,
        parameters: Mapping[str, ContentRef],
        rows: Mapping[str, QuantizationParameters],
        store: ContentStore,
    ) -> QuantableOperation:
        """Store each parameter whose config is in force as integers.

        Args:
            parameters: Current contents by value name.
            rows: Quantization parameters by id.
            store: Where the integers go.

        Raises:
            StateError: The operation is dequantized.
            UnsupportedError: Nothing can be stored: the policy is dynamic, no type holds floats of
                its width, or the contents are no numbers.
        """
        if self.is_dequantized:
            raise StateError("cannot bake a dequantized operation", where=self.where(),
                             help="call restore_quantize_state() first")  # fmt: skip
        config, baked = self.config, list(self.baked)
        for slot, _ in self.originals:
            held = self.config.inputs[slot]
            if not held.state.is_in_force:
                continue
            values = store.get(parameters[self.inputs[slot]])
            self._check_storable(slot, held, values)
            row = rows[held.row]
            integers = numerics.quantize(values, held, row)  # type: ignore[arg-type] # float by dispatch
            baked.append(BakedParameter(slot, store.put(integers, held.storage), row.digest))
            state = State.BAKED if held.state is State.ACTIVATED else State.PASSIVE_BAKED
            config = config.with_slot("in", slot, held.moved(state, f"{self.where()} in{slot}"))
        return replace(self, config=config, baked=tuple(baked))

    def _check_storable(
        self, slot: int, held: TensorQuantizationConfig, values: npt.NDArray[np.generic]
    ) -> None:
        where = f"{self.where()} in{slot}"
        if held.policy.dynamic or not held.has_storage:
            floating = f" of {held.bits} bits with {held.exponent_bits} exponent bits"
            raise UnsupportedError(
                "cannot bake a parameter: expected a static policy, and integers or floats that "
                f"have a type, found '{held.policy}'{floating * held.policy.is_floating}",
                where=where,
                help="it quantizes on the fly in the reference runtime; leave out 'bake', or "
                "give the slot another policy",
            )
        if held.policy.is_floating and np.isnan(values).any():
            raise UnsupportedError(
                f"cannot bake parameter '{self.inputs[slot]}': expected numbers, found NaN",
                where=where, help="mend the weights of the model",
            )  # fmt: skip

    def unbake_parameters(self) -> QuantableOperation:
        """Give up the stored integers; the slots quantize on the fly again.

        Raises:
            StateError: The operation is dequantized.
        """
        config = self.config
        for slot, held in enumerate(self.config.inputs):
            if (held.suspended or held.state).is_baked:
                state = State.ACTIVATED if held.state is State.BAKED else State.PASSIVE
                moved = held.moved(state, f"{self.where()} in{slot}")
                config = config.with_slot("in", slot, moved)
        return replace(self, config=config, baked=())

    def with_slot(
        self, side: str, index: int, config: TensorQuantizationConfig
    ) -> QuantableOperation:
        """Return the operation with one slot's config replaced."""
        return replace(self, config=self.config.with_slot(side, index, config))

    def copy(self) -> QuantableOperation:
        """Return basic information and config, suspended states included; not the values."""
        return replace(self, originals=(), baked=())
