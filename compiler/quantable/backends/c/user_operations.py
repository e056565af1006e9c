"""User operations in C: the definition's header, and a call of the function that fits the types."""

from __future__ import annotations

import math
import re

from quantable.backends.c.text import braces, number
from quantable.backends.c.unit import Step
from quantable.ir import OptionError, UnsupportedError, Value
from quantable.ir.operation_library import registered
from quantable.ir.user_operations import CKernel, UserOperation

_FUNCTION = re.compile(r"(count|shape|rank)\((\w+)\)")
_LAYOUT = "layout"


def header_name(kind: str) -> str:
    """Return the name of the file with a user operation's functions."""
    words = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")
    return f"user_{words}.h"


def emit_user_operation(step: Step) -> bool:
    """Emit a user's integer operation; returns whether it is one.

    Raises:
        UnsupportedError: Its definition has no C for these types.
        OptionError: It names arguments that there are not.
    """
    op = step.operation
    held = registered(step.unit.graph, op.kind)
    kernel = None if held is None else held.definition.kernel
    if held is None or kernel is None or op.kind != held.definition.integer_kind:
        return False
    if kernel.c is None:
        raise UnsupportedError(
            f"its definition in package '{held.package}' has no C", where=op.where()
        )
    names = dict(zip(kernel.operands, op.inputs, strict=True))
    names[held.definition.outputs[0]] = op.outputs[0]
    values = {name: step.value(value) for name, value in names.items()}
    function = _function(step, kernel.c, values, held.definition)
    header = header_name(held.definition.kind)
    step.unit.user_headers[header] = kernel.c.source
    step.shared(function, header)
    step.call(function, *(_argument(step, text, names) for text in kernel.c.arguments))
    return True


def _function(step: Step, c: CKernel, values: dict[str, Value], definition: UserOperation) -> str:
    *operands, output = [value.dtype.value for value in values.values()]
    found = f"{','.join(operands)}->{output}"
    if found not in c.functions:
        raise UnsupportedError(
            f"expected C for one of {'; '.join(sorted(c.functions))}, found {found}",
            where=step.operation.where(),
            help=f"add a function to the definition of '{definition.kind}'",
        )
    return c.functions[found]


def _argument(step: Step, text: str, names: dict[str, str]) -> str:
    """Return the C of one argument."""
    op = step.operation
    if text in names:
        return step.pointer(names[text])
    match = _FUNCTION.fullmatch(text)
    if match is not None and match[2] in names:
        shape = step.shape(step.value(names[match[2]]))
        if match[1] == "count":
            return str(math.prod(shape))
        return str(len(shape)) if match[1] == "rank" else _numbers(step, text, shape)
    value = op.attributes.get(text)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, tuple) and value and not isinstance(value[0], str):
        return _numbers(step, text, value)
    raise OptionError(
        f"its definition passes '{text}' to C: expected an operand, the output, a number among the "
        f"attributes, or count(), shape(), rank(), found {type(value).__name__}",
        where=op.where(), help=f"operands: {', '.join(names)}",
    )  # fmt: skip


def _numbers(step: Step, text: str, values: tuple[int, ...] | tuple[float, ...]) -> str:
    """Add an array of numbers and return its name."""
    name = f"{re.sub(r'[^a-z0-9]+', '_', text.lower()).strip('_')}_values"
    if all(isinstance(value, int) for value in values):
        step.lines.append(f"static const int32_t {name}[] = {braces(int(v) for v in values)};")
    else:
        numbers = ", ".join(number(value) for value in values)
        step.lines.append(f"static const float {name}[] = {{{numbers}}};")
    return name
