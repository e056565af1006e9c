"""Lower user operations, as their definitions say."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, OptionError, QuantableError, QuantableOperation
from quantable.ir.operation_library import registered
from quantable.ir.user_operations import (
    Decomposition,
    IntegerKernel,
    Preparation,
    Prepared,
    Table,
    UserOperation,
    resolved,
)
from quantable.passes.lower.grids import Grid
from quantable.passes.lower.lowering import Lowering
from quantable.passes.lower.tables import lower_unary

Rule = Callable[[QuantableOperation, Lowering], None]


def user_rule(graph: Graph, kind: str) -> Rule | None:
    """Return what lowers a kind of user operation, None where nothing does.

    Raises:
        UserError: The definition that the graph was imported with is not here.
    """
    held = registered(graph, kind)
    integer = None if held is None else held.definition.integer
    if held is None or integer is None:
        return None
    if isinstance(integer, Table):
        return lower_unary
    if isinstance(integer, Decomposition):
        return functools.partial(_lower_by, resolved(integer.function))
    return functools.partial(_lower_kernel, held.definition, integer)


def _lower_by(
    function: Callable[..., None], operation: QuantableOperation, lowering: Lowering
) -> None:
    _explained(operation, function, operation, lowering)
    missing = [name for name in operation.outputs if name and not lowering.is_written(name)]
    if missing:
        raise OptionError(
            f"its definition writes nothing for {', '.join(missing)} when it is lowered",
            where=operation.where(), help="call lowering.emit with lowering.target(operation)",
        )  # fmt: skip


def _explained(operation: QuantableOperation, function: Callable[..., Any], *given: Any) -> Any:
    """Call a user's function; what it raises is the definition's fault."""
    try:
        return function(*given)
    except QuantableError:
        raise
    except Exception as error:
        raise OptionError(
            f"its definition raises {type(error).__name__} when it is lowered: {error}",
            where=operation.where(), help="look at the function that the definition names",
        ) from error  # fmt: skip


def _lower_kernel(
    definition: UserOperation,
    kernel: IntegerKernel,
    operation: QuantableOperation,
    lowering: Lowering,
) -> None:
    """Lower to an integer operation with arithmetic of its own."""
    target = lowering.target(operation)
    names: dict[str, str] = {}
    grids: dict[str, Grid] = {}
    constants: dict[str, npt.NDArray[np.float32]] = {}
    for slot, name in enumerate(definition.input_names[: len(operation.inputs)]):
        value = operation.inputs[slot]
        if not value:
            continue
        if lowering.graph.is_parameter(value) and not operation.config.inputs[slot].row:
            real = lowering.reals(operation, slot)
            assert real is not None  # the slot is there
            constants[name] = real
        else:
            tensor = lowering.read(operation, slot)
            names[name], grids[name] = tensor.name, tensor.grid
    plain = operation.plain()
    given = Preparation(plain, grids, target.grid, constants)
    prepared = _explained(operation, resolved(kernel.prepare), given)
    _check(operation, kernel, prepared, names)
    for name, (contents, dtype) in prepared.parameters.items():
        names[name] = lowering.add_parameter(f"{operation.name}.{name}", contents, dtype)
    attributes = {**operation.attributes, **prepared.attributes}
    operands = [names[name] for name in kernel.operands]
    lowering.emit(operation, definition.integer_kind, operands, target, attributes)


def _check(
    operation: QuantableOperation, kernel: IntegerKernel, prepared: Any, names: dict[str, str]
) -> None:
    if not isinstance(prepared, Prepared):
        raise OptionError(
            f"its definition: expected a Prepared, found {type(prepared).__name__}",
            where=operation.where(),
        )
    found = [*names, *prepared.parameters]
    missing = [name for name in kernel.operands if name not in found]
    different = {*kernel.attributes} ^ {*prepared.attributes}
    if missing or different:
        raise OptionError(
            f"its definition prepares other things than it says: operands missing: {missing}, "
            f"attributes: {sorted(different)}",
            where=operation.where(), help="see 'operands' and 'attributes' of its IntegerKernel",
        )  # fmt: skip
