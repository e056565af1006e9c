"""Operations that a user defines, in parts that each layer takes its own of.

One `UserOperation` says everything about an operation: what it takes and makes, how its shape
follows, what quantization does with it, what it computes in floats and in integers, and its C. Its
functions are callables, or references ``package.module:name`` that are imported by the layer that
asks: a definition whose semantics are a reference is read without torch.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from quantable.ir.dtypes import DType
from quantable.ir.errors import OptionError
from quantable.ir.standard_operations import Role, StandardOperation

if TYPE_CHECKING:
    from quantable.ir.operation import Operation

Function = Callable[..., Any] | str
"""A function, or a reference to one: ``package.module:name``."""
SAME, BROADCAST = "same", "broadcast"
"""Shapes without a function: that of the first input; that of all inputs, broadcast."""
SCHEMES = ("activation", "weight", "bias", "float", "passive", "operand")
"""Schemes of slots, as target descriptions have them."""
ROLES = ("compute", "elementwise", "passive")
INTEGER_PREFIX = "int."
_WORD = re.compile(r"[A-Za-z_]\w*")
_DOMAIN = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
_RESERVED = ("", "ai.onnx", "int", "quantable", "com.microsoft")


@dataclass(frozen=True, slots=True)
class TensorType:
    """Type and shape of a tensor; a dimension is a number, the name of a symbol, or None where
    nothing is known of it."""

    dtype: DType
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class ShapeCall:
    """What a shape function is given.

    Attributes:
        operation: The operation, with all attributes.
        inputs: Type and shape of every input, None for an absent one.
        constants: Contents of the inputs that are known, by slot.
    """

    operation: Operation
    inputs: tuple[TensorType | None, ...]
    constants: Mapping[int, npt.NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuantizationRule:
    """What quantization does with an operation; the words are those of target descriptions.

    Attributes:
        role: 'compute' (quantization starts there), 'elementwise' (its output is quantized), or
            'passive' (elements only move: the output has the scale of the input).
        inputs: Scheme of each slot, the last one for all further ones: 'activation', 'weight',
            'bias', 'float' (stays real), 'operand' (an activation; a parameter stays real), or
            'passive' (a parameter with the scale of what it acts on).
        outputs: Likewise, 'activation' or 'float'.
        weight_axis: Channel axis of a weight.
        align: Whether inputs share a scale: 'none', 'output', or 'large'.
    """

    role: str = "elementwise"
    inputs: tuple[str, ...] = ("operand",)
    outputs: tuple[str, ...] = ("activation",)
    weight_axis: int = 0
    align: str = "none"


@dataclass(frozen=True, slots=True)
class Table:
    """Integer semantics of a function of one tensor: a table that its float semantics fill. Other
    inputs must be constants of one element."""


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Integer semantics in other integer operations.

    Attributes:
        function: Takes the operation and `quantable.passes.lower.lowering.Lowering`, and writes.
    """

    function: Function


@dataclass(frozen=True, slots=True)
class CKernel:
    """C11 of an integer operation.

    Attributes:
        source: A header with the functions, static ones, without quotes from elsewhere but the C
            library's. It may include `q_border.h` and other headers of Quantable's kernels.
        functions: Function by the element types of operands and output: ``"u8,i32->u8"``.
        arguments: What a call is given, in order: the name of an operand or of the output (a
            pointer), an attribute (a number, or a pointer to int32_t or float numbers),
            ``count(NAME)`` (its number of elements), ``shape(NAME)`` (a pointer to its dimensions,
            int32_t), ``rank(NAME)``.
    """

    source: str
    functions: Mapping[str, str]
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IntegerKernel:
    """Integer semantics of one's own: an integer operation with arithmetic that is defined here.

    Attributes:
        operands: What it reads: names of inputs, then names of parameters that `prepare` makes.
        prepare: Takes a `Preparation`, returns a `Prepared`.
        semantics: Takes a torch tensor an operand (integers in their type) and the attributes by
            name; returns the integers of the output. The definition of the result.
        attributes: Names that `prepare` gives, besides those of the operation.
        c: The same in C; None where targets that need C are refused.
        is_elementwise: Whether each element of the output depends on that of the same place in the
            inputs alone, and, where there is an attribute ``axis``, on its index along that axis:
            then it works in any layout.
    """

    operands: tuple[str, ...]
    prepare: Function
    semantics: Function
    attributes: tuple[str, ...] = ()
    c: CKernel | None = None
    is_elementwise: bool = False


