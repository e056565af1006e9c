"""What the code of one network collects: kernel instances, constants, and steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.border import Border, static_shape
from quantable.backends.c.contract import contract_of, fixed_point
from quantable.backends.c.push import find_push
from quantable.backends.c.storage import Storage
from quantable.backends.c.text import C_TYPES, MINIMA
from quantable.ir import DType, Graph, Operation, Ring, UnsupportedError, Value
from quantable.ir.streaming import Axis
from quantable.targets.kernel_sets import KernelSet


@dataclass(frozen=True, slots=True)
class Instance:
    """A kernel family instantiated for element types: its header and the macros to define."""

    header: str
    macros: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Constant:
    """A constant array: its symbol, element type, contents and alignment (0: that of its type)."""

    symbol: str
    dtype: DType
    array: npt.NDArray[np.generic]
    alignment: int


class Unit:
    """The code of one network in the making."""

    def __init__(self, graph: Graph, border: Border, prefix: str, kernels: KernelSet) -> None:
        self.graph = graph
        self.kernels = kernels
        self.border = border
        self.prefix = prefix
        self.contract = contract_of(graph)
        self.storage = Storage(graph, border)
        self.instances: dict[Instance, None] = {}
        self.user_headers: dict[str, str] = {}
        self._constants: dict[tuple[DType, bytes, int], Constant] = {}
        streams = graph.plan.streams if graph.plan else ()
        self.streams = {name: stream for stream in streams for name in stream.operations}
        self.push = find_push(graph, border, kernels)
        self.rings = {name: ring for stream in streams for name, ring in stream.rings.items()}

    @property
    def constants(self) -> list[Constant]:
        """Every constant once, in the order of first use."""
        return list(self._constants.values())

    def constant(
        self, symbol: str, array: npt.NDArray[np.generic], dtype: DType, alignment: int = 0
    ) -> str:
        """Add a constant and return its symbol; equal contents share one."""
        typed = np.ascontiguousarray(array, dtype.numpy)
        key = (dtype, typed.tobytes(), alignment)
        held = self._constants.setdefault(key, Constant(symbol, dtype, typed, alignment))
        return held.symbol


class Step:
    """One operation in the making: parameters, kernel calls, cost.

    Attributes:
        lines: Statements of its function.
        is_shared: Whether threads can share it; else one of them does it.
        is_portable: Whether a kernel of the set for all machines does it.
        meetings: How often threads wait for each other within it.
        size: Whether it is worth sharing, see `quantable.backends.c.sharing`.
        macs: Products that are summed up.
        weight_bytes: Of its constants.
    """

    def __init__(self, unit: Unit, index: int, operation: Operation) -> None:
        self.unit = unit
        self.index = index
        self.operation = operation
        self.lines: list[str] = []
        self.is_shared = False
        self.is_portable = True
        self.meetings = 0
        self.size = 0
        self.macs = 0
        self.weight_bytes = 0

    @property
    def name(self) -> str:
        """The name of the step's function."""
        return f"{self.unit.prefix}_step_{self.index}"

    def value(self, name: str) -> Value:
        return self.unit.graph.values[name]

    def input(self, slot: int) -> Value:
        return self.value(self.operation.inputs[slot])

    def output(self, slot: int = 0) -> Value:
        return self.value(self.operation.outputs[slot])

    def shape(self, value: Value) -> tuple[int, ...]:
        return static_shape(value)

    def array(self, slot: int) -> npt.NDArray[np.generic]:
        """Return the contents of an input that must be constant.

        Raises:
            UnsupportedError: It is not.
        """
        name = self.operation.inputs[slot]
        if not self.unit.graph.is_parameter(name):
            raise UnsupportedError(
                f"expected input {slot} to be constant, found '{name}'",
                where=self.operation.where(),
            )
        return self.unit.graph.array(name)

    def has_input(self, slot: int) -> bool:
        return slot < len(self.operation.inputs) and bool(self.operation.inputs[slot])

    def constant(
        self, role: str, array: npt.NDArray[np.generic], dtype: DType, alignment: int = 0
    ) -> str:
        """Add a constant that belongs to this step and return its symbol."""
        symbol = f"{self.unit.prefix}_{role}_{self.index}"
        self.weight_bytes += array.size * np.dtype(dtype.numpy).itemsize
        return self.unit.constant(symbol, array, dtype, alignment)

    def pointer(self, name: str) -> str:
        """Return the C expression that points to a value, constant or not."""
        value = self.value(name)
        if self.unit.graph.is_parameter(name):
            role = f"operand{self.operation.inputs.index(name)}"
            return self.constant(role, self.unit.graph.array(name), value.dtype)
        return self.unit.storage.place(name).pointer(value.dtype)

    @property
    def is_streamed(self) -> bool:
        """Whether it makes some rows at a time: `count` ones, from row `first` on."""
        push = self.unit.push
        is_pushed = push is not None and self.operation.name in push.stream.operations
        return is_pushed or self.operation.name in self.unit.streams

    def written(self, name: str) -> str:
        """Return the expression that points to where a value's row `first` lies."""
        if not self.is_streamed:
            return self.pointer(name)
        shape, ring = self.shape(self.value(name)), self.unit.rings.get(name)
        row = f"(first + {ring.phase}) % {ring.rows}" if ring else "first"
        return f"{self.pointer(name)} + (ptrdiff_t)({row}) * {shape[2] * shape[3]}"

    def count(self) -> str:
        """Return how many elements of the output it makes, as C text."""
        shape = self.shape(self.output())
        return f"count * {shape[2] * shape[3]}" if self.is_streamed else str(math.prod(shape))

    def rows(self, axis: Axis) -> str:
        """Add which rows of the output a window kernel makes; return the pointer to that."""
        x = self.operation.inputs[0]
        ring = self.unit.rings.get(x, Ring(axis.inputs))
        is_given = self.unit.push is not None and x == self.unit.border.inputs[0].value
        place = "t->kept, 0" if is_given else f"{ring.rows}, {ring.phase}"
        if self.is_streamed:
            self.lines.append(f"const q_rows rows = {{first, count, {place}}};")
        else:
            self.lines.append(f"static const q_rows rows = {{0, {axis.outputs}, {place}}};")
        return "&rows"

    def kernel(self, stem: str, header: str, **types: DType) -> str:
        """Instantiate a kernel family and return the name of one of its functions.

        Args:
            stem: The function without its tag (``q_conv``).
            header: The family's header.
            types: The element types by macro, without the ``Q_`` (``X=...``, ``Y=...``); with X
                given, ``MIN`` is added.
        """
        macros = [(f"Q_{key}", C_TYPES[dtype]) for key, dtype in types.items()]
        if header in ("q_unary.h", "q_pool.h"):
            macros.append(("Q_MIN", MINIMA[types["X"]]))
        tag = "_".join(dtype.value for dtype in types.values())
        macros.append(("Q_TAG", tag))
        self.unit.instances[Instance(header, tuple(macros))] = None
        return f"{stem}_{tag}"

    def instance(self, stem: str, header: str, macros: Mapping[str, str], tag: str) -> str:
        """Instantiate a kernel family with macros, named without the ``Q_``, and return its name.

        Args:
            stem: The function without its tag.
            header: The family's header.
            macros: All but the tag.
            tag: Tells the instance from all others with other macros.
        """
        pairs = [(f"Q_{key}", text) for key, text in macros.items()]
        self.unit.instances[Instance(header, (*pairs, ("Q_TAG", tag)))] = None
        return f"{stem}_{tag}"

    def shared(self, function: str, header: str) -> str:
        """Include the header of a kernel that is no template, and return its name."""
        self.unit.instances[Instance(header, ())] = None
        return function

    def call(self, function: str, *arguments: str) -> None:
        """Add a kernel call."""
        self.lines.append(f"{function}({', '.join(arguments)});")

    def shared_call(self, function: str, *arguments: str) -> None:
        """Add a call of a kernel that does the share of a thread, named by its first argument."""
        self.is_shared = True
        self.call(function, "Q_SHARE(t)", *arguments)

    def meet(self) -> None:
        """Let threads wait for each other: what follows reads or overwrites what is done so far."""
        self.meetings += 1
        self.lines.append("Q_MEET(t);")

    def parameters(self, struct: str, fields: Sequence[str], *, is_static: bool = True) -> str:
        """Add the step's parameter block and return the expression that points to it."""
        static = "static " if is_static else ""
        self.lines.append(f"{static}const {struct} p = {{{', '.join(fields)}}};")
        return "&p"

    def fact(self, *names: str) -> list[str]:
        """Return integer attributes as C text."""
        return [str(self.operation.int_attribute(name)) for name in names]

    def multiplier(self) -> str:
        """Return the scalar multiplier as C text."""
        return self.unit.contract.multiplier(self.operation.float_attribute("multiplier"))

    def multipliers(self, slot: int) -> str:
        """Add the multipliers of an input and return a pointer to them."""
        contract = self.unit.contract
        if contract.is_float:
            return self.constant("multiplier", self.array(slot), DType.FLOAT32)
        pairs = np.stack(fixed_point(self.array(slot).reshape(-1)), axis=1)
        symbol = self.constant("multiplier", pairs, DType.INT32)
        return f"(const q_multiplier *)(const void *){symbol}"

    def requantization(self) -> str:
        """Return the initializer of the `q_output`.

        Raises:
            UnsupportedError: The clamp leaves the output type.
        """
        dtype = self.output().dtype
        low, high = (self.operation.int_attribute(n) for n in ("clamp_min", "clamp_max"))
        if dtype not in MINIMA or not dtype.minimum <= low <= high <= dtype.maximum:
            raise UnsupportedError(
                f"expected a clamp inside an 8-bit or 16-bit type, found [{low}, {high}] of "
                f"{dtype.value}",
                where=self.operation.where(),
            )
        return f"{{{', '.join(self.fact('y_zero_point', 'clamp_min', 'clamp_max'))}}}"
