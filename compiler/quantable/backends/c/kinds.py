"""The table of what the C backend can emit: a function for every kind of operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quantable.backends.c import (
    aarch64,
    armv7em,
    armv81m,
    elements,
    movement,
    rv32,
    rvv,
    sequences,
    windows,
    x86,
)
from quantable.backends.c.border import BORDER_KINDS, Border, border, static_shape
from quantable.backends.c.sharing import sizes
from quantable.backends.c.unit import Step, Unit
from quantable.backends.c.user_operations import emit_user_operation
from quantable.ir import Graph, Level, Operation, OptionError, UnsupportedError
from quantable.targets.kernel_sets import (
    AARCH64,
    ARMV7EM,
    ARMV81M,
    PORTABLE,
    RV32,
    RVV,
    X86,
    KernelSet,
)

EMITTERS: dict[str, Callable[[Step], None]] = {
    "int.Conv": windows.emit_conv,
    "int.Linear": windows.emit_linear,
    "int.MaxPool": windows.emit_max_pool,
    "int.AveragePool": windows.emit_average_pool,
    "int.Add": elements.emit_add,
    "int.Mul": elements.emit_mul,
    "int.Requantize": elements.emit_requantize,
    "int.Table": elements.emit_table,
    "int.InterpolatedTable": elements.emit_interpolated_table,
    "int.ReduceMean": elements.emit_reduce_mean,
    "int.MatMul": sequences.emit_matmul,
    "int.Softmax": sequences.emit_softmax,
    "int.LayerNormalization": sequences.emit_layer_normalization,
    "Concat": movement.emit_concat,
    "Gather": movement.emit_gather,
    "Pad": movement.emit_pad,
    "Reshape": movement.emit_reshape,
    "Slice": movement.emit_slice,
    "Split": movement.emit_split,
    "Transpose": movement.emit_transpose,
}
"""By kind. int.Quantize and int.Dequantize are not steps: the caller converts at the border."""

SPECIAL: Mapping[str, Mapping[str, Callable[[Step], bool]]] = {
    PORTABLE.name: {},
    X86.name: x86.EMITTERS,
    AARCH64.name: aarch64.EMITTERS,
    ARMV7EM.name: armv7em.EMITTERS,
    ARMV81M.name: armv81m.EMITTERS,
    RV32.name: rv32.EMITTERS,
    RVV.name: rvv.EMITTERS,
}
"""By kernel set: its own table. One returns False, having added nothing, where no kernel of the set
suits an operation; then it is emitted from `EMITTERS`."""

_LIMIT = 2**31


def plan_unit(graph: Graph, prefix: str, kernels: KernelSet = PORTABLE) -> tuple[Unit, list[Step]]:
    """Turn a planned graph into steps.

    Args:
        graph: The graph.
        prefix: What symbols begin with.
        kernels: The set of kernels.

    Raises:
        OptionError: The graph is not at the planned level.
        UnsupportedError: Operations or values that cannot be emitted, all of them.
    """
    if graph.level is not Level.PLANNED or graph.plan is None:
        raise OptionError(
            f"the C backend emits planned graphs: expected level planned, found "
            f"{graph.level.value}",
            where=f"graph '{graph.name}'",
            help="run the passes of the groups lower and plan first",
        )
    if graph.plan.is_ordered and not kernels.is_ordered:
        raise OptionError(
            "the memory plan counts on kernels that make pixels in ascending order, which those of "
            f"'{kernels.name}' do not",
            where=f"graph '{graph.name}'",
            help="plan the integer graph again for this target",
        )
    found: Border = border(graph)
    unit, steps, problems = Unit(graph, found, prefix, kernels), [], []
    borders = {t.value: t for t in (*found.inputs, *found.outputs)}
    for index, operation in enumerate(graph.operations):
        if operation.kind in BORDER_KINDS and borders.keys() & {
            *operation.inputs,
            *operation.outputs,
        }:
            continue
        try:
            steps.append(_step(unit, index, operation))
        except UnsupportedError as error:
            problems.append(error)
    if problems:
        listed = "\n  ".join(str(problem) for problem in problems)
        raise UnsupportedError(
            f"{len(problems)} operations cannot be emitted as C:\n  {listed}",
            where=f"graph '{graph.name}'",
        )
    if kernels.has_threads:
        active = [step for step in steps if step.lines]
        for step, size in zip(active, sizes(active), strict=True):
            step.size = size
    return unit, steps


def _step(unit: Unit, index: int, operation: Operation) -> Step:
    step = Step(unit, index, operation)
    for name in (*operation.inputs, *operation.outputs):
        if name and not unit.graph.is_parameter(name):
            shape = static_shape(step.value(name))
            elements_ = 1
            for dim in shape:
                elements_ *= dim
            if elements_ >= _LIMIT:
                raise UnsupportedError(
                    f"value '{name}' has {elements_} elements, expected fewer than 2**31",
                    where=operation.where(),
                )
    emitter = EMITTERS.get(operation.kind)
    if emitter is None:
        if not emit_user_operation(step):
            raise UnsupportedError("the C backend has no kernel for it", where=operation.where())
        return step
    special = SPECIAL[unit.kernels.name].get(operation.kind)
    step.is_portable = special is None or not unit.contract.is_float or not special(step)
    if step.is_portable:
        emitter(step)
    return step
