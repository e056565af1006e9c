"""PyTorch modules to ONNX files, through torch.export and torch's ONNX exporter.

The bytes depend on the module, the inputs' shapes and the versions of torch and onnxscript alone.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quantable.exporters.naming import name_nodes
from quantable.ir import ModelError, OptionError, UserError, Value
from quantable.reference.tensors import IR_TYPES, torch_type

Example = tuple[torch.Tensor, ...] | Mapping[str, torch.Tensor]
_SMALLEST = 2
"""Size of the first symbolic dimension in example inputs; torch.export fixes sizes 0 and 1."""


@dataclass(frozen=True)
class _Call:
    """A call of the module: example inputs by the names of its parameters, and what varies."""

    arguments: Mapping[str, torch.Tensor]
    dynamic: Mapping[str, Mapping[int, str]]


def export_module(
    module: nn.Module,
    path: Path,
    *,
    label: str,
    inputs: Sequence[Value] = (),
    example: Example | None = None,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    opset: int | None = None,
    output_names: Sequence[str] = (),
) -> list[Value]:
    """Write a module as an ONNX file, in evaluation mode; the module is left as it was.

    Args:
        module: The network.
        path: The file.
        label: What messages call the module.
        inputs: Types and shapes of the inputs, symbolic dimensions by name; a name '' stands for
            the parameter in that place. Instead of an example.
        example: Inputs to call the module with, in order or by name.
        dynamic: Symbols by input name and axis, for an example.
        opset: Of the file; by default the exporter's own.
        output_names: Names of the outputs, in order; by default the exporter's.

    Returns:
        Name, type and shape of every input, symbolic dimensions by name.

    Raises:
        UserError: onnxscript is not installed.
        OptionError: Inputs are missing or do not fit the module's parameters, or the exporter
            cannot write the opset or has another number of outputs.
        ModelError: The module cannot be called or exported.
    """
    _require_onnxscript()
    call = _call(module, label, inputs, example, dynamic or {})
    training = {name: held.training for name, held in module.named_modules()}
    module.eval()
    try:
        with quiet():
            model = _exported(module, call, label, opset, output_names)
    finally:
        for name, held in module.named_modules():
            held.training = training[name]
    _check(model.model, label, opset, output_names)
    model.model.graph.name = type(module).__name__
    name_nodes(model.model, [name for name, _ in module.named_modules()])
    model.save(str(path))
    return [_value(name, held, call) for name, held in call.arguments.items()]


def _value(name: str, tensor: torch.Tensor, call: _Call) -> Value:
    axes = call.dynamic.get(name, {})
    shape = tuple(axes.get(axis, int(dim)) for axis, dim in enumerate(tensor.shape))
    return Value(name, IR_TYPES[tensor.dtype], shape)


def _require_onnxscript() -> None:
    try:
        import onnxscript
    except ImportError as error:
        raise UserError(
            "onnxscript is not installed, which torch's ONNX exporter needs",
            help="pip install 'quantable[pytorch]'",
        ) from error
    del onnxscript


# ---------------------------------------------------------------- inputs


def _call(
    module: nn.Module,
    label: str,
    inputs: Sequence[Value],
    example: Example | None,
    dynamic: Mapping[str, Mapping[int, str]],
) -> _Call:
    names, most = _parameters(module)
    if example is None and not inputs:
        raise OptionError(
            f"expected the shapes of its inputs ({', '.join(names) or 'none'}), found nothing",
            where=label,
            help="give --input-shape NAME=1x3x224x224 for each, or --example FILE.py:INPUTS",
        )
    if example is None:
        named = [value.name for value in inputs]
        tensors = _tensors(inputs)
        order = {name: i for i, name in enumerate(_matched(named, names, most, label))}
        dynamic = {
            name: found
            for name, i in order.items()
            if (found := {a: d for a, d in enumerate(inputs[i].shape or ()) if isinstance(d, str)})
        }
    else:
        named = [*example] if isinstance(example, Mapping) else [""] * len(example)
        tensors = [*example.values()] if isinstance(example, Mapping) else [*example]
        order = {name: i for i, name in enumerate(_matched(named, names, most, label))}
        for name, axes in dynamic.items():
            if name not in order or any(axis >= tensors[order[name]].dim() for axis in axes):
                raise OptionError(
                    f"dynamic: expected inputs {', '.join(order)} and axes that they have, found "
                    f"{name}.{max(axes)}", where=label,
                )  # fmt: skip
    ranks = {name: rank for rank, name in enumerate(names)}
    ordered = sorted(order, key=lambda name: ranks.get(name, len(ranks)))
    return _Call({name: tensors[order[name]] for name in ordered}, dynamic)


def _parameters(module: nn.Module) -> tuple[list[str], int | None]:
    """Return the names of forward's parameters, and how many it takes; None for any number."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [p.name for p in parameters if p.kind not in kinds]
    return names, None if any(p.kind in kinds for p in parameters) else len(names)