@dataclass(frozen=True)
class Preparation:
    """What `IntegerKernel.prepare` is given.

    Attributes:
        operation: The float operation.
        inputs: Grid of every quantized input, by name: ``real = (q - zero_point) * scale``, with
            `dtype`, `low`, `high`, `quantize(reals)` and `dequantize(integers)`.
        output: Grid of the output.
        constants: Contents of the inputs that stay real, by name.
    """

    operation: Operation
    inputs: Mapping[str, Any]
    output: Any
    constants: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Prepared:
    """What `IntegerKernel.prepare` returns: attributes, and (contents, element type) of parameters
    by name."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, tuple[npt.ArrayLike, DType]] = field(default_factory=dict)


@dataclass(frozen=True)
class UserOperation:
    """One operation of a user.

    Attributes:
        domain: Of the ONNX node, such as ``com.example``; none that Quantable knows.
        name: Type of the ONNX node.
        inputs: Names; a trailing ``?`` marks an optional one.
        outputs: Names.
        shape: `SAME`, `BROADCAST`, or a function of a `ShapeCall` that returns a `TensorType` an
            output.
        semantics: Takes a torch tensor an input (None where one is absent) and the attributes by
            name; returns the output or a tuple of them. It must not write to its inputs.
        versions: Versions of the domain in which the operation is this one.
        attributes: Default by name; None where it must be given.
        rule: What quantization does; None: it stays float.
        integer: Integer semantics; None: integer-only targets refuse it.
        summary: One line.
    """

    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: Function
    semantics: Function
    versions: tuple[int, ...] = (1,)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    rule: QuantizationRule | None = None
    integer: Table | Decomposition | IntegerKernel | None = None
    summary: str = ""

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise OptionError(problem, where=f"user operation '{self.kind}'")

    @property
    def kind(self) -> str:
        """The kind of its operations in a graph."""
        return f"{self.domain}.{self.name}"

    @property
    def integer_kind(self) -> str:
        """The kind of its own integer operation."""
        return f"{INTEGER_PREFIX}{self.kind}"

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(name.rstrip("?") for name in self.inputs)

    @property
    def row(self) -> StandardOperation:
        """The operation as a row of the table of operations."""
        return StandardOperation(
            self.kind, "user", self.versions, self.inputs, self.outputs,
            tuple(sorted(self.attributes)), True, Role.FLOAT, "",
        )  # fmt: skip

    @property
    def kernel(self) -> IntegerKernel | None:
        """The integer kernel, if that is what its integer semantics are."""
        return self.integer if isinstance(self.integer, IntegerKernel) else None


def _problems(op: UserOperation) -> Iterator[str]:
    if op.domain in _RESERVED or not _DOMAIN.fullmatch(op.domain):
        yield f"expected a domain of one's own, such as com.example, found '{op.domain}'"
    words = [op.name, *op.input_names, *op.outputs, *op.attributes]
    odd = [word for word in words if not _WORD.fullmatch(word)]
    if odd or not op.inputs or not op.outputs or not op.versions:
        yield f"expected names of inputs, outputs and attributes, and versions, found {odd or '()'}"
    if len({*op.input_names, *op.outputs}) < len(op.inputs) + len(op.outputs):
        yield "expected different names of inputs and outputs"
    if isinstance(op.shape, str) and op.shape not in (SAME, BROADCAST) and ":" not in op.shape:
        yield f"shape: expected 'same', 'broadcast' or a function, found '{op.shape}'"
    rule, kernel = op.rule, op.kernel
    if rule is not None:
        if rule.role not in ROLES or rule.align not in ("none", "output", "large"):
            yield f"rule: expected a role of {', '.join(ROLES)}, found '{rule.role}' '{rule.align}'"
        unknown = {*rule.inputs, *rule.outputs} - {*SCHEMES}
        if unknown or not rule.inputs or not rule.outputs:
            yield f"rule: expected schemes of {', '.join(SCHEMES)}, found {sorted(unknown)}"
    if rule is None and op.integer is not None and not isinstance(op.integer, Table):
        yield "integer semantics need a rule: expected one, found none"
    if kernel is not None and len(op.outputs) != 1:
        yield f"an integer kernel makes one output, found {len(op.outputs)}"


def resolved(function: Function) -> Callable[..., Any]:
    """Return a function, imported where it is a reference.

    Raises:
        OptionError: There is no such module or name.
    """
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionError(
            f"expected a function at '{function}', found none: {error}",
            help="a reference is package.module:name",
        ) from error
    return found
