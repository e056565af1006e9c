"""Networks in: ONNX files, and PyTorch modules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantable.driver import runtime
from quantable.driver.operations import library_of
from quantable.driver.pytorch import Export, import_pytorch, is_reference
from quantable.ir import Graph, OperationLibrary, UserError


def import_model(path: str | Path, operations: OperationLibrary | None = None) -> Graph:
    """Read an ONNX file, or export what ``net.py:net`` names with its own example inputs.

    Args:
        path: The file.
        operations: The user operations at hand, see `quantable.driver.operations.library_of`; by
            default those of installed packages, looked up where the model has some.

    Raises:
        ModelError: The model is invalid or incomplete.
        UnsupportedError: It holds operations that cannot be represented; all are listed.
    """
    from quantable.frontend import import_model as read

    if is_reference(path):
        return import_module(path, operations=operations)
    if not Path(path).is_file():
        found = "it is a folder" if Path(path).is_dir() else "no such file"
        raise UserError(found, where=str(path), help="expected the path of an .onnx file, or "
                        "net.py:NAME for a PyTorch module")  # fmt: skip
    library = library_of if operations is None else lambda: operations
    return read(path, executor=runtime.LazyExecutor(), library=library)


def import_module(
    module: object,
    inputs: object = None,
    *,
    dynamic: Sequence[str] = (),
    opset: int | None = None,
    output_names: Sequence[str] = (),
    operations: OperationLibrary | None = None,
) -> Graph:
    """Import a PyTorch network through torch.export and torch's ONNX exporter, in one call.

    The module is exported in evaluation mode and left as it was. Operations have the paths of their
    modules as names (``layer1.0.conv1``).

    Args:
        module: An ``nn.Module``, or a reference to one or to a function that returns one, alone or
            with example inputs: ``net.py:net``, ``package.module:net``.
        inputs: Example inputs: tensors or arrays in order, a mapping of them by parameter name, or
            a reference to some; or shapes as text: ``["x=1x3x224x224", "tokens=N,128:int64"]``,
            where words are symbolic dimensions.
        dynamic: Symbols of the dimensions of example inputs: ``x.0=batch``.
        opset: Of ai.onnx; by default the exporter's own.
        output_names: Names of the outputs, in order; by default the exporter's.
        operations: The user operations at hand; by default those of installed packages.

    Raises:
        OptionError: Inputs are missing, or do not fit the module's parameters.
        ModelError: The module's code fails, or cannot be exported: says which module.
        UserError: There is no such module, or onnxscript is missing.
    """
    given = [inputs] if isinstance(inputs, str) and not is_reference(inputs) else inputs
    is_text = isinstance(given, (list, tuple)) and all(isinstance(item, str) for item in given)
    shapes = tuple(map(str, given)) if isinstance(given, (list, tuple)) and is_text else ()
    example = None if is_text else given
    return import_pytorch(
        module, Export.of(shapes, example, dynamic, opset, output_names), operations
    )
