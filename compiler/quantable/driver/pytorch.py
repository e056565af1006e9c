"""PyTorch networks in: what a user writes, and one call to the exporter."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantable.driver import runtime
from quantable.driver.operations import library_of
from quantable.ir import (
    DType,
    Graph,
    OperationLibrary,
    OptionError,
    StageRecord,
    UnknownNameError,
    UserError,
    Value,
)
from quantable.text.pipeline import parse_pipeline
from quantable.text.spelling import option_text

_REFERENCE = re.compile(r"(?:.+\.py|[A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*(?:\.\w+)*")
_SHAPE = re.compile(r"(?:(?P<name>\w+)=)?(?P<dims>[\w,]*)(?::(?P<dtype>\w+))?")
_AXIS = re.compile(r"(?P<name>\w+)\.(?P<axis>\d+)=(?P<symbol>[A-Za-z_]\w*)")
_TYPES = {
    dtype.numpy.name: dtype
    for dtype in DType
    if not dtype.is_packed and not dtype.is_small_float and dtype is not DType.STRING
}  # fmt: skip
"""Element types by the names that NumPy and torch have for them."""
_HELP = "such as x=1x3x224x224, tokens=N,128:int64 or 1x16 (the first input, float32)"


@dataclass(frozen=True, slots=True)
class Export:
    """How a module becomes a graph.

    Attributes:
        inputs: Types and shapes of the inputs, a name '' for the parameter in that place.
        example: Example inputs instead: tensors or arrays, or a reference to some.
        dynamic: Symbols of the example's dimensions, by input name and axis.
        opset: Of the exported model; None for the exporter's own.
        outputs: Names of the outputs; () for the exporter's.
    """

    inputs: tuple[Value, ...] = ()
    example: Any = None
    dynamic: Mapping[str, Mapping[int, str]] | None = None
    opset: int | None = None
    outputs: tuple[str, ...] = ()

    @staticmethod
    def of(
        shapes: Sequence[str] = (),
        example: Any = None,
        dynamic: Sequence[str] = (),
        opset: int | None = None,
        outputs: Sequence[str] = (),
    ) -> Export:
        """Read what a user writes.

        Args:
            shapes: ``name=1x3x224x224``, ``name=N,128:int64``: see `parsed_shape`.
            example: Instead of shapes.
            dynamic: ``name.axis=symbol``, for an example.
            opset, outputs: As above.

        Raises:
            OptionError: One of them cannot be read, or both shapes and an example are given.
        """
        if shapes and example is not None:
            raise OptionError("expected shapes of inputs or an example, found both")
        found: dict[str, dict[int, str]] = {}
        for text in dynamic:
            match = _AXIS.fullmatch(text)
            if match is None:
                raise OptionError(
                    f"dynamic: expected NAME.AXIS=SYMBOL, found '{text}'", help="such as x.0=batch"
                )
            found.setdefault(match["name"], {})[int(match["axis"])] = match["symbol"]
        inputs = tuple(parsed_shape(text) for text in shapes)
        return Export(inputs, example, found, opset, tuple(outputs))

    def recorded(self, inputs: Sequence[Value]) -> str:
        """Return the options of the import's record: enough to export the same again."""
        given: dict[str, Any] = {"inputs": tuple(shape_text(value) for value in inputs)}
        if self.opset is not None:
            given["opset"] = self.opset
        if self.outputs:
            given["outputs"] = self.outputs
        return f"{{{' '.join(f'{key}={option_text(value)}' for key, value in given.items())}}}"

    @staticmethod
    def from_record(record: StageRecord) -> Export:
        """Return how a recorded import exported.

        Raises:
            OptionError: It read no PyTorch module.
        """
        if not record.options:
            raise OptionError(
                "the history does not begin with a PyTorch module", help="give the ONNX file"
            )
        (item,) = parse_pipeline(f"{record.name}{record.options}")
        held: dict[str, Any] = {option.name: option.value for option in item.options}
        shapes, outputs = held.get("inputs", ()), held.get("outputs", ())
        return Export.of(shapes, None, (), held.get("opset"), outputs)


def is_reference(text: str | Path) -> bool:
    """Whether a model is named as a Python object: ``net.py:net``, ``package.module:net``."""
    return _REFERENCE.fullmatch(str(text)) is not None and not Path(text).exists()


def parsed_shape(text: str) -> Value:
    """Return the input that a text describes.

    Dimensions are separated by ``x`` or by commas, and a comma may end them; a word is a symbol,
    which may be of any size. The element type is float32, or what stands behind a colon.

    Raises:
        OptionError: The text describes none.
    """
    match = _SHAPE.fullmatch(text)
    if match is None or not (match["dims"] or match["name"]):
        raise OptionError(f"input shape: expected NAME=DIMENSIONS, found '{text}'", help=_HELP)
    text_of = match["dims"].removesuffix(",")
    dims = re.split("," if "," in match["dims"] else "x", text_of) if text_of else []
    dtype = _TYPES.get(match["dtype"] or "float32")
    if dtype is None:
        raise UnknownNameError(
            "element type", match["dtype"], _TYPES, where=f"input shape '{text}'"
        )  # fmt: skip
    shape = tuple(int(dim) if dim.isdecimal() else dim for dim in dims)
    if any(isinstance(dim, str) and not dim.isidentifier() for dim in shape):
        raise OptionError(
            f"input shape: expected numbers and symbols, found '{match['dims']}'", help=_HELP
        )
    return Value(match["name"] or "", dtype, shape)


def shape_text(value: Value) -> str:
    """Return the text that `parsed_shape` reads."""
    dims = "".join(f"{dim}," for dim in value.shape or ())  # as a tuple: (3,) is 3,
    return f"{value.name}={dims}:{value.dtype.numpy.name}"


def import_pytorch(network: Any, how: Export, operations: OperationLibrary | None = None) -> Graph:
    """Export a module and import what was made.

    Args:
        network: An ``nn.Module``, or a reference to one, see `is_reference`.
        how: Inputs, opset and names.
        operations: The user operations at hand; by default those of installed packages.

    Returns:
        A graph named after the module's class, whose operations have the paths of their modules.

    Raises:
        UserError: The module cannot be found, run or exported; onnxscript is missing.
        UnsupportedError: It holds operations that cannot be represented; all are listed.
    """
    from quantable.frontend import import_model

    library = library_of if operations is None else lambda: operations
    exporter = runtime.pytorch_exporter()
    label = network if isinstance(network, (str, Path)) else f"module {type(network).__name__}"
    module, example, how = _loaded(network, how)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        inputs = exporter.export_module(
            module, path, label=str(label), inputs=how.inputs, example=example,
            dynamic=how.dynamic, opset=how.opset, output_names=how.outputs,
        )  # fmt: skip
        try:
            graph = import_model(path, executor=runtime.LazyExecutor(), library=library)
        except UserError as error:
            error.where = error.where.replace(str(path), str(label))
            raise
    record = replace(graph.history[0], options=how.recorded(inputs))
    return replace(graph, history=(record,))


def _loaded(network: Any, how: Export) -> tuple[Any, Any, Export]:
    """Return the module, example inputs, and how to export."""
    loading = runtime.pytorch_loading()
    example = how.example
    if isinstance(example, str):
        example = loading.load_example(example)
    elif example is not None:
        example = loading.as_example(example, "example")
    if not isinstance(network, (str, Path)):
        return network, example, how
    module, own = loading.load_module(str(network))
    if own is not None and example is None and not how.inputs:
        example = loading.as_example(own, str(network))
    return module, example, how
