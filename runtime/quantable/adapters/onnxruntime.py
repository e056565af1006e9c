"""ONNX Runtime, as the real runtime of emitted ONNX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from quantable.ir import DataError, ModelError, UserError

Array = npt.NDArray[np.generic]


def load_onnxruntime() -> ModuleType:
    """Import onnxruntime.

    Raises:
        UserError: It is not installed; the help says how to get it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "onnxruntime is not installed", help="pip install 'quantable[ort]'"
        ) from error
    module: ModuleType = onnxruntime
    return module


class OrtModel:
    """An ONNX file, ready to run.

    Args:
        path: The file.
        optimize: Whether ONNX Runtime may change the graph. Off, every node is executed as it is
            written, which is what simulated quantization is compared with.
        threads: Threads inside one operation.
        custom_ops: Shared libraries with kernels of operations that ONNX Runtime lacks.
        without: Names of optimizations that are left out.

    Raises:
        ModelError: ONNX Runtime refuses the file.
        UserError: onnxruntime is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        optimize: bool = False,
        threads: int = 1,
        custom_ops: Sequence[str | Path] = (),
        without: Sequence[str] = (),
    ) -> None:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        levels = ort.GraphOptimizationLevel
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
        )
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.path = Path(path)
        errors = ort.capi.onnxruntime_pybind11_state
        self._invalid_argument = errors.InvalidArgument
        refusals = (errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented,
                    errors.Fail, errors.NoSuchFile, errors.InvalidArgument)  # fmt: skip
        for library in custom_ops:
            try:
                options.register_custom_ops_library(str(library))
            except refusals as error:
                raise UserError(
                    f"ONNX Runtime cannot use it as a library of operations: {error}",
                    where=str(library),
                    help="expected a shared library that exports RegisterCustomOps",
                ) from error
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"],
                disabled_optimizers=list(without),
            )  # fmt: skip
        except refusals as error:
            raise ModelError(
                f"ONNX Runtime {ort.__version__} cannot load the file: {error}", where=str(path)
            ) from error
        self.inputs = tuple(str(item.name) for item in self._session.get_inputs())
        self.outputs = tuple(str(item.name) for item in self._session.get_outputs())

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Run once.

        Args:
            inputs: Arrays by input name.
            outputs: Names to return; all outputs by default.

        Raises:
            DataError: The inputs have other names, types or shapes than the file's.
        """
        if set(inputs) != set(self.inputs):
            raise DataError(
                f"expected inputs {', '.join(self.inputs)}, found {', '.join(sorted(inputs))}",
                where=str(self.path),
            )
        names = list(self.outputs if outputs is None else outputs)
        feeds = {name: np.asarray(array, order="C") for name, array in inputs.items()}
        try:
            found = self._session.run(names, feeds)
        except self._invalid_argument as error:
            raise DataError(
                f"ONNX Runtime refuses the inputs: {error}", where=str(self.path)
            ) from error
        return dict(zip(names, found, strict=True))