def _matched(given: Sequence[str], names: Sequence[str], most: int | None, label: str) -> list[str]:
    """Return the parameter that each input is for."""
    found = []
    for place, name in enumerate(given):
        own = name or (names[place] if place < len(names) else f"input_{place}")
        if (most is not None and own not in names) or own in found:
            raise OptionError(
                f"expected inputs {', '.join(names)}, found {own} in place {place}", where=label
            )
        found.append(own)
    return found


def _tensors(inputs: Sequence[Value]) -> list[torch.Tensor]:
    symbols = dict.fromkeys(
        dim for value in inputs for dim in value.shape or () if isinstance(dim, str)
    )
    sizes = {symbol: _SMALLEST + place for place, symbol in enumerate(symbols)}
    generator = torch.Generator().manual_seed(0)
    made = []
    for value in inputs:
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in value.shape or ()]
        if value.dtype.is_float:
            made.append(torch.rand(shape, generator=generator).to(torch_type(value.dtype)))
        else:
            made.append(torch.zeros(shape, dtype=torch_type(value.dtype)))
    return made


# ---------------------------------------------------------------- export


def _dynamic_shapes(call: _Call) -> tuple[dict[int, Any], ...]:
    symbols = {symbol for axes in call.dynamic.values() for symbol in axes.values()}
    dims = {symbol: torch.export.Dim(symbol) for symbol in sorted(symbols)}
    return tuple(
        {axis: dims[symbol] for axis, symbol in call.dynamic.get(name, {}).items()}
        for name in call.arguments
    )


def _exported(
    module: nn.Module, call: _Call, label: str, opset: int | None, output_names: Sequence[str]
) -> Any:
    try:
        return torch.onnx.export(
            module, tuple(call.arguments.values()), dynamo=True, verbose=False,
            opset_version=opset, output_names=list(output_names) or None,
            dynamic_shapes=_dynamic_shapes(call),
        )  # fmt: skip
    except Exception as error:
        node = re.search(r"translating node %(\w+)", " ".join(map(str, _causes(error))))
        cause = next(_causes(error))
        if node is None:
            raise _uncaptured(cause, module, call, label) from error
        raise ModelError(
            f"torch's ONNX exporter cannot convert it: {_reason(cause)}",
            where=_module_of(module, call, node[1], label),
            help="replace this operation in the module by ones that ONNX has",
        ) from error


def _check(model: Any, label: str, opset: int | None, output_names: Sequence[str]) -> None:
    """Raise where the exporter did otherwise than it was told, which it does without a word."""
    found = model.opset_imports[""]
    if opset not in (None, found):
        raise OptionError(
            f"opset: torch's exporter cannot write {opset}, it wrote {found}", where=label,
            help="leave it out: the import upgrades what is older than it needs",
        )  # fmt: skip
    names = [value.name for value in model.graph.outputs]
    if output_names and [*output_names] != names:
        raise OptionError(
            f"names of outputs: expected {len(names)}, found {len(output_names)}", where=label,
            help=f"the exporter's own are {', '.join(names)}",
        )  # fmt: skip


def _uncaptured(cause: BaseException, module: nn.Module, call: _Call, label: str) -> ModelError:
    given = ", ".join(f"{name}{list(t.shape)}" for name, t in call.arguments.items())
    return ModelError(
        f"torch.export cannot capture it for inputs {given}: {_reason(cause)}",
        where=_place(cause, module, label),
        help="write it without decisions that depend on the values of tensors, and give "
        "inputs of shapes that it takes; fix dimensions that cannot vary",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, from the inside out."""
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
    yield error


_LINE = re.compile(r'File "([^"]+)", line (\d+), in forward')


def _reason(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"\x1b\[\d+m", "", text)


def _place(error: BaseException, module: nn.Module, label: str) -> str:
    """Return the innermost module whose forward was running, and the line in it."""
    names = {id(held): name for name, held in module.named_modules()}
    place = label
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = names.get(id(frame.f_locals.get("self")))
        if name is not None and frame.f_code.co_name == "forward":
            held = type(frame.f_locals["self"]).__name__
            inner = f"module '{name}' ({held})" if name else held
            place = f"{label}: {inner}, line {line} of {Path(frame.f_code.co_filename).name}"
    if place == label and (found := _LINE.search(str(error))):
        return f"{label}: line {found[2]} of {Path(found[1]).name}"
    return place


def _module_of(module: nn.Module, call: _Call, node_name: str, label: str) -> str:
    """Return the module that a node of the decomposed program lies in."""
    program = torch.export.export(module, tuple(call.arguments.values()), strict=False)
    for node in program.run_decompositions().graph.nodes:
        stack = node.meta.get("nn_module_stack") if node.name == node_name else None
        if stack:
            path, held = list(stack.values())[-1]
            kind = str(held).rpartition(".")[2]
            return f"{label}: module '{path}' ({kind})" if path else f"{label}: {kind}"
    return label


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's advice about itself away from the user."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
